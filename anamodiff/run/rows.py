"""The list of `anamodiff transfer-many`: CSV or YAML, a transfer in each row."""

from __future__ import annotations

import csv
import io
import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anamodiff.errors import AnaMoDiffError, one_line, shorten
from anamodiff.fields import dotted, nearest, settings_of, typed
from anamodiff.options import STAGES, MemoryOptions, RunOptions
from anamodiff.resources import expanded
from anamodiff.run.outputs import is_video
from anamodiff.video.suffixes import OTHER_SUFFIXES

REQUIRED = ("source", "driving", "prompt")
# What a row may set, by column.
COLUMNS = {
    key: settings_of(RunOptions)[key]
    for key in (*REQUIRED, "output", "seed", "frames", "start_frame")
} | {one.key: one for stage in STAGES.values() for one in settings_of(stage).values()}
# What holds for a whole process, and so for all rows.
FOR_ALL_ROWS = (
    "backbone", "lofnet", "size", "device", "precision", "preset",
    *(one.key for one in settings_of(MemoryOptions).values()),
)  # fmt: skip
# What lies in the output folder beside the rows' own.
RESERVED = ("rows", "hydra", "summary.csv", "summary.json")
SHOWN = 3  # problems of a list that one line names

#: A row's values by column, before they are checked, and what is wrong with its cells.
Raw = tuple[dict[str, Any], list[str]]


@dataclass(frozen=True)
class Row:
    """One transfer of a list.

    Attributes:
        number: counts the rows from 1, below the head.
        output: name of its run folder in the output folder, or of a video there.
        settings: what the row sets for itself, by dotted key; without clips, prompt and output.
    """

    number: int
    source: Path
    driving: Path
    prompt: str
    output: str
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return _folder(self.output)


def _folder(output: str) -> str:
    """Name of the run folder for an output: for a video, without its suffix."""
    return Path(output).stem if is_video(output) else output


def read_list(file: str | Path) -> list[Row]:
    """The rows of a list, with clips as absolute paths and a name for each output.

    Paths are relative to the list's folder. Empty cells count as not given. A row without an
    output is named after its clips.

    Raises:
        AnaMoDiffError: something is wrong with the list; one line names all of it, or the first
            few problems. Whether the clips are there is not looked at: that is a row's own matter.
    """
    file = Path(file)
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".tsv", ".yaml", ".yml"):
        raise AnaMoDiffError(f"expected a list .csv, .tsv or .yaml, got {file}: save it as one")
    if not file.is_file():
        got = "a folder, pipe or device" if file.exists() else "nothing"
        raise AnaMoDiffError(f"expected a file with a list, got {got} at {file}: correct the name")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnaMoDiffError(
            f"expected text in UTF-8 in {file}, got byte {error.object[error.start]:#04x} at "
            f"{error.start}: save it as UTF-8 (a spreadsheet calls it CSV UTF-8)"
        ) from error
    raw = _from_csv(file, text) if "sv" in suffix else _from_yaml(file, text)
    if not raw:
        raise AnaMoDiffError(f"expected rows in {file}, got none: each is one transfer")
    problems = [
        f"row {number}: {problem}"
        for number, (values, wrong) in enumerate(raw, 1)
        for problem in wrong or _mistakes(values)
    ]
    problems += _duplicates([values.get("output") for values, _ in raw])
    if problems:
        rest = len(problems) - SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        raise AnaMoDiffError(f"{file}: {'; '.join(problems[:SHOWN])}{more}")
    return _rows(file.absolute().parent, [values for values, _ in raw])


def _from_csv(file: Path, text: str) -> list[Raw]:
    """Rows of a table with a head, parted by commas, semicolons (many spreadsheets) or tabs."""
    head = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise AnaMoDiffError(f"expected a table in {file}, got an error: {error}") from error
    # Spreadsheets leave lines of empty cells behind.
    lines = [line for line in lines if any(cell.strip() for cell in line)]
    columns: list[str] = [name.strip() for name in lines[0]] if lines else list(REQUIRED)
    while columns and not columns[-1]:
        columns.pop()
    _check_columns(file, columns)
    return [_cells(columns, line) for line in lines[1:]]


def _check_columns(file: Path, columns: list[str]) -> None:
    """Raises AnaMoDiffError where the head of a table is wrong."""
    if missing := [name for name in REQUIRED if name not in columns]:
        close = nearest(missing[0], [name for name in columns if name not in COLUMNS])
        cure = f": should {close[0]} be {missing[0]}?" if close else ""
        raise AnaMoDiffError(
            f"expected the columns {', '.join(REQUIRED)} in {file}, got "
            f"{shorten(', '.join(columns), 100)} without {' and '.join(missing)}"
            f"{cure or ': name them in the first line'}"
        )
    for name in columns:
        if problem := _unknown(name):
            raise AnaMoDiffError(f"{file}: {problem}")
        if columns.count(name) > 1:
            raise AnaMoDiffError(f"expected each column once in {file}, got {name} twice")


def _cells(columns: list[str], line: list[str]) -> Raw:
    """A row by its columns. Text becomes what its column takes."""
    if any(cell.strip() for cell in line[len(columns) :]):
        hint = "put a cell that holds the delimiter in double quotes"
        return {}, [f"expected {len(columns)} cells, got {len(line)}: {hint}"]
    cells = {key: text.strip() for key, text in zip(columns, line, strict=False) if text.strip()}
    return {key: _typed(key, text) for key, text in cells.items()}, []


def _from_yaml(file: Path, text: str) -> list[Raw]:
    """Rows of a list of mappings, whose settings may be nested or dotted."""
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = one_line(str(error))
        raise AnaMoDiffError(
            f"expected YAML in {file}, got an error: {line}: correct it"
        ) from error
    if found is None:
        return []
    if not isinstance(found, list):
        kind = "a mapping" if isinstance(found, dict) else _short(found)
        raise AnaMoDiffError(
            f'expected a YAML list of rows ("- source: ...") in {file}, got {kind}; '
            "begin each row with a dash"
        )
    return [_mapping(row) for row in found]


def _mapping(row: Any) -> Raw:
    if not isinstance(row, Mapping):
        return {}, [f"expected settings such as source: a.gif, got {_short(row)}"]
    # YAML reads 1e-4 as text.
    return {k: _typed(k, v) for k, v in dotted(row).items() if v is not None}, []


def _mistakes(values: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a row's values."""
    if missing := [name for name in REQUIRED if name not in values]:
        yield f"expected {' and '.join(missing)}, got none"
    for key, value in values.items():
        if problem := _unknown(key):
            yield problem
        elif not COLUMNS[key].kind.accepts(value):
            words = COLUMNS[key].kind.words.removesuffix(" or null")  # an empty cell
            yield f"{key}: expected {words}, got {_short(value)}"
        elif key == "output" and not _is_name(value):
            yield (
                f"output: expected a plain name inside the output folder, such as turtle-walk or "
                f"turtle-walk.mp4, got {value!r}"
            )


def _unknown(name: str) -> str | None:
    """A line for a column that there is not."""
    if name in COLUMNS:
        return None
    if name in FOR_ALL_ROWS:
        return f"{name} is no column, as it holds for all rows: use --{name}"
    near = nearest(name, COLUMNS)
    cure = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"expected {', '.join(list(COLUMNS)[:7])}, tuning.lr, ..."
    )
    return f"unknown column {name!r}; {cure}"


def _short(value: object) -> str:
    """A value in a line, however much it holds: aliases of YAML make a million words of few."""
    return shorten(reprlib.repr(value), 100)


def _typed(key: str, value: object) -> object:
    return typed(COLUMNS[key].kind if key in COLUMNS else None, value)


def _is_name(text: str) -> bool:
    """Whether a file or folder of this name lies in the output folder and harms nothing there."""
    plain = not re.search(r'[/\\:*?"<>|\x00-\x1f]', text) and not text.startswith(".")
    plain = plain and Path(text).suffix.lower() not in OTHER_SUFFIXES
    name = _folder(text)
    short = len(text.encode()) <= 200
    return plain and short and name.casefold() not in RESERVED and not is_video(name)


def _duplicates(outputs: list[str | None]) -> Iterator[str]:
    """Rows that would write into one folder; some file systems take A and a for one name."""
    first: dict[str, int] = {}
    for number, output in enumerate(outputs, 1):
        if not isinstance(output, str):
            continue
        if (before := first.setdefault(_folder(output).casefold(), number)) != number:
            yield f"row {number}: expected an output of its own, got {output!r} as in row {before}"


def _rows(folder: Path, raw: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    taken = {_folder(values["output"]).casefold() for values in raw if "output" in values}
    for number, values in enumerate(raw, 1):
        # `..` is taken out, so that a clip has one name.
        source, driving = (_clip(folder, values.pop(key)) for key in REQUIRED[:2])
        prompt, output = values.pop("prompt"), values.pop("output", None)
        if output is None:
            output = _free(f"{source.stem}-{driving.stem}", taken)
        rows.append(Row(number, source, driving, prompt, output, values))
    return rows


def _clip(folder: Path, name: str) -> Path:
    """A row's clip: relative to the list's folder, unless it is in a home."""
    there = folder / name
    return Path(os.path.abspath(there if os.path.lexists(there) else folder / expanded(name)))


def _free(name: str, taken: set[str]) -> str:
    """A name after the clips that no other row has, which is added to `taken`."""
    name = re.sub(r"[^\w-]+", "_", name)[:60]
    number, found = 1, name
    while found.casefold() in taken:
        number, found = number + 1, f"{name}-{number + 1}"
    taken.add(found.casefold())
    return found
