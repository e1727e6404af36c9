"""Wider and narrower motion (`adaptation.motion_scale`), of local affine motions and of poses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anamodiff.lofnet.bones import PARENT, ROOT, fill_in, unfold

_TINY = 1e-6
_FARTHEST = 1.5  # a stretch and squeeze by more than e^1.5 is not made larger


def scale_affine(change: Tensor, scale: float) -> Tensor:
    """Matrices ``... 2 2`` to a power: turn, size and stretch of each, `scale` times as much.

    0 gives the identity, 1 the matrix itself; none is mirrored on the way. Matrices that mirror, or
    are singular, stay as they are.
    """
    if scale == 1:
        return change
    a, b, c, d = (change[..., i, j] for i in (0, 1) for j in (0, 1))
    # On complex numbers the matrix is z -> turn z + mirror conj(z): a stretch along one axis and a
    # squeeze across it by e^reach, then a turn and a scaling. It mirrors where |mirror| > |turn|.
    turn, mirror = torch.complex(a + d, c - b) / 2, torch.complex(a - d, c + b) / 2
    proper = mirror.abs() < 0.999 * turn.abs()
    one = torch.ones_like(turn)
    turn, mirror = torch.where(proper, turn, one), torch.where(proper, mirror, 0 * one)
    reach = torch.atanh(mirror.abs() / turn.abs())
    farther = torch.minimum(scale * reach, reach.clamp_min(_FARTHEST))
    size = (turn.abs().square() - mirror.abs().square()).sqrt() ** scale
    axis = mirror.angle() - turn.angle()
    turn = torch.polar(size * torch.cosh(farther), scale * turn.angle())
    mirror = torch.polar(size * torch.sinh(farther), turn.angle() + axis)
    rows = [turn.real + mirror.real, mirror.imag - turn.imag,
            turn.imag + mirror.imag, turn.real - mirror.real]  # fmt: skip
    scaled = torch.stack(rows, dim=-1).unflatten(-1, (2, 2))
    return torch.where(proper[..., None, None], scaled, change)


def scale_poses(poses: Tensor, scale: float) -> Tensor:
    """Poses of a clip ``f j 2`` (NaN where a joint is absent), moving `scale` times as far.

    The spine's path is scaled about the place where it starts, so that a jump leaves the ground
    where it did; each bone's direction about its mean over time, so that a leg swings as far to
    either side. Bones are shortened and lengthened no more than they are.
    """
    if scale == 1:
        return poses
    there = ~poses.isnan().any(dim=-1)
    joints, _, bones = (part[0] for part in fill_in(poses[None], there[None].to(poses)))
    angle = _unwrapped(torch.atan2(bones[..., 1], bones[..., 0]))
    length = bones.norm(dim=-1).clamp_min(_TINY)
    mean = angle.mean(0), length.log().mean(0)
    angle = mean[0] + scale * (angle - mean[0])
    length = (mean[1] + min(scale, 1.0) * (length.log() - mean[1])).exp()
    bones = torch.stack([angle.cos() * length, angle.sin() * length], dim=-1)
    bones[:, [i for i, parent in enumerate(PARENT) if parent == i]] = 0  # the root has no bone
    root = joints[:, ROOT]
    moved = unfold(bones[None], (root[:1] + scale * (root - root[:1]))[None])[0]
    return torch.where(there[..., None], moved, torch.nan)


def _unwrapped(angles: Tensor) -> Tensor:
    """Angles ``f j`` that go on beyond half a turn rather than jump."""
    steps = angles.diff(dim=0)
    steps = torch.remainder(steps + math.pi, 2 * math.pi) - math.pi
    return torch.cat([angles[:1], angles[:1] + steps.cumsum(0)])
