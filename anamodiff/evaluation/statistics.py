"""Means over pairs with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class MeanInterval:
    """A mean over `count` pairs and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        if self.count < 2:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> MeanInterval:
    """Mean with its percentile bootstrap interval; NaN bounds for fewer than two values."""
    numbers = np.asarray(values, dtype=float)
    if len(numbers) < 2:
        mean = float(numbers.mean()) if len(numbers) else float("nan")
        return MeanInterval(mean, float("nan"), float("nan"), len(numbers))
    chosen = np.random.default_rng(seed).integers(len(numbers), size=(resamples, len(numbers)))
    low, high = np.percentile(numbers[chosen].mean(axis=1), [2.5, 97.5])
    return MeanInterval(float(numbers.mean()), float(low), float(high), len(numbers))


def difference(
    ours: Mapping[str, float], theirs: Mapping[str, float], *, seed: int = 0
) -> MeanInterval:
    """Mean of the paired differences, ours less theirs, over the pairs that both have."""
    both = sorted(set(ours) & set(theirs))
    return bootstrap([ours[pair] - theirs[pair] for pair in both], seed=seed)
