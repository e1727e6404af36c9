"""A driving motion on the source's key points (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anamodiff.lofnet.adapt import adapt_points, normalise_points, smooth_points
from anamodiff.lofnet.flow import Motion
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.point_retarget import PointRetargeter
from anamodiff.lofnet.skeletal import fading, nearest_poses
from anamodiff.options import AdaptationOptions, StartFrame
from anamodiff.video.foreground import foreground_mask

#: Frames a batch: more would take memory, and save no time.
BATCH = 16
#: `nearest_start` leaves the first frame only for a distance below this share of the first's: key
#: points are not more exact.
START_RATIO = 0.7
#: Mean distance of two normalised bodies' points up to which they are of one build, and from which
#: on they are not.
ALIKE, UNLIKE = 0.08, 0.16
#: Error, as a share of the points' spread, up to which the network is trusted, and from which on
#: rather the rule is, for bodies alike.
SURE, UNSURE = 0.06, 0.12
SWITCH = 0.01  # of [-1, 1]: a source frame is left only for one whose points are so much nearer
# Foregrounds smaller or larger than these shares of the frame are no character on a plain ground.
_FOREGROUND = (0.005, 0.8)
_TINY = 1e-9


@dataclass(frozen=True)
class PointMotion:
    """A driving motion on the source's key points: `flow`, `mask` and `frames` as in
    `WarpedIntermediate`; points of the driving clip and of the source's first frame used, and
    those adapted."""

    flow: Tensor
    mask: Tensor
    frames: Tensor
    driving: KeyPoints
    source: KeyPoints
    adapted: KeyPoints


def point_motion(
    lofnet: LOFNet, source: Tensor, latents: Tensor, driving: Tensor, start: StartFrame,
    adaptation: AdaptationOptions | None, flow_latents: Callable[[Tensor], Tensor | None] | None,
) -> PointMotion:  # fmt: skip
    """The flow that moves the source as the driving clip's key points move.

    Args:
        source, latents, driving, start, adaptation, flow_latents: as for `animate`.
    """
    moving = _points(lofnet, driving)
    if adaptation is not None:
        moving = smooth_points(moving, adaptation.smooth)
    if adaptation is None or adaptation.scale != "learnt" or lofnet.retargeter is None:
        number, first = _start(lofnet, source, driving, moving, start)
        frames, own = torch.full((len(moving),), number), first.expand(len(moving))
        adapted = moving
        if adaptation is not None:
            adapted = adapt_points(
                moving, moving[0], first, scale=adaptation.scale,
                motion_scale=adaptation.motion_scale,
            )  # fmt: skip
    else:
        every = _points(lofnet, source)
        adapted, frames = _retargeted(lofnet.retargeter, every, moving, start, adaptation)
        own = every[frames]
    used, which = frames.unique(return_inverse=True)
    trained = None if flow_latents is None else flow_latents(source[used])
    seen = latents[used] if trained is None else trained
    motion = _flow(lofnet, seen[which], adapted, own).resized(*latents.shape[-2:])
    return PointMotion(motion.flow, motion.mask, frames, moving, own[0], adapted)


def _start(
    lofnet: LOFNet, source: Tensor, driving: Tensor, moving: KeyPoints, start: StartFrame
) -> tuple[int, KeyPoints]:
    """The source frame that all frames are warped from, and its points; no other frame's points
    are looked for unless they are compared."""
    if start == "auto":
        own = _points(lofnet, source)
        number = nearest_start(own, moving[0], source, driving[:1])
        return number, own[number]
    number = 0 if start == "first" else int(start)
    return number, _points(lofnet, source[number : number + 1])


def _retargeted(
    retargeter: PointRetargeter, own: KeyPoints, driving: KeyPoints, start: StartFrame,
    adaptation: AdaptationOptions,
) -> tuple[KeyPoints, Tensor]:  # fmt: skip
    """Learnt target points, and the source frame that each of them is warped from."""
    learnt, expected = retargeter.retarget(own, driving)
    frames = torch.arange(len(own)) if isinstance(start, str) else torch.tensor([start])
    nearest = frames[nearest_poses(learnt.value, own.value[frames], SWITCH)]
    target = _ruled_where_alike(learnt, expected, own[int(nearest[0])], driving)
    anchor = own[int(nearest[0])] if adaptation.start == "relative" else target[0]
    target = adapt_points(
        target, target[0], anchor, scale="none", motion_scale=adaptation.motion_scale
    )
    if adaptation.sources == "start":
        frames = nearest[:1]
    return target, frames[nearest_poses(target.value, own.value[frames], SWITCH)]


def _ruled_where_alike(
    learnt: KeyPoints, expected: float, own: KeyPoints, driving: KeyPoints
) -> KeyPoints:
    """Learnt points, led to the paper's rule where both bodies are alike and the network is unsure.

    Two of one build that begin in one pose need no retargeting: on kinds that the network has never
    seen the rule errs less.

    Args:
        learnt: points of the `f` driving frames.
        expected: their error, as the network sees it.
        own: points of the source frame that is nearest to the first of them, a batch of one.
        driving: points of the driving clip.
    """
    unlike = normalise_points(own.value[0]) - normalise_points(driving.value[0])
    alike = fading(float(unlike.norm(dim=-1).mean()), ALIKE, UNLIKE)
    share = alike * (1 - fading(expected, SURE, UNSURE))
    if share == 0:
        return learnt
    ruled = adapt_points(driving, driving[0], own)
    assert learnt.jacobian is not None and ruled.jacobian is not None  # the network wants them
    return KeyPoints(
        torch.lerp(learnt.value, ruled.value, share),
        torch.lerp(learnt.jacobian, ruled.jacobian, share),
    )


def _points(lofnet: LOFNet, frames: Tensor) -> KeyPoints:
    return KeyPoints.join([lofnet.points(part) for part in frames.split(BATCH)])


def _flow(lofnet: LOFNet, latents: Tensor, driving: KeyPoints, source: KeyPoints) -> Motion:
    slices = [slice(first, first + BATCH) for first in range(0, len(driving), BATCH)]
    parts = [lofnet.flow(latents[part], driving[part], source[part]) for part in slices]
    return Motion(
        torch.cat([part.flow for part in parts]), torch.cat([part.mask for part in parts])
    )


def nearest_start(
    source: KeyPoints,
    driving_first: KeyPoints,
    source_frames: Tensor | None = None,
    driving_frame: Tensor | None = None,
) -> int:
    """Index of the source frame whose pose is nearest to the first driving frame's.

    The distance is that of the normalised key points plus, where frames are given and all have a
    foreground, that of the foregrounds' second moments (length, height and slant, whatever the
    size), each relative to its mean over the frames. Below `START_RATIO` times the first frame's
    distance the nearest frame is chosen, else the first.

    Args:
        source: points of all `s` source frames.
        driving_first: points of the first driving frame, a batch of one.
        source_frames: the source frames, ``s c h w`` in [-1, 1].
        driving_frame: the first driving frame, ``1 c h w``.
    """
    target = normalise_points(driving_first.value[0])
    squares = [(normalise_points(points) - target).square().sum() for points in source.value]
    distance = _relative(torch.stack(squares))
    if source_frames is not None and driving_frame is not None:
        moments = _moment_distances(source_frames, driving_frame)
        distance = distance + _relative(moments).to(distance)
    nearest = int(distance.argmin())
    return nearest if distance[nearest] < START_RATIO * distance[0] else 0


def _moment_distances(frames: Tensor, other: Tensor) -> Tensor:
    """Squared distances (s,) of the foregrounds' second moments; zeros if one has no foreground."""
    masks = torch.cat([foreground_mask(frames).cpu(), foreground_mask(other).cpu()])
    share = masks.float().mean(dim=(1, 2))
    if not ((share > _FOREGROUND[0]) & (share < _FOREGROUND[1])).all():
        return torch.zeros(len(frames))
    moments = torch.stack([_second_moments(mask) for mask in masks])
    return (moments[:-1] - moments[-1]).square().sum(dim=(1, 2))


def _second_moments(mask: Tensor) -> Tensor:
    """Covariance ``2 2`` of a mask's pixel coordinates, scaled to determinant one."""
    covariance = torch.cov(mask.nonzero().double().T)
    return covariance / torch.linalg.det(covariance).clamp_min(_TINY).sqrt()


def _relative(distances: Tensor) -> Tensor:
    return distances / distances.mean().clamp_min(_TINY)
