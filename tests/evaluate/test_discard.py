"""Error-versus-discard curves against brute force and hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.discard import error_versus_discard


def test_error_versus_discard_by_hand() -> None:
    # samples 0..3 with qualities 4, 3, 2, 1: sample 3 goes first and takes the missed comparison with it
    curve = error_versus_discard(
        [0.9, 0.1, 0.2], [0, 0, 1], [1, 3, 2], [4.0, 3.0, 2.0, 1.0], threshold=0.5, shares=[0, 0.25, 0.5, 1.0]
    )
    np.testing.assert_allclose(curve.fnmr, [2 / 3, 1 / 2, 0, np.nan], atol=1e-12)
    assert curve.kept.tolist() == [3, 2, 1, 0]


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_error_versus_discard_agrees_with_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 20, (2, 50))
    scores, quality = rng.random(50), rng.integers(0, 8, 20).astype(float)
    curve = error_versus_discard(scores, first, second, quality, threshold=0.4)
    assert len(curve.shares) == 51
    for share, rate, kept in zip(curve.shares, curve.fnmr, curve.kept, strict=True):
        gone = np.argsort(quality, kind="stable")[: int(share * 20 + 1e-9)]
        stays = ~(np.isin(first, gone) | np.isin(second, gone))
        assert kept == stays.sum()
        assert rate == pytest.approx(np.mean(scores[stays] < 0.4), abs=1e-12)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(BadArgument, match="indices"):
        error_versus_discard([0.5], [0], [2], [1.0, 2.0], threshold=0.5)
    with pytest.raises(BadArgument, match="indices"):
        error_versus_discard([0.5], [0.0], [1], [1.0, 2.0], threshold=0.5)
    with pytest.raises(BadArgument, match="shares"):
        error_versus_discard([0.5], [0], [1], [1.0, 2.0], threshold=0.5, shares=[1.5])
    with pytest.raises(BadArgument, match="NaN"):
        error_versus_discard([0.5], [0], [1], [1.0, np.nan], threshold=0.5)
    with pytest.raises(TooFewComparisons):
        error_versus_discard([], [], [], [1.0], threshold=0.5)
