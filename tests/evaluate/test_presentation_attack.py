"""Attack rates against counts made by hand, species by species."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate import attack_detection, rate_interval

NAN = float("nan")


def test_worked_example() -> None:
    found = attack_detection(
        {"print": [0.9, 0.8, 0.2, NAN], "screen": [0.4, 0.3, 0.9, 0.1]},
        [0.1, 0.2, 0.6, NAN, 0.0],
        threshold=0.5,
        matched={"print": [True, True, True, True], "screen": [True, False, True, False]},
    )
    assert {k: (r.errors, r.presentations) for k, r in found.apcer.items()} == {"print": (1, 3), "screen": (3, 4)}
    assert (found.bpcer.errors, found.bpcer.presentations, found.bpcer.rate) == (1, 4, 0.25)
    assert {k: r.rate for k, r in found.apnrr.items()} == {"print": 0.25, "screen": 0.0}
    assert found.bpnrr.rate == 0.2
    assert found.iapar is not None
    assert {k: (r.errors, r.presentations) for k, r in found.iapar.items()} == {"print": (1, 4), "screen": (1, 4)}
    assert found.worst == "screen"
    assert found.apcer["screen"].interval == rate_interval(3, 4)


def test_level_acts() -> None:
    wide = attack_detection({"a": [0.1, 0.9]}, [0.1], threshold=0.5, level=0.99).apcer["a"].interval
    narrow = attack_detection({"a": [0.1, 0.9]}, [0.1], threshold=0.5, level=0.5).apcer["a"].interval
    assert wide.low < narrow.low < narrow.high < wide.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_trades_one_error_for_the_other(scores: list[float], one: float, two: float) -> None:
    low, high = (attack_detection({"a": scores}, scores, threshold=t) for t in sorted((one, two)))
    assert low.apcer["a"].rate <= high.apcer["a"].rate
    assert low.bpcer.rate >= high.bpcer.rate
    assert low.apcer["a"].rate + low.bpcer.rate == pytest.approx(1)  # the same scores on both sides


@pytest.mark.parametrize(
    ("attacks", "bona_fide", "more", "error"),
    [
        ({}, [0.1], {}, BadArgument),
        ({"a": []}, [0.1], {}, BadArgument),
        ({"a": [[0.1]]}, [0.1], {}, BadArgument),
        ({"a": [np.inf]}, [0.1], {}, BadArgument),
        ({"a": [0.1]}, [], {}, BadArgument),
        ({"a": [0.1]}, [0.1], {"matched": {"b": [True]}}, BadArgument),
        ({"a": [0.1]}, [0.1], {"matched": {"a": [1]}}, BadArgument),
        ({"a": [0.1]}, [0.1], {"threshold": NAN}, BadArgument),
        ({"a": [NAN]}, [0.1], {}, TooFewComparisons),
        ({"a": [0.1]}, [NAN], {}, TooFewComparisons),
    ],
)
def test_refusals(attacks: object, bona_fide: object, more: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        attack_detection(attacks, bona_fide, **{"threshold": 0.5, **more})  # type: ignore[arg-type]
