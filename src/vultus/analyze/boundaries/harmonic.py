"""Sums of cosines a cos(k u + p), and where they vanish, by formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vultus.errors import BadArgument

_TURN = 2 * math.pi
_SLACK = 1e-13
_NOTHING = 1e-280  # smaller amplitudes are zero: dividing by one would overflow


@dataclass(frozen=True, slots=True)
class Harmonics:
    """The function sum of amplitude * cos(factor * u + phase).

    Args:
        terms: (amplitude, factor, phase) of each cosine; factor 0 is a constant.
    """

    terms: tuple[tuple[float, float, float], ...]

    def __call__(self, u: float) -> float:
        """Its value at an angle."""
        return sum(a * math.cos(k * u + p) for a, k, p in self.terms)

    def __add__(self, other: Harmonics) -> Harmonics:
        return Harmonics(self.terms + other.terms)

    def times(self, factor: float) -> Harmonics:
        """Multiplied by a number."""
        return Harmonics(tuple((factor * a, k, p) for a, k, p in self.terms))

    def roots(self) -> list[float]:
        """Zeros in [0, 2 pi), and perhaps some places that are none: a caller looks for changes of the sign.

        A single frequency has them by arc cosine; two cosines of one size by equating their angles; whole factors as the
        roots of a polynomial in exp(iu) on the unit circle.

        Raises:
            BadArgument: none of these forms.
        """
        constant, waves = self._merged()
        if sum(a for a, _, _ in waves) <= abs(constant) * (1 + _SLACK):
            return []
        if len(waves) == 1 and waves[0][1] == 1:
            return _one_frequency(waves, constant)
        if len(waves) == 2 and constant == 0 and math.isclose(waves[0][0], waves[1][0], rel_tol=_SLACK):
            return _equal_cosines(*waves)
        if all(float(k).is_integer() for _, k, _ in waves):
            return _polynomial(waves, constant)
        raise BadArgument(
            "this boundary has no closed form: a factor of the angle that is not whole; find it numerically"
        )

    def _merged(self) -> tuple[float, list[tuple[float, float, float]]]:
        """The constant, and one term for each other factor; without those that rounding alone has left."""
        sums: dict[float, complex] = {}
        for a, k, p in self.terms:
            sums[k] = sums.get(k, 0) + a * complex(math.cos(p), math.sin(p))
        constant = sums.pop(0.0, 0j).real
        least = max(_SLACK * max((abs(a) for a, _, _ in self.terms), default=0.0), _NOTHING)
        if abs(constant) <= least:
            constant = 0.0
        return constant, [(abs(w), k, math.atan2(w.imag, w.real)) for k, w in sums.items() if abs(w) > least]


def _one_frequency(waves: list[tuple[float, float, float]], constant: float) -> list[float]:
    ((size, _, phase),) = waves
    opened = math.acos(-constant / size)
    return [(opened - phase) % _TURN, (-opened - phase) % _TURN]


def _equal_cosines(one: tuple[float, float, float], two: tuple[float, float, float]) -> list[float]:
    """cos(k u + p) = -cos(m u + q) = cos(m u + q + pi)."""
    (_, k, p), (_, m, q) = one, two
    q += math.pi
    found = []
    for factor, phase in ((k - m, p - q), (k + m, p + q)):
        if factor == 0:
            continue
        turns = math.ceil(abs(factor)) + 1
        found += [(_TURN * n - phase) / factor for n in range(-turns - 1, turns + 2)]
    return [u for u in found if 0 <= u < _TURN]


def _polynomial(waves: list[tuple[float, float, float]], constant: float) -> list[float]:
    """Times 2 z^K, z = exp(iu), the sum is a polynomial in z of degree 2 K."""
    degree = int(max(k for _, k, _ in waves))
    coefficients = np.zeros(2 * degree + 1, dtype=complex)
    coefficients[degree] = 2 * constant
    for a, k, p in waves:
        turned = a * complex(math.cos(p), math.sin(p))
        coefficients[degree - int(k)] += turned
        coefficients[degree + int(k)] += turned.conjugate()
    roots = np.roots(coefficients / np.abs(coefficients).max())  # by its size, so that a tiny one does not overflow
    return [float(u) % _TURN for u in np.angle(roots[np.abs(np.abs(roots) - 1) < 1e-5])]
