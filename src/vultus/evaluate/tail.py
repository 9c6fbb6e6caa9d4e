"""The tail of the non-mated scores: which are the largest of any number of scores, and which pairs made them?

Low false match rates depend on nothing else, so the tail alone gives exact thresholds and the false matches themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import require_support
from vultus.calibrate.thresholds import allowed_errors, threshold_of_largest
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import Float64Array, IntArray

CHUNK = 1 << 16


@export("vultus.evaluate.Tail")
@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The k largest of the scores of n comparisons.

    Args:
        scores: (k,) descending.
        first, second: (k,) the two samples of each; of pairs that tie with the last score any may be missing.
        comparisons: n, at least k.
    """

    scores: Float64Array
    first: IntArray
    second: IntArray
    comparisons: int

    def threshold_at_fmr(self, fmr: float) -> float:
        """`vultus.calibrate.threshold_at_fmr` of all n scores, exactly.

        Raises:
            BadArgument: `fmr` outside (0, 1].
            TooFewComparisons: n < 30 / fmr, or too few scores were kept.
        """
        require_support(fmr, self.comparisons, what="non-mated comparisons")
        allowed = allowed_errors(fmr, self.comparisons)
        if allowed >= len(self.scores) and len(self.scores) < self.comparisons:
            raise TooFewComparisons(
                f"{len(self.scores):,} largest scores were kept; an FMR of {fmr:g} over {self.comparisons:,} "
                f"comparisons needs {allowed + 1:,} of them (keep={allowed + 1})"
            )
        return threshold_of_largest(self.scores, comparisons=self.comparisons, fmr=fmr)

    def false_matches(self, threshold: float) -> tuple[IntArray, IntArray]:
        """(first, second) of every comparison whose score is at or above the threshold.

        Raises:
            BadArgument: a threshold that is NaN.
            TooFewComparisons: scores below the smallest kept one may be among them.
        """
        if math.isnan(threshold):
            raise BadArgument("the threshold is NaN; expected a number")
        lowest = float(self.scores[-1]) if len(self.scores) else math.inf
        if len(self.scores) < self.comparisons and threshold <= lowest:
            raise TooFewComparisons(
                f"only scores above {lowest:.6g} are known in full; the threshold {threshold:.6g} needs a larger keep"
            )
        count = int(np.searchsorted(-self.scores, -threshold, side="right"))
        return self.first[:count], self.second[:count]

    def fmr(self, threshold: float) -> float:
        """False match rate at a threshold.

        Raises:
            BadArgument: a threshold that is NaN.
            TooFewComparisons: scores below the smallest kept one may be among the false matches, or n is 0.
        """
        if not self.comparisons:
            raise TooFewComparisons("no comparison; a rate needs at least one")
        return len(self.false_matches(threshold)[0]) / self.comparisons


@export("vultus.evaluate.TailKeeper")
class TailKeeper:
    """Takes scores in any number of portions and keeps the largest, in a buffer of twice their number.

    A score is looked at again only where it exceeds the smallest of the largest so far. The cut rises whenever the
    buffer is full, and what is kept is exact at any time.

    Args:
        keep: how many of the largest scores to keep, at least 1.

    Raises:
        BadArgument: a smaller `keep`.
    """

    def __init__(self, keep: int) -> None:
        if keep < 1:
            raise BadArgument(f"keep is {keep}; expected 1 or more")
        self._keep = keep
        self._scores: Float64Array = np.empty(2 * keep + CHUNK)
        self._codes = np.empty(2 * keep + CHUNK, dtype=np.int64)
        self._size = 0
        self._cut = -math.inf
        self._comparisons = 0

    def add(self, scores: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> None:
        """Take (n,) scores of the pairs (first, second) of samples below 2^31.

        -inf, a comparison that failed, is counted and never kept.

        Raises:
            BadArgument: shapes that differ, samples out of range, or NaN or +inf.
        """
        one, other = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
        array = np.asarray(scores)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64)
        if array.ndim != 1 or not array.shape == one.shape == other.shape:
            raise BadArgument(f"{array.shape} scores of {one.shape} and {other.shape} samples; expected (n,) each")
        if len(array) and not 0 <= min(one.min(), other.min()) <= max(one.max(), other.max()) < 1 << 31:
            raise BadArgument("samples are numbered below 0 or from 2^31 on; expected indices in between")
        for begin in range(0, len(array), CHUNK):
            part = slice(begin, begin + CHUNK)
            chosen = self.choose(array[part])
            self.store(array[part][chosen], (one[part][chosen] << 32) + other[part][chosen])

    def tail(self) -> Tail:
        """The largest scores so far, descending; pairs with equal scores by their samples."""
        scores, codes, comparisons = self.largest()
        return tail_of(scores, codes >> 32, codes & 0xFFFFFFFF, comparisons)

    def choose(self, scores: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> IntArray:
        """Count at most 65,536 scores, and tell at which places there are some to store.

        Raises:
            BadArgument: NaN or +inf.
        """
        self._comparisons += len(scores)
        highest = float(scores.max(initial=-math.inf))
        if not highest < math.inf:
            raise BadArgument("scores hold NaN or +inf; remove or repair those first")
        if highest <= self._cut:
            return np.zeros(0, dtype=np.intp)
        # The largest number of the scores' type that is not above the cut decides as the cut itself would.
        cut = scores.dtype.type(self._cut)
        return np.flatnonzero(
            scores > (np.nextafter(cut, scores.dtype.type(-math.inf)) if float(cut) > self._cut else cut)
        )

    def store(self, scores: npt.NDArray[np.float32] | npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> None:
        """Store chosen scores with a number for each that says which pair it is."""
        room = slice(self._size, self._size + len(scores))
        self._scores[room], self._codes[room] = scores, codes
        self._size += len(scores)
        if self._size >= 2 * self._keep:
            self._shrink()

    def leave_out(self, comparisons: int) -> None:
        """Take back that many comparisons, which were given as -inf and are none."""
        self._comparisons -= comparisons

    def largest(self) -> tuple[Float64Array, npt.NDArray[np.int64], int]:
        """The largest scores so far in any order, their codes, and how many comparisons there were."""
        if self._size > self._keep:
            self._shrink()
        return self._scores[: self._size].copy(), self._codes[: self._size].copy(), self._comparisons

    def _shrink(self) -> None:
        largest = np.argpartition(self._scores[: self._size], self._size - self._keep)[self._size - self._keep :]
        self._scores[: self._keep] = self._scores[largest]
        self._codes[: self._keep] = self._codes[largest]
        self._size = self._keep
        self._cut = float(self._scores[: self._keep].min())


def tail_of(scores: Float64Array, first: IntArray, second: IntArray, comparisons: int) -> Tail:
    """A tail of scores in any order: sorted by score, and only where scores tie by samples as well."""
    order = np.argsort(-scores)
    same = scores[order[1:]] == scores[order[:-1]]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    among = order[tied]
    order[tied] = among[np.lexsort((second[among], first[among], -scores[among]))]
    return Tail(scores[order], first[order].astype(np.intp), second[order].astype(np.intp), comparisons)
