"""The training loop of the joint detector, evaluated on averaged weights."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.lofnet.joints import JointDetector

from . import bank
from .drawn import held_out_samples
from .objective import Batch, measure, terms, total
from .pool import Pool
from .rendered import SPLITS
from .samples import SIZE, Sample, Samples, untouched
from .state import Run, Schedule

RESIDENT_SHARE = 0.5  # of free memory that samples may take
AHEAD = 8  # files that are read together


@dataclass(frozen=True)
class Options(Schedule):
    """Of a training run.

    `drawn` is the share of drawn samples in a batch of `batch`, where there are others. At most
    `resident` samples lie on the device, of 262 kB each; `workers` processes make new ones.
    `split` is "scored" or "shipped".
    """

    steps: int = 24000
    rate: float = 1.5e-3
    fall: float = 0.3
    average: float = 0.9985
    minutes_measure: float = 15.0
    batch: int = 32
    drawn: float = 0.32
    resident: int = 6000
    workers: int = 1
    bf16: bool = True
    split: str = "scored"


Validation = list[tuple[Batch, Tensor]]


class Training(Run):
    """Training of a `JointDetector`."""

    name = "detector"

    def __init__(self, detector: JointDetector, options: Options, folder: Path) -> None:
        super().__init__(detector.to(memory_format=torch.channels_last), options, folder)

    def train_on(self, batch: Batch) -> dict[str, Tensor]:
        """One step; returns the loss's parts."""
        frames = batch.frames().contiguous(memory_format=torch.channels_last)
        bf16 = self.options.bf16
        frames = frames.to(torch.bfloat16) if bf16 else frames.float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            maps = self.module(frames)
        parts = terms(maps, batch)
        self.descend(total(parts))
        return {name: part.detach() for name, part in parts.items()}


class Feed:
    """Fills a pool from a bank, and goes on filling it from a folder that processes write to."""

    def __init__(self, options: Options, device: torch.device, stored: Path | None) -> None:
        self.files = {k: bank.files(stored, k) if stored else [] for k in bank.PICTURED}
        self.new: Path | None = None
        resident = options.resident
        if device.type == "cuda":  # others may be training on the same GPU
            free = torch.cuda.mem_get_info(device)[0]
            resident = min(resident, int(RESIDENT_SHARE * free / (4 * SIZE * SIZE)))
        room = {"rendered": min(_count(self.files["rendered"]), resident // 2)}
        other = (resident - room["rendered"]) // (2 if self.files["rendered"] else 1)
        room |= {"drawn": other, "reshaped": other if self.files["rendered"] else 0}
        self.split = SPLITS[options.split]
        self.pool = Pool(room, device, self.split)
        self.left: list[tuple[str, Path]] = []
        self.kept_out: list[Sample] = []

    def fill(self, seconds: float = math.inf) -> None:
        """Take in the bank, as far as there is room; held-out species are put aside.

        What has not come in after `seconds` comes with `renew`, file by file.
        """
        until = time.monotonic() + seconds
        self.left = [("rendered", path) for path in self.files["rendered"]]
        some = ("drawn", "reshaped")
        rooms = {k: self.pool.shelves[k].room if k in self.pool.shelves else 0 for k in some}
        parts = [[(k, p) for p in self.files[k][: -(-rooms[k] // bank.CHUNK)]] for k in some]
        self.left += [one for pair in zip_longest(*parts) for one in pair if one is not None]
        while self.left and time.monotonic() < until:
            now, self.left = self.left[:AHEAD], self.left[AHEAD:]
            with ThreadPoolExecutor(4) as threads:
                samples = threads.map(Samples.load, [path for _, path in now])
                for (kind, _), some_samples in zip(now, samples, strict=True):
                    self._put(kind, some_samples, validate=True)

    def _put(self, kind: str, samples: Samples, validate: bool = False) -> None:
        """Into the pool, but for held-out species, which are kept to `validate` with."""
        if kind == "rendered":
            apart = np.isin(samples.species, self.split.kept_out)
            if validate:
                # Where nothing is kept out, what is only judged has to serve.
                unseen = np.isin(samples.species, self.split.kept_out or self.split.judged)
                kept = [samples[i] for i in np.nonzero(unseen)[0]]
                self.kept_out += [replace(sample, cut=sample.cut.copy()) for sample in kept]
            samples = samples.where(~apart)
        self.pool.put(kind, samples)

    def renew(self) -> None:
        """Take in one file: of the bank, where some are left, or one of the new ones."""
        if self.left:
            kind, path = self.left.pop(0)
            self._put(kind, Samples.load(path))
        elif self.new is not None and (found := bank.files(self.new, "*")):
            path = random.choice(found)
            self._put(path.name.split("-")[0], Samples.load(path))
            Samples.remove(path)


def _count(paths: list[Path]) -> int:
    """How many samples files hold."""
    count = 0
    for path in paths:
        with np.load(path) as known:
            count += len(known["boxes"])
    return count


def validation_sets(kept_out: list[Sample], count: int) -> dict[str, Validation]:
    """Drawn and rendered species kept out, unaugmented, with the bodies' longer sides."""
    sets = {"drawn": _batches(held_out_samples(count))}
    if kept_out:
        rows = np.random.default_rng(5).permutation(len(kept_out))[:count]
        sets["rendered"] = _batches([kept_out[i] for i in sorted(rows)])
    return sets


def _batches(samples: list[Sample], size: int = 40) -> Validation:
    """Samples as they are, in batches."""
    batches = []
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        longer = torch.tensor([max(s.cut.shape[:2]) - 4 for s in part]) / 127.5
        batches.append((Batch.of([untouched(s) for s in part]), longer))
    return batches


def train(
    training: Training, feed: Feed, sets: Mapping[str, Validation], say: Callable[[str], None]
) -> None:
    """Train on what the feed gives, measured on what is kept out of it."""
    options = training.options

    def one_step() -> dict[str, Tensor]:
        feed.renew()
        return training.train_on(feed.pool.next(options.batch, options.drawn))

    training.train(one_step, sets, measure, say, pace="{:.1f} frames/s", per_step=options.batch)
