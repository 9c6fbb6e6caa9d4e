"""The best subjects for a probe: a quick scan proposes rows, exact scores decide, and a proof says when to stop.

Whatever the scan, the answer is the same: it tells how high the rows that it did not propose can score, and where that
is high enough to matter, it is asked for all that can.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from vultus.gallery.rows import Rows, exact_scores
from vultus.types import Float64Array, FloatArray, IntArray

_MANY = 16_384

By = Literal["max", "mean"]


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
    places, floor = scan.nearest(4 * max_rank + 28)
    numbers, scores = _ranked(rows, places, probe, threshold=threshold, max_rank=max_rank, by=by, now=now)
    limit = threshold if len(scores) < max_rank else scores[-1]
    if floor > limit:
        places = scan.down_to(limit)
        numbers, scores = _ranked(rows, places, probe, threshold=threshold, max_rank=max_rank, by=by, now=now)
    return numbers, scores


def _ranked(
    rows: Rows, places: IntArray, probe: FloatArray, *, threshold: float, max_rank: int, by: By, now: float
) -> tuple[list[int], list[float]]:
    """The best subjects among those who have a row at one of the places."""
    places = places[rows.usable(places, now)]
    if threshold > -1:  # a subject below it with every template is below it
        places = places[rows.gather(places) @ probe >= threshold - rounding(rows.dimension)]
    if by == "mean":
        everything = np.flatnonzero(np.isin(rows.subjects, np.unique(rows.subjects[places])))
        places = everything[rows.usable(everything, now)]
    subjects, best = _by_subject(rows.subjects[places], exact_scores(rows, places, probe), by)
    reached = np.flatnonzero(best >= threshold)
    order = reached[np.lexsort((subjects[reached], -best[reached]))][:max_rank]
    return subjects[order].tolist(), best[order].tolist()


def _by_subject(subjects: IntArray, scores: Float64Array, by: By) -> tuple[IntArray, Float64Array]:
    """Each subject once, ascending, with its score."""
    order = np.argsort(subjects, kind="stable")
    subjects, scores = subjects[order], scores[order]
    first = np.flatnonzero(np.diff(subjects, prepend=-1))
    if not len(first):
        return subjects, scores
    if by == "max":
        return subjects[first], np.maximum.reduceat(scores, first)
    counts = np.diff(np.append(first, len(subjects)))
    return subjects[first], np.add.reduceat(scores, first) / counts
