"""Scans of the rows in memory: which of them can matter to a probe, and how high the others can score."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vultus.gallery.rank import By, Scored, best_of
from vultus.gallery.rows import Rows, exact_scores
from vultus.types import FloatArray, IntArray

_MANY = 16_384


class Scan(Protocol):
    """One probe's way through the rows."""

    def nearest(self, count: int) -> tuple[IntArray, float]:
        """Places of at least the `count` best rows, ascending, and a bound that all other rows score below."""
        ...

    def down_to(self, limit: float) -> IntArray:
        """Places, ascending, of all rows that score at least that much, and perhaps of others."""
        ...


class ExactScan:
    """Reads every row once, in single precision.

    Args:
        rows: the rows.
        probe: (d,) float32.
        start: the first row to look at.
    """

    def __init__(self, rows: Rows, probe: FloatArray, *, start: int = 0) -> None:
        self._start = start
        self._scores = np.empty(len(rows) - start, dtype=np.float32)
        products = _products_by_faiss if len(self._scores) >= _MANY else _products
        for place, block in rows.blocks(start):
            products(block, probe, self._scores[place - start : place - start + len(block)])
        self._slack = rounding(rows.dimension)

    def nearest(self, count: int) -> tuple[IntArray, float]:
        """See `Scan`."""
        places, floor = at_least_the_best(self._scores, count)
        return places + self._start, floor + self._slack

    def down_to(self, limit: float) -> IntArray:
        """See `Scan`."""
        return np.flatnonzero(self._scores >= limit - self._slack) + self._start


def rounding(dimension: int) -> float:
    """How far a score in single precision can be off: a sum of d products in any order, of lengths that are 1 to 1e-3."""
    return 1.02 * (dimension + 2) / (1 << 24)


def _products(rows: FloatArray, probe: FloatArray, out: FloatArray) -> None:
    np.dot(rows, probe, out=out)


def _products_by_faiss(rows: FloatArray, probe: FloatArray, out: FloatArray) -> None:
    """The same, which reads memory as quickly as it can be read; for it the package is worth loading."""
    import faiss

    pointers = (faiss.swig_ptr(array) for array in (out, probe, rows))
    faiss.fvec_inner_products_ny(*pointers, rows.shape[1], len(rows))  # type: ignore[attr-defined]


def at_least_the_best(scores: FloatArray, count: int) -> tuple[IntArray, float]:
    """Ascending places of the `count` highest scores and of those that tie with the last, which is given too.

    The maxima of small groups give a bound from below for the wanted score, so that few scores need to be sorted.
    """
    if count >= len(scores):
        return np.arange(len(scores)), -np.inf
    group = 128
    whole = len(scores) // group * group
    places: IntArray = np.arange(len(scores))
    if whole // group > 2 * count:
        maxima = scores[:whole].reshape(-1, group).max(axis=1)
        bound = np.partition(maxima, len(maxima) - count)[len(maxima) - count]
        places = np.flatnonzero(scores >= bound)
    kept = scores[places]
    last = np.partition(kept, len(kept) - count)[len(kept) - count]
    return places[kept >= last], float(last)


def best_subjects(
    rows: Rows, scan: Scan, probe: FloatArray, *, threshold: float, max_rank: int, by: By, now: float
) -> tuple[list[int], list[float]]:
    """Numbers and scores of at most `max_rank` subjects that reach the threshold, best first.

    Args:
        rows: the rows.
        scan: proposes rows for this probe.
        probe: (d,) float32.
        threshold: lowest score; -inf for none.
        max_rank: how many subjects.
        by: a subject's score is the highest or the mean of its templates' scores.
        now: seconds since 1970; templates that expire then or before are left out.

    Returns:
        equal scores are in the order of enrolment.
    """
    proposals = _RowProposals(rows, scan, probe, threshold=threshold, by=by, now=now)
    return best_of(proposals, threshold=threshold, max_rank=max_rank, by=by)


class _RowProposals:
    """What a scan proposes, scored."""

    def __init__(self, rows: Rows, scan: Scan, probe: FloatArray, *, threshold: float, by: By, now: float) -> None:
        self._rows, self._scan, self._probe = rows, scan, probe
        self._threshold, self._by, self._now = threshold, by, now

    def nearest(self, count: int) -> tuple[Scored, float]:
        """See `Proposals`."""
        places, floor = self._scan.nearest(count)
        return self._scored(places), floor

    def down_to(self, limit: float) -> Scored:
        """See `Proposals`."""
        return self._scored(self._scan.down_to(limit))

    def _scored(self, places: IntArray) -> Scored:
        """Those that may reach the threshold; by mean, with all templates of their subjects."""
        rows = self._rows
        places = places[rows.usable(places, self._now)]
        if self._threshold > -1:  # a subject below it with every template is below it
            places = places[rows.gather(places) @ self._probe >= self._threshold - rounding(rows.dimension)]
        if self._by == "mean":
            everything = np.flatnonzero(np.isin(rows.subjects, np.unique(rows.subjects[places])))
            places = everything[rows.usable(everything, self._now)]
        return Scored(rows.subjects[places], exact_scores(rows, places, self._probe))
