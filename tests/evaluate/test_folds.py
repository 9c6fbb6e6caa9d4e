"""Accuracy by fold against brute force and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.folds import FoldAccuracy, accuracy_by_fold


def test_accuracy_by_fold_by_hand() -> None:
    scores = [0.9, 0.2, 0.7, 0.4, 0.35, 0.1]
    mated = [True, False, True, False, True, False]
    result = accuracy_by_fold(scores, mated, ["a", "a", "b", "b", "c", "c"])
    # without a: 0.1 n 0.35 m 0.4 n 0.7 m; cuts below 0.35 and below 0.7 make one error each: the upper one is taken
    # without b: 0.1 n 0.2 n 0.35 m 0.9 m; without c: 0.2 n 0.4 n 0.7 m 0.9 m
    np.testing.assert_allclose(result.thresholds, [0.55, 0.275, 0.55], atol=1e-6)
    np.testing.assert_allclose(result.accuracies, [1.0, 0.5, 0.5], atol=1e-12)
    assert result.mean == pytest.approx(2 / 3, abs=1e-12)
    assert result.std == pytest.approx(np.sqrt(1 / 12), abs=1e-12)
    assert result.standard_error == pytest.approx(1 / 6, abs=1e-12)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_the_threshold_is_the_best_of_the_other_folds(seed: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    mated = np.arange(40) % 2 == 0
    scores = np.round(rng.normal(mated * 1.0, 1), 1)
    folds = np.arange(40) // 2 % n_folds
    result = accuracy_by_fold(scores, mated, folds)
    for k in range(n_folds):
        others, test = folds != k, folds == k
        right = [np.mean((scores[others] >= t) == mated[others]) for t in [*np.unique(scores[others]), np.inf]]
        assert np.mean((scores[others] >= result.thresholds[k]) == mated[others]) == max(right)
        assert result.accuracies[k] == np.mean((scores[test] >= result.thresholds[k]) == mated[test])


def test_the_tested_fold_does_not_move_its_threshold() -> None:
    rng = np.random.default_rng(1)
    mated, folds = np.arange(60) % 2 == 0, np.arange(60) // 20
    scores = rng.normal(mated * 2.0, 1)
    changed = np.where(folds == 0, rng.normal(size=60), scores)
    before, after = (accuracy_by_fold(x, mated, folds).thresholds for x in (scores, changed))
    assert before[0] == after[0]
    assert (before[1:] != after[1:]).any()


def test_laws_of_perfect_and_random_scores() -> None:
    rng = np.random.default_rng(2)
    mated, folds = np.arange(6_000) % 2 == 0, np.arange(6_000) // 600
    assert accuracy_by_fold(mated * 0.5 + rng.random(6_000) * 0.4, mated, folds).mean == 1.0
    assert accuracy_by_fold(rng.random(6_000), mated, folds).mean == pytest.approx(0.5, abs=0.03)


def test_standard_error_follows_the_number_of_folds() -> None:
    result = FoldAccuracy(np.asarray([0.9, 1.0, 0.8, 0.9]), np.zeros(4))
    assert result.standard_error == pytest.approx(result.std / 2, abs=1e-12)


def test_bad_folds_are_refused() -> None:
    with pytest.raises(BadArgument, match="one fold"):
        accuracy_by_fold([0.1, 0.2], [True, False], [0, 0])
    with pytest.raises(BadArgument, match="expected the same"):
        accuracy_by_fold([0.1, 0.2], [True, False], [0, 1, 2])
    with pytest.raises(TooFewComparisons, match="without fold 0"):
        accuracy_by_fold([0.1, 0.2, 0.3], [True, False, True], [0, 0, 1])
