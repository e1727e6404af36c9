"""Pairs of frames of one character with dense truth, as arrays that stack into banks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

GRID, CANVAS = 64, 256


@dataclass(frozen=True)
class Pairs:
    """`n` pairs of source and target frames.

    Attributes:
        source, target: pictures, uint8 ``n 64 64 4``, RGB and coverage.
        joints: ``n 2 22 2`` float32 in [-1, 1], source then target; NaN where absent.
        flow: ``n 64 64 2`` float16, where the surface seen at each target cell lies in the
            source frame; NaN where there is no character or no truth.
        seen: ``n 64 64`` bool, whether the source frame shows that surface.
    """

    source: np.ndarray
    target: np.ndarray
    joints: np.ndarray
    flow: np.ndarray
    seen: np.ndarray

    @classmethod
    def join(cls, parts: list[Pairs]) -> Pairs:
        """All pairs of several batches."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.joints)

    def save(self, path: Path) -> None:
        """Write an npz, whole or not at all."""
        temporary = path.with_name(f".{path.name}.tmp.npz")
        np.savez(temporary, **{f.name: getattr(self, f.name) for f in fields(self)})
        temporary.rename(path)

    @classmethod
    def load(cls, path: Path) -> Pairs:
        """Read what `save` wrote."""
        known = np.load(path)
        return cls(*(known[f.name] for f in fields(cls)))


def cell_pixels() -> tuple[np.ndarray, np.ndarray]:
    """Of the grid's cells the nearest pixels of the canvas, x and y ``64 64`` int."""
    at = np.round(np.arange(GRID) * (CANVAS - 1) / (GRID - 1)).astype(int)
    return np.meshgrid(at, at, indexing="xy")


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """From the canvas's pixels (centres at whole numbers) to [-1, 1]."""
    return (pixels / (CANVAS - 1) * 2 - 1).astype(np.float32)


def number_colour(number: int) -> tuple[int, int, int]:
    """A colour to paint a number below 65536 in, for `numbers_in`."""
    return number & 255, number >> 8, 0


def numbers_in(canvas: np.ndarray) -> np.ndarray:
    """The numbers int32 ``h w`` that a canvas uint8 ``h w 3`` was painted with."""
    return canvas[..., 0].astype(np.int32) + 256 * canvas[..., 1].astype(np.int32)


def some_pairs(
    pictures: list[np.ndarray],
    joints: np.ndarray,
    true_flow: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    lot: np.random.Generator,
    count: int,
) -> Pairs:
    """`count` random pairs of different frames of one character.

    Args:
        pictures: of all frames, ``64 64 4`` each.
        joints: ``f 22 2`` in [-1, 1].
        true_flow: of a source and a target frame's numbers, flow and visibility.
    """
    frames = range(len(pictures))
    every = [(s, t) for s in frames for t in frames if s != t]
    chosen = [every[i] for i in lot.permutation(len(every))[:count]]
    truths = [true_flow(s, t) for s, t in chosen]
    return Pairs(
        source=np.stack([pictures[s] for s, _ in chosen]),
        target=np.stack([pictures[t] for _, t in chosen]),
        joints=np.stack([joints[[s, t]] for s, t in chosen]),
        flow=np.stack([flow for flow, _ in truths]).astype(np.float16),
        seen=np.stack([seen for _, seen in truths]),
    )
