"""Intervals for independent trials against scipy, hand-worked values and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest
from scipy.stats import t as student

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate import intervals
from vultus.evaluate.intervals import Interval

counts = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=200)
@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_agrees_with_scipy(count: tuple[int, int], level: float) -> None:
    ours = intervals.wilson(*count, level=level)
    oracle = binomtest(*count).proportion_ci(level, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert ours.level == level


@settings(max_examples=200)
@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_clopper_pearson_agrees_with_scipy(count: tuple[int, int], level: float) -> None:
    ours = intervals.clopper_pearson(*count, level=level)
    oracle = binomtest(*count).proportion_ci(level, method="exact")
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=1e-10)


@pytest.mark.parametrize(("errors", "trials"), [(1, 9_161_340), (92, 9_161_340), (91_613, 9_161_340), (3, 6_000)])
def test_clopper_pearson_of_millions_of_trials(errors: int, trials: int) -> None:
    ours = intervals.clopper_pearson(errors, trials)
    assert ours.low == pytest.approx(beta.ppf(0.025, errors, trials - errors + 1), rel=1e-6)
    assert ours.high == pytest.approx(beta.ppf(0.975, errors + 1, trials - errors), rel=1e-6)


@settings(max_examples=200)
@given(st.floats(1e-6, 1 - 1e-6), st.floats(1, 2_000), st.floats(1, 2_000))
def test_beta_cdf_agrees_with_scipy(x: float, a: float, b: float) -> None:
    assert intervals.beta_cdf(x, a, b) == pytest.approx(beta.cdf(x, a, b), abs=1e-11)


@pytest.mark.parametrize("df", [1, 2, 4, 7.5, 30, 1_000, 1e6])
def test_student_quantile_agrees_with_scipy(df: float) -> None:
    for tail in (0.25, 0.025, 0.0005):
        assert intervals.student_quantile(tail, df) == pytest.approx(student.isf(tail, df), rel=1e-8)


def test_intervals_by_hand() -> None:
    z = 1.959963984540054
    wilson = intervals.wilson(0, 10)
    assert (wilson.low, wilson.high) == pytest.approx((0, z * z / (10 + z * z)), abs=1e-12)
    exact = intervals.clopper_pearson(0, 10)
    assert (exact.low, exact.high) == pytest.approx((0, 1 - 0.025 ** (1 / 10)), abs=1e-12)
    assert intervals.clopper_pearson(10, 10).low == pytest.approx(0.025 ** (1 / 10), abs=1e-12)


def test_no_error_gives_three_over_n() -> None:
    assert intervals.rule_of_three(3_000) == Interval(0.0, 1e-3, 0.95, "rule of three")
    assert intervals.rate_interval(0, 600) == Interval(0.0, 0.005, 0.95, "rule of three")
    assert intervals.rate_interval(600, 600) == Interval(0.995, 1.0, 0.95, "rule of three")
    assert intervals.rule_of_three(2).high == 1.0
    assert intervals.rule_of_three(100, level=0.99).high == pytest.approx(-math.log(0.01) / 100)
    assert intervals.rate_interval(5, 600) == intervals.wilson(5, 600)


@given(counts)
def test_intervals_hold_the_measured_rate_and_lie_within_the_exact_one_about(count: tuple[int, int]) -> None:
    rate = count[0] / count[1]
    for function in (intervals.wilson, intervals.clopper_pearson, intervals.rate_interval):
        interval = function(*count)
        assert rate in interval
        assert 0 <= interval.low < interval.high <= 1
        assert interval.high > 0
        assert rate in function(*count, level=0.5)
        assert function(*count, level=0.5).high <= interval.high


@pytest.mark.parametrize("trials", [100, 1_000])
def test_coverage_of_independent_trials(trials: int) -> None:
    """Exact coverage, averaged over rates: Wilson holds 95 % on average, Clopper-Pearson at least 95 % everywhere."""
    rates = np.linspace(0.02, 0.5, 193)
    chance = binom.pmf(np.arange(trials + 1)[:, None], trials, rates)
    covered = {}
    for function in (intervals.wilson, intervals.clopper_pearson):
        bounds = [function(k, trials) for k in range(trials + 1)]
        low, high = np.asarray([b.low for b in bounds]), np.asarray([b.high for b in bounds])
        covered[function] = (chance * ((low[:, None] <= rates) & (rates <= high[:, None]))).sum(axis=0)
    assert 0.945 < covered[intervals.wilson].mean() < 0.955
    assert covered[intervals.clopper_pearson].min() >= 0.95 - 1e-9
    assert covered[intervals.clopper_pearson].mean() < 0.98


def test_bad_counts_are_refused() -> None:
    for function in (intervals.wilson, intervals.clopper_pearson, intervals.rate_interval):
        with pytest.raises(TooFewComparisons):
            function(0, 0)
        with pytest.raises(BadArgument, match="between 0 and 4"):
            function(5, 4)
        with pytest.raises(BadArgument, match="level"):
            function(1, 4, level=95.0)
    with pytest.raises(BadArgument, match="level"):
        intervals.rule_of_three(4, level=0.0)


def test_support_is_published_here_as_well() -> None:
    assert intervals.required_comparisons(1e-7) == 300_000_000
    assert not intervals.supports(1e-3, 3_000)
    with pytest.raises(TooFewComparisons, match="30,000"):
        intervals.require_support(1e-3, 3_000)
