"""Replicates of whole curves against the bootstrap of single figures, which draws the same subjects."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import TooFewComparisons
from vultus.evaluate import (
    Tail,
    all_pairs_tail,
    auc,
    bootstrap_fnmr_at_fmr,
    bootstrap_metric,
    bootstrap_subjects,
    eer,
    fnmr_at_fmr,
    roc,
)
from vultus.evaluate.resampled import (
    Drawn,
    fnmr_along,
    fnmr_along_tail,
    interval_of,
    resample_accuracy,
    resample_curve,
    resample_tail,
)
from vultus.types import BoolArray, Float64Array, IntArray

SUBJECTS = 40


def comparisons(seed: int = 0, *, n: int = 600) -> tuple[Float64Array, BoolArray, IntArray, IntArray]:
    """Scores with ties, a few of them failed, of comparisons in which every subject takes part."""
    rng = np.random.default_rng(seed)
    first = np.concatenate([np.arange(SUBJECTS), rng.integers(0, SUBJECTS, n)])
    second = (first + rng.integers(1, SUBJECTS, len(first))) % SUBJECTS
    mated = rng.random(len(first)) < 0.4
    second[mated] = first[mated]
    scores = np.round(rng.normal(np.where(mated, 1.0, 0.0)), 1)
    scores[rng.random(len(first)) < 0.02] = -np.inf
    return scores, mated, first, second


def test_curve_without_draws_is_that_of_the_roc() -> None:
    scores, mated, *_ = comparisons()
    rates = np.array([0.1, 0.2, 0.5])
    expected = [fnmr_at_fmr(scores, mated, fmr=r).fnmr for r in rates]
    np.testing.assert_array_equal(fnmr_along(scores, mated, fmrs=rates), expected)
    few = fnmr_along(scores, mated, fmrs=[1e-9])
    assert few[0] == roc(scores, mated).fnmr[np.flatnonzero(roc(scores, mated).false_matches == 0)[-1]]


def test_replicates_agree_with_the_bootstrap_of_each_figure() -> None:
    scores, mated, first, second = comparisons()
    drawn = Drawn.of(np.arange(SUBJECTS), first, second, replicates=1_000, seed=5)
    found = resample_curve(scores, mated, drawn, fmrs=[0.2])
    for values, metric in (
        (found.eer, lambda i: eer(scores[i], mated[i])),
        (found.auc, lambda i: auc(scores[i], mated[i])),
        (found.fnmr[:, 0], lambda i: fnmr_at_fmr(scores[i], mated[i], fmr=0.2).fnmr),
    ):
        expected = bootstrap_metric(metric, first, second, seed=5)
        got = interval_of(values)
        assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_accuracy_of_one_fold_is_a_rate_of_right_decisions() -> None:
    _, _, first, second = comparisons()
    right = np.random.default_rng(1).random(len(first)) < 0.9
    drawn = Drawn.of(np.arange(SUBJECTS), first, second, replicates=1_000, seed=2)
    got = interval_of(resample_accuracy(right, np.zeros(len(first)), drawn))
    wrong = bootstrap_subjects(first, second, ~right, seed=2)
    assert (got.low, got.high) == pytest.approx((1 - wrong.high, 1 - wrong.low), abs=1e-12)


def test_accuracy_is_a_mean_over_folds_and_not_over_comparisons() -> None:
    first = np.array([0, 1, 2, 3])
    drawn = Drawn.of(np.arange(4), first, first, replicates=1_000, seed=0)
    right, folds = np.array([True, False, False, False]), np.array([0, 1, 1, 1])
    values = resample_accuracy(right, folds, drawn)
    counts = np.array(list(drawn.subject_weights()))
    both = (counts[:, 0] > 0) & (counts[:, 1:].sum(axis=1) > 0)
    assert both.any()
    assert (values[both] == 0.5).all()


def tail_of_random_rows() -> tuple[Tail, Float64Array, IntArray]:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(SUBJECTS, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    owner = rng.integers(0, SUBJECTS, 150)
    return all_pairs_tail(rows, keep=600), rng.normal(0.8, 0.3, 150), owner


def test_replicates_of_the_tail_agree_with_the_bootstrap_of_fnmr_at_fmr() -> None:
    tail, scores, owner = tail_of_random_rows()
    drawn = Drawn(owner, owner, SUBJECTS, replicates=1_000, seed=7)
    sizes = np.ones(SUBJECTS)
    values = resample_tail(scores, owner, tail, drawn, sizes=sizes, fmrs=[0.05, 0.1])
    for column, rate in enumerate((0.05, 0.1)):
        expected = bootstrap_fnmr_at_fmr(
            scores,
            owner,
            tail.scores,
            tail.first,
            tail.second,
            fmr=rate,
            samples=np.ones(SUBJECTS, dtype=np.intp),
            seed=7,
        )
        got = interval_of(values[:, column])
        assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        point = fnmr_along_tail(scores, owner, tail, sizes=sizes, fmrs=[rate])[0]
        assert point == np.mean(scores <= tail.scores[int(rate * 780)])  # the highest score that must not match


def test_a_tail_that_is_too_short_gives_nan_and_no_number() -> None:
    tail, scores, owner = tail_of_random_rows()
    assert np.isnan(fnmr_along_tail(scores, owner, tail, sizes=np.ones(SUBJECTS), fmrs=[0.9])).all()


def test_too_few_usable_draws_are_refused() -> None:
    values = np.full(1_000, 0.5)
    values[:101] = np.nan
    with pytest.raises(TooFewComparisons, match="899 of 1000 draws"):
        interval_of(values)
    assert interval_of(values[50:]).low == 0.5


def test_draws_of_a_subject_that_is_in_no_comparison_count_too() -> None:
    drawn = Drawn.of(np.array([4, 4, 9, 17]), np.array([0, 1]), np.array([1, 2]), replicates=1_000, seed=0)
    assert drawn.subjects == 3
    assert drawn.first.tolist() == [0, 0]
    assert drawn.second.tolist() == [0, 1]
    for weights, subjects in zip(drawn.weights(), drawn.subject_weights(), strict=True):
        assert weights.tolist() == [subjects[0], subjects[0] * subjects[1]]
