"""Finding the files shipped with the package."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anamodiff import resources
from anamodiff.errors import AnaMoDiffError


def test_find_looks_inside_the_package_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "anamodiff"
    (package / "configs").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "checkpoints" / "mini").mkdir(parents=True)
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resources.find("configs") == package / "configs"
    assert resources.find("checkpoints/mini") == tmp_path / "checkpoints" / "mini"
    with pytest.raises(AnaMoDiffError, match="checkpoints/maxi"):
        resources.find("checkpoints/maxi")


def test_what_a_killed_process_left_is_removed_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, of_a_living = tmp_path / f".x.{ended.pid}.mp4", tmp_path / f".x.{os.getppid()}.mp4"
    other, named = tmp_path / f".xy.{ended.pid}.mp4", tmp_path / ".x.notes.mp4"
    for path in (left, of_a_living, other, named):
        path.write_bytes(b"half")
    with resources.replacing(tmp_path / "x.mp4") as unfinished:
        unfinished.write_bytes(b"whole")
    assert (tmp_path / "x.mp4").read_bytes() == b"whole"
    assert not left.exists()
    assert of_a_living.exists() and other.exists() and named.exists()


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append("sync") or fsync(number))
    monkeypatch.setattr(os, "replace", lambda *given: done.append("move") or move(*given))
    (tmp_path / "draft").mkdir()
    for name in ("a", "b"):
        (tmp_path / "draft" / name).write_text(name)
    resources.move_into_place(tmp_path / "draft", tmp_path / "weights")
    assert done == ["sync", "sync", "move", "sync"]
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["a", "b"]


def test_a_disk_that_fails_is_not_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "x").write_text("old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input"), resources.replacing(tmp_path / "x") as unfinished:
        unfinished.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"
