"""Random choices: the published stream, and shares that are even."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.augment.draws import Draws


def test_the_stream_is_splitmix64() -> None:
    draws = Draws()
    draws._state = 1234567
    assert [draws.bits() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_a_key_gives_one_stream_and_another_key_another() -> None:
    def first(*key: int) -> tuple[int, ...]:
        draws = Draws(*key)
        return tuple(draws.bits() for _ in range(4))

    keys = [(0,), (1,), (0, 1), (1, 0), (0, 0, 1), (-1,)]
    assert len({n for key in keys for n in first(*key)}) == 4 * len(keys)
    assert first(0, 1) == first(0, 1)


def test_a_number_between_equal_limits_costs_one_draw() -> None:
    for key in ((3, 1, 4), (0,), ()):
        some, all_ = Draws(*key), Draws(*key)
        seen = [some.uniform(2.5, 2.5), some.bits(), some.uniform(1, 1), some.uniform(0, 0), some.sign(), some.bits()]
        drawn = [all_.bits() for _ in range(6)]
        assert [seen[0], seen[2], seen[3]] == [2.5, 1, 0]
        assert [seen[1], seen[5]] == [drawn[1], drawn[5]]


def test_numbers_are_even() -> None:
    draws = Draws(5)
    numbers = np.array([draws.uniform(-2, 3) for _ in range(20_000)])
    assert -2 <= numbers.min() < -1.99
    assert 2.99 < numbers.max() < 3
    counts = np.histogram(numbers, 50, (-2, 3))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 90  # chi-square with 49 degrees: 1 in 3,000
    assert np.mean([draws.sign() for _ in range(10_000)]) == pytest.approx(0, abs=0.04)
    assert set(np.bincount([draws.below(7) for _ in range(7_000)]) // 100) <= {8, 9, 10, 11}
    assert {draws.one_of("abc") for _ in range(50)} == set("abc")


def test_orders_are_orders_and_all_come() -> None:
    draws = Draws(9)
    orders = [tuple(draws.shuffled(4)) for _ in range(2_400)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 24
    assert min(counts) > 60


def test_first_numbers_of_neighbouring_keys_have_nothing_in_common() -> None:
    first = np.array([Draws(1, i, 0).uniform() for i in range(4_000)])
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.06
    assert np.array_equal(Draws(3).generator().integers(0, 9, 20), Draws(3).generator().integers(0, 9, 20))
