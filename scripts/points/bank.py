"""Banks of key points: of drawn triples, of rendered ones and of single clips, in files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.evaluation.pairs import folder_pairs
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.point_retarget import packed
from anamodiff.resources import replacing
from anamodiff.video import read_clip
from anamodiff.video.letterbox import from_pixels

from .drawn import FRAMES, SIZE, random_triple

PER_FILE = 200


class Triples(NamedTuple):
    """Key points ``n f k 6``: place (x, y), then the Jacobian by rows; `family` says of what."""

    source: np.ndarray
    driving: np.ndarray
    truth: np.ndarray
    family: np.ndarray


@torch.no_grad()
def points_of(network: LOFNet, frames: torch.Tensor) -> np.ndarray:
    """Key points ``f k 6`` of frames ``f 3 h w`` in [-1, 1], found in half precision."""
    with torch.autocast("cpu", torch.bfloat16):
        found = network.points(frames.contiguous(memory_format=torch.channels_last))
    return packed(found).numpy()


def held_out(network: LOFNet, count: int) -> Triples:
    """Always the same triples of letters and animals that are drawn nowhere else."""
    return _columns(list(_drawn(network, np.random.default_rng(99), count, held_out=True)))


def add_drawn(folder: Path, network: LOFNet, count: int, seconds: float) -> int:
    """Draw triples into files of `folder` until there are `count`, or time is over."""
    begun, made = time.monotonic(), len(list(folder.glob("drawn*.npz")))
    while made * PER_FILE < count and time.monotonic() - begun < seconds:
        lot = np.random.default_rng([made, 11])
        _write(folder / f"drawn{made:04d}.npz", list(_drawn(network, lot, PER_FILE)))
        made += 1
    return made * PER_FILE


def _drawn(
    network: LOFNet, lot: np.random.Generator, count: int, held_out: bool = False
) -> Iterator[tuple]:
    for _ in range(count):
        drawn = random_triple(lot, held_out)
        clips = from_pixels(np.concatenate([drawn.source, drawn.driving, drawn.truth]))
        yield (*points_of(network, clips).reshape(3, FRAMES, -1, 6), drawn.family)


def add_rendered(folder: Path, network: LOFNet, triples: Path) -> int:
    """Triples of a folder of folders with source, driving clip and truth, into one file."""
    rows = []
    for pair in folder_pairs(triples):
        clips = [_frames_of(path) for path in (pair.source, pair.driving, pair.truth)]
        found = [points_of(network, frames) for frames in clips if frames is not None]
        if len(found) == len(clips):
            rows.append((*found, "rendered"))
    _write(folder / "rendered.npz", rows)
    return len(rows)


def add_clips(folder: Path, network: LOFNet, clips: Sequence[Path]) -> int:
    """Single clips, each as its own source, mover and truth, into one file."""
    rows = []
    for path in clips:
        if (frames := _frames_of(path)) is not None:
            found = points_of(network, frames)
            rows.append((found, found, found, "clip"))
    _write(folder / "clips.npz", rows)
    return len(rows)


def _frames_of(path: Path) -> torch.Tensor | None:
    """A clip's frames; None where it cannot be read, or is too short."""
    try:
        frames = read_clip(path, frames=FRAMES, size=SIZE).frames
    except AnaMoDiffError:
        return None
    return frames if len(frames) == FRAMES else None


def load(folder: Path, pattern: str) -> Triples | None:
    """All files of a bank whose names match, one after the other; None if there are none."""
    files = [np.load(path) for path in sorted(folder.glob(pattern))]
    if not files:
        return None
    return Triples(*(np.concatenate([f[name] for f in files]) for name in Triples._fields))


def _write(path: Path, rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        np.savez(unfinished, **_columns(rows)._asdict())


def _columns(rows: list[tuple]) -> Triples:
    return Triples(*(np.stack(column) for column in zip(*rows, strict=True)))
