"""Bootstrap intervals: known ones, and data that say little."""

import warnings

import numpy as np
import pytest

from anamodiff.evaluation import statistics
from anamodiff.evaluation.statistics import bootstrap, difference


def test_bootstrap_intervals() -> None:
    assert bootstrap([2.0] * 9).low == bootstrap([2.0] * 9).high == 2
    wide = bootstrap([0.0, 1.0] * 20)
    assert wide.mean == 0.5 and 0.3 < wide.low < 0.42 and 0.58 < wide.high < 0.7
    assert (
        not bootstrap([-1.0, 1.0] * 10).excludes_zero
        and bootstrap([1.0, 2.0, 3.0, 4.0, 5.0]).excludes_zero
    )
    alone = bootstrap([3.0])
    assert not bootstrap([1.0, 2.0, 3.0, 4.0]).excludes_zero, "too few to say so"
    assert alone.mean == 3 and not alone.excludes_zero and str(alone) == "3.000"
    ours = {"a": 2.0, "b": 3.0, "c": 9.0}
    paired = difference(ours, {"a": 1.0, "b": 2.0, "d": 0.0})
    assert (paired.mean, paired.low, paired.count) == (1, 1, 2)


def test_intervals_follow_the_skew_of_the_data() -> None:
    # BCa's correction: of values with a long tail upwards, both bounds lie higher than percentiles.
    values = np.random.default_rng(0).exponential(size=30) ** 2
    found = bootstrap(values.tolist())
    chosen = np.random.default_rng(1).integers(30, size=(10_000, 30))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    assert found.low > low and found.high > high + 0.05
    assert found.low < found.mean < found.high
    assert bootstrap(values.tolist()) == found, "the same every time"


def test_many_values_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(1, 6, 40).astype(float).tolist()
    whole, sizes = bootstrap(values, resamples=999), []
    monkeypatch.setattr(statistics, "AT_ONCE", 4000)
    mean = np.mean
    monkeypatch.setattr(np, "mean", lambda x, axis: sizes.append(x.size) or mean(x, axis=axis))
    assert bootstrap(values, resamples=999) == whole
    assert max(sizes) <= 4000


def test_nothing_is_warned_of_and_nothing_is_nan() -> None:
    lot = np.random.default_rng(0)
    kinds = [
        [0.0] * 7,
        [0.1] * 3,
        [0.3, 0.1 + 0.2],  # equal but for rounding
        [1e300, 1e300],
        [0.0] * 30 + [1.0],
        [1.0] * 30 + [0.0],
        [0.0] * 5 + [1e-9],
        [1e9] * 5 + [1e9 + 1],
        [1.0, 2.0],
        [-5.0, 5.0],
        *lot.integers(0, 2, (40, 3)).astype(float).tolist(),
        *lot.normal(size=(20, 5)).tolist(),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in kinds:
            found = bootstrap(values, resamples=999)
            rounding = 1e-9 * max(map(abs, values))
            assert found.low - rounding <= found.mean <= found.high + rounding, values
            assert min(values) - rounding <= found.low and found.high <= max(values) + rounding
        assert str(bootstrap([])) == "" and str(bootstrap([2.0])) == "2.000"
        assert bootstrap([2.0]).low != bootstrap([2.0]).low, "one value has no spread to know"


def test_equal_differences_of_unequal_values_are_told_from_zero() -> None:
    ours = {str(n): 0.1 * n + 0.3 for n in range(9)}
    theirs = {str(n): 0.1 * n for n in range(9)}
    found = difference(ours, theirs)
    assert found.excludes_zero and found.low == pytest.approx(0.3)
    assert not difference(ours, ours).excludes_zero and difference(ours, ours).mean == 0
    assert difference(ours, {}).count == 0
