"""Folds: how accurate is a decision whose threshold was chosen on other data than it is tested on?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_comparisons
from vultus.calibrate.thresholds import threshold_between
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import Float64Array, IntArray


@export("vultus.evaluate.FoldAccuracy")
@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy on each fold, with the threshold that the other folds chose.

    Args:
        accuracies: (k,) share of right decisions on each fold, k >= 2.
        thresholds: (k,) threshold used on each fold.
    """

    accuracies: Float64Array
    thresholds: Float64Array

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Standard deviation over the folds, with k - 1 in the denominator."""
        return float(self.accuracies.std(ddof=1))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean: std / sqrt(k)."""
        return self.std / math.sqrt(len(self.accuracies))


@export("vultus.evaluate.accuracy_by_fold")
def accuracy_by_fold(scores: npt.ArrayLike, mated: npt.ArrayLike, folds: npt.ArrayLike) -> FoldAccuracy:
    """Accuracy on each fold at the threshold that is the most accurate one on the other folds.

    The rule of LFW's View 2 (Huang et al. 2007, "Labeled Faces in the Wild"). The threshold lies midway
    between two scores of the other folds; of several equally accurate ones the middle one is taken.

    Args:
        scores: (n,) similarity, higher is more alike.
        mated: (n,), True where both samples show one subject.
        folds: (n,) number or name of the fold that each comparison belongs to, two folds or more.

    Returns:
        accuracies and thresholds in ascending order of the folds.

    Raises:
        BadArgument: shapes that differ, NaN, or a single fold.
        TooFewComparisons: one kind of comparison is missing from what remains when a fold is left out.
    """
    x, y = checked_comparisons(scores, mated)
    names = np.asarray(folds)
    if names.shape != x.shape:
        raise BadArgument(f"folds have shape {names.shape}, and the scores have shape {x.shape}; expected the same")
    kinds, fold = np.unique(names, return_inverse=True)
    if len(kinds) < 2:
        raise BadArgument("all comparisons are in one fold; a threshold must come from folds other than the tested one")
    levels, level = np.unique(x, return_inverse=True)
    accuracies, thresholds = np.empty(len(kinds)), np.empty(len(kinds))
    for k, kind in enumerate(kinds):
        test = fold == k
        hits = np.bincount(level[~test & y], minlength=len(levels))
        others = np.bincount(level[~test & ~y], minlength=len(levels))
        if not hits.any() or not others.any():
            raise TooFewComparisons(f"without fold {kind!s} no mated or no non-mated comparison remains")
        t = _most_accurate(levels, hits, others)
        accuracies[k] = np.count_nonzero((x[test] >= t) == y[test]) / np.count_nonzero(test)
        thresholds[k] = t
    return FoldAccuracy(accuracies, thresholds)


def _most_accurate(levels: Float64Array, hits: IntArray, others: IntArray) -> float:
    """The threshold of fewest errors for counts of mated and non-mated comparisons at ascending scores."""
    seen = (hits + others) > 0
    levels, hits, others = levels[seen], hits[seen], others[seen]
    misses = np.concatenate([[0], np.cumsum(hits)])
    false_matches = np.concatenate([np.cumsum(others[::-1])[::-1], [0]])
    errors = misses + false_matches
    best = np.flatnonzero(errors == errors.min())
    cut = int(best[len(best) // 2])
    if cut == 0:
        return float(levels[0])
    return threshold_between(float(levels[cut - 1]), float(levels[cut]) if cut < len(levels) else math.inf)
