"""Error versus discard: do errors go when the samples of lowest quality do?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_scores
from vultus.calibrate.thresholds import allowed_errors
from vultus.errors import BadArgument
from vultus.evaluate.metrics import checked_threshold
from vultus.types import Float64Array, IntArray


@export("vultus.evaluate.Discard")
@dataclass(frozen=True, slots=True, eq=False)
class Discard:
    """What discarding the worst samples does to the FNMR.

    Args:
        shares: (k,) share of the samples discarded.
        fnmr: (k,) FNMR of the comparisons that remain; NaN where none does.
        kept: (k,) comparisons that remain.
    """

    shares: Float64Array
    fnmr: Float64Array
    kept: IntArray


@export("vultus.evaluate.error_versus_discard")
def error_versus_discard(
    mated_scores: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    quality: npt.ArrayLike,
    *,
    threshold: float,
    shares: npt.ArrayLike | None = None,
) -> Discard:
    """FNMR at a fixed threshold against the share of the samples of lowest quality that are discarded.

    Grother and Tabassi (2007), "Performance of biometric quality measures". A comparison goes as soon as
    one of its samples does. Samples of equal quality go in the order given.

    Args:
        mated_scores: (n,) similarity of mated comparisons.
        first, second: (n,) index of each side's sample.
        quality: (s,) quality of each sample, higher is better; -inf for a sample that gave no template.
        threshold: match iff score >= threshold.
        shares: (k,) shares to discard, in [0, 1]; by default 0, 0.01, ... 0.5.

    Raises:
        BadArgument: shapes that differ, NaN, an index or a share out of range.
        TooFewComparisons: no comparison.
    """
    x = checked_scores(mated_scores, name="mated scores")
    q = checked_scores(quality, name="qualities")
    sides = np.asarray(first), np.asarray(second)
    for side in sides:
        if side.shape != x.shape or side.dtype.kind not in "iu" or side.min() < 0 or side.max() >= len(q):
            raise BadArgument(
                f"sample indices of shape {side.shape} and type {side.dtype}; expected {x.shape} whole numbers "
                f"in [0, {len(q)})"
            )
    cuts = np.linspace(0.0, 0.5, 51) if shares is None else np.asarray(shares, dtype=np.float64)
    if cuts.ndim != 1 or not ((cuts >= 0) & (cuts <= 1)).all():
        raise BadArgument(f"shares of shape {cuts.shape}; expected (k,) numbers in [0, 1]")
    place = np.empty(len(q), dtype=np.intp)
    place[np.argsort(q, kind="stable")] = np.arange(len(q))
    goes_at = np.minimum(place[sides[0]], place[sides[1]])  # the pair remains while fewer samples than this + 1 go
    order = np.argsort(goes_at, kind="stable")
    misses = np.append(np.cumsum((x < checked_threshold(threshold))[order][::-1])[::-1], 0)
    discarded = np.asarray([allowed_errors(c, len(q)) for c in cuts.tolist()])
    begin = np.searchsorted(goes_at[order], discarded, side="left")
    kept = len(x) - begin
    rates = np.full(len(cuts), np.nan)
    np.divide(misses[begin], kept, out=rates, where=kept > 0)
    return Discard(cuts, rates, kept)
