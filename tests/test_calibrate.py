"""Thresholds and likelihood ratios against brute force, scikit-learn and hand-worked values."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from vultus import calibrate
from vultus.calibrate.thresholds import allowed_errors, threshold_between
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import BoolArray, Float64Array

RNG = np.random.default_rng


def gaussian_scores(n_mated: int, n_non_mated: int, *, gap: float, seed: int) -> tuple[Float64Array, BoolArray]:
    """Unit-variance normal scores about +gap/2 and -gap/2: their exact log likelihood ratio is gap * score."""
    rng = RNG(seed)
    scores = np.concatenate([rng.normal(gap / 2, 1, n_mated), rng.normal(-gap / 2, 1, n_non_mated)])
    return scores, np.arange(len(scores)) < n_mated


# --- the rule of 30 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "needed"),
    [(1.0, 30), (0.5, 60), (1e-2, 3_000), (1e-3, 30_000), (1e-4, 300_000), (1e-5, 3_000_000), (1e-7, 300_000_000)],
)
def test_required_comparisons(rate: float, needed: int) -> None:
    assert calibrate.required_comparisons(rate) == needed
    assert calibrate.supports(rate, needed)
    assert not calibrate.supports(rate, needed - 1)


def test_required_comparisons_of_decimal_rates_are_exact() -> None:
    for digits in range(1, 999):
        rate = digits / 1e5
        assert calibrate.required_comparisons(rate) == math.ceil(Fraction(30 * 100_000, digits))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, math.nan])
def test_rates_outside_the_unit_interval_are_refused(rate: float) -> None:
    with pytest.raises(BadArgument, match=r"\(0, 1\]"):
        calibrate.required_comparisons(rate)


def test_refusal_names_the_number_of_comparisons() -> None:
    with pytest.raises(TooFewComparisons, match=r"3,000 comparisons .* needs 300,000,000"):
        calibrate.require_support(1e-7, 3_000)
    with pytest.raises(TooFewComparisons, match="7 searches"):
        calibrate.require_support(0.5, 7, what="searches")


@given(st.integers(1, 10_000), st.floats(1e-6, 1))
def test_allowed_errors_is_the_largest_count_within_the_rate(trials: int, rate: float) -> None:
    k = allowed_errors(rate, trials)
    assert k / trials <= rate
    assert k == trials or (k + 1) / trials > rate


# --- thresholds -------------------------------------------------------------------------------------------------------


def test_threshold_at_fmr_by_hand() -> None:
    scores = np.arange(100) / 128  # exact in binary; three of a hundred may match: 97, 98 and 99
    t = calibrate.threshold_at_fmr(scores, fmr=0.3)
    assert t == (69 / 128 + 70 / 128) / 2
    assert np.mean(scores >= t) == 0.3


@settings(max_examples=200)
@given(
    st.lists(st.integers(-20, 20), min_size=60, max_size=200),
    st.floats(0.5, 0.999),
    st.booleans(),
)
def test_threshold_at_fmr_is_the_lowest_of_brute_force(ranks: list[int], fmr: float, single: bool) -> None:
    scores = np.asarray(ranks) / 21
    if single:
        scores = scores.astype(np.float32).astype(np.float64)
    t = calibrate.threshold_at_fmr(scores, fmr=fmr)
    assert np.mean(scores >= t) <= fmr
    lower = scores[scores < t].max()
    assert np.mean(scores >= lower) > fmr


def test_threshold_at_fmr_keeps_tied_scores_together() -> None:
    scores = np.repeat([0.1, 0.2, 0.3], 20)
    assert calibrate.threshold_at_fmr(scores, fmr=0.5) == pytest.approx(0.25)
    assert calibrate.threshold_at_fmr(np.full(60, 0.5), fmr=0.5) == pytest.approx(0.5, abs=1e-7)
    assert calibrate.threshold_at_fmr(np.full(60, 0.5), fmr=0.5) > 0.5


def test_threshold_at_fmr_of_one_lets_everything_match() -> None:
    assert calibrate.threshold_at_fmr(np.zeros(30), fmr=1.0) == -math.inf


def test_threshold_stands_between_neighbouring_float32() -> None:
    low = np.float32(0.5)
    for _ in range(50):
        high = np.nextafter(low, np.float32(1))
        t = threshold_between(float(low), float(high))
        single = np.asarray([low, high])
        assert (single >= t).tolist() == [False, True]
        assert (single.astype(np.float64) >= t).tolist() == [False, True]
        low = high


def test_threshold_stands_between_neighbouring_float64() -> None:
    assert threshold_between(0.3, math.nextafter(0.3, 1)) == math.nextafter(0.3, 1)
    assert 0.3 < threshold_between(0.3, math.inf) < 0.3 + 1e-6
    assert -math.inf < threshold_between(-math.inf, -1.0) <= -1.0


def test_failed_comparisons_count_as_scores_that_never_match() -> None:
    scores = np.concatenate([np.full(50, -np.inf), np.linspace(0, 1, 50)])
    t = calibrate.threshold_at_fmr(scores, fmr=0.5)
    assert np.mean(scores >= t) == 0.5
    assert math.isfinite(t)


def test_threshold_at_fmr_refuses_what_the_data_cannot_support() -> None:
    with pytest.raises(TooFewComparisons, match=r"3,000 non-mated comparisons .* needs 30,000"):
        calibrate.threshold_at_fmr(np.linspace(0, 1, 3_000), fmr=1e-3)
    assert calibrate.threshold_at_fmr(np.linspace(0, 1, 3_000), fmr=1e-2) > 0.98


@pytest.mark.parametrize(
    "scores",
    [np.full(60, np.nan), np.zeros((60, 1)), ["a"] * 60, np.full(60, np.inf)],
    ids=["nan", "shape", "text", "infinite"],
)
def test_bad_scores_are_refused(scores: object) -> None:
    with pytest.raises(BadArgument):
        calibrate.threshold_at_fmr(scores, fmr=0.5)  # type: ignore[arg-type]


def test_arguments_are_not_written_to() -> None:
    scores, mated = gaussian_scores(200, 300, gap=2, seed=0)
    before = scores.copy(), mated.copy()
    calibrate.threshold_at_fmr(scores, fmr=0.5)
    calibrate.fit_logistic(scores, mated)
    calibrate.fit_isotonic(scores, mated)
    assert np.array_equal(scores, before[0])
    assert np.array_equal(mated, before[1])


# --- logistic ---------------------------------------------------------------------------------------------------------


def test_fit_logistic_agrees_with_scikit_learn() -> None:
    scores, mated = gaussian_scores(300, 2_000, gap=2, seed=1)
    weights = np.where(mated, 0.5 / 300, 0.5 / 2_000)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1_000).fit(scores[:, None], mated, weights * 2_300)
    fit = calibrate.fit_logistic(scores, mated)
    assert fit.weight == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert fit.bias == pytest.approx(oracle.intercept_[0], rel=1e-4, abs=1e-4)


def test_fit_logistic_finds_the_true_likelihood_ratio() -> None:
    scores, mated = gaussian_scores(20_000, 60_000, gap=2, seed=2)
    fit = calibrate.fit_logistic(scores, mated)
    assert fit.weight == pytest.approx(2, rel=0.03)
    assert fit.threshold == pytest.approx(0, abs=0.03)


def test_prior_acts_and_leaves_the_likelihood_ratio_in_place() -> None:
    scores, mated = gaussian_scores(20_000, 60_000, gap=2, seed=3)
    even, rare = (calibrate.fit_logistic(scores, mated, prior=p) for p in (0.5, 0.01))
    assert rare.weight != even.weight
    assert rare.weight == pytest.approx(2, rel=0.06)  # a well-specified model has one answer for every prior
    assert rare.bias == pytest.approx(0, abs=0.15)


def test_prior_beyond_the_unit_interval_is_refused() -> None:
    for prior in (0.0, 1.0, math.nan):
        with pytest.raises(BadArgument, match="prior"):
            calibrate.fit_logistic([0.0, 1.0], [False, True], prior=prior)


def test_fit_logistic_ignores_shift_scale_and_share_of_classes() -> None:
    scores, mated = gaussian_scores(500, 700, gap=2, seed=4)
    fit = calibrate.fit_logistic(scores, mated)
    moved = calibrate.fit_logistic(scores * 0.01 + 30, mated)
    twice = calibrate.fit_logistic(np.concatenate([scores, scores[mated]]), np.concatenate([mated, mated[mated]]))
    expected = fit.log_likelihood_ratio(scores)
    np.testing.assert_allclose(moved.log_likelihood_ratio(scores * 0.01 + 30), expected, atol=1e-6)
    np.testing.assert_allclose(twice.log_likelihood_ratio(scores), expected, atol=1e-6)


def test_separable_scores_keep_a_finite_weight() -> None:
    fit = calibrate.fit_logistic([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert 0.2 < fit.threshold < 0.8
    assert math.isfinite(fit.weight)
    assert fit.log_likelihood_ratio([0.9])[0] > 5


def test_threshold_is_where_the_likelihood_ratio_is_one() -> None:
    fit = calibrate.LogisticCalibration(weight=20.0, bias=-7.0)
    assert fit.threshold == 0.35
    assert fit.log_likelihood_ratio(0.35) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(fit.log10_likelihood_ratio([[0.5]]), [[3 / math.log(10)]])


def test_scores_in_the_wrong_direction_are_refused() -> None:
    with pytest.raises(BadArgument, match="higher"):
        calibrate.fit_logistic([0.9, 0.8, 0.3, 0.1], [False, True, False, True])
    with pytest.raises(BadArgument, match="differ"):
        calibrate.fit_logistic([0.5, 0.5], [False, True])


@pytest.mark.parametrize("fit", [calibrate.fit_logistic, calibrate.fit_isotonic], ids=["logistic", "isotonic"])
def test_fits_refuse_bad_comparisons(fit: object) -> None:
    assert callable(fit)
    with pytest.raises(TooFewComparisons, match="2 mated and 0 non-mated"):
        fit([0.1, 0.2], [True, True])
    with pytest.raises(TooFewComparisons, match="empty"):
        fit([], [])
    with pytest.raises(BadArgument, match="expected the same"):
        fit([0.1, 0.2], [True])
    with pytest.raises(BadArgument, match="NaN"):
        fit([0.1, np.nan], [True, False])
    with pytest.raises(BadArgument, match="-inf"):
        fit([0.1, -np.inf], [True, False])
    with pytest.raises(BadArgument, match="True and False"):
        fit([0.1, 0.2], [7, 8])


# --- isotonic ---------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=60))
def test_pool_adjacent_violators_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    values, weights = np.asarray(pairs, dtype=np.float64).T
    starts = calibrate.pool_adjacent_violators(values * weights, weights)
    means = np.add.reduceat(values * weights, starts) / np.add.reduceat(weights, starts)
    fitted = np.repeat(means, np.diff(np.append(starts, len(values))))
    oracle = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(fitted, oracle, atol=1e-12)
    assert (np.diff(means) > 0).all()


def test_pooling_a_staircase_that_falls_at_its_end() -> None:
    values = np.append(np.arange(1.0, 2_001), -1e9)  # each round of pooling could take one step only
    assert calibrate.pool_adjacent_violators(values, np.ones(2_001)).tolist() == [0]


def test_pooling_refuses_weights_that_are_not_positive() -> None:
    with pytest.raises(BadArgument, match="above 0"):
        calibrate.pool_adjacent_violators([1.0, 2.0], [1.0, 0.0])


def test_fit_isotonic_by_hand() -> None:
    # 0.1 n | 0.2 m, 0.3 n | 0.4 m; with one of each added at both ends: 1/3, 1/2, 2/3, and 4 of 8 are mated.
    fit = calibrate.fit_isotonic([0.3, 0.1, 0.2, 0.4], [False, False, True, True])
    assert fit.thresholds.tolist() == [0.1, 0.2, 0.4]
    np.testing.assert_allclose(fit.values, [-math.log(2), 0, math.log(2)], atol=1e-12)
    assert fit.threshold == 0.2
    ratios = fit.log_likelihood_ratio([-1.0, 0.15, 0.25, 9.0])
    np.testing.assert_allclose(ratios, [-math.log(2), -math.log(2), 0, math.log(2)], atol=1e-12)
    np.testing.assert_allclose(fit.log10_likelihood_ratio(ratios * 0 + 9.0), [math.log10(2)] * 4)


def test_tied_scores_share_one_likelihood_ratio() -> None:
    fit = calibrate.fit_isotonic([0.5, 0.5, 0.5, 0.5], [True, False, True, False])
    assert fit.thresholds.tolist() == [0.5]
    np.testing.assert_allclose(fit.values, [0], atol=1e-12)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=80))
def test_isotonic_ratios_are_finite_and_never_fall(pairs: list[tuple[int, bool]]) -> None:
    scores, mated = np.asarray([p[0] for p in pairs]) / 7, np.asarray([p[1] for p in pairs])
    if mated.all() or not mated.any():
        with pytest.raises(TooFewComparisons):
            calibrate.fit_isotonic(scores, mated)
        return
    fit = calibrate.fit_isotonic(scores, mated)
    assert np.isfinite(fit.values).all()
    assert (np.diff(fit.values) > 0).all()
    assert np.isin(fit.thresholds, scores).all()
    assert len(np.unique(fit.thresholds)) == len(fit.thresholds)


def test_isotonic_finds_the_true_likelihood_ratio() -> None:
    scores, mated = gaussian_scores(50_000, 100_000, gap=2, seed=5)
    fit = calibrate.fit_isotonic(scores, mated)
    grid = np.linspace(-1.5, 1.5, 31)
    np.testing.assert_allclose(fit.log_likelihood_ratio(grid), 2 * grid, atol=0.3)


def test_isotonic_without_a_step_above_one_has_no_finite_threshold() -> None:
    fit = calibrate.IsotonicCalibration(np.asarray([0.1, 0.2]), np.asarray([-2.0, -1.0]))
    assert fit.threshold == math.inf


@pytest.mark.parametrize(
    ("thresholds", "values"),
    [([], []), ([0.1], [0.0, 1.0]), ([0.2, 0.1], [0.0, 1.0]), ([0.1, 0.2], [1.0, 0.0]), ([0.1], [np.inf])],
    ids=["empty", "lengths", "thresholds", "values", "infinite"],
)
def test_isotonic_refuses_steps_that_do_not_fit(thresholds: list[float], values: list[float]) -> None:
    with pytest.raises(BadArgument):
        calibrate.IsotonicCalibration(np.asarray(thresholds), np.asarray(values))


# --- plain data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", [calibrate.fit_logistic, calibrate.fit_isotonic], ids=["logistic", "isotonic"])
def test_a_calibration_survives_plain_data(fit: object) -> None:
    assert callable(fit)
    scores, mated = gaussian_scores(50, 60, gap=2, seed=6)
    first: calibrate.Calibration = fit(scores, mated)
    again: calibrate.Calibration = calibrate.calibration_from_dict(json.loads(json.dumps(first.to_dict())))
    assert type(again) is type(first)
    assert again.threshold == first.threshold
    assert np.array_equal(again.log_likelihood_ratio(scores), first.log_likelihood_ratio(scores))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "kind None"),
        ({"kind": "linear"}, "logistic, isotonic"),
        ({"kind": "logistic", "weight": 1.0}, "lacks bias"),
        ({"kind": "logistic", "weight": 1.0, "bias": 0.0, "biass": 1.0}, "did you mean 'bias'"),
        ({"kind": "logistic", "weight": "x", "bias": 0.0}, "not numbers"),
        ({"kind": "logistic", "weight": -1.0, "bias": 0.0}, "above 0"),
        ({"kind": "isotonic", "thresholds": [0.1], "values": None}, "expected"),
    ],
)
def test_bad_plain_data_is_refused(entry: dict[str, object], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        calibrate.calibration_from_dict(entry)
