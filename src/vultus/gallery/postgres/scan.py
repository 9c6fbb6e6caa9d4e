"""Rows that can matter to a probe, by a scan in half precision whose error has a bound, or by the graph.

A row x lies in `halves` as h(x), each number rounded to the nearest float16: |h(x) - x| <= 2^-11 |x| + sqrt(d) 2^-25, the
second part for numbers below the smallest normal one. The server multiplies it with h(p) of the probe p and adds up in
single precision. So its product is off by at most

    |h(x) - x| |p| + |h(x)| |h(p) - p| + d 2^-24 |h(x)| |h(p)|,

of which |h(p) - p| is known exactly. Whatever reaches a limit in truth reaches it less this bound in the scan, and is
then scored from the float32 row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pgvector import HalfVector

from vultus.gallery.postgres.connections import Connection
from vultus.gallery.postgres.reads import Reads
from vultus.gallery.rank import By, Scored
from vultus.gallery.rows import row_scores
from vultus.types import FloatArray

_LONGEST = 1.001  # what a template's length may be, and a little
_CHUNK = 8192

_SCORED = """
SELECT c.number, c.subject, t.vector, t.checksum, c.product FROM ({}) AS c JOIN templates AS t USING (number)
"""
_PRODUCTS = """
SELECT number, subject, product FROM (
    SELECT number, subject, half <#> %(probe)b AS product FROM halves WHERE expires > %(now)s
) AS scanned {}
"""
_NEAREST = _SCORED.format(_PRODUCTS.format("ORDER BY product LIMIT %(count)s"))
_NEAREST_ABOVE = _SCORED.format(_PRODUCTS.format("WHERE product <= %(most)s ORDER BY product LIMIT %(count)s"))
_ABOVE = _SCORED.format(_PRODUCTS.format("WHERE product <= %(most)s"))
_GRAPH = _SCORED.format("""
SELECT number, subject, half::halfvec({0}) <#> %(probe)b AS product FROM halves WHERE expires > %(now)s
ORDER BY half::halfvec({0}) <#> %(probe)b LIMIT %(count)s
""")
_WHOLE = """
SELECT number, subject, vector, checksum FROM templates
WHERE subject = ANY(%(subjects)s) AND vector IS NOT NULL AND (expires IS NULL OR expires > %(now)s)
"""


def halved(row: FloatArray) -> HalfVector:
    """A row in half precision, each number rounded to the nearest."""
    return HalfVector(row.astype(np.float16))


def product_error(probe: FloatArray) -> float:
    """How far a product in half precision can be off the score of a stored row with this probe; see above."""
    dimension, exact = len(probe), probe.astype(np.float64)
    rounded = probe.astype(np.float16).astype(np.float64)
    row_error = 2**-11 * _LONGEST + math.sqrt(dimension) * 2**-25
    row, length = _LONGEST + row_error, float(np.linalg.norm(rounded))
    lost = float(np.linalg.norm(rounded - exact))
    return 1.01 * (row_error * _LONGEST + row * lost + dimension * 2**-24 * row * length)


class Scan:
    """Reads every row in half precision. See `Proposals`.

    Args:
        connection: inside a transaction.
        reads: of the same snapshot.
        probe: (d,) float32.
        threshold: lowest score.
        by: how a subject's score comes from those of its templates.
        now: seconds since 1970.
    """

    def __init__(
        self, connection: Connection, reads: Reads, probe: FloatArray, *, threshold: float, by: By, now: float
    ) -> None:
        self._connection, self._reads, self._probe = connection, reads, probe
        self._threshold, self._by = threshold, by
        self._values: dict[str, Any] = {"probe": halved(probe), "now": math.floor(now)}
        self._slack = product_error(probe)

    def nearest(self, count: int) -> tuple[Scored, float]:
        """See `Proposals`."""
        if self._threshold > -1:  # a subject below it with every template is below it
            found = self._rows(_NEAREST_ABOVE, count=count, most=self._slack - self._threshold)
        else:
            found = self._rows(_NEAREST, count=count)
        whole = len(found) < count
        return self._scored(found), self._threshold if whole else self._slack - max(row[4] for row in found)

    def down_to(self, limit: float) -> Scored:
        """See `Proposals`."""
        return self._scored(self._rows(_ABOVE, most=self._slack - limit))

    def _rows(self, query: str, **more: object) -> list[tuple[Any, ...]]:
        values = {**self._values, **more}
        return self._connection.execute(query, values, binary=True, prepare=False).fetchall()

    def _scored(self, found: list[tuple[Any, ...]]) -> Scored:
        """The templates with their exact scores; by mean, with all others of their subjects."""
        if self._by == "mean":
            found = self._rows(_WHOLE, subjects=list({row[1] for row in found}))
        found = sorted(found)
        scores = [np.zeros(0)]
        for first in range(0, len(found), _CHUNK):
            part = [self._reads.vector(*row[:1], *row[2:4]) for row in found[first : first + _CHUNK]]
            scores.append(row_scores(np.stack(part), self._probe))
        return Scored(np.array([row[1] for row in found], dtype=np.int64), np.concatenate(scores))


class GraphWalk(Scan):
    """Looks at the rows that the graph leads to, and can say nothing about the others."""

    def nearest(self, count: int) -> tuple[Scored, float]:
        """See `Proposals`; the bound is none."""
        return self._scored(self._rows(_GRAPH.format(len(self._probe)), count=count)), -math.inf
