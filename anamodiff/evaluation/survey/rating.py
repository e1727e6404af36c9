"""Statistics of ratings from 1 to 5: mean opinion scores with intervals, and distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anamodiff.evaluation.statistics import bootstrap
from anamodiff.evaluation.survey.answers import Ratings
from anamodiff.evaluation.survey.page import POINTS


@dataclass(frozen=True)
class RatingResult:
    """One method's ratings.

    Attributes:
        mean: the mean opinion score, from 1 (bad) to 5 (excellent).
        low, high: its 95 % bootstrap interval; None where there is one observation.
        distribution: how many ratings of 1, 2, ... 5 points there are.
    """

    mean: float
    low: float | None
    high: float | None
    distribution: list[int]


def rating_results(
    name: str, people: Sequence[Ratings], methods: Sequence[str], unit: str
) -> dict[str, RatingResult]:
    """Each method's ratings of `name`, the best first.

    Args:
        unit: one observation of the interval: a "person", whose ratings are averaged, or every
            "ranking", here rating.
    """
    table = np.array(  # people, pairs, methods
        [
            [
                [points[method] for method in methods]
                for (of, _), points in one.items()
                if of == name
            ]
            for one in people
        ]
    )
    rows = table.mean(axis=1) if unit == "person" else table.reshape(-1, len(methods))
    found = {}
    for number, method in enumerate(methods):
        interval = bootstrap(rows[:, number])
        counts = np.bincount(table[..., number].ravel(), minlength=POINTS + 1)[1:]
        low, high = (None if math.isnan(x) else x for x in (interval.low, interval.high))
        found[method] = RatingResult(interval.mean, low, high, counts.tolist())
    return dict(sorted(found.items(), key=lambda one: -one[1].mean))


def rating_lines(name: str, results: Mapping[str, RatingResult]) -> list[str]:
    """A table: mean with its interval, and how often each number of points was given."""
    heading = f"{name}, rated"
    width = max(len(method) for method in (*results, heading)) + 2
    numbers = "".join(f"{points:5d}" for points in range(1, POINTS + 1))
    lines = [f"{heading:{width}}  {'mean [95 %]':17}{numbers}  (1 bad, {POINTS} excellent)"]
    for method, one in results.items():
        text = f"{one.mean:.2f}"
        if one.low is not None:
            text += f" [{one.low:.2f}, {one.high:.2f}]"
        counts = "".join(f"{count:5d}" for count in one.distribution)
        lines.append(f"  {method:{width}}{text:17}{counts}")
    return lines
