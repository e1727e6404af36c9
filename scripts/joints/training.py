"""The training loop of the joint detector: resumable, evaluated on averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anamodiff.lofnet.joints import JointDetector

from .augment import augment, untouched
from .drawn import DrawnPool, held_out_samples
from .objective import Batch, measure, terms, total
from .samples import Sample, Store
from .state import Run, Schedule


@dataclass(frozen=True)
class Options(Schedule):
    """Of a training run.

    `drawn` is the share of drawn samples in a batch of `batch`, where there are others; `fresh` new
    characters of three frames are drawn for each batch, and `pool` samples are kept to be used
    again.
    """

    steps: int = 24000
    rate: float = 1.5e-3
    fall: float = 0.3
    average: float = 0.9985
    minutes_measure: float = 15.0
    batch: int = 32
    drawn: float = 0.32
    fresh: int = 2
    pool: int = 9000
    bf16: bool = True


class Training(Run):
    """Training of a `JointDetector`."""

    name = "detector"

    def __init__(self, detector: JointDetector, options: Options, folder: Path) -> None:
        super().__init__(detector.to(memory_format=torch.channels_last), options, folder)

    def train_on(self, batch: Batch) -> dict[str, float]:
        """One step; returns the loss's parts."""
        frames = batch.frames().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            maps = self.module(frames)
        parts = terms(maps, batch.joints, batch.visibility)
        self.descend(total(parts))
        return {name: float(part.detach()) for name, part in parts.items()}


class Mixture:
    """Batches of drawn samples and of those of stores, the latter balanced between species."""

    def __init__(self, stores: Sequence[Store], options: Options) -> None:
        self.stores, self.options = stores, options
        self.pool = DrawnPool(options.pool)
        self.rows = [np.nonzero(~store.held_out)[0] for store in stores]
        self.weights = [balanced(s, rows) for s, rows in zip(stores, self.rows, strict=True)]

    def next(self, lot: np.random.Generator) -> Batch:
        """One augmented batch."""
        left, samples = self.options.batch, []
        if self.stores:
            each = round((1 - self.options.drawn) * left / len(self.stores))
            for store, rows, weights in zip(self.stores, self.rows, self.weights, strict=True):
                samples += [store[i] for i in lot.choice(rows, each, p=weights)]
            left -= len(samples)
        samples += self.pool.take(lot, left, self.options.fresh)
        return Batch.of([augment(sample, lot) for sample in samples])


def balanced(store: Store, rows: np.ndarray) -> np.ndarray:
    """Probabilities of rows: a species comes up as the root of its number; what has no legs, half
    as often."""
    names, inverse, counts = np.unique(store.species[rows], return_inverse=True, return_counts=True)
    weights = counts[inverse] ** -0.5
    legless = np.isnan(store.joints[rows][:, 6:]).all((1, 2))
    weights = weights * np.where(legless, 0.35, 1.0)
    return weights / weights.sum()


def validation_sets(stores: Sequence[Store], count: int) -> dict[str, list[tuple[Batch, Tensor]]]:
    """Drawn and rendered species kept out, unaugmented, with the bodies' longer sides."""
    sets = {"drawn": _batches(held_out_samples(count))}
    for store in stores:
        if store.held_out.any():
            rows = np.random.default_rng(5).permutation(np.nonzero(store.held_out)[0])[:count]
            sets["rendered"] = _batches([store[i] for i in sorted(rows)])
    return sets


def _batches(samples: list[Sample], size: int = 40) -> list[tuple[Batch, Tensor]]:
    """Samples as they are, in batches."""
    batches = []
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        longer = torch.tensor([max(s.cut.shape[:2]) - 4 for s in part]) / 127.5
        batches.append((Batch.of([untouched(s) for s in part]), longer))
    return batches


def train(training: Training, stores: Sequence[Store], say: Callable[[str], None]) -> None:
    """Train on all stores and drawn samples, measured on what is kept out of them."""
    options, mixture = training.options, Mixture(stores, training.options)
    training.train(
        lambda: training.train_on(mixture.next(training.lot)),
        validation_sets(stores, options.validation), measure, say,
        pace="{:.1f} frames/s", per_step=options.batch,
    )  # fmt: skip
