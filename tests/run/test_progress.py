"""Progress bars: text on a console, a widget in a notebook."""

import ast
from pathlib import Path

import pytest

import anamodiff
from anamodiff.run import progress
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


def test_a_console_gets_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
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
    monkeypatch.setattr(progress, "tqdm", notebook.tqdm_notebook)
    with ProgressBars(True) as bars:
        bars("tuning", 1, 3, 0.5)
        assert shown[0].layout.width == "100%"
