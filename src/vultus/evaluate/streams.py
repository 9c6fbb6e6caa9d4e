"""All pairs of a set: what are the scores of millions of comparisons, if they are never held at once?

Rows are unit vectors and a score is their product. Blocks of the upper triangle are multiplied into one buffer, from
which each score goes into a histogram, and into the tail if it is among the largest; memory does not grow with the
number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.histogram import ScoreHistogram, checked_bins, count_into
from vultus.evaluate.tail import CHUNK, Tail, TailKeeper, tail_of
from vultus.types import FloatArray, IntArray

_COLUMNS = 8192


@export("vultus.evaluate.AllPairs")
@dataclass(frozen=True, slots=True, eq=False)
class AllPairs:
    """The scores of all cross-subject pairs of a set: the largest with their pairs, and a histogram of all."""

    tail: Tail
    histogram: ScoreHistogram


@export("vultus.evaluate.all_pairs_tail")
def all_pairs_tail(rows: npt.ArrayLike, *, keep: int, labels: npt.ArrayLike | None = None, block: int = 1024) -> Tail:
    """The largest scores among all pairs of rows, i < j, that show two subjects.

    An FMR of f over n pairs needs `keep` > f n; a bootstrap of the threshold needs some times as many.

    Args:
        rows: (n, d) unit rows, n >= 2.
        keep: how many of the largest scores to keep with their pairs.
        labels: (n,) subject of each row, numbers or names; pairs of one subject are neither counted nor kept. Without
            it every row is a subject of its own.
        block: rows multiplied at a time; memory is 4 * block * 8,192 bytes, and 16 bytes for each of 2 keep + 65,536
            scores.

    Returns:
        the tail, whose `first` and `second` are indices of rows, first < second.

    Raises:
        BadArgument: rows that are not finite or not of length 1, labels of another shape, or options out of range.
        TooFewComparisons: no two rows show two subjects.
    """
    unit, order, end = _grouped(rows, labels)
    stream = _Stream(unit, end, keep, block)
    for _ in stream:
        pass
    return stream.tail(order)


@export("vultus.evaluate.all_pairs")
def all_pairs(
    rows: npt.ArrayLike,
    *,
    keep: int,
    labels: npt.ArrayLike | None = None,
    bins: int = 4096,
    block: int = 1024,
) -> AllPairs:
    """`all_pairs_tail` with a histogram of all the scores, made in the same pass.

    Args:
        rows: (n, d) unit rows, n >= 2.
        keep: how many of the largest scores to keep with their pairs.
        labels: (n,) subject of each row; pairs of one subject are neither counted nor kept.
        bins: of the histogram, a power of two.
        block: rows multiplied at a time.

    Raises:
        BadArgument: rows that are not finite or not of length 1, labels of another shape, or options out of range.
        TooFewComparisons: no two rows show two subjects.
    """
    unit, order, end = _grouped(rows, labels)
    counts = np.zeros(checked_bins(bins), dtype=np.int64)
    stream = _Stream(unit, end, keep, block)
    for scores in stream:
        count_into(counts, scores)
    counts[0] -= stream.left_out
    return AllPairs(stream.tail(order), ScoreHistogram(counts))


class _Stream:
    """Portions of the scores of all pairs, each valid until the next; -inf stands for those that are no pair."""

    def __init__(self, unit: FloatArray, end: IntArray, keep: int, block: int) -> None:
        n = len(unit)
        if not (end < n).any():
            raise TooFewComparisons(f"{n} rows of one subject; there is no cross-subject pair")
        if block < 1:
            raise BadArgument(f"block is {block}; expected 1 or more")
        self._unit, self._end, self._block = unit, end, block
        self._keeper = TailKeeper(min(keep, n * (n - 1) // 2))
        self.left_out = 0

    def __iter__(self) -> Iterator[FloatArray]:
        n, begin = len(self._unit), 0
        buffer = np.empty(min(self._block, n) * min(_COLUMNS, n), dtype=np.float32)
        for top, bottom, left, right in self._blocks():
            scores = buffer[: (bottom - top) * (right - left)]
            matrix = scores.reshape(bottom - top, right - left)
            np.matmul(self._unit[top:bottom], self._unit[left:right].T, out=matrix)
            self.left_out += _mask(matrix, self._end[top:bottom] - left)
            for place in range(0, len(scores), CHUNK):
                part = scores[place : place + CHUNK]
                chosen = self._keeper.choose(part)
                if len(chosen):
                    self._keeper.store(part[chosen], chosen + (begin + place))
                yield part
            begin += len(scores)

    def tail(self, order: IntArray) -> Tail:
        """What was kept, with the pairs found again from the number that each score had in the stream."""
        self._keeper.leave_out(self.left_out)
        scores, codes, comparisons = self._keeper.largest()
        corners = np.asarray(list(self._blocks()), dtype=np.int64)
        heights, widths = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 2]
        begins = np.cumsum(heights * widths) - heights * widths
        block = np.searchsorted(begins, codes, side="right") - 1
        row, column = np.divmod(codes - begins[block], widths[block])
        one, other = order[row + corners[block, 0]], order[column + corners[block, 2]]
        return tail_of(scores, np.minimum(one, other), np.maximum(one, other), comparisons)

    def _blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """(top, bottom, left, right) of the blocks that hold a pair above the diagonal."""
        n = len(self._unit)
        for top in range(0, n, self._block):
            for left in range(top, n, _COLUMNS):
                yield top, min(top + self._block, n), left, min(left + _COLUMNS, n)


@export("vultus.evaluate.mated_pairs")
def mated_pairs(rows: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, IntArray, IntArray]:
    """Score every pair of rows, i < j, that shows one subject.

    Args:
        rows: (n, d) unit rows.
        labels: (n,) subject of each row, numbers or names.

    Returns:
        (p,) scores, and the (p,) first and (p,) second row of each pair.

    Raises:
        BadArgument: rows that are not finite or not of length 1, or labels of another shape.
    """
    unit, order, end = _grouped(rows, labels)
    place = np.arange(len(unit))
    partners = end - place - 1
    first = np.repeat(place, partners)
    second = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners) + first + 1
    scores = np.empty(len(first), dtype=np.float32)
    for begin in range(0, len(first), CHUNK):
        part = slice(begin, begin + CHUNK)
        np.einsum("ij,ij->i", unit[first[part]], unit[second[part]], out=scores[part])
    one, other = order[first], order[second]
    return scores, np.minimum(one, other), np.maximum(one, other)


def _grouped(rows: npt.ArrayLike, labels: npt.ArrayLike | None) -> tuple[FloatArray, IntArray, IntArray]:
    """Rows with those of a subject next to each other, where each came from, and where its subject ends."""
    unit = np.ascontiguousarray(rows, dtype=np.float32)
    if unit.ndim != 2 or not unit.size:
        raise BadArgument(f"rows of shape {unit.shape}; expected (n, d) with n and d above 0")
    lengths = np.sqrt(np.einsum("ij,ij->i", unit, unit))
    if not (np.abs(lengths - 1.0) <= 1e-3).all():
        bad = int(np.count_nonzero(~(np.abs(lengths - 1.0) <= 1e-3)))
        raise BadArgument(f"{bad} of {len(unit)} rows are not finite or not of length 1; expected unit rows")
    place = np.arange(len(unit))
    if labels is None:
        return unit, place, place + 1
    names = np.asarray(labels)
    if names.shape != (len(unit),):
        raise BadArgument(f"labels of shape {names.shape} for {len(unit)} rows; expected ({len(unit)},)")
    _, subject = np.unique(names, return_inverse=True)
    order = np.argsort(subject, kind="stable")
    end = np.searchsorted(subject[order], subject[order], side="right")
    return unit[order], order, end


def _mask(scores: FloatArray, first_column: IntArray) -> int:
    """Set each row of the caller's buffer to -inf before the column from which its pairs count; how many that were."""
    width = scores.shape[1]
    before = np.clip(first_column, 0, width)
    reach = int(before[-1])  # rows of a subject lie together, so these columns ascend
    scores[:, :reach][np.arange(reach) < before[:, None]] = -np.inf
    return int(before.sum())
