"""Thresholds by number of faces."""

from __future__ import annotations

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument, NoThreshold
from vultus.gallery.cluster import threshold_for
from vultus.types import Threshold

NORMAL = NormalDist(0.1, 0.09)
RATES = (1e-2, 1e-3, 1e-4, 1e-5)


def measured(*values: tuple[float, float]) -> list[Threshold]:
    return [Threshold(v, fmr, 10_000_000, fmr / 2, fmr * 2, "made up") for fmr, v in values]


TAIL = measured(*((fmr, NORMAL.inv_cdf(1 - fmr)) for fmr in RATES))


@given(st.integers(1, 10**6), st.floats(1e-3, 0.5))
def test_scores_of_strangers_with_a_normal_tail_give_their_quantiles(faces: int, rate: float) -> None:
    wanted = max(NORMAL.inv_cdf(1 - rate / faces), TAIL[0].value)
    assert threshold_for(TAIL[::-1], faces=faces, rate=rate) == pytest.approx(wanted, abs=1e-6)


def test_measured_rates_give_measured_thresholds() -> None:
    known = measured((1e-2, 0.3), (1e-3, 0.4), (1e-4, 0.42), (1e-5, 0.6))
    for t in known:
        assert threshold_for(known, faces=round(0.01 / t.fmr), rate=0.01) == pytest.approx(t.value)
    assert threshold_for(known, faces=0) == 0.3
    assert 0.4 < threshold_for(known, faces=30) < 0.42


def test_it_rises_with_the_faces_and_falls_with_the_rate() -> None:
    rising = [threshold_for(TAIL, faces=n) for n in (1, 10, 1000, 100_000)]
    assert rising == sorted(set(rising))
    assert threshold_for(TAIL, faces=1000, rate=0.1) < threshold_for(TAIL, faces=1000)


@pytest.mark.parametrize(
    "known", [[], TAIL[:1], measured((1e-2, 0.4), (1e-3, 0.3)), measured((1e-2, 0.4), (1e-3, 0.4))]
)
def test_too_little_is_refused(known: list[Threshold]) -> None:
    with pytest.raises(NoThreshold, match="two or more"):
        threshold_for(known, faces=10)


def test_no_score_that_is_strict_enough() -> None:
    with pytest.raises(NoThreshold, match="would be"):
        threshold_for(measured((1e-2, 0.7), (1e-3, 0.9)), faces=10**6)


@pytest.mark.parametrize(("faces", "rate"), [(-1, 0.01), (1, 0.0), (1, 1.0), (1, float("nan"))])
def test_bad_arguments(faces: int, rate: float) -> None:
    with pytest.raises(BadArgument):
        threshold_for(TAIL, faces=faces, rate=rate)
