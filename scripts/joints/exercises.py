"""Batches that retargeting learns from: source, driving and target tracks, noisy and clean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anamodiff.creatures import JOINTS
from anamodiff.lofnet.bones import ORDER, PARENT, ROOT, fill_in

from .banks import PHASES, Bank, Triples

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
    def join(cls, parts: list[Exercise]) -> Exercise:
        """Several exercises of equal numbers of frames as one."""
        return cls(
            *(torch.cat([getattr(p, k) for p in parts]) for k in ("source", "driving", "target"))
        )


def drawn_exercise(
    bank: Bank, lot: np.random.Generator, count: int, frames: tuple[int, int]
) -> Exercise:
    """Two characters, one motion; the source shows another one (or one picture of it)."""
    shown, driven = frames
    source = lot.integers(len(bank.tracks), size=count)
    driving = _partners(bank, lot, source)
    motions = lot.integers(bank.tracks.shape[1], size=(2, count))
    phase = _phases(lot, count, driven)
    start = _phases(lot, count, shown)
    tracks = bank.tracks
    return Exercise(
        torch.from_numpy(tracks[source[:, None], motions[0][:, None], start]),
        torch.from_numpy(tracks[driving[:, None], motions[1][:, None], phase]),
        torch.from_numpy(tracks[source[:, None], motions[1][:, None], phase]),
    )


def _partners(bank: Bank, lot: np.random.Generator, source: np.ndarray) -> np.ndarray:
    """A driving character for each source: mostly with as many legs."""
    chosen = lot.integers(len(bank.tracks), size=len(source))
    for _ in range(6):
        other = bank.legs[chosen] != bank.legs[source]
        again = other & (lot.random(len(source)) < 0.9)
        chosen[again] = lot.integers(len(bank.tracks), size=again.sum())
    return chosen


def _phases(lot: np.random.Generator, count: int, frames: int) -> np.ndarray:
    """Phases `b f` of clips that begin anywhere and go on at some pace."""
    pace = lot.integers(1, 7, (count, 1))
    return (lot.integers(PHASES, size=(count, 1)) + pace * np.arange(frames)) % PHASES


def triple_exercise(
    triples: Triples,
    rows: np.ndarray,
    lot: np.random.Generator,
    count: int,
    frames: tuple[int, int],
) -> Exercise:
    """Rendered triples: some frames of the source, consecutive ones of the rest."""
    chosen = triples.tracks[lot.choice(rows, count)]
    shown, driven = frames
    length = chosen.shape[2]
    at = (lot.integers(length, size=(count, 1)) + np.arange(driven)) % length
    if driven <= length:
        at = lot.integers(length - driven + 1, size=(count, 1)) + np.arange(driven)
    some = np.sort(lot.permuted(np.tile(np.arange(length), (count, 1)), axis=1)[:, :shown], axis=1)
    each = np.arange(count)[:, None]
    return Exercise(
        *(torch.from_numpy(chosen[each, i, where]) for i, where in enumerate((some, at, at)))
    )


def track_exercise(
    tracks: list[np.ndarray], lot: np.random.Generator, count: int, frames: tuple[int, int]
) -> Exercise:
    """One rendered track as source, driving and target; other bodies must be given to it."""
    shown, driven = frames
    rows = []
    for i in lot.integers(len(tracks), size=count):
        track = tracks[i]
        begin, pace = lot.integers(len(track)), lot.integers(1, 3)
        at = _bounce(begin + pace * np.arange(driven), len(track))
        some = lot.integers(len(track), size=shown)
        rows.append((track[some], track[at], track[at]))
    return Exercise(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))


def _bounce(at: np.ndarray, length: int) -> np.ndarray:
    """Indices that turn back at the ends."""
    turn = np.abs(at % (2 * max(length - 1, 1)))
    return np.where(turn < length, turn, 2 * (length - 1) - turn)


def other_bodies(exercise: Exercise, share: float = 1.0) -> Exercise:
    """Give the source character one body, in source and target alike, and the driving one another.

    `share` of the rows get new bodies.
    """
    count = len(exercise.source)
    own, mover = random_change(count, share), random_change(count, share)
    return Exercise(
        rebuilt(exercise.source, own), rebuilt(exercise.driving, mover),
        rebuilt(exercise.target, own),
    )  # fmt: skip


def random_change(count: int, share: float = 1.0) -> Tensor:
    """How bones are turned and stretched in `count` bodies: ``b j 2``, complex numbers in effect;
    near and far limbs alike."""
    turn, stretch = torch.zeros(count, len(JOINTS)), torch.zeros(count, len(JOINTS))
    for i, name in enumerate(JOINTS):
        turn[:, i] = torch.randn(count) * TURNS.get(name, 0.12)
        stretch[:, i] = torch.randn(count) * STRETCHES.get(name, 0.12)
    stretch[:, LEG_BONES] += torch.randn(count, 1) * 0.25
    turn[:, FAR], stretch[:, FAR] = turn[:, NEAR], stretch[:, NEAR]
    keep = (torch.rand(count, 1) < share).float()
    turn, length = turn * keep, (stretch * keep).clamp(-0.8, 0.8).exp()
    return torch.stack([length * turn.cos(), length * turn.sin()], dim=-1)


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
    legs = change[:, LEG_BONES].norm(dim=-1).mean(1)[:, None, None]
    columns = [middle + (root - middle) * legs] * len(PARENT)
    for i in ORDER:
        columns[i] = columns[PARENT[i]] + turned[:, :, i]
    return torch.where(there[..., None], torch.stack(columns, dim=2), torch.nan)


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
    spread = level * torch.rand(batch, 1, 1) * size[:, None, None]
    doubt = torch.empty(batch, frames, count).exponential_(1.0)
    noise = torch.randn_like(joints) * (0.6 * spread * doubt)[..., None]
    constant = torch.randn(batch, 1, count, 2) * (0.5 * spread)[..., None]
    if level > 0:
        joints = _mixed_up(joints, there)
    joints = joints + noise + constant
    weight = (-0.4 * doubt * (level > 0)).exp()
    lost = (torch.rand(batch, frames, count) < 0.04) | (torch.rand(batch, 1, count) < 0.02)
    lost[:, :, ROOT] = False
    return joints, weight * there * ~(lost & (level > 0))


def _mixed_up(joints: Tensor, there: Tensor) -> Tensor:
    """Tracks ``b f j 2`` in which a limb is now and then taken for its pair, or both for one."""
    batch, frames = joints.shape[:2]
    mixed = joints.clone()
    for cut in (slice(0, 4), slice(4, 8)):
        near, far = NEAR[cut], FAR[cut]
        pair = (there[:, :, near] & there[:, :, far]).all(-1)
        kind = torch.where(pair, torch.rand(batch, frames), 1.0)[..., None, None]
        one, two = joints[:, :, near], joints[:, :, far]
        mixed[:, :, near] = torch.where(kind < 0.06, two, one)
        mixed[:, :, far] = torch.where((kind < 0.03) | ((kind > 0.06) & (kind < 0.09)), one, two)
    return mixed
