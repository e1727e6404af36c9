"""The loop that both trainings share: rates by steps or by time, states, logs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .optimiser import descend

CHECK_STEPS = 100  # between looks whether the loss is still a number


@dataclass(frozen=True)
class Plan:
    """How long to train: by `steps`, by `seconds`, or by whichever is over first.

    States are saved every `save_every` steps, or `save_seconds`; `stop_at` ends early, as a kill
    would.
    """

    lr: float
    steps: int | None = None
    seconds: float | None = None
    warmup: int = 50
    save_every: int | None = None
    save_seconds: float = 30.0
    stop_at: int | None = None


def cosine(share: float, floor: float = 0.01) -> float:
    """Learning-rate factor after a `share` of the training: half a cosine down to `floor`."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Clock:
    """Counts steps and time; `share` is how much of the plan is done."""

    def __init__(self, plan: Plan, step: int = 0, spent: float = 0.0) -> None:
        if plan.steps is None and plan.seconds is None:
            raise SystemExit("expected steps or seconds of training, got neither: set one")
        self.plan, self.step = plan, step
        self._began = time.monotonic() - spent

    @property
    def spent(self) -> float:
        return time.monotonic() - self._began

    @property
    def share(self) -> float:
        by_steps = self.step / self.plan.steps if self.plan.steps else 0.0
        by_time = self.spent / self.plan.seconds if self.plan.seconds else 0.0
        return max(by_steps, by_time)

    @property
    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.plan.warmup)
        return self.plan.lr * warm * cosine(self.share)

    def steps(self) -> Iterator[int]:
        """The steps that are left."""
        while self.share < 1 and self.step != self.plan.stop_at:
            yield self.step
            self.step += 1


def train(
    label: str, clock: Clock, optimiser, generator: torch.Generator, seed: int, *,
    loss: Callable[[int, torch.Generator], tuple[Tensor, Tensor]],
    after: Callable[[], object], save: Callable[[], None], report: Callable[[float], str],
) -> bool:  # fmt: skip
    """Descend on `loss(step, generator)`, which returns it and what the log shows.

    `after` follows each update; `save` writes the state; `report` turns the mean of what is shown
    into the log's words. False where the loss is no number any more: then nothing more is saved.
    """
    plan, shown, count, saved = clock.plan, None, 0, time.monotonic()
    for step in clock.steps():
        generator.manual_seed(seed * 1_000_003 + step)
        value, show = loss(step, generator)
        descend(optimiser, value, clock.rate)
        after()
        shown, count = (show if shown is None else shown + show), count + 1
        due = plan.save_every and (step + 1) % plan.save_every == 0
        due = due or time.monotonic() > saved + plan.save_seconds
        if not due and step % CHECK_STEPS:
            continue
        if not math.isfinite(float(shown)):
            print(f"{label} {step + 1}: the loss is no number; the last state stays", flush=True)
            return False
        if due:
            clock.step = step + 1
            save()
            clock.step = step
            line = f"{label} {step + 1} {report(float(shown) / count)}"
            print(f"{line} rate {clock.rate:.1e} {clock.spent:.0f} s", flush=True)
            shown, count, saved = None, 0, time.monotonic()
    save()
    mean = f" {report(float(shown) / count)}" if count else ""
    print(f"{label} {clock.step} done{mean} {clock.spent:.0f} s", flush=True)
    return True
