"""Fixtures of the bad inputs: files of all kinds, made once, which no command may change."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_samples import (
    broken_backbones,
    broken_lists,
    broken_lofnets,
    broken_runs,
    broken_tables,
    clip_files,
    digests,
)

from anamodiff.run.api import tune


@pytest.fixture(scope="session")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that code in the files below would write; it must never be there."""
    return tmp_path_factory.mktemp("payload") / "was run"


@pytest.fixture(scope="session")
def tuned_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_backbone_folder: Path,
    drawn_clips: tuple[Path, Path],
) -> Path:  # fmt: skip
    """A run folder of the tiny backbone."""
    source, driving = drawn_clips
    return tune(
        source, driving, prompt="a turtle", backbone=tiny_backbone_folder, device="cpu", frames=3,
        tuning={"iterations": 1}, output=tmp_path_factory.mktemp("runs") / "whole", progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def bad(
    tmp_path_factory: pytest.TempPathFactory, tiny_backbone_folder: Path, tuned_run: Path,
    payload: Path,
) -> Path:  # fmt: skip
    """A folder of bad inputs: `clips`, `backbones`, `lofnets`, `runs`, `lists` and `tables`."""
    folder = tmp_path_factory.mktemp("bad")
    clip_files(folder / "clips")
    broken_backbones(folder / "backbones", tiny_backbone_folder, payload)
    broken_lofnets(folder / "lofnets", tiny_backbone_folder / "lofnet", payload)
    broken_runs(folder / "runs", tuned_run, payload)
    broken_lists(folder / "lists", payload)
    broken_tables(folder / "tables")
    shutil.copytree(tuned_run, folder / "whole_run")
    return folder


@pytest.fixture(autouse=True)
def _untouched(
    bad: Path, payload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """In an empty working folder; afterwards no input has changed, and no code in one was run."""
    monkeypatch.chdir(tmp_path)
    before = digests(bad)
    yield
    after = digests(bad)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    # Locks are there for other processes, and stay.
    assert not [name for name in changed if not name.endswith("/.lock")]
    assert not payload.exists(), "code in a file was run"
