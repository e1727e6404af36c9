"""Progress bars: text on a console, a widget in a notebook."""

import ast
import sys
from pathlib import Path

import pytest

import anamodiff
from anamodiff import meter
from anamodiff.run.progress import ProgressBars

PACKAGE = Path(anamodiff.__file__).resolve().parent


def test_all_bars_are_of_the_kind_that_knows_notebooks() -> None:
    kinds = {
        node.module
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and any(name.name == "tqdm" for name in node.names)
    }
    assert kinds == {"tqdm.auto"}


def test_a_console_gets_a_line_of_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressBars(True) as bars:
        for done in range(4):
            bars("tuning", done, 3, 0.5)
    printed = capsys.readouterr()
    assert printed.out == ""
    last = printed.err.strip().splitlines()[-1]
    assert last.startswith("tuning: 100%") and "loss=0.500" in last
    assert not any(word in printed.err for word in ("Warning", "HBox", "children", "\x1b"))


def test_a_notebook_gets_a_bar_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = pytest.importorskip("tqdm.notebook")
    if notebook.IProgress is None:
        pytest.skip("needs ipywidgets")
    shown: list = []
    monkeypatch.setattr(notebook, "display", shown.append)
    monkeypatch.setattr(meter, "tqdm", notebook.tqdm_notebook)
    with ProgressBars(True) as bars:
        bars("tuning", 1, 3, 0.5)
        assert shown[0].layout.width == "100%"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still: its one entry is the time."""
    now = [0.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with ProgressBars(True) as bars:
        for done in range(11):
            bars("tuning", done, 10, 0.5)
            clock[0] += 20
        for done in range(4):
            bars("sampling", done, 3, None)
    assert capsys.readouterr().err.splitlines() == [
        "tuning: 10 steps",
        "tuning: 2 of 10 after 40 s, about 3 min left, loss 0.500",
        "tuning: 4 of 10 after 80 s, about 2 min left, loss 0.500",
        "tuning: 6 of 10 after 2 min, about 80 s left, loss 0.500",
        "tuning: 8 of 10 after 3 min, about 40 s left, loss 0.500",
        "tuning: 10 of 10 after 3 min, loss 0.500",
        "sampling: 3 steps",
    ]


def test_within_a_list_a_log_gets_fewer_lines(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with meter.meter("rows", 3, unit="row", done=1) as rows:
        for seconds in (1, 31):
            with ProgressBars(True) as bars:
                for done in range(3):
                    bars("tuning", done, 2, None)
                    clock[0] += seconds
            rows.update()
    assert capsys.readouterr().err.splitlines() == [
        "rows: 3 rows, 1 of them done before",
        "tuning: 1 of 2 after 31 s, about 31 s left",
        "rows: 3 of 3 after 96 s",
    ]
