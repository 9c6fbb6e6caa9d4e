"""BCubed and pairwise scores of clusterings against brute force, scikit-learn and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.cluster import pair_confusion_matrix

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.clustering_metrics import ClusteringScore, bcubed, pairwise

labels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def test_scores_by_hand() -> None:
    found, subjects = ["x", "x", "x", "y", "y"], ["a", "a", "b", "b", "b"]
    # precision of each sample: 2/3, 2/3, 1/3, 1, 1; recall: 1, 1, 1/3, 2/3, 2/3
    score = bcubed(found, subjects)
    assert score.precision == pytest.approx(11 / 15, abs=1e-12)
    assert score.recall == pytest.approx(11 / 15, abs=1e-12)
    assert score.f == pytest.approx(11 / 15, abs=1e-12)
    # four pairs in one group, four of one subject, two in both
    assert pairwise(found, subjects) == ClusteringScore(0.5, 0.5)


@settings(max_examples=100)
@given(labels)
def test_bcubed_agrees_with_brute_force(pairs: list[tuple[int, int]]) -> None:
    found, subjects = np.asarray(pairs).T
    grouped, mated = found[:, None] == found, subjects[:, None] == subjects
    both = (grouped & mated).sum(axis=1)
    score = bcubed(found, subjects)
    assert score.precision == pytest.approx(np.mean(both / grouped.sum(axis=1)), abs=1e-12)
    assert score.recall == pytest.approx(np.mean(both / mated.sum(axis=1)), abs=1e-12)


@settings(max_examples=100)
@given(labels)
def test_pairwise_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    found, subjects = np.asarray(pairs).T
    (_, only_found), (only_subject, both) = pair_confusion_matrix(subjects, found)
    score = pairwise(found, subjects)
    assert score.precision == pytest.approx(both / (both + only_found) if both + only_found else 1, abs=1e-12)
    assert score.recall == pytest.approx(both / (both + only_subject) if both + only_subject else 1, abs=1e-12)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_a_perfect_clustering_scores_one(subjects: list[int]) -> None:
    renamed = [f"group {9 - s}" for s in subjects]
    assert bcubed(renamed, subjects).f == pytest.approx(1)
    assert pairwise(renamed, subjects).f == 1


@given(labels)
def test_precision_and_recall_swap_with_their_arguments(pairs: list[tuple[int, int]]) -> None:
    found, subjects = np.asarray(pairs).T
    for score in (bcubed, pairwise):
        one, other = score(found, subjects), score(subjects, found)
        assert (one.precision, one.recall) == pytest.approx((other.recall, other.precision))


def test_extremes() -> None:
    assert bcubed([0, 0, 0, 0], [0, 1, 2, 3]) == ClusteringScore(0.25, 1.0)
    assert bcubed([0, 1, 2, 3], [0, 0, 0, 0]) == ClusteringScore(1.0, 0.25)
    assert pairwise([0, 1], [0, 0]) == ClusteringScore(1.0, 0.0)
    assert pairwise([0, 1], [0, 0]).f == 0
    assert ClusteringScore(0.0, 0.0).f == 0


def test_bad_labels_are_refused() -> None:
    with pytest.raises(BadArgument):
        bcubed([0, 1], [0])
    with pytest.raises(TooFewComparisons):
        pairwise([], [])
