"""A backbone without weights, and a folder of small clips."""

from pathlib import Path

import pytest
from lofnet_samples import FakeBackbone, disc_clip

from anamodiff.video.clip import write_video


@pytest.fixture
def backbone() -> FakeBackbone:
    return FakeBackbone()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six gifs of moving discs."""
    path = tmp_path_factory.mktemp("discs")
    for seed in range(6):
        write_video(path / f"disc{seed}.gif", disc_clip(seed), fps=8)
    return path
