"""A bank of pairs: a folder of files that worker processes fill and training reads."""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from .pairs import Pairs

SHARD = 600  # pairs of a file: 32 MB
DRAWN = 0.4  # share of drawn characters, where there are meshes


def fill(folder: Path, motion: Path | None, *, workers: int, seconds: float, seed: int) -> None:
    """Make pairs in `workers` processes for some seconds."""
    for process in start(folder, motion, workers=workers, seconds=seconds, seed=seed):
        process.join()


def start(
    folder: Path, motion: Path | None, *, workers: int, seconds: float, seed: int
) -> list[BaseProcess]:
    """Processes that fill the bank and end by themselves after some seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    context = get_context("spawn")
    made = [
        context.Process(target=work, args=(folder, motion, seconds, seed + i), daemon=True)
        for i in range(workers)
    ]
    for process in made:
        process.start()
    return made


def work(folder: Path, motion: Path | None, seconds: float, seed: int) -> None:
    """One worker: write files until the time is over."""
    import cv2
    import torch

    from .drawn import drawn_pairs
    from .meshes import MeshClips, mesh_pairs

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    end = time.monotonic() + seconds
    lot = np.random.default_rng([seed, int(time.time())])
    clips = MeshClips(motion) if motion else None
    parts: list[Pairs] = []
    number, count = 0, 0
    while time.monotonic() < end:
        drawn = clips is None or lot.random() < DRAWN
        made = drawn_pairs(lot) if drawn else mesh_pairs(clips, lot)
        if made is None:
            continue
        parts.append(made)
        count += len(made)
        if count >= SHARD:
            Pairs.join(parts).save(folder / f"pairs-{seed:04d}-{number:05d}.npz")
            parts, number, count = [], number + 1, 0
    if parts:
        Pairs.join(parts).save(folder / f"pairs-{seed:04d}-{number:05d}.npz")
