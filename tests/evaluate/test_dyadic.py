"""Dyadic intervals against sums over couples of comparisons, equal forms, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.dyadic import dyadic_interval, dyadic_interval_all_pairs
from vultus.evaluate.intervals import Interval, score_bounds, student_quantile, wilson


def test_the_variance_is_the_sum_over_couples_that_share_a_subject() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 12, (2, 90))
    second = np.where(rng.random(90) < 0.3, first, second)
    hard = rng.random(12) < 0.3
    errors = rng.random(90) < 0.1 + 0.4 * (hard[first] | hard[second])
    p = errors.mean()
    residual = errors - p
    variance = 0.0
    for k in range(90):
        for m in range(90):
            if {first[k], second[k]} & {first[m], second[m]}:
                variance += residual[k] * residual[m] / 90**2
    assert variance > p * (1 - p) / 90
    sums = np.asarray([residual[(first == s) | (second == s)].sum() for s in range(12)])
    t = student_quantile(0.025, max(4.0, (sums**2).sum() ** 2 / (sums**4).sum()))
    interval = dyadic_interval(first, second, errors)
    expected = score_bounds(float(p), float(p * (1 - p) / variance), t)
    np.testing.assert_allclose([interval.low, interval.high], expected, rtol=1e-9)


def test_listing_all_pairs_and_listing_the_errors_agree() -> None:
    rng = np.random.default_rng(1)
    owner = np.concatenate([np.arange(20), rng.integers(0, 20, 25)])
    i, j = np.triu_indices(len(owner), 1)
    apart = owner[i] != owner[j]
    first, second = owner[i[apart]], owner[j[apart]]
    errors = rng.random(len(first)) < 0.1
    listed = dyadic_interval(first, second, errors)
    sparse = dyadic_interval_all_pairs(first[errors], second[errors], samples=np.bincount(owner))
    np.testing.assert_allclose([listed.low, listed.high], [sparse.low, sparse.high], rtol=1e-9)


def test_independent_errors_of_many_subjects_come_near_wilsons_interval() -> None:
    rng = np.random.default_rng(2)
    first, second = np.triu_indices(400, 1)
    errors = rng.random(len(first)) < 0.01
    ours, independent = dyadic_interval(first, second, errors), wilson(int(errors.sum()), len(errors))
    assert ours.high - ours.low == pytest.approx(independent.high - independent.low, rel=0.1)


def test_level_acts() -> None:
    pairs = np.arange(60), np.arange(60) + 1
    errors = np.arange(60) % 7 == 0
    wide, narrow = (dyadic_interval(*pairs, errors, level=level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(BadArgument, match="level"):
        dyadic_interval(*pairs, errors, level=2.0)


def test_no_error_gives_three_over_n() -> None:
    ones = np.ones(25, dtype=int)
    assert dyadic_interval_all_pairs([], [], samples=ones) == Interval(0.0, 3 / 300, 0.95, "rule of three")
    assert dyadic_interval([0, 1], [1, 2], [True, True]).high == 1.0
    one = dyadic_interval_all_pairs([3], [7], samples=ones)
    assert 0 < one.low < 1 / 300 < one.high < 0.05


def test_bad_pairs_are_refused() -> None:
    with pytest.raises(TooFewComparisons):
        dyadic_interval(["a"], ["a"], [True])
    with pytest.raises(BadArgument):
        dyadic_interval_all_pairs([1], [1], samples=[1, 1])


@pytest.mark.parametrize("shared", [0.0, 0.1, 0.5], ids=["chance", "some", "subjects"])
def test_coverage_whatever_makes_the_errors(shared: float) -> None:
    rng = np.random.default_rng(3)
    first, second = np.triu_indices(100, 1)
    ones = np.ones(100, dtype=int)
    threshold = norm.isf(0.02)
    held = []
    for _ in range(600):
        alike = rng.normal(size=100)
        score = np.sqrt(shared / 2) * (alike[first] + alike[second])
        score += np.sqrt(1 - shared) * rng.normal(size=len(first))
        wrong = score > threshold
        held.append(0.02 in dyadic_interval_all_pairs(first[wrong], second[wrong], samples=ones))
    assert 0.93 <= np.mean(held) <= 0.97
