"""Means over pairs with bootstrap confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9_999  # scipy's own
AT_ONCE = 2**23  # values that are resampled together: with their indices 128 MB
LEVEL = 0.95
FEWEST = 5  # pairs: the intervals of fewer are too narrow to exclude anything
# Values that differ by less, as a share of the largest, are equal but for rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class MeanInterval:
    """A mean over `count` pairs and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero, of `FEWEST` pairs at least."""
        return self.count >= FEWEST and (self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        if self.count < 2:
            return f"{self.mean:.3f}" if self.count else ""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> MeanInterval:
    """Mean with its bootstrap interval, bias-corrected and accelerated (BCa; Efron 1987).

    Bounds are NaN for fewer than two values, which say nothing of their spread, and the mean itself
    for values that are all equal.
    """
    numbers = np.asarray(values, dtype=float)
    if len(numbers) < 2:
        mean = float(numbers.mean()) if len(numbers) else math.nan
        return MeanInterval(mean, math.nan, math.nan, len(numbers))
    mean = float(numbers.mean())
    if np.ptp(numbers) <= ROUNDING * np.abs(numbers).max():
        # BCa's corrections have no meaning there: scipy gives NaN, and a warning.
        return MeanInterval(mean, mean, mean, len(numbers))
    found = stats.bootstrap(
        (numbers,), np.mean, n_resamples=resamples, confidence_level=LEVEL, method="BCa",
        batch=max(1, AT_ONCE // len(numbers)), vectorized=True, rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = (float(bound) for bound in found.confidence_interval)
    return MeanInterval(mean, low, high, len(numbers))


def difference(
    ours: Mapping[str, float], theirs: Mapping[str, float], *, seed: int = 0
) -> MeanInterval:
    """Mean of the paired differences, ours less theirs, over the pairs that both have."""
    both = sorted(set(ours) & set(theirs))
    return bootstrap([ours[pair] - theirs[pair] for pair in both], seed=seed)
