"""The quick way through many rows: their codes first, and the rows themselves only where the codes leave a doubt."""

from __future__ import annotations

import math

import numpy as np

from vultus.gallery.codes import Codes
from vultus.gallery.rows import Rows
from vultus.gallery.search import ExactScan, rounding
from vultus.types import FloatArray, IntArray

_FEWEST = 256


class CompressedScan:
    """Scans the codes of the first rows whole, and the few rows that have no codes yet exactly.

    What it proposes holds with a probability of at least 1 - 2 (k + 1) p of a search that finds k rows at its limit, with
    p of `vultus.gallery.codes.MISSED`: 1e-8.

    Args:
        rows: the rows.
        codes: of the first of them.
        probe: (d,) float32.
        threshold: the score that matters to this search, as far as it is known.
    """

    def __init__(self, rows: Rows, codes: Codes, probe: FloatArray, *, threshold: float) -> None:
        self._rows, self._codes, self._probe, self._threshold = rows, codes, probe, threshold
        self._rotated = codes.rotated(probe)
        self._slack = codes.slack(self._rotated)
        self._tail = ExactScan(rows, probe, start=len(codes))
        self._most = max(4 * _FEWEST, len(codes) // 12)
        self._products = np.zeros(0, dtype=np.float32)

    def nearest(self, count: int) -> tuple[IntArray, float]:
        """See `Scan`."""
        places, floor = self._coded(max(count, self._codes.hint[0]), self._threshold)
        needed = int(np.count_nonzero(self._products >= self._codes.least(self._threshold) - self._slack))
        hint = self._codes.hint
        hint[0] = int(min(self._most, max(_FEWEST, 1.25 * needed, 0.98 * hint[0])))
        others, other_floor = self._tail.nearest(count)
        return np.concatenate([places, others]), max(floor, other_floor)

    def down_to(self, limit: float) -> IntArray:
        """See `Scan`."""
        count = self._expected(self._codes.least(limit) - self._slack)
        if count <= self._most:
            places, floor = self._coded(int(count), limit)
            if floor <= limit:
                return np.concatenate([places, self._tail.down_to(limit)])
        return ExactScan(self._rows, self._probe).down_to(limit)

    def _coded(self, count: int, limit: float) -> tuple[IntArray, float]:
        """Places, ascending, of the rows with the highest products that can reach the limit, and what others score below."""
        count = min(count, len(self._codes))
        found, at = self._codes.index.search(self._rotated, count)
        products, places = found[0], at[0]
        self._products = products
        floor = self._codes.below(float(products[-1]) + self._slack) if count < len(self._codes) else -math.inf
        kept = places[self._codes.can_reach(places, products + np.float32(self._slack), limit)]
        scores = self._codes.awkward_rows @ self._probe
        awkward = self._codes.awkward[scores >= limit - rounding(len(self._probe))]
        return np.sort(np.concatenate([kept, awkward])), floor

    def _expected(self, product: float) -> float:
        """About how many rows have at least this product, if the logarithm of their number falls as its square rises."""
        products = self._products
        high, low = float(products[len(products) // 8]), float(products[-1])
        if product <= 0 or not high > low > 0:
            return math.inf
        steepness = math.log(8) / (high**2 - low**2)
        exponent = steepness * (low**2 - product**2)
        return math.inf if exponent > 30 else 1.5 * len(products) * math.exp(exponent) + 64
