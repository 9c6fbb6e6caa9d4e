"""Comparisons: are these scores and marks sound, and how low a rate can so many of them support?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import BoolArray, Float64Array


@export("vultus.calibrate.required_comparisons")
def required_comparisons(rate: float) -> int:
    """Comparisons that a rate of errors needs to be quoted: ceil(30 / rate).

    The rule of 30 (Doddington et al. 2000, "The NIST speaker recognition evaluation: overview, methodology, systems,
    results, perspective"): with 30 errors in independent trials the true rate lies within 30 % of the measured one
    with 90 % confidence.

    Args:
        rate: in (0, 1].

    Raises:
        BadArgument: a rate outside (0, 1].
    """
    if not 0.0 < rate <= 1.0:
        raise BadArgument(f"a rate of {rate!r} was asked for; expected one in (0, 1]")
    return math.ceil(30.0 / rate * (1.0 - 2.0 * np.finfo(np.float64).eps))  # 30 / 1e-7 is a hair above 3e8


@export("vultus.calibrate.supports")
def supports(rate: float, comparisons: int) -> bool:
    """Whether that many comparisons can support a rate, by the rule of 30.

    Raises:
        BadArgument: a rate outside (0, 1].
    """
    return comparisons >= required_comparisons(rate)


@export("vultus.calibrate.require_support")
def require_support(rate: float, comparisons: int, *, what: str = "comparisons") -> None:
    """Refuse a rate that the comparisons cannot support, by the rule of 30.

    Args:
        rate: in (0, 1].
        comparisons: how many there are.
        what: what the message calls them.

    Raises:
        BadArgument: a rate outside (0, 1].
        TooFewComparisons: fewer than `required_comparisons(rate)`; the message names that number.
    """
    needed = required_comparisons(rate)
    if comparisons < needed:
        hint = f"ask for a rate of {30 / comparisons:.2g} or more" if comparisons >= 30 else "take more"
        raise TooFewComparisons(
            f"{comparisons:,} {what} cannot support a rate of {rate:g}, which needs {needed:,} (30 / rate); "
            f"{hint}, or score all cross-subject pairs of the set"
        )


def checked_scores(scores: npt.ArrayLike, *, name: str = "scores") -> Float64Array:
    """The scores as (n,) float64; -inf, a comparison that failed, is a score.

    Raises:
        BadArgument: not one-dimensional, not numbers, or holding NaN or +inf.
        TooFewComparisons: none at all.
    """
    try:
        checked = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadArgument(f"{name} are not numbers: {error}") from error
    if checked.ndim != 1:
        raise BadArgument(f"{name} have shape {checked.shape}; expected (n,)")
    if not len(checked):
        raise TooFewComparisons(f"{name} are empty; expected at least one")
    if not checked.max() < np.inf:
        bad = int(np.count_nonzero(~(checked < np.inf)))
        raise BadArgument(f"{name} hold NaN or +inf at {bad} of {len(checked)} places; remove or repair those first")
    return checked


def checked_mask(mated: npt.ArrayLike, length: int, *, name: str = "mated") -> BoolArray:
    """The mask as (n,) bool.

    Raises:
        BadArgument: a shape other than (length,), or values other than True, False, 1 and 0.
    """
    mask = np.asarray(mated)
    if mask.shape != (length,):
        raise BadArgument(f"{name} has shape {mask.shape}, and the scores have shape ({length},); expected the same")
    if mask.dtype == np.bool_:
        return mask
    if mask.dtype.kind not in "iuf" or not np.isin(mask, (0, 1)).all():
        raise BadArgument(f"{name} holds {mask.dtype} values other than True and False (or 1 and 0)")
    return mask.astype(np.bool_)


def checked_comparisons(scores: npt.ArrayLike, mated: npt.ArrayLike) -> tuple[Float64Array, BoolArray]:
    """Scores and mask of comparisons with both kinds among them.

    Raises:
        BadArgument: see `checked_scores` and `checked_mask`.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    checked = checked_scores(scores)
    mask = checked_mask(mated, len(checked))
    n_mated = int(np.count_nonzero(mask))
    if n_mated in (0, len(mask)):
        raise TooFewComparisons(
            f"{n_mated} mated and {len(mask) - n_mated} non-mated comparisons; expected at least one of each"
        )
    return checked, mask
