"""Writing a survey: it gives no method away, and refuses what it cannot show."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from survey_samples import METHODS, PAIRS, change, methods_of, page_data, write_results

from anamodiff.cli import main as cli
from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.survey.page import QUESTIONS, Survey, write_survey


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture
def results(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the results that a test may change."""
    return Path(shutil.copytree(drawn, tmp_path / "results"))


@pytest.fixture
def survey(drawn: Path, tmp_path: Path) -> Survey:
    return write_survey(drawn, output=tmp_path / "survey")


def test_nothing_that_the_page_loads_names_methods_or_pairs(survey: Survey) -> None:
    files = [path for path in survey.page.rglob("*") if path.is_file()]
    assert len(files) == 5 + len(PAIRS) * (2 + len(METHODS))
    for path in files:
        held = path.name.encode() + path.read_bytes()
        assert not [name for name in (*METHODS, *PAIRS) if name.encode() in held], path
    names = {path.name for path in (survey.page / "videos").iterdir()}
    assert all(re.fullmatch(r"[0-9a-f]{6}\.mp4", name) for name in names)
    assert survey.key.parent == survey.page.parent, "beside the page's folder, not in it"


def test_the_page_loads_nothing_from_elsewhere(survey: Survey) -> None:
    for path in survey.page.glob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?:|//[a-z]+\.|@import|fetch\(|XMLHttp|sendBeacon", text), path
    policy = re.search(r'Policy" content="([^"]*)"', (survey.page / "index.html").read_text())[1]
    assert policy.startswith("default-src 'none';") and "http" not in policy


def test_the_key_maps_names_to_videos_and_methods(drawn: Path, survey: Survey) -> None:
    key, data = json.loads(survey.key.read_text()), page_data(survey)
    assert data["survey"] == key["survey"] == survey.id
    assert {pair["name"] for pair in key["pairs"]} == set(PAIRS)
    for known, shown in zip(key["pairs"], data["pairs"], strict=True):
        folder = drawn / "pairs" / known["name"]
        copies = {shown["source"]: "source", shown["driving"]: "driving", **known["results"]}
        for name, kind in copies.items():
            copied = (survey.page / "videos" / name).read_bytes()
            assert copied == (folder / f"{kind}.mp4").read_bytes()
        for question in QUESTIONS:
            assert sorted(shown[question]) == sorted(known["results"])
        assert sorted(known["results"].values()) == sorted(METHODS)


def test_the_seed_decides_what_is_shown(drawn: Path, tmp_path: Path) -> None:
    def shown(seed: int, folder: str) -> tuple[str, dict]:
        survey = write_survey(drawn, output=tmp_path / folder, seed=seed)
        return (survey.page / "index.html").read_text(), json.loads(survey.key.read_text())

    assert shown(5, "a") == shown(5, "b")
    (_, one), (_, other) = shown(5, "c"), shown(6, "d")
    assert one["survey"] != other["survey"]
    assert not set(one["pairs"][0]["results"]) & set(other["pairs"][0]["results"])


def test_results_are_shuffled_for_each_question(drawn: Path, tmp_path: Path) -> None:
    firsts = {question: set() for question in QUESTIONS}
    alike = 0
    for seed in range(8):
        survey = write_survey(drawn, output=tmp_path / str(seed), seed=seed)
        methods = methods_of(survey)
        for pair in page_data(survey)["pairs"]:
            for question in QUESTIONS:
                firsts[question].add(methods[pair[question][0]])
            alike += pair["motion"] == pair["shape"]
    assert firsts == dict.fromkeys(QUESTIONS, set(METHODS))
    assert alike < 16, "24 pairs, of which a sixth are alike by chance"


def test_changed_videos_are_another_survey(results: Path, tmp_path: Path) -> None:
    before = write_survey(results, output=tmp_path / "a")
    folder = results / "pairs" / PAIRS[0]
    shutil.copy(folder / "source.mp4", folder / f"{METHODS[0]}.mp4")
    assert write_survey(results, output=tmp_path / "b").id != before.id


def test_some_pairs_and_methods(drawn: Path, tmp_path: Path) -> None:
    chosen = "tune-a-video, anamodiff"
    survey = write_survey(drawn, output=tmp_path / "s", pairs=2, methods=chosen)
    assert (survey.pairs, survey.methods) == (2, ("anamodiff", "tune-a-video"))
    assert set(methods_of(survey).values()) == set(survey.methods)
    assert len(page_data(survey)["pairs"]) == 2
    assert len(list((survey.page / "videos").iterdir())) == 8
    drawn_pairs = set()
    for seed in range(6):
        one = write_survey(drawn, output=tmp_path / f"one{seed}", pairs=1, seed=seed)
        drawn_pairs.add(json.loads(one.key.read_text())["pairs"][0]["name"])
    assert len(drawn_pairs) > 1


def test_a_pair_without_all_methods_is_left_out(
    results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(results, rows=lambda rows: rows[1:])
    caplog.set_level(logging.WARNING, "anamodiff")
    survey = write_survey(results, output=tmp_path / "s")
    assert survey.pairs == len(PAIRS) - 1
    line = f"pair {PAIRS[0]} is left out: no result of {METHODS[0]}"
    assert [record.getMessage() for record in caplog.records] == [line]
    assert write_survey(results, output=tmp_path / "t", methods=METHODS[1:]).pairs == len(PAIRS)


def first_row(**parts: object) -> Callable[[Path], None]:
    return lambda folder: change(folder, rows=lambda rows: [rows[0] | parts, *rows[1:]])


def first_pair(**parts: object) -> Callable[[Path], None]:
    return lambda folder: change(folder, pairs=lambda pairs: [pairs[0] | parts, *pairs[1:]])


def link_out(folder: Path) -> None:
    inside = folder / "pairs" / PAIRS[0] / f"{METHODS[0]}.mp4"
    inside.rename(folder.parent / "outside.mp4")
    inside.symlink_to(folder.parent / "outside.mp4")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (first_row(video="../outside.mp4"), r"paths inside .*results.* got '\.\./outside\.mp4'"),
        (first_pair(source="/etc/hosts"), r"paths inside .* got '/etc/hosts'"),
        (first_pair(driving="pairs/../../x.mp4"), r"paths inside"),
        (link_out, r"paths inside .* copy the file there"),
        (first_row(video="pairs/none.mp4"), r"expected a video at .*none\.mp4, got none"),
        (first_row(video="results.json"), r"videos that browsers play \(\.mp4, \.webm\)"),
        (first_row(video=7), r"table of version 1 .* a name or path that is no text"),
        (lambda f: change(f, rows=lambda rows: [rows[0], *rows]), r"got two for turtle.* and anam"),
        (lambda f: change(f, rows=[]), r"a result of every method, got none"),
        (lambda f: change(f, version=2), r"table of version 1 .*, got version 2"),
        (lambda f: change(f, pairs=[{"name": "a"}]), r"table of version 1 .*, got no 'source'"),
        (lambda f: change(f, methods=["anamodiff"]), r"two methods to rank, got anamodiff"),
        (lambda f: (f / "results.json").write_text("{"), r"table of version 1 .*run anamodiff b"),
        (lambda f: (f / "results.json").write_text("[]"), r"table of version 1"),
        (lambda f: (f / "results.json").unlink(), r"expected a folder with results\.json"),
    ],
)
def test_results_that_cannot_be_used(
    results: Path, tmp_path: Path, spoil: Callable[[Path], None], line: str
) -> None:
    spoil(results)
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        write_survey(results, output=tmp_path / "survey")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "survey").exists(), "nothing half written"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"pairs": 4}, r"--pairs: expected at most 3, got 4"),
        ({"methods": "anamodiff,tps"}, r"methods out of anamodiff, .*, got 'tps'"),
        ({"methods": "anamodiff"}, r"at least two methods to rank, got anamodiff"),
    ],
)
def test_options_that_cannot_be_met(drawn: Path, tmp_path: Path, options: dict, line: str) -> None:
    with pytest.raises(AnaMoDiffError, match=line):
        write_survey(drawn, output=tmp_path / "survey", **options)


def test_a_survey_is_never_replaced(drawn: Path, survey: Survey, tmp_path: Path) -> None:
    before = survey.key.read_text()
    with pytest.raises(AnaMoDiffError, match="expected a new or empty folder"):
        write_survey(drawn, output=survey.folder, seed=1)
    assert survey.key.read_text() == before
    (tmp_path / "empty").mkdir()
    assert write_survey(drawn, output=tmp_path / "empty").key.is_file()


def test_a_title_cannot_break_the_page(drawn: Path, tmp_path: Path) -> None:
    title = 'Ours </script><!-- <script> & "theirs" {{data}}'
    survey = write_survey(drawn, output=tmp_path / "s", title=title)
    page = (survey.page / "index.html").read_text()
    assert page_data(survey)["title"] == title
    assert page.count("</script>") == 4 and "<!-- <script>" not in page
    assert "<title>Ours &lt;/script&gt;" in page


def test_the_command_line_writes_a_survey(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my survey"
    words = ["--out", str(folder), "--pairs", "1", "--methods", "anamodiff,warp-only"]
    assert (
        cli.main(["survey", str(drawn), *words, "--seed", "4", "show.title=Ours, and theirs"]) == 0
    )
    out = capsys.readouterr().out
    assert f"page: {folder / 'page' / 'index.html'}\n" in out
    assert re.search(
        rf"^key: {re.escape(str(folder / 'key.json'))} \(.*do not hand it out", out, re.M
    )
    assert f"survey-results ANSWERS --key '{folder / 'key.json'}'" in out
    assert "Ours, and theirs" in (folder / "page" / "index.html").read_text()
    assert cli.main(["survey", str(drawn), "--output", str(folder)]) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err
