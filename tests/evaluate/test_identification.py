"""Searches, CMC, FPIR and FNIR(N, R, T) against brute force and hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.identification import Searches, cmc, fnir, fnir_at_fpir, fpir, missed_searches, searches

MATRIX = np.asarray(
    [
        [0.9, 0.1, 0.2],  # ann, best
        [0.5, 0.4, 0.3],  # bob, second
        [0.2, 0.7, 0.7],  # cid, ties with bob
        [0.6, 0.1, 0.1],  # dan, not in the gallery
        [-np.inf, -np.inf, -np.inf],  # bob again, no template
    ]
)
PROBES = ["ann", "bob", "cid", "dan", "bob"]
GALLERY = ["ann", "bob", "cid"]


def test_searches_by_hand() -> None:
    outcomes = searches(MATRIX, PROBES, GALLERY)
    assert outcomes.own_scores.tolist() == [0.9, 0.4, 0.7, -math.inf]
    assert outcomes.own_ranks.tolist() == [1, 2, 2, 0]
    assert outcomes.best_scores.tolist() == [0.6]
    assert outcomes.gallery_size == 3


def test_rates_by_hand() -> None:
    outcomes = searches(MATRIX, PROBES, GALLERY)
    np.testing.assert_allclose(cmc(outcomes.own_ranks, max_rank=3), [1 / 4, 3 / 4, 3 / 4], atol=1e-12)
    assert fpir(outcomes, threshold=0.6) == 1
    assert fpir(outcomes, threshold=0.61) == 0
    assert fnir(outcomes, threshold=0.0) == 3 / 4
    assert fnir(outcomes, threshold=0.0, max_rank=2) == 1 / 4
    assert fnir(outcomes, threshold=0.5, max_rank=2) == 2 / 4
    assert missed_searches(outcomes, threshold=0.5, max_rank=2).tolist() == [False, True, False, True]


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_searches_agree_with_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.permutation(12)[:8]
    probes = rng.integers(0, 12, 30)
    scores = rng.integers(0, 6, (30, 8)) / 6
    outcomes = searches(scores, probes, gallery)
    own, ranks, best = [], [], []
    for row, subject in zip(scores, probes, strict=True):
        if subject in gallery:
            mine = row[list(gallery).index(subject)]
            own.append(mine)
            ranks.append(sum(row >= mine))
        else:
            best.append(max(row))
    assert outcomes.own_scores.tolist() == own
    assert outcomes.own_ranks.tolist() == ranks
    assert outcomes.best_scores.tolist() == best


def random_searches(seed: int, n_mated: int = 500, n_non_mated: int = 3_000) -> Searches:
    rng = np.random.default_rng(seed)
    ranks = np.minimum(rng.geometric(0.8, n_mated), 100)
    return Searches(rng.normal(2, 1, n_mated), ranks, rng.normal(0, 1, n_non_mated), 100)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_fnir_at_fpir_agrees_with_brute_force(rate: float) -> None:
    outcomes = random_searches(1)
    point = fnir_at_fpir(outcomes, fpir=rate, max_rank=2)
    assert point.fpir == np.mean(outcomes.best_scores >= point.threshold) <= rate
    lower = outcomes.best_scores[outcomes.best_scores < point.threshold].max()
    assert np.mean(outcomes.best_scores >= lower) > rate
    found = (outcomes.own_scores >= point.threshold) & (outcomes.own_ranks <= 2)
    assert point.fnir == np.mean(~found)
    assert (point.max_rank, point.gallery_size, point.n_mated, point.n_non_mated) == (2, 100, 500, 3_000)


@settings(max_examples=50)
@given(st.floats(-2, 4), st.floats(-2, 4), st.integers(1, 5))
def test_rates_are_monotone(one: float, other: float, rank: int) -> None:
    outcomes = random_searches(2)
    low, high = sorted([one, other])
    assert fpir(outcomes, threshold=low) >= fpir(outcomes, threshold=high)
    assert fnir(outcomes, threshold=low, max_rank=rank) <= fnir(outcomes, threshold=high, max_rank=rank)
    assert fnir(outcomes, threshold=low, max_rank=rank + 1) <= fnir(outcomes, threshold=low, max_rank=rank)
    curve = cmc(outcomes.own_ranks, max_rank=10)
    assert (np.diff(curve) >= 0).all()
    assert curve[rank - 1] == pytest.approx(1 - fnir(outcomes, threshold=-math.inf, max_rank=rank))


def test_fnir_at_fpir_refuses_what_the_data_cannot_support() -> None:
    with pytest.raises(TooFewComparisons, match=r"3,000 non-mated searches .* needs 30,000"):
        fnir_at_fpir(random_searches(3), fpir=1e-3)


def test_kinds_of_searches_that_are_missing() -> None:
    only_mated = Searches(np.asarray([0.5]), np.asarray([1]), np.asarray([]), 4)
    only_others = Searches(np.asarray([]), np.asarray([]), np.asarray([0.5]), 4)
    with pytest.raises(TooFewComparisons, match="no non-mated search"):
        fpir(only_mated, threshold=0.5)
    with pytest.raises(TooFewComparisons, match="no mated search"):
        fnir(only_others, threshold=0.5)
    with pytest.raises(TooFewComparisons):
        cmc(only_others.own_ranks, max_rank=1)


def test_bad_searches_are_refused() -> None:
    with pytest.raises(BadArgument, match="twice"):
        searches(np.zeros((1, 2)), ["a"], ["b", "b"])
    with pytest.raises(BadArgument, match="NaN"):
        searches([[np.nan]], ["a"], ["b"])
    with pytest.raises(BadArgument, match="1 probes and 2 references"):
        searches([[0.1]], ["a"], ["b", "c"])
    with pytest.raises(TooFewComparisons):
        searches(np.zeros((0, 2)), [], ["b", "c"])
    with pytest.raises(BadArgument, match=r"\[0, 3\]"):
        Searches(np.asarray([0.1]), np.asarray([4]), np.asarray([0.1]), 3)
    with pytest.raises(BadArgument, match="ranks of shape"):
        Searches(np.asarray([0.1]), np.asarray([1, 2]), np.asarray([0.1]), 3)
    with pytest.raises(BadArgument, match="gallery of 0"):
        Searches(np.asarray([0.1]), np.asarray([1]), np.asarray([0.1]), 0)
    with pytest.raises(BadArgument, match="max_rank"):
        fnir(random_searches(4), threshold=0.5, max_rank=0)
    with pytest.raises(BadArgument, match="max_rank"):
        cmc([1, 2], max_rank=0)
