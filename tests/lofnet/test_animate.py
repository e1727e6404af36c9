"""Warping along a long clip, in batches of a largest size, with the same result."""

import sys

import pytest
import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.animate import BATCH, animate
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.point_motion import point_motion
from anamodiff.options import AdaptationOptions


def made(folder, frames: int, start: int | str = "auto"):  # noqa: ANN001, ANN201
    generator = torch.Generator().manual_seed(0)
    driving = torch.rand(frames, 3, 64, 64, generator=generator) * 2 - 1
    latents = torch.randn(frames, 4, 16, 16, generator=generator)
    lofnet = LOFNet.load(folder / "lofnet")
    batches: list[int] = []
    for part in (lofnet.detector, lofnet.dense_motion):
        part.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    warped = animate(
        lofnet, driving.flip(0), latents, driving, start=start, adaptation=AdaptationOptions()
    )
    return warped, batches


def test_batches_have_a_largest_size(tiny_backbone_folder) -> None:
    warped, batches = made(tiny_backbone_folder, 2 * BATCH + 3)
    assert len(warped.warped) == len(warped.mask) == 2 * BATCH + 3
    assert max(batches) == BATCH
    assert batches.count(BATCH) == 2 * 3  # driving points, source points, flow


def test_batches_give_what_the_whole_clip_gives(tiny_backbone_folder, monkeypatch) -> None:
    whole, batches = made(tiny_backbone_folder, 7)
    assert max(batches) == 7
    monkeypatch.setattr(sys.modules[point_motion.__module__], "BATCH", 3)
    pieces, batches = made(tiny_backbone_folder, 7)
    assert max(batches) == 3
    pairs: list[tuple[Tensor, Tensor]] = [
        (whole.flow, pieces.flow), (whole.mask, pieces.mask),
        (whole.driving_points.value, pieces.driving_points.value), (whole.warped, pieces.warped),
        (whole.driving_points.jacobian, pieces.driving_points.jacobian),
    ]  # fmt: skip
    for one, other in pairs:
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)


def test_a_start_frame_that_is_not_there_is_refused(tiny_backbone_folder) -> None:
    with pytest.raises(AnaMoDiffError, match="a frame from 0 to 1, got 2"):
        made(tiny_backbone_folder, 2, start=2)
