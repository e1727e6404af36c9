"""The notebooks are what their sources say, and run from top to bottom."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

import anamodiff

jupytext = pytest.importorskip("jupytext", reason='needs pip install "anamodiff[notebooks]"')
nbclient = pytest.importorskip("nbclient", reason='needs pip install "anamodiff[notebooks]"')
pytest.importorskip("ipykernel", reason='needs pip install "anamodiff[notebooks]"')
pytest.importorskip("ipywidgets", reason='needs pip install "anamodiff[notebooks]"')

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
# Videos, and pictures, that the cells show at least.
SHOWN = {"quickstart": (6, 0), "inside": (6, 7)}


def by_name(path: Path) -> str:
    return path.stem


def test_every_notebook_has_a_source() -> None:
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks == [path.stem for path in SOURCES] == sorted(SHOWN)


@pytest.mark.parametrize("source", SOURCES, ids=by_name)
def test_notebooks_are_in_step_with_their_sources(source: Path) -> None:
    own, made = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    cells = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (own, made)]
    assert cells[0] == cells[1], f"run: jupytext --to ipynb --update notebooks/{source.name}"
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert made.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("source", SOURCES, ids=by_name)
def test_badges_open_the_notebook_itself(source: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    place = project["urls"]["Repository"].removeprefix("https://github.com/")
    address = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/"
    assert f"({address}{source.stem}.ipynb)" in source.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=by_name)
def test_notebooks_run(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The package under test, also where it is a bare checkout.
    here = str(Path(anamodiff.__file__).resolve().parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = jupytext.read(source)
    folder = tmp_path / "work"
    folder.mkdir()
    nbclient.NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [o for cell in book.cells if cell.cell_type == "code" for o in cell.outputs]
    noise = [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert not noise
    videos = [o for o in outputs if "<video" in shown(o, "text/html")]
    pictures = [o for o in outputs if shown(o, "image/jpeg") or shown(o, "image/png")]
    least = SHOWN[source.stem]
    assert len(videos) >= least[0] and len(pictures) >= least[1]
    assert sum(len(str(o)) for o in outputs) < 8_000_000


def shown(output: Any, kind: str) -> str:
    return output.get("data", {}).get(kind, "")
