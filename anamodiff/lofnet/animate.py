"""One source frame along the whole driving motion (paper, sections 3.2 and 3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.adapt import AdaptationOptions, adapt_points, smooth_points
from anamodiff.lofnet.flow import Motion
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.start import nearest_start
from anamodiff.warp import warp

#: The network takes so many frames at once: more would take memory for each, and save no time.
AT_ONCE = 16


@dataclass(frozen=True)
class Animation:
    """A warped clip, and how it came about.

    Attributes:
        start: number of the source frame that was warped.
        source: its points, a batch of one.
        driving: points of the `f` driving frames.
        adapted: those points on the source's shape, which the flow follows.
        motion: the flow ``f h w 2`` and its masks.
        warped: `Z_WI`, ``f c h w``.
    """

    start: int
    source: KeyPoints
    driving: KeyPoints
    adapted: KeyPoints
    motion: Motion
    warped: Tensor


@torch.no_grad()
def animate(
    lofnet: LOFNet,
    source: Tensor,
    latents: Tensor,
    driving: Tensor,
    *,
    start: int | str = "first",
    adaptation: AdaptationOptions | None = None,
) -> Animation:
    """Warp one source latent along a driving clip.

    Args:
        source: frames ``s c h w`` in [-1, 1].
        latents: of the same frames, ``s c h' w'``.
        driving: frames ``f c h w``.
        start: the source frame to warp: `first`, `auto` (see `nearest_start`) or its number.
        adaptation: how the driving points are moved onto the source; None follows them as they
            are, which suits a clip that drives itself.

    Raises:
        AnaMoDiffError: there is no such start frame.
    """
    check_start(start, len(source))
    driving_points = _points(lofnet, driving)
    if adaptation is not None:
        driving_points = smooth_points(driving_points, adaptation.smooth)
    if start == "auto":
        points = _points(lofnet, source)
        start = nearest_start(points, driving_points[0], source, driving[:1])
    start = 0 if start == "first" else int(start)
    source_points = lofnet.points(source[start : start + 1])
    adapted = driving_points
    if adaptation is not None:
        adapted = adapt_points(
            driving_points, driving_points[0], source_points, scale=adaptation.scale
        )
    latent = latents[start : start + 1]
    motion = _flow(lofnet, latent, adapted, source_points)
    return Animation(
        start, source_points, driving_points, adapted, motion, warp(latent, motion.flow)
    )


def _points(lofnet: LOFNet, frames: Tensor) -> KeyPoints:
    return KeyPoints.join([lofnet.points(part) for part in frames.split(AT_ONCE)])


def _flow(lofnet: LOFNet, latent: Tensor, driving: KeyPoints, source: KeyPoints) -> Motion:
    parts = [
        lofnet.flow(latent, driving[first : first + AT_ONCE], source)
        for first in range(0, len(driving), AT_ONCE)
    ]
    return Motion(
        torch.cat([part.flow for part in parts]), torch.cat([part.mask for part in parts])
    )


def check_start(start: int | str, count: int) -> None:
    """Refuse a start frame that a source of `count` frames does not have."""
    if start in ("first", "auto") or (type(start) is int and 0 <= start < count):
        return
    raise AnaMoDiffError(
        f"expected start_frame 'first', 'auto' or a frame from 0 to {count - 1}, got {start!r}"
    )
