"""Cllr, minCllr, Brier score and reliability against scikit-learn, optimisation and hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from vultus import calibrate
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.likelihood import brier_score, cllr, min_cllr, reliability

comparisons = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({mated for _, mated in pairs}) == 2
)


def test_cllr_by_hand() -> None:
    assert cllr([0.0, 0.0, 0.0], [True, False, False]) == pytest.approx(1, abs=1e-12)
    assert cllr([math.log(3), -math.log(7)], [True, False]) == pytest.approx(
        (math.log2(4 / 3) + math.log2(8 / 7)) / 2, abs=1e-12
    )
    assert cllr([math.inf, -math.inf], [True, False]) == 0
    assert cllr([-math.inf, 0.0], [True, False]) == math.inf


def test_min_cllr_by_hand() -> None:
    assert min_cllr([0.9, 0.1], [True, False]) == 0
    assert min_cllr([0.1, 0.9], [True, False]) == pytest.approx(1, abs=1e-12)
    # blocks: n | m n | m, so half of each kind costs nothing and half costs one bit
    assert min_cllr([0.1, 0.2, 0.3, 0.4], [False, True, False, True]) == pytest.approx(0.5, abs=1e-12)


@settings(max_examples=100)
@given(comparisons)
def test_min_cllr_agrees_with_scikit_learns_isotonic_regression(pairs: list[tuple[int, bool]]) -> None:
    scores, mated = np.asarray([p[0] for p in pairs]), np.asarray([p[1] for p in pairs])
    weights = np.where(mated, 0.5 / mated.sum(), 0.5 / (~mated).sum())
    p = IsotonicRegression().fit_transform(scores, mated, sample_weight=weights)
    p = np.clip(p, 0, 1)
    with np.errstate(divide="ignore"):
        llr = np.log(p) - np.log1p(-p)
    assert min_cllr(scores, mated) == pytest.approx(cllr(llr, mated), abs=1e-9)


@settings(max_examples=50)
@given(comparisons, st.floats(0.1, 5), st.floats(-5, 5))
def test_no_calibration_that_keeps_the_order_costs_less(
    pairs: list[tuple[int, bool]], weight: float, bias: float
) -> None:
    scores, mated = np.asarray([p[0] for p in pairs]), np.asarray([p[1] for p in pairs])
    least = min_cllr(scores, mated)
    assert 0 <= least <= 1 + 1e-12
    assert least <= cllr(weight * scores + bias, mated) + 1e-12
    assert least == pytest.approx(min_cllr(np.exp(scores / 5), mated), abs=1e-12)


@pytest.mark.parametrize("fit", [calibrate.fit_logistic, calibrate.fit_isotonic], ids=["logistic", "isotonic"])
def test_a_fitted_calibration_costs_little_on_other_data(fit: object) -> None:
    assert callable(fit)
    rng = np.random.default_rng(0)
    mated = np.arange(40_000) % 4 == 0
    known, other = (rng.normal(mated * 3.0, 1) * 0.1 for _ in range(2))
    ratios = fit(known, mated).log_likelihood_ratio(other)
    assert 0 <= cllr(ratios, mated) - min_cllr(other, mated) <= 0.02
    assert cllr(other, mated) - min_cllr(other, mated) > 0.1


def test_brier_score_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    p, mated = rng.random(500), rng.random(500) < 0.5
    assert brier_score(p, mated) == pytest.approx(brier_score_loss(mated, p), abs=1e-12)
    assert brier_score([0.25, 1.0], [True, True]) == pytest.approx(0.28125, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_reliability_agrees_with_scikit_learn(bins: int) -> None:
    rng = np.random.default_rng(2)
    p, mated = rng.beta(0.5, 0.5, 500), rng.random(500) < 0.5
    observed, predicted = calibration_curve(mated, p, n_bins=bins)
    curve = reliability(p, mated, bins=bins)
    np.testing.assert_allclose(curve.predicted, predicted, atol=1e-12)
    np.testing.assert_allclose(curve.observed, observed, atol=1e-12)
    assert curve.counts.sum() == 500


def test_reliability_by_hand() -> None:
    curve = reliability([0.0, 0.5, 0.75, 1.0], [False, False, True, True], bins=2)
    np.testing.assert_allclose(curve.predicted, [0, 0.75], atol=1e-12)
    np.testing.assert_allclose(curve.observed, [0, 2 / 3], atol=1e-12)
    assert curve.counts.tolist() == [1, 3]
    assert curve.expected_error == pytest.approx(3 / 4 * (0.75 - 2 / 3), abs=1e-12)
    assert len(reliability([0.05, 0.95], [False, True]).counts) == 2  # empty bins are left out


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadArgument, match="NaN"):
        cllr([math.nan, 0.0], [True, False])
    with pytest.raises(TooFewComparisons):
        cllr([0.0, 0.0], [True, True])
    with pytest.raises(TooFewComparisons):
        min_cllr([0.0, 0.0], [False, False])
    for bad in ([1.5], [math.nan], [[0.5]]):
        with pytest.raises(BadArgument):
            brier_score(bad, [True])
    with pytest.raises(TooFewComparisons):
        brier_score([], [])
    with pytest.raises(BadArgument, match="bins"):
        reliability([0.5], [True], bins=0)
