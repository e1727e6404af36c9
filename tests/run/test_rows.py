"""Lists of transfers: every row as it was meant, and every mistake in one line, all at once."""

from pathlib import Path

import pytest
from pages import DOCS, blocks

from anamodiff.cli.compose import compose, leaves
from anamodiff.errors import AnaMoDiffError
from anamodiff.run.rows import COLUMNS, FOR_ALL_ROWS, read_list

HEAD = "source,driving,prompt"
ROW = "a.gif,b.gif,a turtle"


def write(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_table_row_by_row(tmp_path: Path) -> None:
    text = f"""{HEAD}, output ,seed,start_frame,tuning.lr,generation.match_colours,tuning.iterations
clips/a.gif,../b.gif,"a turtle, green",walk.mp4,3,auto,1e-4,false,

"/far/a.gif",b.gif,10,,,7,,,20
,,,,,,,,
"""
    first, second = read_list(write(tmp_path, text))
    assert (first.source, first.driving) == (tmp_path / "clips/a.gif", tmp_path.parent / "b.gif")
    assert (first.number, first.prompt) == (1, "a turtle, green")
    assert (first.output, first.name) == ("walk.mp4", "walk")
    assert first.settings == {
        "seed": 3, "start_frame": "auto", "tuning.lr": 1e-4, "generation.match_colours": False
    }  # fmt: skip
    assert (second.number, second.source, second.prompt) == (2, Path("/far/a.gif"), "10")
    assert second.settings == {"start_frame": 7, "tuning.iterations": 20}
    assert (second.output, second.name) == ("a-b", "a-b")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_of_other_spreadsheets(tmp_path: Path, delimiter: str) -> None:
    text = f"{HEAD},seed\r\n{ROW},4\r\n".replace(",", delimiter)
    (row,) = read_list(write(tmp_path, b"\xef\xbb\xbf" + text.encode(), "list.tsv"))
    assert (row.prompt, row.settings) == ("a turtle", {"seed": 4})


def test_yaml_nested_or_dotted(tmp_path: Path) -> None:
    text = """
- {source: a.gif, driving: b.gif, prompt: a turtle, tuning: {iterations: 5, lr: 1e-4}}
- {source: a.gif, driving: b.gif, prompt: a cat, tuning.iterations: 6, seed: null, output: cat}
"""
    first, second = read_list(write(tmp_path, text, "list.yaml"))
    assert first.settings == {"tuning.iterations": 5, "tuning.lr": 1e-4}
    assert (second.settings, second.output) == ({"tuning.iterations": 6}, "cat")


def test_rows_without_an_output_get_names_of_their_own(tmp_path: Path) -> None:
    rows = [f"{ROW},", f"{ROW},A-B-2.gif", f"{ROW},", "x/b.y.gif,../c d.gif,a cat,"]
    found = read_list(write(tmp_path, "\n".join([f"{HEAD},output", *rows])))
    assert [row.output for row in found] == ["a-b", "A-B-2.gif", "a-b-3", "b_y-c_d"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expected rows in .*list.csv, got none"),
        (f"{HEAD}\n\n,,\n", "expected rows in .*list.csv, got none"),
        (
            "source,driving\na,b",
            "expected the columns .*, got source, driving without prompt: name them in ",
        ),
        ("source,drving,prompt\n", "without driving: should drving be driving\\?"),
        (f"{HEAD},iterations\n{ROW},5", "'iterations'; did you mean tuning.iterations\\?"),
        (f"{HEAD},start-frame\n{ROW},5", "'start-frame'; did you mean start_frame\\?"),
        (f"{HEAD},zebra\n{ROW},5", "unknown column 'zebra'; expected source, driving"),
        (f"{HEAD},\n{ROW},5", "row 1: expected 3 cells, got 4"),
        (f"{HEAD},backbone\n{ROW},mini", "backbone is no column, .*: use --backbone"),
        (f"{HEAD},prompt\n{ROW},x", "expected each column once in .*, got prompt twice"),
        (f"{HEAD}\n{ROW}, green", "row 1: expected 3 cells, got 4: .*double quotes"),
        (f"{HEAD}\n{ROW}\na.gif,,", "row 2: expected driving and prompt, got none"),
        (f"{HEAD},seed\n{ROW},x", "row 1: seed: expected a whole number .*, got 'x'"),
        (f"{HEAD},frames\n{ROW},1", "row 1: frames: expected a whole number from 2 to 600, got 1"),
        (f"{HEAD},output\n{ROW},x\n{ROW},X.mp4", "row 2: .* own, got 'X.mp4' as in row 1"),
        (f'{HEAD}\n"{ROW}', "expected a table in .*, got an error: unexpected end"),
    ],
)
def test_mistakes_in_a_table_are_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        read_list(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expected rows in .*, got none"),
        ("[]", "expected rows in .*, got none"),
        ("source: a.gif", "expected a YAML list of rows .*, got a mapping"),
        ("just words", "expected a YAML list of rows .*, got 'just words'"),
        ("- {", "expected YAML in .*, got an error: while parsing"),
        ("- a.gif", "row 1: expected settings such as source: a.gif, got 'a.gif'"),
        ("- {source: a, driving: b, prompt: 10}", "row 1: prompt: expected a few words.*, got 10"),
        ("- {source: a, driving: b, prompt: c, tuning: {rnk: 3}}", "did you mean tuning.rank"),
        ("- {source: a, driving: b, prompt: c, frames: [2]}", "row 1: frames: expected a whole"),
        ("- {source: a, driving: b, prompt: c, 3: 4}", "row 1: unknown column '3'"),
    ],
)
def test_mistakes_in_yaml_are_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        read_list(write(tmp_path, text, "list.yml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "output",
    [*("../x", "/x", "a/b", "..", ".", "a\\b", "C:x", ".x", "a.mp4.gif", "é" * 101)]
    + ["rows", "rows.mp4", "Hydra", "summary.json"],
)
def test_outputs_stay_inside_and_harm_nothing(tmp_path: Path, output: str) -> None:
    with pytest.raises(AnaMoDiffError, match="row 1: output: expected a plain name inside"):
        read_list(write(tmp_path, f"{HEAD},output\n{ROW},{output}"))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    rows = "\n".join(f"{ROW},-1,same" for _ in range(3))
    with pytest.raises(AnaMoDiffError) as caught:
        read_list(write(tmp_path, f"{HEAD},seed,output\n{rows}"))
    line = str(caught.value)
    assert all(f"row {number}: seed: expected" in line for number in (1, 2, 3))
    assert line.endswith("; and 2 more")


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    latin = write(tmp_path, f"{HEAD}\na.gif,b.gif,une tortue \xe0 pois".encode("latin-1"))
    with pytest.raises(AnaMoDiffError, match="UTF-8 in .*list.csv, got byte 0xe0 at 45: save"):
        read_list(latin)
    with pytest.raises(AnaMoDiffError, match="expected a list .csv, .tsv or .yaml, got .*xlsx"):
        read_list(write(tmp_path, "", "list.xlsx"))
    with pytest.raises(AnaMoDiffError, match="got nothing at .*none.csv"):
        read_list(tmp_path / "none.csv")


def test_the_documented_list_reads(tmp_path: Path) -> None:
    (text,) = blocks(DOCS / "transfers.md", "csv")
    first, second = read_list(write(tmp_path, text))
    assert (first.prompt, first.output, first.settings) == (
        "a turtle, side view", "turtle-jumps", {}
    )  # fmt: skip
    assert second.settings == {"seed": 3, "tuning.iterations": 120}


def test_columns_are_the_settings_of_a_transfer() -> None:
    composed = compose("transfer", ["source=a", "driving=b", "prompt=c"])
    settings = {key for key, _ in leaves(composed)}
    assert set(COLUMNS) | set(FOR_ALL_ROWS) == settings - {"resume", "progress"}
