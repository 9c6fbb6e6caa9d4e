"""Bootstrap over subjects: how far would a rate move, had other subjects been photographed?

Comparisons that share a subject err together, so subjects are drawn, not comparisons: as many as there are, with
replacement, and a subject that was drawn w_i times gives its mated comparisons the weight w_i and a comparison with
subject j the weight w_i w_j. Both sides of a pair are resampled. Bounds are percentiles of the replicates.

Errors that have nothing to do with their subjects are resampled twice over by this, once with each side, and their
share of the variance comes out three times as large (Owen 2007, "The pigeonhole bootstrap"). An interval for a false
match rate is therefore too wide rather than too narrow; `dyadic_interval` subtracts what is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import TooFewComparisons
from vultus.evaluate.draws import cross_weight, draws, percentiles
from vultus.evaluate.intervals import Interval, rule_of_three
from vultus.evaluate.pairs import (
    Cells,
    cells_of,
    checked_cross_pairs,
    checked_errors,
    checked_samples,
    checked_subjects,
    cross_pairs,
)
from vultus.types import Float64Array


@export("vultus.evaluate.Difference")
@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of one system minus that of another on the same comparisons, and its interval.

    The systems differ at the interval's level where it does not hold 0.
    """

    value: float
    interval: Interval


# --- rates of listed comparisons --------------------------------------------------------------------------------------


@export("vultus.evaluate.bootstrap_subjects")
def bootstrap_subjects(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    errors: npt.ArrayLike,
    *,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval of the rate of errors among listed comparisons, mated, non-mated or both.

    Args:
        first, second: (n,) subject of each side, numbers or names; equal in a mated comparison.
        errors: (n,), True where the comparison was decided wrongly.
        level: probability with which the interval should hold the true rate.
        replicates: how often subjects are drawn; 1,000 or more.
        seed: of the draws; one seed gives one interval.

    Returns:
        percentiles of the replicates. Without an error, or without a right decision, the rule of three on n.

    Raises:
        BadArgument: shapes that differ, a level outside (0, 1), or fewer than 1,000 replicates.
        TooFewComparisons: no comparison, or a single subject.
    """
    one, other, subjects = checked_subjects(first, second)
    e = checked_errors(errors, len(one))
    if (certain := _without_variance(float(e.sum()), len(e), level)) is not None:
        return certain
    cells = cells_of(one, other, np.stack([e, np.ones(len(e))], axis=1), subjects)
    return percentiles(_rates(_ratio_in(cells), subjects, replicates, seed), level)


@export("vultus.evaluate.bootstrap_difference")
def bootstrap_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    errors: npt.ArrayLike,
    other_errors: npt.ArrayLike,
    *,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> Difference:
    """Rate of errors of one system minus that of another on the same comparisons, with the same draws for both.

    Args:
        first, second: (n,) subject of each side, numbers or names; equal in a mated comparison.
        errors, other_errors: (n,), True where the one and the other system decided wrongly.
        level: probability with which the interval should hold the true difference.
        replicates: how often subjects are drawn; 1,000 or more.
        seed: of the draws.

    Returns:
        the difference. Where the systems decide every comparison alike its bounds are the rule of three on n, on
        either side.

    Raises:
        BadArgument: shapes that differ, a level outside (0, 1), or fewer than 1,000 replicates.
        TooFewComparisons: no comparison, or a single subject.
    """
    one, other, subjects = checked_subjects(first, second)
    apart = checked_errors(errors, len(one)) - checked_errors(other_errors, len(one))
    if not apart.any():
        return _no_difference(len(apart), level)
    cells = cells_of(one, other, np.stack([apart, np.ones(len(apart))], axis=1), subjects)
    interval = percentiles(_rates(_ratio_in(cells), subjects, replicates, seed), level)
    return Difference(float(apart.sum()) / len(apart), interval)


# --- rates of all cross-subject pairs ---------------------------------------------------------------------------------


@export("vultus.evaluate.bootstrap_all_pairs")
def bootstrap_all_pairs(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    samples: npt.ArrayLike,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval of the FMR over all cross-subject pairs of a set, of which only the false matches are listed.

    With w_i draws and m_i samples of subject i the denominator is ((sum w m)^2 - sum (w m)^2) / 2, so millions of
    pairs without an error cost nothing.

    Args:
        first, second: (e,) index into `samples` of the two subjects of each false match.
        samples: (s,) samples of each subject; ones where each gave one photo.
        level: probability with which the interval should hold the true rate.
        replicates: how often subjects are drawn; 1,000 or more.
        seed: of the draws.

    Returns:
        percentiles of the replicates. Without a false match the rule of three on the number of pairs.

    Raises:
        BadArgument: indices out of range, a pair of one subject, a level outside (0, 1), or fewer than 1,000
            replicates.
        TooFewComparisons: fewer than two subjects.
    """
    sizes = checked_samples(samples)
    one, other = checked_cross_pairs(first, second, len(sizes))
    if (certain := _without_variance(len(one), cross_pairs(sizes), level)) is not None:
        return certain
    cells = cells_of(one, other, np.ones((len(one), 1)), len(sizes))
    return percentiles(_rates(_ratio_of_all(cells, sizes), len(sizes), replicates, seed), level)


@export("vultus.evaluate.bootstrap_all_pairs_difference")
def bootstrap_all_pairs_difference(
    errors: tuple[npt.ArrayLike, npt.ArrayLike],
    other_errors: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    samples: npt.ArrayLike,
    level: float = 0.95,
    replicates: int = 1_000,
    seed: int = 0,
) -> Difference:
    """FMR of one system minus that of another over all cross-subject pairs, with the same draws for both.

    Args:
        errors, other_errors: (first, second) subjects of the false matches of the one and the other system, each (e,)
            indices into `samples`.
        samples: (s,) samples of each subject.
        level: probability with which the interval should hold the true difference.
        replicates: how often subjects are drawn; 1,000 or more.
        seed: of the draws.

    Returns:
        the difference. Where both list the same pairs its bounds are the rule of three, on either side.

    Raises:
        BadArgument: indices out of range, a pair of one subject, a level outside (0, 1), or fewer than 1,000
            replicates.
        TooFewComparisons: fewer than two subjects.
    """
    sizes = checked_samples(samples)
    one, other = (checked_cross_pairs(*pairs, len(sizes)) for pairs in (errors, other_errors))
    sign = np.repeat([1.0, -1.0], [len(one[0]), len(other[0])])[:, None]
    joined = [np.concatenate(sides) for sides in zip(one, other, strict=True)]
    pairs = cross_pairs(sizes)
    cells = cells_of(joined[0], joined[1], sign, len(sizes))
    if not cells.sums.any():
        return _no_difference(pairs, level)
    interval = percentiles(_rates(_ratio_of_all(cells, sizes), len(sizes), replicates, seed), level)
    return Difference((len(one[0]) - len(other[0])) / pairs, interval)


# --- replicates -------------------------------------------------------------------------------------------------------


def _rates(
    ratio: Callable[[Float64Array], tuple[Float64Array, Float64Array]], subjects: int, replicates: int, seed: int
) -> Float64Array:
    """Replicates of a ratio; draws that leave no comparison are passed over."""
    found = []
    for weights in draws(subjects, replicates, seed):
        above, below = ratio(weights)
        found.append(above[below > 0] / below[below > 0])
    rates = np.concatenate(found)
    if len(rates) < 0.9 * replicates:
        raise TooFewComparisons(
            f"only {len(rates)} of {replicates} replicates hold a comparison; {subjects} subjects with so few "
            "comparisons cannot give an interval"
        )
    return rates


def _ratio_in(cells: Cells) -> Callable[[Float64Array], tuple[Float64Array, Float64Array]]:
    def ratio(weights: Float64Array) -> tuple[Float64Array, Float64Array]:
        above, below = cells.totals(weights)
        return above, below

    return ratio


def _ratio_of_all(cells: Cells, sizes: Float64Array) -> Callable[[Float64Array], tuple[Float64Array, Float64Array]]:
    def ratio(weights: Float64Array) -> tuple[Float64Array, Float64Array]:
        return cells.totals(weights)[0], cross_weight(weights, sizes)

    return ratio


def _without_variance(errors: float, trials: int, level: float) -> Interval | None:
    """The rule of three where no draw could differ from another: no error, or nothing else."""
    if 0 < errors < trials:
        return None
    bounds = rule_of_three(trials, level=level)
    return bounds if errors == 0 else Interval(1.0 - bounds.high, 1.0, level, bounds.method)


def _no_difference(trials: int, level: float) -> Difference:
    high = rule_of_three(trials, level=level).high
    return Difference(0.0, Interval(-high, high, level, "rule of three"))
