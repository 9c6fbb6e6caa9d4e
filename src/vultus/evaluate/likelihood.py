"""Likelihood ratios and probabilities: is the evidence as strong as the figures claim?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_comparisons, checked_mask
from vultus.calibrate.pooling import pool_adjacent_violators, tied_counts
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import BoolArray, Float64Array, IntArray


@export("vultus.evaluate.cllr")
def cllr(log_likelihood_ratios: npt.ArrayLike, mated: npt.ArrayLike) -> float:
    """Cost of log likelihood ratios, in bits: 0 is perfect, 1 is what a ratio of 1 for everything costs.

        1/2 mean_mated log2(1 + 1/LR) + 1/2 mean_non_mated log2(1 + LR)

    (Brümmer and du Preez 2006, "Application-independent evaluation of speaker detection"). It grows with both poor
    separation, which is `min_cllr`, and poor calibration, which is the rest.

    Args:
        log_likelihood_ratios: (n,) natural logarithms; an infinite one that is wrong costs infinity.
        mated: (n,), True where both samples show one subject.

    Raises:
        BadArgument: shapes that differ, or NaN.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    llr = np.asarray(log_likelihood_ratios, dtype=np.float64)
    if llr.ndim != 1 or np.isnan(llr).any():
        raise BadArgument(f"log likelihood ratios of shape {llr.shape}; expected (n,) without NaN")
    y = checked_mask(mated, len(llr))
    if y.all() or not y.any():
        raise TooFewComparisons(f"{np.count_nonzero(y)} mated of {len(y)} comparisons; expected some of each kind")
    cost = np.logaddexp(0.0, -llr[y]).mean() + np.logaddexp(0.0, llr[~y]).mean()
    return float(cost) / (2.0 * math.log(2.0))


@export("vultus.evaluate.min_cllr")
def min_cllr(scores: npt.ArrayLike, mated: npt.ArrayLike) -> float:
    """The least Cllr, in bits, that any calibration which keeps the order of the scores could reach on these data.

    The optimum is the isotonic regression of "mated" on the score by pool-adjacent-violators, on the tested data
    themselves and with its infinite ends (Brümmer and du Preez 2006).

    Args:
        scores: (n,) similarity, higher is more alike; likelihood ratios do as well.
        mated: (n,), True where both samples show one subject.

    Raises:
        BadArgument: shapes that differ, or NaN.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    x, y = checked_comparisons(scores, mated)
    _, hits, counts = tied_counts(x, y)
    starts = pool_adjacent_violators(hits, counts)
    mated_in = np.add.reduceat(hits, starts)
    share = mated_in / mated_in.sum()
    other = np.add.reduceat(counts, starts) - mated_in
    other_share = other / other.sum()
    total = share + other_share
    cost = _weighted_log2(share, total) + _weighted_log2(other_share, total)
    return cost / 2.0


def _weighted_log2(part: Float64Array, total: Float64Array) -> float:
    """Sum of part * log2(total / part), in which a part of 0 counts 0."""
    some = part > 0
    return float(part[some] @ np.log2(total[some] / part[some]))


def _checked_probabilities(probabilities: npt.ArrayLike, mated: npt.ArrayLike) -> tuple[Float64Array, BoolArray]:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise BadArgument(f"probabilities of shape {p.shape}; expected (n,) numbers in [0, 1]")
    if not len(p):
        raise TooFewComparisons("no comparison; expected at least one")
    return p, checked_mask(mated, len(p))


@export("vultus.evaluate.brier_score")
def brier_score(probabilities: npt.ArrayLike, mated: npt.ArrayLike) -> float:
    """Mean squared difference between the probability of "mated" and the truth (Brier 1950); 0 is perfect.

    Args:
        probabilities: (n,) in [0, 1].
        mated: (n,), True where both samples show one subject.

    Raises:
        BadArgument: shapes that differ, or numbers outside [0, 1].
        TooFewComparisons: no comparison.
    """
    p, y = _checked_probabilities(probabilities, mated)
    return float(np.mean((p - y) ** 2))


@export("vultus.evaluate.Reliability")
@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Predicted against observed shares of mated comparisons, for the bins that hold any.

    Args:
        predicted: (k,) mean probability in each bin, ascending.
        observed: (k,) share of mated comparisons in each bin.
        counts: (k,) comparisons in each bin.
    """

    predicted: Float64Array
    observed: Float64Array
    counts: IntArray

    @property
    def expected_error(self) -> float:
        """Mean of |predicted - observed| over comparisons (the expected calibration error)."""
        return float(np.abs(self.predicted - self.observed) @ self.counts / self.counts.sum())


@export("vultus.evaluate.reliability")
def reliability(probabilities: npt.ArrayLike, mated: npt.ArrayLike, *, bins: int = 10) -> Reliability:
    """The reliability curve over bins of equal width; a calibrated system lies on the diagonal.

    Args:
        probabilities: (n,) in [0, 1].
        mated: (n,), True where both samples show one subject.
        bins: [0, 1] is cut into so many; an edge belongs to the bin above it, and 1 to the last.

    Raises:
        BadArgument: shapes that differ, numbers outside [0, 1], or `bins` below 1.
        TooFewComparisons: no comparison.
    """
    p, y = _checked_probabilities(probabilities, mated)
    if bins < 1:
        raise BadArgument(f"bins is {bins}; expected 1 or more")
    edges = np.arange(1, bins) / bins
    which = np.searchsorted(edges, p, side="right")
    counts = np.bincount(which, minlength=bins)
    some = counts > 0
    predicted = np.bincount(which, weights=p, minlength=bins)[some] / counts[some]
    observed = np.bincount(which[y], minlength=bins)[some] / counts[some]
    return Reliability(predicted, observed, counts[some])
