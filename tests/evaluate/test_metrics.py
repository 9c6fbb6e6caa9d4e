"""Verification rates and curves against scikit-learn, brute force and hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

from vultus import calibrate
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate import metrics
from vultus.types import BoolArray, Float64Array

# Two mated scores below the best non-mated one; 0.6 occurs on both sides.
SCORES = np.asarray([0.9, 0.8, 0.6, 0.3, 0.7, 0.6, 0.2, 0.1, 0.0])
MATED = np.asarray([1, 1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)


def tied_scores(seed: int, n: int = 400) -> tuple[Float64Array, BoolArray]:
    """Scores on a coarse grid, so that many tie, of both kinds of comparisons."""
    rng = np.random.default_rng(seed)
    mated = rng.random(n) < 0.4
    return np.round(rng.normal(mated * 1.0, 1.0), 1), mated


comparisons = st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({mated for _, mated in pairs}) == 2
)


def as_arrays(pairs: list[tuple[int, bool]]) -> tuple[Float64Array, BoolArray]:
    return np.asarray([p[0] for p in pairs]) / 10, np.asarray([p[1] for p in pairs])


# --- curves -----------------------------------------------------------------------------------------------------------


def test_roc_by_hand() -> None:
    curve = metrics.roc(SCORES, MATED)
    assert curve.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.1, 0.0]
    assert curve.false_matches.tolist() == [0, 0, 0, 1, 2, 2, 3, 4, 5]
    assert curve.false_non_matches.tolist() == [4, 3, 2, 2, 1, 0, 0, 0, 0]
    assert (curve.n_mated, curve.n_non_mated) == (4, 5)


@pytest.mark.parametrize("seed", range(3))
def test_roc_agrees_with_scikit_learn(seed: int) -> None:
    scores, mated = tied_scores(seed)
    fpr, tpr, thresholds = roc_curve(mated, scores, drop_intermediate=False)
    curve = metrics.roc(scores, mated)
    np.testing.assert_allclose(curve.thresholds, thresholds, atol=1e-12)
    np.testing.assert_allclose(curve.fmr, fpr, atol=1e-12)
    np.testing.assert_allclose(1 - curve.fnmr, tpr, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_det_agrees_with_scikit_learn(seed: int) -> None:
    scores, mated = tied_scores(seed)
    fpr, fnr, thresholds = det_curve(mated, scores)
    points = {(t, f, m) for t, f, m in zip(thresholds, fpr, fnr, strict=True) if math.isfinite(t)}
    curve = metrics.roc(scores, mated)
    ours = set(zip(curve.thresholds.tolist(), curve.fmr.tolist(), curve.fnmr.tolist(), strict=True))
    assert points <= {(t, f, m) for t, f, m in ours}
    assert len(points) > 20


def test_det_points_are_probits_of_inner_corners() -> None:
    curve = metrics.roc(SCORES, MATED)
    expected = norm.ppf([[1 / 5, 1 / 2], [2 / 5, 1 / 4]])
    np.testing.assert_allclose(metrics.det_points(curve), expected, atol=1e-9)


def test_probit_agrees_with_scipy_and_has_infinite_ends() -> None:
    rates = np.asarray([[0.0, 1e-9, 0.2], [0.5, 0.999, 1.0]])
    np.testing.assert_allclose(metrics.probit(rates), norm.ppf(rates), atol=1e-9)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(BadArgument):
            metrics.probit([bad])


@settings(max_examples=100)
@given(comparisons)
def test_corners_keep_the_curve(pairs: list[tuple[int, bool]]) -> None:
    curve = metrics.roc(*as_arrays(pairs))
    corners = curve.corners()
    assert len(corners.thresholds) <= len(curve.thresholds)
    assert corners.auc() == pytest.approx(curve.auc(), abs=1e-12)
    assert corners.eer() == pytest.approx(curve.eer(), abs=1e-12)


@settings(max_examples=100)
@given(comparisons)
def test_rates_are_monotone_in_the_threshold_and_agree_with_brute_force(pairs: list[tuple[int, bool]]) -> None:
    scores, mated = as_arrays(pairs)
    curve = metrics.roc(scores, mated)
    assert (np.diff(curve.thresholds[1:]) < 0).all()
    assert (np.diff(curve.fmr) >= 0).all()
    assert (np.diff(curve.fnmr) <= 0).all()
    for t, false_match, miss in zip(curve.thresholds, curve.fmr, curve.fnmr, strict=True):
        assert false_match == np.mean(scores[~mated] >= t) == metrics.fmr(scores[~mated], threshold=t)
        assert miss == np.mean(scores[mated] < t) == metrics.fnmr(scores[mated], threshold=t)


@settings(max_examples=50)
@given(comparisons, st.floats(-1, 1), st.floats(-1, 1))
def test_fmr_never_rises_with_the_threshold(pairs: list[tuple[int, bool]], one: float, other: float) -> None:
    scores, mated = as_arrays(pairs)
    low, high = sorted([one, other])
    assert metrics.fmr(scores[~mated], threshold=low) >= metrics.fmr(scores[~mated], threshold=high)
    assert metrics.fnmr(scores[mated], threshold=low) <= metrics.fnmr(scores[mated], threshold=high)


# --- one figure -------------------------------------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    # FMR, FNMR pass through (1/5, 1/2) and (2/5, 1/4): they meet at 1/5 + 1/5 * (3/10) / (3/10 + 3/20).
    assert metrics.eer(SCORES, MATED) == pytest.approx(1 / 3, abs=1e-12)
    # of 20 pairs of scores: 0.9 and 0.8 win 5 each, 0.6 wins 3 and ties 1, 0.3 wins 3
    assert metrics.auc(SCORES, MATED) == pytest.approx(16.5 / 20, abs=1e-12)
    point = metrics.at_threshold(SCORES, MATED, threshold=0.6)
    assert (point.fmr, point.fnmr) == (0.4, 0.25)
    assert (point.false_matches, point.false_non_matches) == (2, 1)


@pytest.mark.parametrize("seed", range(5))
def test_auc_and_eer_agree_with_scikit_learn(seed: int) -> None:
    scores, mated = tied_scores(seed)
    assert metrics.auc(scores, mated) == pytest.approx(roc_auc_score(mated, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(mated, scores, drop_intermediate=False)
    rate = metrics.eer(scores, mated)
    gap = np.interp(rate, fpr, 1 - tpr) - rate
    assert gap == pytest.approx(0, abs=1e-12)


@settings(max_examples=50)
@given(comparisons)
def test_eer_lies_between_neighbouring_points(pairs: list[tuple[int, bool]]) -> None:
    curve = metrics.roc(*as_arrays(pairs))
    worst = np.maximum(curve.fmr, curve.fnmr).min()
    best = np.minimum(curve.fmr, curve.fnmr).max()
    assert best - 1e-12 <= curve.eer() <= worst + 1e-12


def test_random_scores_are_right_half_of_the_time() -> None:
    rng = np.random.default_rng(0)
    scores, mated = rng.random(40_000), rng.random(40_000) < 0.5
    assert metrics.eer(scores, mated) == pytest.approx(0.5, abs=0.01)
    assert metrics.auc(scores, mated) == pytest.approx(0.5, abs=0.01)


@given(st.integers(1, 40), st.integers(1, 40))
def test_perfect_scores_make_no_error(n_mated: int, n_non_mated: int) -> None:
    scores = np.concatenate([np.linspace(0.6, 0.9, n_mated), np.linspace(-0.2, 0.4, n_non_mated)])
    mated = np.arange(len(scores)) < n_mated
    assert metrics.eer(scores, mated) == 0
    assert metrics.auc(scores, mated) == 1


def test_scores_upside_down_are_always_wrong() -> None:
    assert metrics.eer([0.1, 0.9], [True, False]) == 1
    assert metrics.auc([0.1, 0.9], [True, False]) == 0


# --- FNMR at an FMR ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.123, 0.3, 0.9, 1.0])
def test_fnmr_at_fmr_agrees_with_brute_force(rate: float) -> None:
    scores, mated = tied_scores(7, n=3_000)
    point = metrics.fnmr_at_fmr(scores, mated, fmr=rate)
    possible = [(np.mean(scores[mated] < t), t) for t in np.unique(scores) if np.mean(scores[~mated] >= t) <= rate]
    assert point.fnmr == min(possible)[0]
    assert point.fmr == np.mean(scores[~mated] >= point.threshold) <= rate
    assert point.fnmr == np.mean(scores[mated] < point.threshold)
    assert (point.n_mated, point.n_non_mated) == (int(mated.sum()), int((~mated).sum()))


def test_fnmr_at_fmr_and_threshold_at_fmr_make_the_same_false_matches() -> None:
    rng = np.random.default_rng(8)
    scores, mated = rng.normal(size=5_000), np.arange(5_000) < 100
    point = metrics.fnmr_at_fmr(scores, mated, fmr=0.01)
    threshold = calibrate.threshold_at_fmr(scores[~mated], fmr=0.01)
    assert metrics.fmr(scores[~mated], threshold=threshold) == point.fmr == 49 / 4_900
    assert point.threshold <= threshold


def test_fnmr_at_fmr_refuses_what_the_data_cannot_support() -> None:
    scores, mated = np.linspace(0, 1, 6_000), np.arange(6_000) < 3_000
    with pytest.raises(TooFewComparisons, match="needs 30,000"):
        metrics.fnmr_at_fmr(scores, mated, fmr=1e-3)
    assert metrics.fnmr_at_fmr(scores, mated, fmr=1e-2).fmr == 0.01


def test_fnmr_at_fmr_where_the_best_scores_tie() -> None:
    point = metrics.fnmr_at_fmr(np.full(61, 0.5), np.arange(61) < 1, fmr=0.5)
    assert (point.fmr, point.fnmr) == (0, 1)
    assert point.threshold > 0.5


def test_failed_comparisons_stay_in_the_denominators() -> None:
    scores = np.concatenate([SCORES, [-np.inf, -np.inf]])
    mated = np.concatenate([MATED, [True, False]])
    curve = metrics.roc(scores, mated)
    assert (curve.n_mated, curve.n_non_mated) == (5, 6)
    assert metrics.at_threshold(scores, mated, threshold=0.6).fnmr == 0.4


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [metrics.roc, metrics.eer, metrics.auc])
def test_bad_comparisons_are_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(BadArgument, match="NaN"):
        function([0.1, np.nan], [True, False])
    with pytest.raises(BadArgument, match="expected the same"):
        function([0.1, 0.2], [True])
    with pytest.raises(TooFewComparisons, match="0 mated and 2 non-mated"):
        function([0.1, 0.2], [False, False])
    with pytest.raises(TooFewComparisons, match="empty"):
        function([], [])


def test_a_threshold_that_is_nan_is_refused() -> None:
    with pytest.raises(BadArgument, match="NaN"):
        metrics.fmr([0.1], threshold=math.nan)
    with pytest.raises(BadArgument, match="NaN"):
        metrics.fnmr([0.1], threshold=math.nan)
