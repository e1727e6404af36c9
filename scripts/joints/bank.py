"""A bank: a folder of sample files that processes fill, beforehand or while a detector is trained.

`rendered-*` are made once; `drawn-*` and `reshaped-*` are new animals, as many as there is time
for; `tracks-*` are drawn characters without pictures, for retargeting.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from . import banks
from .drawn import draw_samples, random_character
from .rendered import SPLITS, make_part, part_files
from .reshaped import reshaped_samples
from .samples import Sample, Samples

PICTURED = ("rendered", "drawn", "reshaped")
CHUNK, TRACKS_CHUNK = 200, 50  # samples and characters in a file
AHEAD = 24  # unread files in a folder that is read as it is filled


@dataclass(frozen=True)
class Order:
    """What to make in `folder`: `rendered` samples or not, and how many others at most.

    `split` names one of `SPLITS`. Where `read_on` is set the files are taken away as they come, and
    only `AHEAD` lie there.
    """

    folder: Path
    motion: Path | None = None
    clips: Path | None = None
    rendered: bool = True
    drawn: int = 0
    reshaped: int = 0
    characters: int = 0
    read_on: bool = False
    split: str = "scored"


def files(folder: Path, kind: str) -> list[Path]:
    """A kind's files that are complete, in the order of their names."""
    return sorted(folder.glob(f"{kind}-*.npz"))


def start(order: Order, workers: int, seconds: float, seed: int = 0) -> Sequence[BaseProcess]:
    """Processes that fill the bank and end by themselves after `seconds` or when all is there."""
    order.folder.mkdir(parents=True, exist_ok=True)
    context, until = get_context("spawn"), time.time() + seconds
    made = [
        context.Process(target=work, args=(order, i, workers, until, seed), daemon=True)
        for i in range(workers)
    ]
    for process in made:
        process.start()
    return made


def work(order: Order, worker: int, workers: int, until: float, seed: int) -> None:
    """One worker's share: rendered samples, characters, then drawn and reshaped ones in turn."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if order.rendered and order.motion is not None:
        parts = part_files(order.folder, order.motion, order.clips)
        for part in range(worker, len(parts), workers):
            if not parts[part].is_file() and time.time() < until:
                _tried(make_part, parts[part], order.motion, order.clips, part)
    kinds = {"drawn": order.drawn, "reshaped": order.reshaped if order.motion else 0}
    wanted = {kind: -(-count // (CHUNK * workers)) for kind, count in kinds.items()}
    wanted["tracks"] = -(-order.characters // (TRACKS_CHUNK * workers))
    made = dict.fromkeys(wanted, 0)
    while time.time() < until:
        if order.read_on and len(files(order.folder, "*")) >= AHEAD:
            time.sleep(0.2)
            continue
        left = [kind for kind in wanted if made[kind] < wanted[kind]]
        if not left:
            return
        kind = min(left, key=lambda name: made[name] / wanted[name])
        path = order.folder / f"{kind}-{worker:02d}-{made[kind]:05d}.npz"
        if order.read_on or not path.is_file():
            _tried(_make, kind, order, path, [seed, worker, made[kind], len(kind)])
        made[kind] += 1


def _tried(make: Callable[..., None], *words: Any) -> None:
    """Make a file; where that fails say why, and go on: one bad clip is no reason for a training to
    stay without samples."""
    try:
        make(*words)
    except Exception:
        traceback.print_exc()
        time.sleep(0.1)


def _make(kind: str, order: Order, path: Path, seed: Sequence[int]) -> None:
    """Write one file."""
    if kind == "tracks":
        banks.make_bank(TRACKS_CHUNK, seed).save(path)
        return
    lot = np.random.default_rng(seed)
    new_samples(kind, order.motion, lot, split=order.split).save(path)


def new_samples(
    kind: str,
    motion: Path | None,
    lot: np.random.Generator,
    count: int = CHUNK,
    split: str = "scored",
) -> Samples:
    """At least `count` drawn or reshaped samples."""
    samples: list[Sample] = []
    names: list[str] = []
    while len(samples) < count:
        if kind == "drawn":
            character = random_character(lot)
            some, species = draw_samples(character, lot, 3), character.species
        else:
            some, species = reshaped_samples(motion, lot, 10, SPLITS[split].kept_out)
        samples += some
        names += [species] * len(some)
    return Samples.of(samples, names)
