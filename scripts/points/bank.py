"""Banks of key points: of drawn triples, of rendered ones and of single clips, in files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.model import LOFNet
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
    assert found.jacobian is not None
    return torch.cat([found.value, found.jacobian.flatten(2)], dim=-1).numpy()


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
    while count > 0:
        drawn = random_triple(lot, held_out)
        clips = from_pixels(np.concatenate([drawn.source, drawn.driving, drawn.truth]))
        yield (*points_of(network, clips).reshape(3, FRAMES, -1, 6), drawn.family)
        count -= 1


def add_rendered(folder: Path, network: LOFNet, triples: Path) -> int:
    """Triples of a folder of folders with source, driving clip and truth, into one file."""
    rows = []
    for pair in sorted(p for p in triples.iterdir() if p.is_dir()):
        clips = [next(iter(sorted(pair.glob(f"{name}.*"))), None) for name in Triples._fields[:3]]
        if None in clips:
            continue
        try:
            frames = [read_clip(c, frames=FRAMES, size=SIZE).frames for c in clips if c]
        except AnaMoDiffError:
            continue
        if all(len(f) == FRAMES for f in frames):
            rows.append((*(points_of(network, f) for f in frames), "rendered"))
    _write(folder / "rendered.npz", rows)
    return len(rows)


def add_clips(folder: Path, network: LOFNet, clips: Sequence[Path]) -> int:
    """Single clips, each as its own source, mover and truth, into one file."""
    rows = []
    for path in clips:
        try:
            frames = read_clip(path, frames=FRAMES, size=SIZE).frames
        except AnaMoDiffError:
            continue
        if len(frames) == FRAMES:
            found = points_of(network, frames)
            rows.append((found, found, found, "clip"))
    _write(folder / "clips.npz", rows)
    return len(rows)


def load(folder: Path, pattern: str) -> Triples | None:
    """All files of a bank whose names match, one after the other; None if there are none."""
    files = [np.load(path) for path in sorted(folder.glob(pattern))]
    if not files:
        return None
    return Triples(*(np.concatenate([f[name] for f in files]) for name in Triples._fields))


def _write(path: Path, rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    np.savez(temporary, **_columns(rows)._asdict())
    temporary.rename(path)


def _columns(rows: list[tuple]) -> Triples:
    return Triples(*(np.stack(column) for column in zip(*rows, strict=True)))
