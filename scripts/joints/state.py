"""A training run's state: module, averaged weights, optimiser, random numbers, and their file."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Schedule:
    """The options that all runs have; the rate falls in the last `fall` of `steps`."""

    steps: int
    rate: float
    fall: float
    average: float
    minutes_measure: float
    decay: float = 0.02
    warmup: int = 300
    seed: int = 0
    minutes_log: float = 1.0
    minutes_save: float = 5.0
    validation: int = 400


class Run:
    """State of a run in `folder`: `state.pt` to go on from, `name`.safetensors to use."""

    name = "weights"

    def __init__(self, module: nn.Module, options: Schedule, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.module = module.train()
        self.averaged = copy.deepcopy(module).eval()
        self.optimiser = torch.optim.AdamW(_groups(module, options.decay), lr=options.rate)
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
            "module": self.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "lot": self.lot.bit_generator.state,
            "torch": torch.get_rng_state(),
        }
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.state_file)
        self.averaged.save(self.folder / self.name)

    def resume(self) -> bool:
        """Go on from a saved state, if there is one."""
        if not self.state_file.is_file():
            return False
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        self.step = state["step"]
        self.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.lot.bit_generator.state = state["lot"]
        torch.set_rng_state(state["torch"])
        return True

    def descend(self, loss: torch.Tensor) -> None:
        """One step of the optimiser, at the schedule's rate, and of the averages."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * rate_share(self.step, self.options)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(self.options.average, (1 + self.step) / (10 + self.step))
        average_into(self.averaged, self.module, keep)

    def train(
        self,
        one_step: Callable[[], dict[str, float]],
        sets: Mapping[str, Any],
        measure: Callable[[Any, Any], Any],
        say: Callable[[str], None],
        pace: str = "{:.2f} steps/s",
        per_step: int = 1,
    ) -> None:
        """Train until the options' last step; log, save and measure by the clock.

        Args:
            one_step: takes a step and returns the loss's parts.
            sets: what the averaged weights are measured on, by name.
            measure: of those weights and a set, scores that have a `line`.
            say: takes the lines of the log.
            pace: how speed is written; of what, there are `per_step` in a step.
        """
        log, score = Clock(self.options.minutes_log), Clock(self.options.minutes_measure)
        keep = Clock(self.options.minutes_save)
        recent: list[dict[str, float]] = []
        while self.step < self.options.steps:
            recent.append(one_step())
            last = self.step == self.options.steps
            if seconds := log.due(last):
                speed = pace.format(len(recent) * per_step / seconds)
                say(f"step {self.step}/{self.options.steps} {mean_parts(recent)} ({speed})")
                recent = []
            if score.due(last):
                for name, held_out in sets.items():
                    say(f"step {self.step} {name}: {measure(self.averaged, held_out).line()}")
            if keep.due(last):
                self.save()


def rate_share(step: int, options: Schedule) -> float:
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


class Clock:
    """Says when some minutes have passed since it last said so."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.last = 60 * minutes, time.monotonic()

    def due(self, always: bool = False) -> float:
        """Seconds since the last time where they are enough (or `always`), else 0."""
        passed = time.monotonic() - self.last
        if passed < self.seconds and not always:
            return 0.0
        self.last = time.monotonic()
        return max(passed, 1e-9)


def mean_parts(recent: list[dict[str, float]]) -> str:
    """The means of a loss's parts, in one line."""
    return " ".join(f"{k} {np.mean([parts[k] for parts in recent]):.4f}" for k in recent[0])


def logger(folder: Path) -> Callable[[str], None]:
    """A function that prints a line and appends it to the folder's log, with the time."""
    folder.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        line = f"{time.strftime('%F %T')} {text}"
        print(line, flush=True)
        with (folder / "log.txt").open("a") as log:
            log.write(line + "\n")

    return say
