"""All pairs of a set against scoring them at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate import streams
from vultus.evaluate.bootstrap import bootstrap_all_pairs
from vultus.evaluate.histogram import ScoreHistogram
from vultus.evaluate.streams import all_pairs, all_pairs_tail, mated_pairs
from vultus.types import FloatArray, IntArray


def unit_rows(n: int, seed: int, d: int = 16) -> FloatArray:
    """Rows whose products are exact in single precision, so that every order of summation gives the same scores.

    Sixteen numbers of +-1/4: all products are multiples of 1/8, and many pairs tie.
    """
    signs: FloatArray = (np.random.default_rng(seed).integers(0, 2, (n, d)) * 0.5 - 0.25).astype(np.float32)
    return signs


def at_once(rows: FloatArray, labels: IntArray) -> tuple[FloatArray, IntArray, IntArray]:
    first, second = np.triu_indices(len(rows), 1)
    apart = labels[first] != labels[second]
    scores: FloatArray = (rows @ rows.T)[first[apart], second[apart]]
    return scores, first[apart].astype(np.intp), second[apart].astype(np.intp)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 60),
    st.integers(0, 1_000),
    st.integers(1, 2_000),
    st.integers(1, 70),
    st.booleans(),
)
def test_all_pairs_agree_with_scoring_them_at_once(n: int, seed: int, keep: int, block: int, grouped: bool) -> None:
    rows = unit_rows(n, seed)
    labels = np.random.default_rng(seed).integers(0, 8, n) if grouped else np.arange(n)
    if len(np.unique(labels)) == 1:
        return
    scores, first, second = at_once(rows, labels)
    found = all_pairs(rows, keep=keep, labels=labels if grouped else None, block=block, bins=64)
    tail = found.tail
    assert tail.comparisons == found.histogram.comparisons == len(scores)
    assert tail.scores.tolist() == sorted(scores.tolist(), reverse=True)[:keep]
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    kept = list(zip(tail.first.tolist(), tail.second.tolist(), strict=True))
    assert set(kept) <= pairs
    assert len(set(kept)) == len(kept)
    assert np.array_equal((rows @ rows.T)[tail.first, tail.second], tail.scores)
    assert np.array_equal(found.histogram.counts, ScoreHistogram.of(scores, bins=64).counts)
    alone = all_pairs_tail(rows, keep=keep, labels=labels if grouped else None, block=block)
    assert np.array_equal(alone.scores, tail.scores)
    assert alone.comparisons == tail.comparisons


def test_columns_are_cut_into_blocks_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit_rows(50, 1)
    whole = all_pairs(rows, keep=100, block=7)
    monkeypatch.setattr(streams, "_COLUMNS", 11)
    cut = all_pairs(rows, keep=100, block=7)
    assert np.array_equal(cut.tail.scores, whole.tail.scores)
    assert np.array_equal(cut.histogram.counts, whole.histogram.counts)
    assert cut.tail.comparisons == whole.tail.comparisons == 50 * 49 // 2
    assert np.array_equal((rows @ rows.T)[cut.tail.first, cut.tail.second], cut.tail.scores)


def test_real_rows_agree_with_scoring_them_at_once() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(600, 32)) + 1
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores, _, _ = at_once(rows.astype(np.float32), np.arange(600))
    tail = all_pairs_tail(rows, keep=2_000, block=100)
    np.testing.assert_allclose(tail.scores, np.sort(scores)[::-1][:2_000], atol=1e-6)
    threshold = tail.threshold_at_fmr(1e-3)
    first, second = tail.false_matches(threshold)
    assert len(first) == 179  # of 179,700 pairs
    interval = bootstrap_all_pairs(first, second, samples=np.ones(600, dtype=int))
    assert interval.low < 1e-3 < interval.high


def test_names_serve_as_labels() -> None:
    rows = unit_rows(6, 3)
    tail = all_pairs_tail(rows, keep=99, labels=["b", "a", "b", "c", "a", "b"])
    assert tail.comparisons == 15 - 3 - 1
    assert (tail.first < tail.second).all()
    assert not {(0, 2), (0, 5), (2, 5), (1, 4)} & set(zip(tail.first.tolist(), tail.second.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1_000))
def test_mated_pairs_agree_with_scoring_them_at_once(n: int, seed: int) -> None:
    rows, labels = unit_rows(n, seed), np.random.default_rng(seed).integers(0, 8, n)
    scores, first, second = mated_pairs(rows, labels)
    pairs = {(i, j) for i in range(n) for j in range(i + 1, n) if labels[i] == labels[j]}
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == pairs
    assert len(first) == len(pairs)
    assert np.array_equal((rows @ rows.T)[first, second], scores)


def test_rows_are_not_written_to() -> None:
    rows = unit_rows(40, 4)
    before = rows.copy()
    all_pairs(rows, keep=10)
    assert np.array_equal(rows, before)


def test_bad_rows_are_refused() -> None:
    rows = unit_rows(4, 5)
    with pytest.raises(BadArgument, match="length 1"):
        all_pairs(rows * 2, keep=1)
    with pytest.raises(BadArgument, match="1 of 4 rows"):
        all_pairs_tail(np.where(np.arange(4)[:, None] == 2, np.nan, rows), keep=1)
    with pytest.raises(BadArgument, match="shape"):
        all_pairs(rows[0], keep=1)
    with pytest.raises(BadArgument, match="labels"):
        all_pairs(rows, keep=1, labels=[0, 1])
    with pytest.raises(BadArgument, match="block"):
        all_pairs(rows, keep=1, block=0)
    with pytest.raises(BadArgument, match="keep"):
        all_pairs(rows, keep=0)
    with pytest.raises(BadArgument, match="bins"):
        all_pairs(rows, keep=1, bins=100)
    with pytest.raises(TooFewComparisons, match="no cross-subject pair"):
        all_pairs(rows, keep=1, labels=[7, 7, 7, 7])
    with pytest.raises(TooFewComparisons):
        all_pairs_tail(rows[:1], keep=1)
