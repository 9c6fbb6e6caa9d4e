"""Thresholds: from which score on do two samples match, if only so many non-mated comparisons may?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_scores, require_support
from vultus.types import Float64Array


@export("vultus.calibrate.threshold_at_fmr")
def threshold_at_fmr(non_mated: npt.ArrayLike, *, fmr: float) -> float:
    """The lowest threshold whose FMR on these scores is at most `fmr`.

    Every threshold between the highest score that must not match and the next higher one has the same FMR. The
    midpoint of the two is returned, rounded to a float32 where that stays between them, so that scores computed again
    with another order of summation, or compared in single precision, lead to the same decisions. Tied scores match
    together or not at all. Given the best scores of non-mated searches it is the threshold at an FPIR.

    Args:
        non_mated: (n,) similarity of samples of different subjects; n >= 30 / fmr.
        fmr: share of non-mated scores at or above the threshold, in (0, 1].

    Returns:
        the threshold; -inf for an `fmr` of 1.

    Raises:
        BadArgument: scores that are not (n,) numbers, NaN, or an `fmr` outside (0, 1].
        TooFewComparisons: n < 30 / fmr; the message names the number that is needed.

    Terms follow ISO/IEC 19795-1.
    """
    scores = checked_scores(non_mated, name="non-mated scores")
    n = len(scores)
    require_support(fmr, n, what="non-mated comparisons")
    allowed = allowed_errors(fmr, n)
    if allowed < n:
        scores = np.partition(scores, n - 1 - allowed)[n - 1 - allowed :]
    return threshold_of_largest(np.sort(scores)[::-1], comparisons=n, fmr=fmr)


def threshold_of_largest(largest: Float64Array, *, comparisons: int, fmr: float) -> float:
    """`threshold_at_fmr` from the largest scores alone, descending: more of them than fmr * comparisons, or all."""
    allowed = allowed_errors(fmr, comparisons)
    if allowed >= comparisons:
        return -math.inf
    low = float(largest[allowed])
    above = int(np.searchsorted(-largest, -low, side="left"))
    return threshold_between(low, float(largest[above - 1]) if above else math.inf)


def allowed_errors(rate: float, trials: int) -> int:
    """The largest whole number k with k / trials <= rate, in the arithmetic in which rates are compared."""
    k = min(trials, int(rate * trials) + 1)
    while k / trials > rate:
        k -= 1
    return k


def threshold_between(low: float, high: float) -> float:
    """A threshold t with low < t <= high: their midpoint, as a float32 where one lies there.

    A float32 array is compared with a Python float in single precision, where the plain midpoint of two neighbouring
    scores could round down onto the lower one.
    """
    middle = low + (high - low) / 2 if high < math.inf else math.inf
    with np.errstate(over="ignore"):
        rounded = float(np.float32(middle)), float(np.nextafter(np.float32(low), np.float32(np.inf)))
    for t in rounded:
        if low < t <= high and t < math.inf:
            return t
    return middle if low < middle < high else math.nextafter(low, math.inf)
