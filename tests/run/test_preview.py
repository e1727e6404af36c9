"""Previews that follow changes, and compute only what changed."""

from pathlib import Path

import pytest
import torch

import anamodiff.run.preview as module
from anamodiff.errors import AnaMoDiffError
from anamodiff.run.examples import write_examples
from anamodiff.run.motion_transfer import MotionTransfer
from anamodiff.run.preview import Previewer, preview
from anamodiff.video.clip import read_clip


@pytest.fixture(scope="module")
def mover() -> MotionTransfer:
    return MotionTransfer.load("mini", device="cpu", precision="fp32", size=128)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = write_examples(tmp_path_factory.mktemp("examples")).folder
    return folder / "fox.png", folder / "rhino-jumps.gif"


@pytest.fixture
def counted(mover: MotionTransfer, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often clips were cut, encoded and searched for joints, and warped."""
    counts: dict[str, int] = {}
    assert mover.method.skeletal is not None
    owners = {"cut": mover, "warp": mover, "detect": mover.method.skeletal}
    for name, owner in owners.items():
        real = getattr(owner, name)

        def call(*given, real=real, name=name, **named):
            counts[name] = counts.get(name, 0) + 1
            return real(*given, **named)

        monkeypatch.setattr(owner, name, call)
    return counts


def test_only_what_changed_is_computed(
    mover: MotionTransfer, clips: tuple[Path, Path], counted: dict[str, int]
) -> None:
    previewer = Previewer(mover, longest=64)
    first = previewer(*clips, frames=2)
    assert counted == {"cut": 1, "detect": 2, "warp": 1}
    assert previewer(*clips, frames=2) is first
    assert counted["warp"] == 1
    still = previewer(*clips, frames=2, adaptation={"motion_scale": 0.0})
    points = previewer(*clips, frames=2, adaptation={"pose": "points"})
    assert counted == {"cut": 1, "detect": 2, "warp": 3}
    assert first.made.poses is not None and still.made.poses is not None
    assert points.made.poses is None
    moved, stayed = (
        (p.made.poses.target[:, 0] - p.made.poses.target[:1, 0]).norm() for p in (first, still)
    )
    assert moved > 0.02 and stayed < 1e-3
    for name, frames in (("source", 1), ("driving", 2), ("warped", 2), ("target", 2),
                         ("source_matte", 1), ("driving_matte", 2)):  # fmt: skip
        assert getattr(first, name).shape == (frames, 3, 64, 64), name
    assert first.source_matte.min() == -1 and first.source_matte.max() == 1
    whole = preview(mover, *clips, frames=2)
    assert counted["cut"] == 2 and counted["detect"] == 4
    assert whole.source.shape[-2:] == (256, 256)
    assert torch.equal(whole.made.warped, first.made.warped)


def test_a_file_that_changed_is_read_again(
    mover: MotionTransfer, clips: tuple[Path, Path], tmp_path: Path
) -> None:
    source = tmp_path / "source.png"
    previewer = Previewer(mover, longest=64)
    source.write_bytes(clips[0].read_bytes())
    first = previewer(source, clips[1], frames=2)
    source.write_bytes((clips[0].parent / "turtle.gif").read_bytes())
    second = previewer(source, clips[1], frames=2)
    assert len(first.made.source) == 1 and len(second.made.source) == 2


def test_other_clips_at_the_address_of_earlier_ones_are_looked_at(
    mover: MotionTransfer,
    clips: tuple[Path, Path],
    counted: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "id", lambda _: 1, raising=False)
    previewer = Previewer(mover, longest=64)
    paths = clips[0], clips[0].parent / "turtle.gif"
    for source in paths:
        found = previewer(source, clips[1], frames=2)
    assert counted["detect"] == 4 and len(found.made.source) == 2
    for path, detected in zip(paths, (6, 8), strict=True):
        previewer(read_clip(path, frames=2, size=128), clips[1], frames=2)
        assert counted["detect"] == detected


def test_a_wrong_start_frame_is_refused(mover: MotionTransfer, clips: tuple[Path, Path]) -> None:
    with pytest.raises(AnaMoDiffError, match="frame from 0 to 0"):
        Previewer(mover)(*clips, frames=2, start_frame=3)
