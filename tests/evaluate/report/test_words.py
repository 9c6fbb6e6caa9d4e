"""Numbers as text: digits, bounds, and what cannot be said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.evaluate.intervals import Interval
from vultus.evaluate.report.figures import Measured
from vultus.evaluate.report.words import bounds, count, measured, one_in, percent, rate, signed


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50.0 %"),
        (0.0523, "5.23 %"),
        (0.00733, "0.733 %"),
        (0.99383, "99.383 %"),
        (0.999967, "99.99670 %"),
        (1e-12, "0.000000 %"),
        (math.nan, "not measured"),
        (math.inf, "not measured"),
    ],
)
def test_percent(value: float, text: str) -> None:
    assert plain(percent(value)) == text


@given(st.floats(0, 1))
def test_percent_is_within_half_a_percent_of_the_smaller_side(value: float) -> None:
    back = float(plain(percent(value)).removesuffix(" %")) / 100
    assert abs(back - value) <= max(0.005 * min(value, 1 - value), 1e-8)


def test_bounds_have_the_decimals_of_their_figure() -> None:
    interval = Interval(0.00512, 0.01013, 0.95, "x")
    assert plain(bounds(interval, like=0.00733)) == "0.512 % to 1.013 %"
    assert plain(bounds(Interval(0.0, 0.00039, 0.95, "x"), like=0.0)) == "0 % to 0.0390 %"
    assert plain(bounds(Interval(0.9975, 1.0, 0.95, "x"), like=1.0)) == "99.750 % to 100 %"


def test_a_figure_without_bounds_says_why() -> None:
    assert plain(measured(Measured(0.5, None, "too few"))) == "50.0 % (no interval: too few)"
    assert plain(measured(Measured(0.5, Interval(0.4, 0.6, 0.95, "x"), "x"))) == "50.0 % (40.0 % to 60.0 %)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (0.01, "0.01"),
        (1e-3, "1e-3"),
        (9.99963e-4, "1e-3"),
        (2.5e-4, "2.5e-4"),
        (1e-5, "1e-5"),
        (0.0, "0"),
    ],
)
def test_rate(value: float, text: str) -> None:
    assert rate(value) == text


def test_counts_and_shares_in_words() -> None:
    assert count(1, "photo") == "1 photo"
    assert count(7_701, "photo") == "7,701 photos"
    assert count(2, "rate was", "rates were") == "2 rates were"
    assert one_in(1e-3) == "1 in 1,000"
    assert one_in(0.0) == "never"


def test_differences_carry_their_sign() -> None:
    assert signed(0.0173, -0.0026, 0.0370) == ("+1.7", "-0.3 to +3.7")
    assert signed(-0.00021, -0.00042, 0.00001) == ("-0.021", "-0.042 to +0.001")
    assert signed(0.009, 0.0, 0.019) == ("+0.9", "0.0 to +1.9")
