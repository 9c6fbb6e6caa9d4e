"""Random choices that follow from a key alone: the same for a photo in whatever batch, order or process it is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Draws:
    """A stream of random numbers that follows from whole numbers.

    SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"). A new stream costs next to
    nothing, which numpy's generators, made anew for every photo, would not; one that nobody draws from, nothing at all.

    Args:
        key: whole numbers, such as a seed and the number of a photo. Another key gives another stream.
    """

    __slots__ = ("_key", "_passed", "_state")

    def __init__(self, *key: int) -> None:
        self._key = key  # until the first draw
        self._passed = 0  # numbers
        self._state = 0

    def bits(self) -> int:
        """A whole number of 64 random bits."""
        if self._passed or self._key:
            self._catch_up()
        self._state = (self._state + _GOLDEN) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high); low itself, at next to no cost, where both are the same."""
        if low == high:
            self._passed += 1
            return low
        return low + (high - low) * ((self.bits() >> 11) * 2.0**-53)

    def sign(self) -> float:
        """1 or -1."""
        return 1.0 if self.bits() >> 63 else -1.0

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return (self.bits() * count) >> 64

    def one_of(self, choices: Sequence[_T]) -> _T:
        """One of several."""
        return choices[self.below(len(choices))]

    def shuffled(self, count: int) -> list[int]:
        """The numbers from 0 to count - 1 in a random order (Fisher and Yates)."""
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return order

    def generator(self) -> np.random.Generator:
        """A generator for whole fields of numbers, such as noise."""
        return np.random.Generator(np.random.SFC64(self.bits()))

    def _catch_up(self) -> None:
        """Mix the key in, and go over the numbers that nobody needed to see."""
        key, self._key, passed, self._passed = self._key, (), self._passed, 0
        for part in key:
            self._state ^= part & _MASK
            self._state = self.bits()
        self._state += passed * _GOLDEN
