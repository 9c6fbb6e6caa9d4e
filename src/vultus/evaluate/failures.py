"""Failures: what are the rates of a whole system, in which some samples never become a template?

FTE is the failure-to-enrol rate (references), FTA the failure-to-acquire rate (probes). Terms follow ISO/IEC 19795-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_comparisons
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.metrics import checked_threshold


@export("vultus.evaluate.failure_rate")
def failure_rate(failures: int, attempts: int) -> float:
    """FTE or FTA: the share of attempts that gave no template.

    Raises:
        BadArgument: failures outside [0, attempts].
        TooFewComparisons: no attempt.
    """
    if attempts < 1:
        raise TooFewComparisons(f"{attempts} attempts; a failure rate needs at least one")
    if not 0 <= failures <= attempts:
        raise BadArgument(f"{failures} failures in {attempts} attempts; expected between 0 and {attempts}")
    return failures / attempts


def _checked_rates(**rates: float) -> None:
    for name, rate in rates.items():
        if not 0.0 <= rate <= 1.0:
            raise BadArgument(f"{name} is {rate!r}; expected a rate in [0, 1]")


@export("vultus.evaluate.gfar")
def gfar(*, fmr: float, fta: float, fte: float) -> float:
    """Generalised false accept rate: (1 - FTE) (1 - FTA) FMR, for transactions of one attempt.

    It assumes that failures strike independently of the score; where the failed comparisons can be counted,
    `generalised_at_threshold` needs no such assumption.

    Raises:
        BadArgument: a rate outside [0, 1].
    """
    _checked_rates(fmr=fmr, fta=fta, fte=fte)
    return (1.0 - fte) * (1.0 - fta) * fmr


@export("vultus.evaluate.gfrr")
def gfrr(*, fnmr: float, fta: float, fte: float) -> float:
    """Generalised false reject rate: FTE + (1 - FTE) FTA + (1 - FTE) (1 - FTA) FNMR, for transactions of one attempt.

    Raises:
        BadArgument: a rate outside [0, 1].
    """
    _checked_rates(fnmr=fnmr, fta=fta, fte=fte)
    return fte + (1.0 - fte) * fta + (1.0 - fte) * (1.0 - fta) * fnmr


@export("vultus.evaluate.GeneralisedPoint")
@dataclass(frozen=True, slots=True)
class GeneralisedPoint:
    """A threshold, the errors of the comparison alone, and those of the whole system.

    Args:
        threshold: match iff score >= threshold.
        fmr, fnmr: rates among the comparisons that took place; NaN where none did.
        gfar, gfrr: rates among all comparisons that were asked for, a failed one being a non-match.
        n_mated, n_non_mated: comparisons that were asked for, failed ones included.
        failed_mated, failed_non_mated: how many of those failed.
    """

    threshold: float
    fmr: float
    fnmr: float
    gfar: float
    gfrr: float
    n_mated: int
    n_non_mated: int
    failed_mated: int
    failed_non_mated: int


@export("vultus.evaluate.generalised_at_threshold")
def generalised_at_threshold(scores: npt.ArrayLike, mated: npt.ArrayLike, *, threshold: float) -> GeneralisedPoint:
    """GFAR and GFRR by counting: a comparison one of whose samples gave no template has the score -inf.

    Args:
        scores: (n,) similarity, -inf for a comparison that failed.
        mated: (n,), True where both samples show one subject.
        threshold: match iff score >= threshold; finite.

    Raises:
        BadArgument: shapes that differ, NaN, or a threshold that is not finite.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    x, y = checked_comparisons(scores, mated)
    if not np.isfinite(checked_threshold(threshold)):
        raise BadArgument(f"the threshold is {threshold}; a failed comparison must fall below it, so give a finite one")
    failed, match = np.isneginf(x), x >= threshold
    n_mated, failed_mated = int(np.count_nonzero(y)), int(np.count_nonzero(failed & y))
    n_other, failed_other = len(x) - n_mated, int(np.count_nonzero(failed & ~y))
    false_matches, misses = int(np.count_nonzero(match & ~y)), int(np.count_nonzero(~match & y))
    took_place, mated_took_place = n_other - failed_other, n_mated - failed_mated
    return GeneralisedPoint(
        threshold=float(threshold),
        fmr=false_matches / took_place if took_place else float("nan"),
        fnmr=(misses - failed_mated) / mated_took_place if mated_took_place else float("nan"),
        gfar=false_matches / n_other,
        gfrr=misses / n_mated,
        n_mated=n_mated,
        n_non_mated=n_other,
        failed_mated=failed_mated,
        failed_non_mated=failed_other,
    )
