"""Relative motion: the start frames, what stays, what moves, and sizes."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from anamodiff.baselines.fomm import FOMM
from anamodiff.baselines.inpainting import Painted
from anamodiff.baselines.relative import nearest_start, transfer
from anamodiff.baselines.tps import TPSMotion
from anamodiff.lofnet.keypoints import KeyPoints


class Shifter:
    """A rival whose points are the corners of a frame's dark square, and which moves by them."""

    frame_size = 32

    def points(self, frames: Tensor) -> KeyPoints:
        corners = []
        for frame in frames:
            y, x = torch.nonzero(frame[0] < 0.5, as_tuple=True)
            box = [(x.min(), y.min()), (x.max(), y.min()), (x.max(), y.max()), (x.min(), y.max())]
            corners.append(torch.tensor([[float(a), float(b)] for a, b in box]) / 15.5 - 1)
        return KeyPoints(torch.stack(corners))

    def paint(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> Painted:
        steps = ((driving.value - source.value).mean(1) * 15.5).round().int().tolist()
        moved = [
            frame.roll((dy, dx), (-2, -1)) for frame, (dx, dy) in zip(frames, steps, strict=True)
        ]
        return Painted(torch.stack(moved), frames, [])


def squares(places: list[int], side: int = 8) -> Tensor:
    clip = torch.ones(len(places), 3, 32, 32)
    for frame, left in zip(clip, places, strict=True):
        frame[:, 12 : 12 + side, left : left + side] = -1
    return clip


def test_motion_is_relative_to_the_first_poses() -> None:
    moved = transfer(Shifter(), squares([4, 4]), squares([10, 12, 15]))
    assert_close(moved, squares([4, 6, 9]), atol=1e-4, rtol=0)


def test_long_clips_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rival, batches = Shifter(), []
    points, paint = rival.points, rival.paint
    monkeypatch.setattr(rival, "points", lambda x: batches.append(len(x)) or points(x))
    monkeypatch.setattr(rival, "paint", lambda x, *rest: batches.append(len(x)) or paint(x, *rest))
    moved = transfer(rival, squares([4] * 3), squares([10, 12, 15]), frames_at_once=2)
    assert batches == [2, 1] * 3
    assert_close(moved, squares([4, 6, 9]), atol=1e-4, rtol=0)


def test_motion_is_scaled_to_the_source_s_size() -> None:
    moved = transfer(Shifter(), squares([2], side=15), squares([4, 6, 8]))
    assert_close(moved, squares([2, 6, 10], side=15), atol=1e-4, rtol=0)


def test_the_most_alike_poses_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(3, 6, 2, generator=generator)
    driving = torch.rand(5, 6, 2, generator=generator)
    driving[3] = 0.5 * source[2] + torch.tensor([0.3, -0.2])  # elsewhere, half as large
    assert nearest_start(source, driving) == (2, 3)
    assert nearest_start(source[:1], source[:1]) == (0, 0)


def test_motion_begins_from_the_nearest_pose() -> None:
    tall = squares([8])
    tall[:, :, 4:28] = torch.where(tall[:, :, 16:17] < 0, -1.0, 1.0).expand(-1, -1, 24, -1)
    driving = torch.cat([tall, squares([20, 22])])
    moved = transfer(Shifter(), squares([4]), driving)
    assert_close(moved[1:], squares([4, 6]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["tiny_tps", "tiny_fomm"])
def test_results_have_the_source_s_size_and_the_driving_clip_s_length(
    request: pytest.FixtureRequest, kind: str
) -> None:
    rival: TPSMotion | FOMM = request.getfixturevalue(kind)
    source, driving = 2 * torch.rand(2, 3, 48, 48) - 1, 2 * torch.rand(3, 3, 48, 48) - 1
    moved = transfer(rival, source, driving, frames_at_once=2)
    assert moved.shape == (3, 3, 48, 48)
    assert moved.min() >= -1 and moved.max() <= 1
    assert not moved.requires_grad
    assert_close(moved, transfer(rival, source, driving), atol=1e-4, rtol=0)
