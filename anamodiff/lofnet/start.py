"""Which source frame to start from: the one in the driving clip's first pose."""

from __future__ import annotations

import torch
from torch import Tensor

from anamodiff.foreground import foreground_mask
from anamodiff.lofnet.adapt import in_own_size
from anamodiff.lofnet.keypoints import KeyPoints

#: Another frame than the first must be so much nearer: key points are not that exact.
CLEARLY = 0.7
# A mask of less or more of the frame is no character on a plain ground.
_PLAUSIBLE = (0.005, 0.8)
_TINY = 1e-9


def nearest_start(
    source: KeyPoints,
    driving_first: KeyPoints,
    source_frames: Tensor | None = None,
    driving_frame: Tensor | None = None,
) -> int:
    """Choose the source frame whose pose is nearest to the driving clip's first.

    Points are compared after centring, relative to the size of their hull; where frames are given
    and show something on a plain ground, its outline's second moments (how long, high and leaning
    it is, whatever its size) count as much. The first frame stays unless another is `CLEARLY`
    nearer.

    Args:
        source: points of all `s` source frames.
        driving_first: points of the first driving frame, a batch of one.
        source_frames: those frames, ``s c h w`` in [-1, 1].
        driving_frame: the first driving frame, ``1 c h w``.
    """
    wanted = in_own_size(driving_first.value[0])
    apart = [(in_own_size(points) - wanted).square().sum() for points in source.value]
    distance = _relative(torch.stack(apart))
    if source_frames is not None and driving_frame is not None:
        distance = distance + _relative(_outlines_apart(source_frames, driving_frame)).to(distance)
    nearest = int(distance.argmin())
    return nearest if distance[nearest] < CLEARLY * distance[0] else 0


def _outlines_apart(frames: Tensor, other: Tensor) -> Tensor:
    """Squared distances (s,) of second moments; zeros where any outline is none."""
    masks = torch.cat([foreground_mask(frames).cpu(), foreground_mask(other).cpu()])
    share = masks.float().mean(dim=(1, 2))
    if not ((share > _PLAUSIBLE[0]) & (share < _PLAUSIBLE[1])).all():
        return torch.zeros(len(frames))
    moments = torch.stack([_moments(mask) for mask in masks])
    return (moments[:-1] - moments[-1]).square().sum(dim=(1, 2))


def _moments(mask: Tensor) -> Tensor:
    """Covariance ``2 2`` of a mask's places, scaled to determinant one."""
    covariance = torch.cov(mask.nonzero().double().T)
    return covariance / torch.linalg.det(covariance).clamp_min(_TINY).sqrt()


def _relative(distances: Tensor) -> Tensor:
    return distances / distances.mean().clamp_min(_TINY)
