"""Curves drawn anew: how far would a whole curve, or the threshold on it, move, had other subjects been photographed?

Subjects are drawn as in `vultus.evaluate.bootstrap`, and each replicate finds its own thresholds. The draws depend on the
number of subjects, of replicates and on the seed alone, so replicates of two systems belong together one by one, and
their differences are those of a paired comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.calibrate.comparisons import checked_comparisons
from vultus.errors import TooFewComparisons
from vultus.evaluate.draws import cross_weight, draws, percentiles
from vultus.evaluate.intervals import Interval
from vultus.evaluate.tail import Tail
from vultus.types import BoolArray, Float64Array, IntArray

_UP = 1.0 + 1e-12  # whole weights: no harm, and a product is not rounded below the number that it stands for


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Which subjects the comparisons of a protocol belong to, and how they are to be drawn.

    Args:
        first, second: (n,) subject of each side, below `subjects`.
        subjects: how many there are.
        replicates: how often they are drawn; 1,000 or more.
        seed: of the draws.
    """

    first: IntArray
    second: IntArray
    subjects: int
    replicates: int = 1_000
    seed: int = 0

    @classmethod
    def of(cls, subjects: IntArray, first: IntArray, second: IntArray, *, replicates: int, seed: int) -> Drawn:
        """Of (n,) indices into (f,) subjects of files; every subject of a file is drawn, with or without a comparison."""
        names, number = np.unique(subjects, return_inverse=True)
        return cls(number[first], number[second], len(names), replicates, seed)

    def subject_weights(self) -> Iterator[Float64Array]:
        """(subjects,) how often each subject was drawn, for one replicate after the other."""
        for block in draws(self.subjects, self.replicates, self.seed):
            yield from np.ascontiguousarray(block.T)

    def weights(self, order: IntArray | None = None) -> Iterator[Float64Array]:
        """(n,) weight of each comparison, in the given order, for one replicate after the other."""
        one, other = (side if order is None else side[order] for side in (self.first, self.second))
        apart = one != other
        for w in self.subject_weights():
            weight = w[one]
            weight[apart] *= w[other[apart]]
            yield weight


# --- listed comparisons -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class CurveReplicates:
    """Figures of r draws, NaN where a draw lacks a kind of comparison.

    Args:
        eer, auc: (r,).
        fnmr: (r, g) at each of the g false match rates.
    """

    eer: Float64Array
    auc: Float64Array
    fnmr: Float64Array


def resample_curve(
    scores: npt.ArrayLike, mated: npt.ArrayLike, drawn: Drawn, *, fmrs: npt.ArrayLike
) -> CurveReplicates:
    """EER, AUC and FNMR at given false match rates in every draw.

    Args:
        scores: (n,) similarity; -inf for a comparison that failed.
        mated: (n,), True where both samples show one subject.
        drawn: whose the comparisons are.
        fmrs: (g,) rates in (0, 1].
    """
    curve, order = _sorted(scores, mated)
    rows = [curve.figures(w, np.asarray(fmrs, dtype=np.float64)) for w in drawn.weights(order)]
    table = np.array(rows)
    return CurveReplicates(table[:, 0], table[:, 1], table[:, 2:])


def fnmr_along(scores: npt.ArrayLike, mated: npt.ArrayLike, *, fmrs: npt.ArrayLike) -> Float64Array:
    """(g,) FNMR at the threshold of each false match rate, without asking whether the data support that rate."""
    curve, order = _sorted(scores, mated)
    return np.array(curve.figures(np.ones(len(order)), np.asarray(fmrs, dtype=np.float64))[2:])


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """Comparisons by descending score: which are mated, and where a run of equal scores ends."""

    mated: BoolArray
    ends: IntArray

    def figures(self, weights: Float64Array, fmrs: Float64Array) -> list[float]:
        """[EER, AUC, FNMR at each rate] for (n,) weights in this order; NaN where a kind has no weight."""
        of_mated = np.where(self.mated, weights, 0.0)
        found = np.concatenate([[0.0], np.cumsum(of_mated)[self.ends]])
        wrong = np.concatenate([[0.0], np.cumsum(weights - of_mated)[self.ends]])
        if not (found[-1] > 0 and wrong[-1] > 0):
            return [np.nan] * (2 + len(fmrs))
        fmr, fnmr = wrong / wrong[-1], 1.0 - found / found[-1]
        gap = fnmr - fmr
        i = int(np.argmax(gap <= 0))
        share = gap[i - 1] / (gap[i - 1] - gap[i])
        eer = float(fmr[i - 1] + share * (fmr[i] - fmr[i - 1]))
        auc = float(np.diff(wrong) @ (found[1:] + found[:-1])) / (2 * found[-1] * wrong[-1])
        reached = np.searchsorted(wrong, fmrs * wrong[-1] * _UP, side="right") - 1
        missed = (found[-1] - found[reached]) / found[-1]
        return [eer, auc, *missed.tolist()]


def _sorted(scores: npt.ArrayLike, mated: npt.ArrayLike) -> tuple[_Sorted, IntArray]:
    x, y = checked_comparisons(scores, mated)
    order = np.argsort(-x, kind="stable")
    descending = x[order]
    ends = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(x) - 1)
    return _Sorted(y[order], ends), order


def resample_accuracy(right: BoolArray, folds: npt.ArrayLike, drawn: Drawn) -> Float64Array:
    """(r,) mean over folds of the share of right decisions, the decisions being held as they were made.

    Args:
        right: (n,), True where the comparison was decided rightly.
        folds: (n,) fold of each comparison. A fold without a comparison in a draw is passed over there.
        drawn: whose the comparisons are.
    """
    names, fold = np.unique(np.asarray(folds), return_inverse=True)
    means = []
    for w in drawn.weights():
        total = np.bincount(fold, weights=w, minlength=len(names))
        hits = np.bincount(fold, weights=w * right, minlength=len(names))
        means.append(float(np.mean(hits[total > 0] / total[total > 0])) if total.any() else np.nan)
    return np.array(means)


# --- all cross-subject pairs ------------------------------------------------------------------------------------------


def resample_tail(
    mated_scores: Float64Array,
    mated_subjects: IntArray,
    tail: Tail,
    drawn: Drawn,
    *,
    sizes: Float64Array,
    fmrs: npt.ArrayLike,
) -> Float64Array:
    """(r, g) FNMR at thresholds from all cross-subject pairs in every draw; NaN where the tail is too short for one.

    Args:
        mated_scores: (n,) similarity of mated comparisons.
        mated_subjects: (n,) subject of each.
        tail: the largest scores of all cross-subject pairs, its two sides being subjects.
        drawn: how subjects are drawn; its comparisons are not used.
        sizes: (subjects,) samples of each subject among those pairs, 0 or 1 where each gives one photo.
        fmrs: (g,) rates in (0, 1].
    """
    curve = _TailCurve(mated_scores, mated_subjects, tail, np.asarray(fmrs, dtype=np.float64))
    return np.array([curve.fnmr(w, sizes) for w in drawn.subject_weights()])


def fnmr_along_tail(
    mated_scores: Float64Array, mated_subjects: IntArray, tail: Tail, *, sizes: Float64Array, fmrs: npt.ArrayLike
) -> Float64Array:
    """(g,) FNMR at the threshold of each false match rate; NaN where the tail is too short."""
    curve = _TailCurve(mated_scores, mated_subjects, tail, np.asarray(fmrs, dtype=np.float64))
    return curve.fnmr(np.ones(len(sizes)), sizes)


class _TailCurve:
    def __init__(self, mated_scores: Float64Array, subjects: IntArray, tail: Tail, fmrs: Float64Array) -> None:
        order = np.argsort(mated_scores, kind="stable")
        self._owner, self._fmrs, self._tail = subjects[order], fmrs, tail
        self._ends = np.append(np.flatnonzero(tail.scores[1:] != tail.scores[:-1]), len(tail.scores) - 1)
        # mated scores that fail where the run of equal scores that ends here must not match
        self._fail = np.searchsorted(mated_scores[order], tail.scores[self._ends], side="right")

    def fnmr(self, weights: Float64Array, sizes: Float64Array) -> Float64Array:
        missed = np.concatenate([[0.0], np.cumsum(weights[self._owner])])
        allowed = self._fmrs * cross_weight(weights[:, None], sizes)[0] * _UP
        reached = np.cumsum(weights[self._tail.first] * weights[self._tail.second])[self._ends]
        k = np.searchsorted(reached, allowed, side="right")
        rates = np.full(len(k), np.nan)
        known = k < len(self._ends)
        if missed[-1] > 0:
            rates[known] = missed[self._fail[k[known]]] / missed[-1]
        return rates


# --- intervals --------------------------------------------------------------------------------------------------------


def interval_of(values: Float64Array, *, level: float = 0.95) -> Interval:
    """Percentiles of replicates; draws that lack a kind of comparison are passed over.

    Raises:
        TooFewComparisons: more than a tenth of the draws do.
    """
    usable = values[~np.isnan(values)]
    if len(usable) < 0.9 * len(values):
        raise TooFewComparisons(
            f"only {len(usable)} of {len(values)} draws of subjects hold both kinds of comparison; an interval needs "
            "more subjects"
        )
    return percentiles(usable, level)
