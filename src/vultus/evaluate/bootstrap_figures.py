"""Bootstrap over subjects for figures that are no simple rates: an EER, an accuracy, FNMR at an FMR.

See `vultus.evaluate.bootstrap` for the weights of comparisons.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_scores, require_support
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.draws import cross_weight, draws, percentiles
from vultus.evaluate.intervals import Interval, rule_of_three
from vultus.evaluate.pairs import checked_cross_pairs, checked_samples, checked_subjects, cross_pairs
from vultus.types import IntArray


@export("vultus.evaluate.bootstrap_metric")
def bootstrap_metric(
    metric: Callable[[IntArray], float],
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval of any figure that can be computed again from a choice of the comparisons.

    `bootstrap_metric(lambda i: eer(scores[i], mated[i]), a, b)` is the interval of an EER, and
    `lambda i: eer(x[i], mated[i]) - eer(y[i], mated[i])` that of the difference of two systems.

    Args:
        metric: takes (k,) indices into the comparisons, in ascending order and repeated by their weight.
        first, second: (n,) subject of each side, numbers or names; equal in a mated comparison.
        level: probability with which the interval should hold the true figure.
        replicates: how often subjects are drawn; 1,000 or more.
        seed: of the draws.

    Raises:
        BadArgument: shapes that differ, a level outside (0, 1), fewer than 1,000 replicates, or a metric that gives
            NaN.
        TooFewComparisons: no comparison, a single subject, or so few that draws lack a kind of comparison.
    """
    one, other, subjects = checked_subjects(first, second)
    apart = one != other
    values: list[float] = []
    for weights in draws(subjects, replicates, seed):
        for w in weights.T.astype(np.intp):
            chosen = np.repeat(np.arange(len(one)), w[one] * np.where(apart, w[other], 1))
            values.append(float(metric(chosen)))
    result = np.asarray(values)
    if np.isnan(result).any():
        raise BadArgument(f"the metric gave NaN for {np.count_nonzero(np.isnan(result))} of {replicates} replicates")
    return percentiles(result, level)


@export("vultus.evaluate.bootstrap_fnmr_at_fmr")
def bootstrap_fnmr_at_fmr(
    mated_scores: npt.ArrayLike,
    mated_subjects: npt.ArrayLike,
    largest: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    fmr: float,
    samples: npt.ArrayLike,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval of FNMR@FMR over all cross-subject pairs, the threshold being found anew in each replicate.

    So it holds both what the mated comparisons leave open and what the non-mated ones leave open about the threshold.

    Args:
        mated_scores: (n,) similarity of mated comparisons.
        mated_subjects: (n,) index into `samples` of the subject of each.
        largest: (k,) the largest non-mated scores, descending. Replicates in which they run out are an error, so keep
            some times fmr * (number of pairs) of them.
        first, second: (k,) index into `samples` of the two subjects of each of those.
        fmr: share of non-mated scores at or above the threshold, in (0, 1].
        samples: (s,) samples of each subject.
        level: probability with which the interval should hold the true rate.
        replicates: how often subjects are drawn; 1,000 or more.
        seed: of the draws.

    Raises:
        BadArgument: shapes that differ, indices out of range, or scores that do not descend.
        TooFewComparisons: fewer than 30 / fmr pairs, no mated comparison, or too few of the largest scores.
    """
    sizes = checked_samples(samples)
    require_support(fmr, cross_pairs(sizes), what="non-mated comparisons")
    x, tail = checked_scores(mated_scores, name="mated scores"), checked_scores(largest, name="largest scores")
    one, other = checked_cross_pairs(first, second, len(sizes))
    owner = np.asarray(mated_subjects)
    if owner.shape != x.shape or one.shape != tail.shape or (np.diff(tail) > 0).any():
        raise BadArgument(
            f"{len(owner)} subjects for {len(x)} mated scores, {len(one)} pairs for {len(tail)} largest scores; "
            "expected as many, and the largest scores in descending order"
        )
    if owner.dtype.kind not in "iu" or owner.min() < 0 or owner.max() >= len(sizes):
        raise BadArgument(f"mated subjects are {owner.dtype} values; expected whole numbers in [0, {len(sizes)})")
    order = np.argsort(x, kind="stable")
    misses_up_to = np.searchsorted(x[order], tail, side="right")  # mated scores that fail if this one must not match
    ends = np.append(np.flatnonzero(tail[1:] != tail[:-1]), len(tail) - 1)
    rates: list[float] = []
    for weights in draws(len(sizes), replicates, seed):
        allowed = fmr * cross_weight(weights, sizes) * (1.0 + 1e-12)  # whole weights: no harm, and no rounding down
        for w, limit in zip(np.ascontiguousarray(weights.T), allowed.tolist(), strict=True):
            reached = np.cumsum(w[one] * w[other])[ends]
            k = int(np.searchsorted(reached, limit, side="right"))
            if k == len(ends):
                raise TooFewComparisons(
                    f"the {len(tail):,} largest scores do not reach an FMR of {fmr:g} in every replicate; "
                    f"keep {2 * len(tail):,} or more"
                )
            of_mated = np.concatenate([[0.0], np.cumsum(w[owner[order]])])
            if of_mated[-1] > 0:
                rates.append(float(of_mated[misses_up_to[ends[k]]] / of_mated[-1]))
    if len(rates) < 0.9 * replicates:
        raise TooFewComparisons(f"{len(rates)} of {replicates} replicates drew a subject with a mated comparison")
    if max(rates) == 0.0:
        return rule_of_three(len(x), level=level)
    return percentiles(np.asarray(rates), level)
