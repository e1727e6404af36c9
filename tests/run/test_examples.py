"""`anamodiff examples`: every clip reads back, the list is one, and nothing is overwritten."""

import shlex
from pathlib import Path

import pytest

from anamodiff.errors import AnaMoDiffError
from anamodiff.run import examples
from anamodiff.run.examples import DRIVING, LIST, SOURCES, write_examples
from anamodiff.run.rows import read_list
from anamodiff.video.clip import read_clip


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SIZE", 64)
    folder = tmp_path / "my clips"
    made = write_examples(folder)
    for name in (*SOURCES, *DRIVING):
        clip = read_clip(folder / name, frames=None)
        assert clip.total == (1 if name.endswith(".png") else clip.total)
        assert name.endswith(".png") or clip.total > 4
        assert any(name in line for line in made.lines)
    rows = read_list(folder / LIST)
    assert [row.prompt for row in rows] == ["a green turtle", "an orange fox"]
    assert all(row.source.is_file() and row.driving.is_file() for row in rows)
    words = shlex.split(made.following)
    assert words[0] == "transfer" and Path(words[2]).is_file() and Path(words[4]).is_file()


def test_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SIZE", 32)
    (tmp_path / "turtle.gif").write_bytes(b"mine")
    (tmp_path / LIST).write_text("mine")
    write_examples(tmp_path)
    assert (tmp_path / "turtle.gif").read_bytes() == b"mine"
    assert (tmp_path / LIST).read_text() == "mine"
    with pytest.raises(AnaMoDiffError, match="expected a folder, got the file"):
        write_examples(tmp_path / LIST)
