"""The site builds strictly, and does not where a link leads nowhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("zensical") is None or find_spec("mkdocstrings") is None,
        reason='needs pip install ".[docs]"',
    ),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the site is made of."""
    for name in ("docs", "anamodiff", "checkpoints", "integrations"):
        kept = shutil.ignore_patterns("*.safetensors", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=kept)
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    return tmp_path


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)


def test_it_builds(copy: Path) -> None:
    done = build(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    api = (copy / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert "Move the character of" in api  # the docstring of `transfer`


@pytest.mark.parametrize(
    "line",
    [
        "[nowhere](nowhere.md)",
        "[nowhere](transfers.md#nowhere)",
        "::: anamodiff.run.api.nowhere",
        '--8<-- "checkpoints/nowhere.md"',
    ],
    ids=["page", "anchor", "name", "include"],
)
def test_what_leads_nowhere_fails(copy: Path, line: str) -> None:
    page = copy / "docs" / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    assert build(copy).returncode != 0
