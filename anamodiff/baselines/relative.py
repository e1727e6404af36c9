"""Relative motion, as both rivals animate: the driving points' motion added to the source's."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from anamodiff.baselines.inpainting import Painted
from anamodiff.lofnet.adapt import adapt_points, normalise_points
from anamodiff.lofnet.keypoints import KeyPoints

# Distances that differ by rounding alone are equal: a body that only moves is alike in all frames.
_ALIKE = 1e-3


class Rival(Protocol):
    """What the rivals have in common; frames ``b c s s`` are in [0, 1], `s` is `frame_size`."""

    frame_size: int

    def points(self, frames: Tensor) -> KeyPoints: ...

    def paint(self, frames: Tensor, driving: KeyPoints, source: KeyPoints) -> Painted: ...


@torch.no_grad()
def transfer(rival: Rival, source: Tensor, driving: Tensor, *, frames_at_once: int = 8) -> Tensor:
    """Move the source as the driving clip moves.

    Args:
        source, driving: clips ``f c H W`` in [-1, 1]; of the source one frame is used.
        frames_at_once: how many frames go through the rival's networks together.

    Returns:
        As many frames as the driving clip's, ``f c H W`` in [-1, 1], of the source's size.
    """
    own, other = (_resized(clip, rival.frame_size) for clip in (source, driving))
    own_points, other_points = (
        KeyPoints.join([rival.points(part) for part in clip.split(frames_at_once)])
        for clip in (own, other)
    )
    start, first = nearest_start(own_points.value, other_points.value)
    pose = own_points[start]
    wanted = adapt_points(other_points, other_points[first], pose)
    painted = []
    for part in torch.arange(len(other)).split(frames_at_once):
        picture = own[start : start + 1].expand(len(part), -1, -1, -1)
        painted.append(rival.paint(picture, wanted[part], pose.expand(len(part))).frames)
    height, width = source.shape[-2:]
    frames = F.interpolate(
        torch.cat(painted), (height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return 2 * frames.clamp(0, 1) - 1


def nearest_start(source: Tensor, driving: Tensor) -> tuple[int, int]:
    """The source frame and the driving frame whose poses are most alike, the first of equals.

    First order model's `find_best_frame` for a source clip: squared distances of the points, each
    frame's centred and divided by the root of its hull's area. The motion is relative to these two.

    Args:
        source, driving: points ``n k 2`` and ``f k 2``.
    """
    own, other = (
        torch.stack([normalise_points(points) for points in clip]).flatten(1)
        for clip in (source, driving)
    )
    apart = torch.cdist(own, other, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = int((apart <= apart.min() + _ALIKE).flatten().int().argmax())
    return divmod(nearest, len(other))


def _resized(clip: Tensor, size: int) -> Tensor:
    """A clip in [-1, 1] as frames ``f c size size`` in [0, 1]."""
    if clip.shape[-2:] != (size, size):
        clip = F.interpolate(
            clip, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return ((clip + 1) / 2).clamp(0, 1)
