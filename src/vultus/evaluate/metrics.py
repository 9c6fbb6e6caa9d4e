"""Verification: how often does a score, cut at a threshold, take two subjects for one or one subject for two?

A match is `score >= threshold`. A comparison that failed, because a sample gave no template, has the score -inf and
stays in the denominators. One sort makes a `Roc`, from which every rate and curve here is read. Terms follow
ISO/IEC 19795-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_comparisons, checked_scores, require_support
from vultus.calibrate.pooling import tied_counts
from vultus.calibrate.thresholds import allowed_errors, threshold_between
from vultus.errors import BadArgument
from vultus.types import Float64Array, IntArray


@export("vultus.evaluate.OperatingPoint")
@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and the errors made there.

    Args:
        threshold: match iff score >= threshold.
        fmr: false match rate, the share of non-mated comparisons that match.
        fnmr: false non-match rate, the share of mated comparisons that do not match.
        n_mated, n_non_mated: how many comparisons of each kind the rates were measured on.
    """

    threshold: float
    fmr: float
    fnmr: float
    n_mated: int
    n_non_mated: int

    @property
    def false_matches(self) -> int:
        """How many non-mated comparisons match."""
        return round(self.fmr * self.n_non_mated)

    @property
    def false_non_matches(self) -> int:
        """How many mated comparisons do not match."""
        return round(self.fnmr * self.n_mated)


@export("vultus.evaluate.Roc")
@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """The errors at every threshold that makes a difference.

    Args:
        thresholds: (k,) descending; the first is +inf, where nothing matches.
        false_matches: (k,) non-mated comparisons at or above each threshold.
        false_non_matches: (k,) mated comparisons below each threshold.
        n_mated, n_non_mated: how many comparisons of each kind there are, at least one.
    """

    thresholds: Float64Array
    false_matches: IntArray
    false_non_matches: IntArray
    n_mated: int
    n_non_mated: int

    @property
    def fmr(self) -> Float64Array:
        """(k,) false match rate, ascending."""
        return self.false_matches / self.n_non_mated

    @property
    def fnmr(self) -> Float64Array:
        """(k,) false non-match rate, descending. 1 - FNMR is what others call TAR or TPR."""
        return self.false_non_matches / self.n_mated

    def at_fmr(self, fmr: float) -> OperatingPoint:
        """The point of least FNMR whose FMR is at most `fmr`, in (0, 1].

        Raises:
            BadArgument: `fmr` outside (0, 1].
            TooFewComparisons: fewer than 30 / fmr non-mated comparisons.
        """
        require_support(fmr, self.n_non_mated, what="non-mated comparisons")
        allowed = allowed_errors(fmr, self.n_non_mated)
        i = int(np.searchsorted(self.false_matches, allowed, side="right")) - 1
        if i + 1 < len(self.thresholds):
            threshold = threshold_between(float(self.thresholds[i + 1]), float(self.thresholds[i]))
        else:
            threshold = float(self.thresholds[i])
        return OperatingPoint(threshold, float(self.fmr[i]), float(self.fnmr[i]), self.n_mated, self.n_non_mated)

    def eer(self) -> float:
        """Equal error rate: where the straight line between two neighbouring points crosses FMR = FNMR."""
        fmr, fnmr = self.fmr, self.fnmr
        gap = fnmr - fmr
        i = int(np.argmax(gap <= 0))
        share = gap[i - 1] / (gap[i - 1] - gap[i])
        return float(fmr[i - 1] + share * (fmr[i] - fmr[i - 1]))

    def auc(self) -> float:
        """Area under the ROC curve: the chance that a mated score exceeds a non-mated one, a tie counting half."""
        matches = self.n_mated - self.false_non_matches
        doubled = int(np.diff(self.false_matches) @ (matches[1:] + matches[:-1]))
        return doubled / (2 * self.n_mated * self.n_non_mated)

    def corners(self) -> Roc:
        """The same curve without the points that lie on a straight line, horizontal or vertical, between others."""
        fm, fnm = self.false_matches, self.false_non_matches
        bend = np.ones(len(fm), dtype=np.bool_)
        same_fm, same_fnm = fm[1:] == fm[:-1], fnm[1:] == fnm[:-1]
        bend[1:-1] = ~((same_fm[1:] & same_fm[:-1]) | (same_fnm[1:] & same_fnm[:-1]))
        return Roc(self.thresholds[bend], fm[bend], fnm[bend], self.n_mated, self.n_non_mated)


@export("vultus.evaluate.roc")
def roc(scores: npt.ArrayLike, mated: npt.ArrayLike) -> Roc:
    """The errors at every distinct score.

    Args:
        scores: (n,) similarity, higher is more alike; -inf for a comparison that failed.
        mated: (n,), True where both samples show one subject.

    Raises:
        BadArgument: shapes that differ, NaN, or a mask that is none.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    x, y = checked_comparisons(scores, mated)
    levels, hits, counts = tied_counts(x, y)
    matches = np.concatenate([[0], np.cumsum(hits[::-1])])
    false_matches = np.concatenate([[0], np.cumsum((counts - hits)[::-1])])
    n_mated = int(matches[-1])
    thresholds = np.concatenate([[math.inf], levels[::-1]])
    return Roc(thresholds, false_matches, n_mated - matches, n_mated, len(x) - n_mated)


@export("vultus.evaluate.fmr")
def fmr(non_mated: npt.ArrayLike, *, threshold: float) -> float:
    """False match rate: the share of (n,) non-mated scores at or above the threshold.

    Raises:
        BadArgument: scores that are not (n,) numbers, or NaN.
        TooFewComparisons: no score.
    """
    scores = checked_scores(non_mated, name="non-mated scores")
    return int(np.count_nonzero(scores >= checked_threshold(threshold))) / len(scores)


@export("vultus.evaluate.fnmr")
def fnmr(mated: npt.ArrayLike, *, threshold: float) -> float:
    """False non-match rate: the share of (n,) mated scores below the threshold.

    Raises:
        BadArgument: scores that are not (n,) numbers, or NaN.
        TooFewComparisons: no score.
    """
    scores = checked_scores(mated, name="mated scores")
    return int(np.count_nonzero(scores < checked_threshold(threshold))) / len(scores)


def checked_threshold(threshold: float) -> float:
    """The threshold as a float64 scalar, so that no score is compared in single precision.

    Raises:
        BadArgument: NaN.
    """
    if math.isnan(threshold):
        raise BadArgument("the threshold is NaN; expected a number")
    return float(threshold)


@export("vultus.evaluate.at_threshold")
def at_threshold(scores: npt.ArrayLike, mated: npt.ArrayLike, *, threshold: float) -> OperatingPoint:
    """FMR and FNMR at a threshold that was fixed beforehand.

    Args:
        scores: (n,) similarity, higher is more alike.
        mated: (n,), True where both samples show one subject.
        threshold: match iff score >= threshold.

    Raises:
        BadArgument: shapes that differ, or NaN.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    x, y = checked_comparisons(scores, mated)
    n_mated = int(np.count_nonzero(y))
    false_match, miss = fmr(x[~y], threshold=threshold), fnmr(x[y], threshold=threshold)
    return OperatingPoint(float(threshold), false_match, miss, n_mated, len(x) - n_mated)


@export("vultus.evaluate.fnmr_at_fmr")
def fnmr_at_fmr(scores: npt.ArrayLike, mated: npt.ArrayLike, *, fmr: float) -> OperatingPoint:
    """FNMR at the lowest threshold whose FMR is at most `fmr`.

    Args:
        scores: (n,) similarity, higher is more alike.
        mated: (n,), True where both samples show one subject.
        fmr: share of non-mated scores at or above the threshold, in (0, 1].

    Returns:
        the point; its `fmr` is the one that was reached. The threshold is the midpoint between the lowest score that
        matches and the highest that does not.

    Raises:
        BadArgument: shapes that differ, NaN, or `fmr` outside (0, 1].
        TooFewComparisons: the non-mated scores cannot support `fmr`.
    """
    return roc(scores, mated).at_fmr(fmr)


@export("vultus.evaluate.eer")
def eer(scores: npt.ArrayLike, mated: npt.ArrayLike) -> float:
    """Equal error rate, by straight lines between the points of the ROC curve.

    Raises:
        BadArgument: shapes that differ, or NaN.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    return roc(scores, mated).eer()


@export("vultus.evaluate.auc")
def auc(scores: npt.ArrayLike, mated: npt.ArrayLike) -> float:
    """Area under the ROC curve; a mated and a non-mated score that tie count half.

    Raises:
        BadArgument: shapes that differ, or NaN.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    return roc(scores, mated).auc()


@export("vultus.evaluate.probit")
def probit(rates: npt.ArrayLike) -> Float64Array:
    """Quantiles of the standard normal distribution, the axes of a DET plot: -inf at 0, +inf at 1.

    Raises:
        BadArgument: a rate outside [0, 1].
    """
    r = np.asarray(rates, dtype=np.float64)
    if not ((r >= 0) & (r <= 1)).all():
        raise BadArgument("rates outside [0, 1] have no probit")
    quantile = NormalDist().inv_cdf
    ends = {0.0: -math.inf, 1.0: math.inf}
    flat = np.fromiter((ends[p] if p in ends else quantile(p) for p in r.ravel().tolist()), np.float64, r.size)
    return flat.reshape(r.shape)


@export("vultus.evaluate.det_points")
def det_points(curve: Roc) -> Float64Array:
    """The detection error trade-off: (k, 2) probit(FMR) and probit(FNMR) at the corners where both are finite.

    Martin et al. (1997), "The DET curve in assessment of detection task performance".
    """
    bends = curve.corners()
    inner = (bends.fmr > 0) & (bends.fmr < 1) & (bends.fnmr > 0) & (bends.fnmr < 1)
    return np.stack([probit(bends.fmr[inner]), probit(bends.fnmr[inner])], axis=1)
