"""The kept tail of scores against sorting them all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus import calibrate
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.tail import Tail, TailKeeper


def keep_all(scores: object, keep: int, *, portion: int) -> Tail:
    """The tail of scores whose pairs are (k, 1000 + k), given in portions."""
    array = np.asarray(scores)
    keeper = TailKeeper(keep)
    for begin in range(0, len(array), portion):
        index = np.arange(begin, min(begin + portion, len(array)))
        keeper.add(array[index], index, 1_000 + index)
    return keeper.tail()


@settings(max_examples=200)
@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=80),
    st.integers(1, 100),
    st.integers(1, 80),
    st.booleans(),
)
def test_the_largest_are_kept(ranks: list[int], keep: int, portion: int, single: bool) -> None:
    scores = np.asarray(ranks) / 10
    if single:
        scores = scores.astype(np.float32).astype(np.float64)
    tail = keep_all(scores.astype(np.float32) if single else scores, keep, portion=portion)
    assert tail.scores.tolist() == sorted(scores.tolist(), reverse=True)[:keep]
    assert np.array_equal(scores[tail.first], tail.scores)
    assert np.array_equal(tail.second, tail.first + 1_000)
    assert len(np.unique(tail.first)) == len(tail.first)
    assert tail.comparisons == len(scores)
    ties = tail.scores[1:] == tail.scores[:-1]
    assert (np.diff(tail.first)[ties] > 0).all()


def test_the_tail_may_be_looked_at_between_portions() -> None:
    keeper = TailKeeper(2)
    keeper.add([0.1, 0.5, 0.3], [0, 1, 2], [3, 4, 5])
    before = keeper.tail()
    keeper.add([0.4, 0.9], [6, 7], [8, 9])
    assert before.scores.tolist() == [0.5, 0.3]
    assert keeper.tail().scores.tolist() == [0.9, 0.5]


def test_single_and_double_precision_together() -> None:
    keeper = TailKeeper(1)
    third = 1 / 3  # the nearest float32 is above it
    keeper.add(np.asarray([third]), [0], [1])
    keeper.add(np.asarray([0.0]), [2], [3])
    keeper.add(np.asarray([third], dtype=np.float32), [4], [5])
    assert keeper.tail().first.tolist() == [4]
    keeper = TailKeeper(1)
    keeper.add(np.asarray([third, 0.0]), [0, 2], [1, 3])
    keeper.add(np.nextafter(np.asarray([third], dtype=np.float32), np.float32(0)), [4], [5])
    assert keeper.tail().first.tolist() == [0]


def test_failed_comparisons_are_counted_and_never_kept() -> None:
    tail = keep_all([0.5, -np.inf, 0.1, -np.inf], 4, portion=4)
    assert tail.scores.tolist() == [0.5, 0.1]
    assert tail.comparisons == 4
    assert len(keep_all([-np.inf], 4, portion=4).scores) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 0.2))
def test_thresholds_are_those_of_all_scores(seed: int, fmr: float) -> None:
    scores = np.round(np.random.default_rng(seed).normal(size=2_000), 2)
    tail = keep_all(scores, 500, portion=300)
    threshold = tail.threshold_at_fmr(fmr)
    assert threshold == calibrate.threshold_at_fmr(scores, fmr=fmr)
    assert tail.fmr(threshold) == np.mean(scores >= threshold)
    first, second = tail.false_matches(threshold)
    assert sorted(first.tolist()) == np.flatnonzero(scores >= threshold).tolist()
    assert np.array_equal(second, first + 1_000)


def test_what_the_tail_cannot_know_is_refused() -> None:
    scores = np.linspace(0, 1, 3_000)
    tail = keep_all(scores, 100, portion=3_000)
    with pytest.raises(TooFewComparisons, match="keep=301"):
        tail.threshold_at_fmr(0.1)
    with pytest.raises(TooFewComparisons, match="needs 30,000"):
        tail.threshold_at_fmr(1e-3)
    assert len(tail.false_matches(scores[-99])[0]) == 99
    with pytest.raises(TooFewComparisons, match="larger keep"):
        tail.false_matches(scores[-100])
    with pytest.raises(BadArgument, match="NaN"):
        tail.false_matches(math.nan)
    whole = keep_all([0.3, 0.1], 10, portion=1)
    assert len(whole.false_matches(-1.0)[0]) == 2
    assert whole.fmr(0.2) == 0.5
    with pytest.raises(TooFewComparisons):
        TailKeeper(1).tail().fmr(0.5)


def test_bad_scores_are_refused() -> None:
    with pytest.raises(BadArgument, match="keep is 0"):
        TailKeeper(0)
    keeper = TailKeeper(3)
    for bad in (math.nan, math.inf):
        with pytest.raises(BadArgument, match="NaN"):
            keeper.add([0.5, bad], [0, 1], [2, 3])
    with pytest.raises(BadArgument, match="expected"):
        keeper.add([0.5], [0, 1], [2, 3])
    with pytest.raises(BadArgument, match="2\\^31"):
        keeper.add([0.5], [-1], [2])
