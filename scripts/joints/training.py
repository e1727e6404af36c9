"""The training loop of the joint detector: resumable, evaluated on averaged weights."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anamodiff.lofnet.joints import JointDetector

from .augment import augment, untouched
from .drawn import DrawnPool, held_out_samples
from .objective import Batch, measure, terms, total
from .samples import Sample, Store


@dataclass(frozen=True)
class Options:
    """Of a training run. `drawn` is the share of drawn samples in a batch of `batch`; `fresh` new
    characters of three frames are drawn for each batch; the rate falls in the last `fall` of
    `steps`."""

    steps: int = 24000
    batch: int = 32
    drawn: float = 0.42
    fresh: int = 2
    pool: int = 9000
    rate: float = 1.5e-3
    decay: float = 0.02
    warmup: int = 300
    fall: float = 0.3
    average: float = 0.9985
    seed: int = 0
    bf16: bool = True
    minutes_log: float = 1.0
    minutes_save: float = 5.0
    minutes_measure: float = 15.0
    validation: int = 400


class Training:
    """Detector, optimiser, averaged weights and random numbers, and where they are saved."""

    def __init__(self, detector: JointDetector, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.detector = detector.to(memory_format=torch.channels_last).train()
        self.averaged = copy.deepcopy(detector).eval()
        self.optimiser = torch.optim.AdamW(_groups(detector, options.decay), lr=options.rate)
        self.lot = np.random.default_rng(options.seed)
        self.step = 0

    @property
    def state_file(self) -> Path:
        return self.folder / "state.pt"

    def save(self) -> None:
        """Write the state so that a kill leaves the old file or the new one, and the averaged
        weights for use."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "detector": self.detector.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "lot": self.lot.bit_generator.state,
            "torch": torch.get_rng_state(),
        }
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.state_file)
        self.averaged.save(self.folder / "detector")

    def resume(self) -> bool:
        """Go on from a saved state, if there is one."""
        if not self.state_file.is_file():
            return False
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        self.step = state["step"]
        self.detector.load_state_dict(state["detector"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.lot.bit_generator.state = state["lot"]
        torch.set_rng_state(state["torch"])
        return True

    def train_on(self, batch: Batch) -> dict[str, float]:
        """One step; returns the loss's parts."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * rate_share(self.step, self.options)
        frames = batch.frames().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            maps = self.detector(frames)
        parts = terms(maps, batch.joints, batch.visibility)
        self.optimiser.zero_grad()
        total(parts).backward()
        nn.utils.clip_grad_norm_(self.detector.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(self.options.average, (1 + self.step) / (10 + self.step))
        average_into(self.averaged, self.detector, keep)
        return {name: float(part.detach()) for name, part in parts.items()}


def rate_share(step: int, options: Options) -> float:
    """Learning-rate factor: up, level, and straight down to a fiftieth at the end."""
    left = (options.steps - step) / max(1, options.fall * options.steps)
    return min(1.0, (step + 1) / max(1, options.warmup), max(0.02, left))


@torch.no_grad()
def average_into(averaged: nn.Module, module: nn.Module, keep: float) -> None:
    """Exponential averages of all weights and of the batch norms' statistics."""
    pairs = zip(averaged.state_dict().values(), module.state_dict().values(), strict=True)
    for mean, value in pairs:
        if mean.is_floating_point():
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)


def _groups(module: nn.Module, decay: float) -> list[dict]:
    """Weight decay for matrices and kernels only."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Mixture:
    """Batches of drawn and rendered samples, the latter balanced between species."""

    def __init__(self, store: Store | None, options: Options) -> None:
        self.store, self.options = store, options
        self.pool = DrawnPool(options.pool)
        if store is not None:
            self.rows = np.nonzero(~store.held_out)[0]
            self.weights = balanced(store, self.rows)

    def next(self, lot: np.random.Generator) -> Batch:
        """One augmented batch."""
        drawn = self.options.batch
        samples: list[Sample] = []
        if self.store is not None:
            drawn = round(self.options.drawn * self.options.batch)
            rows = lot.choice(self.rows, self.options.batch - drawn, p=self.weights)
            samples = [self.store[i] for i in rows]
        samples += self.pool.take(lot, drawn, self.options.fresh)
        return Batch.of([augment(sample, lot) for sample in samples])


def balanced(store: Store, rows: np.ndarray) -> np.ndarray:
    """Probabilities of rows: a species comes up as the root of its number; what has no legs, half
    as often."""
    names, inverse, counts = np.unique(store.species[rows], return_inverse=True, return_counts=True)
    weights = counts[inverse] ** -0.5
    legless = np.isnan(store.joints[rows][:, 6:]).all((1, 2))
    weights = weights * np.where(legless, 0.35, 1.0)
    return weights / weights.sum()


def validation_sets(store: Store | None, count: int) -> dict[str, list[tuple[Batch, Tensor]]]:
    """Drawn and rendered species kept out, unaugmented, with the bodies' longer sides."""
    sets = {"drawn": _batches(held_out_samples(count))}
    if store is not None and store.held_out.any():
        rows = np.nonzero(store.held_out)[0]
        rows = np.random.default_rng(5).permutation(rows)[:count]
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


def train(training: Training, store: Store | None, say: Callable[[str], None]) -> None:
    """Train until the options' last step; log, save and measure by the clock."""
    options, mixture = training.options, Mixture(store, training.options)
    sets = validation_sets(store, options.validation)
    logged = saved = measured = time.monotonic()
    recent: list[dict[str, float]] = []
    while training.step < options.steps:
        recent.append(training.train_on(mixture.next(training.lot)))
        now, last = time.monotonic(), training.step == options.steps
        if now - logged >= 60 * options.minutes_log or last:
            say(_progress(training, recent, now - logged))
            recent, logged = [], now
        if now - measured >= 60 * options.minutes_measure or last:
            for name, batches in sets.items():
                say(f"step {training.step} {name}: {measure(training.averaged, batches).line()}")
            measured = time.monotonic()
        if now - saved >= 60 * options.minutes_save or last:
            training.save()
            saved = time.monotonic()


def _progress(training: Training, recent: list[dict[str, float]], seconds: float) -> str:
    """Means of the loss's parts since the last line, and the pace."""
    means = {name: np.mean([parts[name] for parts in recent]) for name in recent[0]}
    pace = len(recent) * training.options.batch / max(seconds, 1e-9)
    listed = " ".join(f"{name} {value:.4f}" for name, value in means.items())
    return f"step {training.step}/{training.options.steps} {listed} ({pace:.1f} frames/s)"
