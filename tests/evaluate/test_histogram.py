"""Histograms of scores against brute force; laws of merging and of edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.histogram import ScoreHistogram, roc_of_histograms
from vultus.evaluate.metrics import roc
from vultus.types import Float64Array

scores_of = arrays(np.float64, st.integers(0, 50), elements=st.floats(-1, 1))


@settings(max_examples=100)
@given(scores_of, scores_of)
def test_merging_gives_the_histogram_of_the_concatenation(one: Float64Array, other: Float64Array) -> None:
    merged = ScoreHistogram.of(one, bins=64) + ScoreHistogram.of(other, bins=64)
    whole = ScoreHistogram.of(np.concatenate([one, other]), bins=64)
    assert np.array_equal(merged.counts, whole.counts)
    assert merged.comparisons == len(one) + len(other)


@settings(max_examples=100)
@given(scores_of, st.sampled_from([2, 64, 4096]), st.booleans())
def test_bins_are_exact(scores: Float64Array, bins: int, single: bool) -> None:
    given_scores = scores.astype(np.float32) if single else scores
    histogram = ScoreHistogram.of(given_scores, bins=bins)
    exact = given_scores.astype(np.float64)
    expected = np.histogram(exact, bins=histogram.edges)[0]
    assert np.array_equal(histogram.counts, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_beside_an_edge_stay_on_their_side(dtype: type[np.float32] | type[np.float64]) -> None:
    edges = np.linspace(-1, 1, 4097)[1:-1]
    at = edges.astype(dtype)
    below = np.nextafter(at, np.asarray(-2, dtype=dtype))
    at_edges, below_edges = ScoreHistogram.of(at).counts, ScoreHistogram.of(below).counts
    assert at_edges.tolist() == [0] + [1] * 4095
    assert below_edges.tolist() == [1] * 4095 + [0]


def test_shares_by_hand() -> None:
    histogram = ScoreHistogram.of([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0], bins=8)
    assert histogram.counts.tolist() == [1, 0, 1, 0, 1, 1, 1, 1]
    assert histogram.share_at_or_above(0.25) == 3 / 6
    assert histogram.share_at_or_above(0.26) == 2 / 6
    assert histogram.share_at_or_above(-0.99) == 5 / 6


def test_ends_take_what_lies_beyond() -> None:
    histogram = ScoreHistogram.of(np.asarray([-np.inf, -1.5, -1.0, 1.0, 1.0000001]), bins=4)
    assert histogram.counts.tolist() == [3, 0, 0, 2]


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_the_curve_is_exact_at_the_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mated, other = np.clip(rng.normal(0.5, 0.2, 40), -1, 1), np.clip(rng.normal(0, 0.2, 90), -1, 1)
    curve = roc_of_histograms(ScoreHistogram.of(mated, bins=64), ScoreHistogram.of(other, bins=64))
    assert len(curve.thresholds) == 65
    for t, fmr, fnmr in zip(curve.thresholds, curve.fmr, curve.fnmr, strict=True):
        assert fmr == np.mean(other >= t)
        assert fnmr == np.mean(mated < t)


def test_the_curve_of_many_bins_comes_near_the_curve_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    mated = np.arange(20_000) < 5_000
    scores = np.clip(rng.normal(mated * 0.5, 0.2), -1, 1)
    exact = roc(scores, mated)
    binned = roc_of_histograms(ScoreHistogram.of(scores[mated]), ScoreHistogram.of(scores[~mated]))
    assert binned.eer() == pytest.approx(exact.eer(), abs=1e-3)
    assert binned.auc() == pytest.approx(exact.auc(), abs=1e-4)
    assert binned.at_fmr(0.01).fnmr == pytest.approx(exact.at_fmr(0.01).fnmr, abs=5e-3)


def test_whole_numbers_and_no_scores() -> None:
    assert ScoreHistogram.of([0, 1], bins=2).counts.tolist() == [0, 2]
    assert ScoreHistogram.of([]).comparisons == 0


def test_bad_input_is_refused() -> None:
    for bins in (0, 1, 3, 1_000, 1 << 21):
        with pytest.raises(BadArgument, match="power of two"):
            ScoreHistogram.of([0.1], bins=bins)
    with pytest.raises(BadArgument, match="NaN"):
        ScoreHistogram.of([0.1, math.nan])
    with pytest.raises(BadArgument, match="above 1"):
        ScoreHistogram.of([45.0])
    with pytest.raises(BadArgument, match="shape"):
        ScoreHistogram.of([[0.1]])
    with pytest.raises(BadArgument, match="0 or more"):
        ScoreHistogram(np.asarray([1, -1]))
    small, large = ScoreHistogram.of([0.1], bins=2), ScoreHistogram.of([0.1], bins=4)
    with pytest.raises(BadArgument, match="merged"):
        small + large
    with pytest.raises(BadArgument, match="expected the same"):
        roc_of_histograms(small, large)
    with pytest.raises(BadArgument, match=r"\(-1, 1\)"):
        small.share_at_or_above(1.0)
    empty = ScoreHistogram.of([], bins=2)
    with pytest.raises(TooFewComparisons):
        empty.share_at_or_above(0.0)
    with pytest.raises(TooFewComparisons, match="0 mated"):
        roc_of_histograms(empty, small)
