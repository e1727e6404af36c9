"""Batches that retargeting learns from: source, driving and target tracks, noisy and clean."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anamodiff.creatures import JOINTS
from anamodiff.lofnet.bones import ROOT, fill_in, unfold

from .banks import PHASES, Bank

LEG_BONES = [i for i, name in enumerate(JOINTS) if i >= 6 and "shoulder" not in name]
NEAR, FAR = list(range(6, 10)) + list(range(14, 18)), list(range(10, 14)) + list(range(18, 22))
# How far bones are turned (radians) in another body: head, neck and tail more than the trunk.
TURNS = {"nose": 0.25, "head": 0.3, "withers": 0.08, "tail_base": 0.08, "tail_tip": 0.4}
STRETCHES = {"nose": 0.2, "head": 0.3, "withers": 0.15, "tail_base": 0.15, "tail_tip": 0.35}


@dataclass(frozen=True)
class Exercise:
    """Tracks ``b f j 2`` in [-1, 1], NaN where absent; `source` may have other frames than
    `driving` and `target`."""

    source: Tensor
    driving: Tensor
    target: Tensor

    @classmethod
    def join(cls, parts: Sequence[Exercise]) -> Exercise:
        """Several exercises of equal numbers of frames as one."""
        return cls(
            *(torch.cat([getattr(p, k) for p in parts]) for k in ("source", "driving", "target"))
        )

    def to(self, device: torch.device | str) -> Exercise:
        """The same on a device."""
        return Exercise(*(x.to(device) for x in (self.source, self.driving, self.target)))


@dataclass(frozen=True)
class Drawn:
    """A `Bank` on a device: tracks ``n m p j 2`` (of any precision) and numbers of legs ``n``."""

    tracks: Tensor
    legs: Tensor

    @classmethod
    def of(cls, bank: Bank, device: torch.device | str = "cpu") -> Drawn:
        return cls(*(torch.from_numpy(x).to(device) for x in (bank.tracks, bank.legs)))


@dataclass(frozen=True)
class Tracks:
    """Rendered tracks of `length` ``n`` frames each, padded: ``n f j 2``."""

    tracks: Tensor
    length: Tensor

    @classmethod
    def of(cls, tracks: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Tracks:
        longest = max(len(track) for track in tracks)
        padded = [np.pad(t, ((0, longest - len(t)), (0, 0), (0, 0)), "edge") for t in tracks]
        lengths = torch.tensor([len(track) for track in tracks])
        return cls(torch.from_numpy(np.stack(padded)).to(device), lengths.to(device))


def whole(low: int, high: int | Tensor, shape: Sequence[int], like: Tensor) -> Tensor:
    """Random whole numbers from `low` to below `high`, on the device of `like`."""
    share = torch.rand(*shape, device=like.device)
    return (low + share * (high - low)).long().clamp_max(high - 1)


def drawn_exercise(bank: Drawn, count: int, frames: tuple[int, int]) -> Exercise:
    """Two characters, one motion; the source shows another one (or one picture of it)."""
    shown, driven = frames
    tracks = bank.tracks
    source = whole(0, len(tracks), (count,), tracks)
    driving = _partners(bank, source)
    one, two = whole(0, tracks.shape[1], (2, count, 1), tracks)
    start, phase = (_phases(count, n, tracks) for n in (shown, driven))
    return Exercise(
        tracks[source[:, None], one, start].float(),
        tracks[driving[:, None], two, phase].float(),
        tracks[source[:, None], two, phase].float(),
    )


def _partners(bank: Drawn, source: Tensor) -> Tensor:
    """A driving character for each source: mostly with as many legs."""
    chosen = whole(0, len(bank.legs), source.shape, source)
    for _ in range(6):
        other = bank.legs[chosen] != bank.legs[source]
        again = other & (torch.rand(len(source), device=source.device) < 0.9)
        chosen = torch.where(again, whole(0, len(bank.legs), source.shape, source), chosen)
    return chosen


def _phases(count: int, frames: int, like: Tensor) -> Tensor:
    """Phases ``b f`` of clips that begin anywhere and go on at some pace."""
    pace = 1 + 5.5 * torch.rand(count, 1, device=like.device)
    first = PHASES * torch.rand(count, 1, device=like.device)
    at = first + pace * torch.arange(frames, device=like.device)
    return at.round().long() % PHASES


def triple_exercise(tracks: Tensor, count: int, frames: tuple[int, int]) -> Exercise:
    """Some of the rendered triples ``n 3 f j 2``: frames of the source, consecutive ones of the
    rest. Where a single picture is the source, in half of them the bodies change places."""
    chosen = tracks[whole(0, len(tracks), (count,), tracks)]
    shown, driven = frames
    length = chosen.shape[2]
    at = _bounce(
        whole(0, 2 * length - 2, (count, 1), chosen) + torch.arange(driven, device=chosen.device),
        torch.tensor(length, device=chosen.device),
    )
    some = torch.rand(count, length, device=chosen.device).argsort(1)[:, :shown]
    if shown > length:
        some = whole(0, length, (count, shown), chosen)
    some = some.sort(1).values
    each = torch.arange(count, device=chosen.device)[:, None]
    source, driving, target = (chosen[each, i, w] for i, w in enumerate((some, at, at)))
    if shown > 1:
        return Exercise(source, driving, target)
    swap = (torch.rand(count, device=chosen.device) < 0.5)[:, None, None, None]
    return Exercise(
        torch.where(swap, chosen[each, 1, some], source),
        torch.where(swap, target, driving),
        torch.where(swap, driving, target),
    )


def track_exercise(tracks: Tracks, count: int, frames: tuple[int, int]) -> Exercise:
    """Rendered tracks, each as source, driving and target; other bodies must be given to it."""
    shown, driven = frames
    rows = whole(0, len(tracks.length), (count, 1), tracks.length)
    length = tracks.length[rows]
    pace = whole(1, 3, (count, 1), rows)
    begin = whole(0, length, (count, 1), rows)
    at = _bounce(begin + pace * torch.arange(driven, device=rows.device), length)
    track = tracks.tracks[rows, at]
    return Exercise(tracks.tracks[rows, whole(0, length, (count, shown), rows)], track, track)


def _bounce(at: Tensor, length: Tensor) -> Tensor:
    """Frame numbers that turn back at the ends of clips."""
    turn = at % (2 * (length - 1)).clamp_min(1)
    return torch.where(turn < length, turn, 2 * (length - 1) - turn)


def other_motions(exercise: Exercise, share: float) -> Exercise:
    """Wider or smaller motion in driving and target alike, in `share` of the rows; and now and then
    run backwards."""
    wide = (torch.randn(len(exercise.source), device=exercise.source.device) * 0.25).exp()
    wide = wide.clamp(0.5, 1.7)
    wide = torch.where(torch.rand_like(wide) < share, wide, 1.0)
    back = (torch.rand_like(wide) < 0.15)[:, None, None, None]

    def changed(track: Tensor) -> Tensor:
        track = widened(track, wide)
        return torch.where(back, track.flip(1), track)

    return Exercise(exercise.source, changed(exercise.driving), changed(exercise.target))


def widened(joints: Tensor, factor: Tensor) -> Tensor:
    """Tracks ``b f j 2`` whose bones turn and stretch `factor` ``b`` times as far from their
    means."""
    there = ~joints.isnan().any(-1)
    filled, mean, bones = fill_in(joints, there.float())
    wide = factor[:, None, None]
    own, now = (torch.view_as_complex(x.contiguous()) for x in (mean[:, None], bones))
    angle = (now * own.conj()).angle()
    # Half a turn stays half a turn, so that nothing jumps from one side to the other.
    angle = angle + (wide - 1) * angle * (1 - (angle / math.pi).square())
    long, length = own.abs(), now.abs()
    length = (long + wide * (length - long)).clamp(0.5 * length, 1.5 * length)
    turned = torch.view_as_real(torch.polar(length, own.angle() + angle))
    root = filled[:, :, ROOT]
    middle = root.mean(1, keepdim=True)
    moved = unfold(turned, middle + wide * (root - middle))
    same = (factor == 1)[:, None, None, None] | ~there[..., None]
    return torch.where(same, joints, moved)


def other_bodies(exercise: Exercise, share: float | Tensor = 1.0, same: float = 0.0) -> Exercise:
    """Give the source character one body, in source and target alike, and the driving one another.

    `share` of the rows get new bodies, one for all or ``b``; with the probability `same` both
    characters' bodies are changed alike.
    """
    count, device = len(exercise.source), exercise.source.device
    own, mover = (random_change(count, share, device) for _ in range(2))
    alike = torch.rand(count, 1, 1, device=device) < same
    mover = torch.where(alike, own, mover)
    return Exercise(
        rebuilt(exercise.source, own), rebuilt(exercise.driving, mover),
        rebuilt(exercise.target, own),
    )  # fmt: skip


def random_change(
    count: int, share: float | Tensor = 1.0, device: torch.device | str = "cpu"
) -> Tensor:
    """How bones are turned and stretched in `count` bodies: ``b j 2``, complex numbers in effect;
    near and far limbs alike."""
    spreads = _spreads(torch.device(device))
    turn, stretch = (torch.randn(count, len(JOINTS), device=device) * spread for spread in spreads)
    legs = 0.25 * torch.randn(count, 1, device=device)
    stretch = stretch + legs * _mask(tuple(LEG_BONES), turn.device)
    pairs = torch.arange(len(JOINTS), device=device) - 4 * _mask(tuple(FAR), turn.device).long()
    turn, stretch = turn[:, pairs], stretch[:, pairs]
    keep = (torch.rand(count, device=device) < share).float()[:, None]
    turn, length = turn * keep, (stretch * keep).clamp(-0.8, 0.8).exp()
    return torch.stack([length * turn.cos(), length * turn.sin()], dim=-1)


@functools.cache
def _spreads(device: torch.device) -> tuple[Tensor, Tensor]:
    """How far bones are turned and stretched, ``j`` each."""
    return tuple(
        torch.tensor([spreads.get(name, 0.12) for name in JOINTS], device=device)
        for spreads in (TURNS, STRETCHES)
    )


@functools.cache
def _mask(joints: tuple[int, ...], device: torch.device) -> Tensor:
    """1 for some joints and 0 for the rest, ``j``."""
    return torch.tensor([float(i in joints) for i in range(len(JOINTS))], device=device)


def rebuilt(joints: Tensor, change: Tensor) -> Tensor:
    """Tracks ``b f j 2`` with every bone turned and stretched by ``b j 2``; the spine's path is
    stretched as the legs are. Absent joints stay absent."""
    there = ~joints.isnan().any(-1)
    filled, _, bones = fill_in(joints, there.float())
    real, imaginary = change[:, None, :, 0], change[:, None, :, 1]
    x, y = bones.unbind(-1)
    turned = torch.stack([x * real - y * imaginary, x * imaginary + y * real], dim=-1)
    root = filled[:, :, ROOT]
    middle = root.mean(1, keepdim=True)
    legs = change.norm(dim=-1) @ _mask(tuple(LEG_BONES), change.device) / len(LEG_BONES)
    placed = unfold(turned, middle + (root - middle) * legs[:, None, None])
    return torch.where(there[..., None], placed, torch.nan)


def observed(joints: Tensor, size: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Tracks as a detector might give them, and how far it trusts each joint.

    Args:
        joints: ``b f j 2``.
        size: ``b``, the trunks' lengths, in which errors are measured.
        level: of the noise, 0 for none.

    Returns:
        noisy joints (NaN as zeros) and weights ``b f j`` in [0, 1].
    """
    batch, frames, count, _ = joints.shape
    there = ~joints.isnan().any(-1)
    joints = torch.nan_to_num(joints)
    device = joints.device
    spread = level * torch.rand(batch, 1, 1, device=device) * size[:, None, None]
    doubt = torch.empty(batch, frames, count, device=device).exponential_(1.0)
    noise = torch.randn_like(joints) * (0.6 * spread * doubt)[..., None]
    constant = torch.randn(batch, 1, count, 2, device=device) * (0.5 * spread)[..., None]
    if level > 0:
        joints = _mixed_up(joints, there)
    joints = joints + noise + constant
    weight = (-0.4 * doubt * (level > 0)).exp()
    lost = torch.rand(batch, frames, count, device=device) < 0.04
    lost = lost | (torch.rand(batch, 1, count, device=device) < 0.02)
    lost[:, :, ROOT] = False
    return joints, weight * there * ~(lost & (level > 0))


def _mixed_up(joints: Tensor, there: Tensor) -> Tensor:
    """Tracks ``b f j 2`` in which a limb is now and then taken for its pair, or both for one."""
    batch, frames = joints.shape[:2]
    mixed = joints.clone()
    for cut in (slice(0, 4), slice(4, 8)):
        near, far = NEAR[cut], FAR[cut]
        pair = (there[:, :, near] & there[:, :, far]).all(-1)
        kind = torch.where(pair, torch.rand(batch, frames, device=joints.device), 1.0)[
            ..., None, None
        ]
        one, two = joints[:, :, near], joints[:, :, far]
        mixed[:, :, near] = torch.where(kind < 0.06, two, one)
        mixed[:, :, far] = torch.where((kind < 0.03) | ((kind > 0.06) & (kind < 0.09)), one, two)
    return mixed
