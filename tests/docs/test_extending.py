"""The code of docs/extending.md runs, from top to bottom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, blocks


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path) -> None:
    found = blocks(DOCS / "extending.md", "python")
    assert len(found) >= 6
    # In a process of its own: they add methods and measures to the package.
    program = tmp_path / "extending.py"
    program.write_text("\n".join(found), encoding="utf-8")
    words = [sys.executable, str(program)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
