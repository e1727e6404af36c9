"""A training run's state: module, averaged weights, optimiser, random numbers, and their file."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Schedule:
    """The options that all runs have; the rate falls in the last `fall` of the run.

    A run ends after `steps` or, where `seconds` is not 0, so that it is over `seconds` after its
    process began, `reserve` of them for the last scores; it then keeps weights and no state,
    unless it is `resumable`: what it has run before then counts.
    """

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
    seconds: float = 0.0
    reserve: float = 12.0
    resumable: bool = False


class Run:
    """State of a run in `folder`: `state.pt` to go on from, `name`.safetensors to use."""

    name = "weights"

    def __init__(self, module: nn.Module, options: Schedule, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.module = module.train()
        self.averaged = copy.deepcopy(module).eval()
        self.device = next(module.parameters()).device
        groups, fused = _groups(module, options.decay), self.device.type == "cuda"
        self.optimiser = torch.optim.AdamW(groups, lr=options.rate, fused=fused)
        self.average = Average(self.averaged, self.module)
        self.lot = np.random.default_rng(options.seed)
        self.step = 0
        self.started = time.monotonic()

    def progress(self) -> float:
        """How far the run has come, 1 at its end."""
        if self.options.seconds:
            passed = time.monotonic() - self.started
            return passed / max(1e-9, self.options.seconds - self.options.reserve)
        return self.step / self.options.steps

    @property
    def state_file(self) -> Path:
        return self.folder / "state.pt"

    def save(self) -> None:
        """Write the state so that a kill leaves the old file or the new one, and the averaged
        weights for use."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.averaged.save(self.folder / self.name, half=True)
        if self.options.seconds and not self.options.resumable:
            return
        state = {
            "step": self.step,
            "seconds": time.monotonic() - self.started,
            "module": self.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "lot": self.lot.bit_generator.state,
            "torch": torch.get_rng_state(),
        }
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.state_file)

    def resume(self) -> bool:
        """Go on from a saved state, if there is one."""
        if not self.state_file.is_file():
            return False
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        self.step = state["step"]
        if self.options.resumable:
            self.started = time.monotonic() - state["seconds"]
        self.module.load_state_dict(state["module"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.lot.bit_generator.state = state["lot"]
        torch.set_rng_state(state["torch"])
        return True

    def descend(self, loss: torch.Tensor) -> None:
        """One step of the optimiser, at the schedule's rate, and of the averages."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * rate_share(self.progress(), self.step, self.options)
        self.optimiser.zero_grad()
        loss.backward()
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0, 0, 0)
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(self.options.average, (1 + self.step) / (10 + self.step))
        self.average.update(keep)

    def train(
        self,
        one_step: Callable[[], dict[str, torch.Tensor]],
        sets: Mapping[str, Any],
        measure: Callable[[Any, Any], Any],
        say: Callable[[str], None],
        pace: str = "{:.2f} steps/s",
        per_step: int = 1,
    ) -> None:
        """Train to the end of the run; log, save and measure by the clock.

        Args:
            one_step: takes a step and returns the loss's parts, which are only read for the log.
            sets: what the averaged weights are measured on, by name.
            measure: of those weights and a set, scores that have a `line`.
            say: takes the lines of the log.
            pace: how speed is written; of what, there are `per_step` in a step.
        """
        log, score = Clock(self.options.minutes_log), Clock(self.options.minutes_measure)
        keep, recent = Clock(self.options.minutes_save), Means()
        last = self.progress() >= 1
        while not last:
            recent.add(one_step())
            last = self.progress() >= 1
            if seconds := log.due(last):
                speed = pace.format(recent.count * per_step / seconds)
                say(f"step {self.step} ({min(self.progress(), 1):.1%}) {recent} ({speed})")
                recent = Means()
            if keep.due(last):
                self.save()
            if score.due(last):
                scores = {name: measure(self.averaged, kept) for name, kept in sets.items()}
                for name, found in scores.items():
                    say(f"step {self.step} {name}: {found.line()}")
                self._write(scores, per_step)

    def _write(self, scores: Mapping[str, Any], per_step: int) -> None:
        """The last scores as a file."""
        made = {name: asdict(found) for name, found in scores.items()}
        seconds = round(time.monotonic() - self.started, 1)
        made["run"] = {"steps": self.step, "samples": self.step * per_step, "seconds": seconds}
        made = json.loads(json.dumps(made), parse_constant=lambda _: None)  # JSON knows no NaN
        (self.folder / "scores.json").write_text(json.dumps(made, indent=1) + "\n")


def rate_share(progress: float, step: int, options: Schedule) -> float:
    """Learning-rate factor: up, level, and straight down to a fiftieth at the end."""
    left = (1 - progress) / max(1e-9, options.fall)
    return min(1.0, (step + 1) / max(1, options.warmup), max(0.02, left))


class Average:
    """Exponential averages of a module's weights and of its batch norms' statistics."""

    def __init__(self, averaged: nn.Module, module: nn.Module) -> None:
        states = (averaged.state_dict().values(), module.state_dict().values())
        pairs = list(zip(*states, strict=True))
        self.weights = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, keep: float) -> None:
        """Bring the averages nearer to the module by 1 - `keep`."""
        means, values = (list(side) for side in zip(*self.weights, strict=True))
        torch._foreach_lerp_(means, values, 1 - keep)
        for mean, value in self.counts:
            mean.copy_(value)


class Means:
    """Means of a loss's parts over steps, read from the device only when they are written."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.count = 0

    def add(self, parts: Mapping[str, torch.Tensor]) -> None:
        """Take in one step's parts."""
        self.sums = {k: self.sums[k] + v if self.sums else v for k, v in parts.items()}
        self.count += 1

    def __str__(self) -> str:
        return " ".join(f"{k} {float(v) / self.count:.4f}" for k, v in self.sums.items())


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


def logger(folder: Path) -> Callable[[str], None]:
    """A function that prints a line and appends it to the folder's log, with the time."""
    folder.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        line = f"{time.strftime('%F %T')} {text}"
        print(line, flush=True)
        with (folder / "log.txt").open("a") as log:
            log.write(line + "\n")

    return say
