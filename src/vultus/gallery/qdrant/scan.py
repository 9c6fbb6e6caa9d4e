"""Rows that can matter to a probe: the server scores all of them in single precision, or the best ones by 8 bits.

A product of two rows in single precision, added up in any order, is off by at most `vultus.gallery.search.rounding`. So
whatever reaches a limit in truth reaches it less this bound on the server, and is then scored exactly from its row.
"""

from __future__ import annotations

import math

import numpy as np

from vultus.gallery.qdrant.head import Head
from vultus.gallery.qdrant.points import Point, among
from vultus.gallery.qdrant.reads import Reads
from vultus.gallery.rank import By, Scored
from vultus.gallery.rows import row_scores
from vultus.gallery.search import rounding
from vultus.types import FloatArray

_MORE = 256
_CHUNK = 200
_PARSED = 1e-6  # a limit that is sent as a number in decimal and becomes one in single precision


class Scan:
    """Has the server score every row. See `Proposals`.

    Args:
        reads: of the gallery.
        head: of the state that is searched.
        probe: (d,) float32.
        threshold: lowest score.
        by: how a subject's score comes from those of its templates.
        now: seconds since 1970.
    """

    def __init__(self, reads: Reads, head: Head, probe: FloatArray, *, threshold: float, by: By, now: float) -> None:
        self._reads, self._head, self._probe = reads, head, probe
        self._threshold, self._by, self._now = threshold, by, now
        self._points = reads.points
        self._rows = self._points.address.rows(len(probe))
        self._slack = rounding(len(probe)) + _PARSED

    def nearest(self, count: int) -> tuple[Scored, float]:
        """See `Proposals`."""
        asked = count
        while True:
            found = self._nearest(asked, self._threshold)
            usable = [point for point in found if self._usable(point)]
            if len(found) < asked:
                return self._scored(usable), self._threshold
            if len(usable) >= count:
                return self._scored(usable), found[-1].score + self._slack
            asked *= 2

    def down_to(self, limit: float) -> Scored:
        """See `Proposals`."""
        asked = _MORE
        while len(found := self._nearest(asked, limit)) == asked:
            asked *= 4
        return self._scored([point for point in found if self._usable(point)])

    def _nearest(self, count: int, limit: float) -> list[Point]:
        above = limit - self._slack if limit > -1 else None
        return self._points.nearest(self._rows, self._probe, count, above=above, oversampling=None)

    def _usable(self, point: Point) -> bool:
        """Whether a row is part of the state, and not expired."""
        expires = point.payload.get("expires")
        return self._head.shows(point.id) and (expires is None or expires > self._now)

    def _scored(self, found: list[Point]) -> Scored:
        """The templates with their exact scores; by mean, with all others of their subjects."""
        if self._by == "mean":
            subjects = sorted({int(point.payload["subject"]) for point in found})
            found = []
            for first in range(0, len(subjects), _CHUNK):
                of = among("subject", subjects[first : first + _CHUNK])
                found += [point for point in self._points.scroll(self._rows, of, vectors=True) if self._usable(point)]
        rows = [self._reads.checked(point) for point in found]
        scores = row_scores(np.stack(rows), self._probe) if rows else np.zeros(0)
        return Scored(np.array([point.payload["subject"] for point in found], dtype=np.int64), scores)


class QuickScan(Scan):
    """Has the server score the rows in 8 bits, and the best of them again; it can say nothing about the others.

    Args:
        reads, head, probe, threshold, by, now: as for `Scan`.
        oversampling: how many times as many rows are scored again as are asked for.
    """

    def __init__(
        self,
        reads: Reads,
        head: Head,
        probe: FloatArray,
        *,
        threshold: float,
        by: By,
        now: float,
        oversampling: int,
    ) -> None:
        super().__init__(reads, head, probe, threshold=threshold, by=by, now=now)
        self._oversampling = oversampling

    def nearest(self, count: int) -> tuple[Scored, float]:
        """See `Proposals`; the bound is none."""
        return super().nearest(count)[0], -math.inf

    def _nearest(self, count: int, limit: float) -> list[Point]:
        above = limit - self._slack if limit > -1 else None
        return self._points.nearest(self._rows, self._probe, count, above=above, oversampling=self._oversampling)
