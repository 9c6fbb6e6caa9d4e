"""Failure rates and generalised rates against hand-worked values and counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.failures import failure_rate, generalised_at_threshold, gfar, gfrr

rates = st.floats(0, 1)


def test_generalised_rates_by_hand() -> None:
    assert gfar(fmr=0.01, fta=0.1, fte=0.2) == pytest.approx(0.0072, abs=1e-12)
    assert gfrr(fnmr=0.05, fta=0.1, fte=0.2) == pytest.approx(0.2 + 0.08 + 0.036, abs=1e-12)


@given(rates, rates, rates)
def test_failures_lower_false_accepts_and_raise_false_rejects(rate: float, fta: float, fte: float) -> None:
    assert gfar(fmr=rate, fta=fta, fte=fte) <= rate
    assert gfrr(fnmr=rate, fta=fta, fte=fte) >= rate - 1e-12
    assert gfar(fmr=rate, fta=0, fte=0) == gfrr(fnmr=rate, fta=0, fte=0) == rate


def test_formulas_agree_with_counting_where_failures_are_independent() -> None:
    # 5 references of which one fails, 4 probes of which one fails: 12 of 20 comparisons take place, 4 of those 12 err.
    failed = ((np.arange(5)[:, None] == 0) | (np.arange(4) == 0)).ravel()
    errs = np.arange(20) % 4 == 1
    non_mated = np.where(failed, -np.inf, np.where(errs, 0.9, 0.1))
    mated = np.where(failed, -np.inf, np.where(errs, 0.1, 0.9))
    point = generalised_at_threshold(np.concatenate([non_mated, mated]), np.arange(40) >= 20, threshold=0.5)
    assert point.fmr == point.fnmr == pytest.approx(4 / 12)
    assert point.gfar == pytest.approx(gfar(fmr=4 / 12, fta=1 / 4, fte=1 / 5), abs=1e-12)
    assert point.gfrr == pytest.approx(gfrr(fnmr=4 / 12, fta=1 / 4, fte=1 / 5), abs=1e-12)
    assert (point.n_mated, point.n_non_mated, point.failed_mated, point.failed_non_mated) == (20, 20, 8, 8)


def test_comparisons_that_all_failed() -> None:
    point = generalised_at_threshold([-np.inf, -np.inf], [True, False], threshold=0.5)
    assert math.isnan(point.fmr)
    assert math.isnan(point.fnmr)
    assert (point.gfar, point.gfrr) == (0, 1)


def test_failure_rate() -> None:
    assert failure_rate(3, 12) == 0.25
    with pytest.raises(TooFewComparisons):
        failure_rate(0, 0)
    with pytest.raises(BadArgument, match="5 failures in 4"):
        failure_rate(5, 4)


def test_bad_rates_are_refused() -> None:
    with pytest.raises(BadArgument, match=r"fta is 1\.5"):
        gfar(fmr=0.1, fta=1.5, fte=0)
    with pytest.raises(BadArgument, match="fnmr is nan"):
        gfrr(fnmr=math.nan, fta=0, fte=0)
    with pytest.raises(BadArgument, match="finite"):
        generalised_at_threshold([0.1, 0.2], [True, False], threshold=-math.inf)
