"""Dyadic intervals: how uncertain is a rate whose comparisons share subjects, by a formula instead of draws?

Comparisons are correlated where they share a subject. The variance of their mean is the sum of the products of
residuals over all couples of comparisons that do (Fafchamps and Gubert 2007, "The formation of risk sharing networks";
Aronow, Samii and Assenova 2015, "Cluster-robust variance estimation for dyadic data"). With d_i the sum of residuals
over the comparisons of subject i, and r_ij over those of i with j,

    V = (sum_i d_i^2 - sum_(i<j) r_ij^2) / n^2

because couples that share both subjects are in both d_i and d_j. p (1 - p) / V is then the number of independent trials
that would be as uncertain, and Wilson's interval is taken at that number. Where few subjects make most of the errors V
is itself uncertain: instead of the normal quantile that interval has Student's, with (sum d_i^2)^2 / sum d_i^4 degrees
of freedom, after Satterthwaite (1946), "An approximate distribution of estimates of variance components", and never
fewer than 4.

Against the bootstrap over subjects it is as wide where subjects make the errors and 0.6 times as wide where chance
does, with a coverage of about 95 % in either case (tests/evaluate/test_dyadic.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.evaluate.intervals import Interval, checked_level, rate_interval, score_bounds, student_quantile
from vultus.evaluate.pairs import (
    cells_of,
    checked_cross_pairs,
    checked_errors,
    checked_samples,
    checked_subjects,
    cross_pairs,
)
from vultus.types import Float64Array

_LEAST_FREEDOM = 4.0


@export("vultus.evaluate.dyadic_interval")
def dyadic_interval(
    first: npt.ArrayLike, second: npt.ArrayLike, errors: npt.ArrayLike, *, level: float = 0.95
) -> Interval:
    """Interval of the rate of errors among listed comparisons, mated, non-mated or both.

    Args:
        first, second: (n,) subject of each side, numbers or names; equal in a mated comparison.
        errors: (n,), True where the comparison was decided wrongly.
        level: probability with which the interval should hold the true rate.

    Returns:
        the interval. Without an error, or without a right decision, the rule of three on n.

    Raises:
        BadArgument: shapes that differ, or a level outside (0, 1).
        TooFewComparisons: no comparison, or a single subject.
    """
    one, other, subjects = checked_subjects(first, second)
    e = checked_errors(errors, len(one))
    n, p = len(e), float(e.mean())
    cells = cells_of(one, other, (e - p)[:, None], subjects)
    residual, apart = cells.sums[:, 0], cells.first != cells.second
    of_subject = np.zeros(subjects)
    of_subject += np.bincount(cells.first, weights=residual, minlength=subjects)
    of_subject += np.bincount(cells.second[apart], weights=residual[apart], minlength=subjects)
    return interval_of_sums(float(e.sum()), n, of_subject, float((residual[apart] ** 2).sum()), level)


@export("vultus.evaluate.dyadic_interval_all_pairs")
def dyadic_interval_all_pairs(
    first: npt.ArrayLike, second: npt.ArrayLike, *, samples: npt.ArrayLike, level: float = 0.95
) -> Interval:
    """Interval of the FMR over all cross-subject pairs of a set, of which only the false matches are listed.

    Args:
        first, second: (e,) index into `samples` of the two subjects of each false match.
        samples: (s,) samples of each subject; ones where each gave one photo.
        level: probability with which the interval should hold the true rate.

    Returns:
        the interval. Without a false match the rule of three on the number of pairs.

    Raises:
        BadArgument: indices out of range, a pair of one subject, or a level outside (0, 1).
        TooFewComparisons: fewer than two subjects.
    """
    m = checked_samples(samples)
    one, other = checked_cross_pairs(first, second, len(m))
    n = cross_pairs(m)
    p = len(one) / n
    cells = cells_of(one, other, np.ones((len(one), 1)), len(m))
    counts, size = cells.sums[:, 0], m[cells.first] * m[cells.second]
    of_subject = np.bincount(np.concatenate([one, other]), minlength=len(m)).astype(np.float64)
    of_subject -= p * m * (m.sum() - m)
    squares = float((m**2).sum() ** 2 - (m**4).sum()) / 2  # of m_i m_j over i < j
    of_pair = float((counts**2 - 2 * p * counts * size).sum()) + p * p * squares
    return interval_of_sums(len(one), n, of_subject, of_pair, level)


def interval_of_sums(errors: float, n: int, of_subject: Float64Array, of_pair: float, level: float) -> Interval:
    """The interval of a rate of `errors` in `n`, from the residuals summed by subject and the squares summed by pair."""
    p = errors / n
    if not 0 < p < 1:
        return rate_interval(round(errors), n, level=level)
    squared = float((of_subject**2).sum())
    variance = (squared - of_pair) / n**2
    # Chance can make the sum of products smaller than independence would; then independence is the safer figure.
    effective = max(1.0, min(float(n), p * (1 - p) / variance if variance > 0 else float(n)))
    freedom = max(_LEAST_FREEDOM, squared**2 / float((of_subject**4).sum()))
    low, high = score_bounds(p, effective, student_quantile((1.0 - checked_level(level)) / 2, freedom))
    return Interval(low, high, level, "dyadic cluster-robust, Wilson")
