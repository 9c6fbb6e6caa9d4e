"""Calibration put to the test: do likelihood ratios fitted on some subjects hold for others?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vultus._export import export
from vultus.calibrate import Calibration, IsotonicCalibration, LogisticCalibration, fit_isotonic, fit_logistic
from vultus.calibrate.pooling import pool_adjacent_violators, tied_counts
from vultus.errors import TooFewComparisons
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.intervals import Interval
from vultus.evaluate.likelihood import cllr, min_cllr
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.resampled import Drawn, interval_of
from vultus.types import BoolArray, Float64Array, IntArray

_DECADES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


@export("vultus.evaluate.RatioBins")
@dataclass(frozen=True, slots=True, eq=False)
class RatioBins:
    """Stated against observed probability of "mated", by decade of the stated likelihood ratio.

    The stated probability takes the share of mated comparisons in the tested data as the prior.

    Args:
        stated: (k,) mean stated probability in each bin that holds a comparison.
        observed: (k,) share of mated comparisons there.
        low, high: (k,) 95 % interval of `observed` over subjects.
        counts: (k,) comparisons in each bin.
    """

    stated: Float64Array
    observed: Float64Array
    low: Float64Array
    high: Float64Array
    counts: IntArray


@export("vultus.evaluate.RatioFit")
@dataclass(frozen=True, slots=True, eq=False)
class RatioFit:
    """One kind of calibration on subjects that it has not seen.

    Args:
        name: "logistic" or "isotonic".
        calibration: as fitted.
        cllr: in bits; 0 is perfect, 1 is what no evidence costs.
        cllr_interval: over subjects, the fit being held.
        loss: Cllr - minCllr, what the calibration costs beyond the scores themselves.
        loss_interval: over subjects, the fit and the best map being held.
        bins: the reliability diagram.
    """

    name: str
    calibration: LogisticCalibration | IsotonicCalibration
    cllr: float
    cllr_interval: Interval
    loss: float
    loss_interval: Interval
    bins: RatioBins


@export("vultus.evaluate.RatioCheck")
@dataclass(frozen=True, slots=True, eq=False)
class RatioCheck:
    """Likelihood ratios fitted on one half of the subjects and tested on the other.

    Args:
        subjects: how many subjects were (fitted on, tested on).
        fitted, tested: (mated, non-mated) comparisons on either side.
        between: comparisons between the halves, which neither side uses.
        failed: comparisons without a score, which have no likelihood ratio.
        min_cllr: the least that any rising map of the tested scores could reach on them.
        min_cllr_interval: over subjects, that map being held.
        fits: the kinds of calibration.
    """

    subjects: tuple[int, int]
    fitted: tuple[int, int]
    tested: tuple[int, int]
    between: int
    failed: int
    min_cllr: float
    min_cllr_interval: Interval
    fits: tuple[RatioFit, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "subjects_fitted": self.subjects[0],
            "subjects_tested": self.subjects[1],
            "fitted": {"mated": self.fitted[0], "non_mated": self.fitted[1]},
            "tested": {"mated": self.tested[0], "non_mated": self.tested[1]},
            "comparisons_between_halves": self.between,
            "comparisons_failed": self.failed,
            "min_cllr": self.min_cllr,
            "min_cllr_interval": [self.min_cllr_interval.low, self.min_cllr_interval.high],
            "fits": {fit.name: _fit_record(fit) for fit in self.fits},
        }


def _fit_record(fit: RatioFit) -> dict[str, object]:
    record: dict[str, object] = {
        "cllr": fit.cllr,
        "cllr_interval": [fit.cllr_interval.low, fit.cllr_interval.high],
        "loss": fit.loss,
        "loss_interval": [fit.loss_interval.low, fit.loss_interval.high],
        "interval": fit.cllr_interval.method,
        "reliability": {
            name: getattr(fit.bins, name).tolist() for name in ("stated", "observed", "low", "high", "counts")
        },
    }
    if isinstance(fit.calibration, LogisticCalibration):
        record["weight"], record["bias"] = fit.calibration.weight, fit.calibration.bias
    return record


@export("vultus.evaluate.likelihood_ratio_check")
def likelihood_ratio_check(
    pairs: Pairs, extraction: Extraction, *, replicates: int = 1_000, seed: int = 0
) -> RatioCheck:
    """Fit likelihood ratios on one half of the subjects and measure their cost in bits on the other.

    Subjects are halved at random. A comparison belongs to a half where both of its subjects do. One without a score is
    counted and left out: a system that could not compare has no evidence to state.

    Args:
        pairs: the protocol.
        extraction: templates of its files.
        replicates: of the bootstrap over the tested subjects.
        seed: of the halves and of the draws.

    Raises:
        TooFewComparisons: a half lacks one kind of comparison.
        BadArgument: scores that do not rise from non-mated to mated.
    """
    scores = extraction.scores(pairs.first, pairs.second)
    one, other = pairs.subjects[pairs.first], pairs.subjects[pairs.second]
    usable = np.isfinite(scores)
    side_one, side_other = _halves(np.concatenate([one, other]), len(one), seed)
    halves = [usable & (side_one == half) & (side_other == half) for half in (False, True)]
    for half, what in zip(halves, ("fitted on", "tested on"), strict=True):
        kinds = np.bincount(pairs.mated[half].astype(np.intp), minlength=2)
        if not kinds.all():
            raise TooFewComparisons(
                f"the half of the subjects that is {what} has {kinds[1]} mated and {kinds[0]} non-mated comparisons; "
                "expected some of each: take more pairs of more subjects"
            )
    fit, test = halves
    x, y = scores[test], pairs.mated[test]
    drawn = Drawn.of(pairs.subjects, pairs.first[test], pairs.second[test], replicates=replicates, seed=seed)
    best = _least_costs(x, y)
    calibrations: list[tuple[str, Calibration]] = [
        ("logistic", fit_logistic(scores[fit], pairs.mated[fit])),
        ("isotonic", fit_isotonic(scores[fit], pairs.mated[fit])),
    ]
    costs = [best] + [_costs(c.log_likelihood_ratio(x), y) for _, c in calibrations]
    replicated = np.array([[_mean_cost(c, y, w) for c in costs] for w in drawn.weights()])
    least = min_cllr(x, y)
    fits = []
    for (name, calibration), values in zip(calibrations, replicated.T[1:], strict=True):
        ratios = calibration.log_likelihood_ratio(x)
        cost = cllr(ratios, y)
        bins = _bins(ratios, y, one[test], other[test])
        loss = interval_of(values - replicated[:, 0])
        fits.append(RatioFit(name, calibration, cost, interval_of(values), cost - least, loss, bins))  # type: ignore[arg-type]
    between = int(np.count_nonzero(usable & (side_one != side_other)))
    return RatioCheck(
        subjects=(_subjects(one[fit], other[fit]), _subjects(one[test], other[test])),
        fitted=_kinds(pairs.mated[fit]),
        tested=_kinds(y),
        between=between,
        failed=int(np.count_nonzero(~usable)),
        min_cllr=least,
        min_cllr_interval=interval_of(replicated[:, 0]),
        fits=tuple(fits),
    )


def _halves(subjects: IntArray, n: int, seed: int) -> tuple[BoolArray, BoolArray]:
    """Which half each side of n comparisons belongs to."""
    names, number = np.unique(subjects, return_inverse=True)
    half = np.zeros(len(names), dtype=np.bool_)
    half[np.random.default_rng(seed).permutation(len(names))[len(names) // 2 :]] = True
    sides: BoolArray = half[number]
    return sides[:n], sides[n:]


def _subjects(one: IntArray, other: IntArray) -> int:
    return len(np.unique(np.concatenate([one, other])))


def _kinds(mated: BoolArray) -> tuple[int, int]:
    return int(np.count_nonzero(mated)), int(np.count_nonzero(~mated))


# --- costs ------------------------------------------------------------------------------------------------------------


def _costs(ratios: Float64Array, mated: BoolArray) -> Float64Array:
    """(n,) cost of each comparison in bits; Cllr is the mean of the means of both kinds."""
    cost: Float64Array = np.logaddexp(0.0, np.where(mated, -ratios, ratios)) / math.log(2.0)
    return cost


def _least_costs(scores: Float64Array, mated: BoolArray) -> Float64Array:
    """(n,) cost of each comparison under the isotonic map that is best for these very comparisons."""
    levels, hits, counts = tied_counts(scores, mated)
    starts = pool_adjacent_violators(hits, counts)
    found = np.add.reduceat(hits, starts)
    share, rest = found / found.sum(), np.add.reduceat(counts, starts) - found
    other = rest / rest.sum()
    with np.errstate(divide="ignore"):
        ratios = np.log(share) - np.log(other)
    block = np.searchsorted(starts, np.searchsorted(levels, scores), side="right") - 1
    return _costs(ratios[block], mated)


def _mean_cost(costs: Float64Array, mated: BoolArray, weights: Float64Array) -> float:
    of_mated, of_rest = float(weights[mated].sum()), float(weights[~mated].sum())
    if not (of_mated > 0 and of_rest > 0):
        return math.nan
    return float(weights[mated] @ costs[mated] / of_mated + weights[~mated] @ costs[~mated] / of_rest) / 2


# --- the diagram ------------------------------------------------------------------------------------------------------


def _bins(ratios: Float64Array, mated: BoolArray, one: IntArray, other: IntArray) -> RatioBins:
    n_mated, n_rest = _kinds(mated)
    stated = 0.5 + 0.5 * np.tanh((ratios + math.log(n_mated / n_rest)) / 2)
    rows = list(_filled(np.searchsorted(_DECADES, ratios / math.log(10.0), side="right")))
    intervals = [_share_interval(one[r], other[r], mated[r]) for r in rows]
    return RatioBins(
        stated=np.array([stated[r].mean() for r in rows]),
        observed=np.array([mated[r].mean() for r in rows]),
        low=np.array([i.low for i in intervals]),
        high=np.array([i.high for i in intervals]),
        counts=np.array([len(r) for r in rows], dtype=np.intp),
    )


def _filled(which: IntArray) -> Iterator[IntArray]:
    """Indices of the comparisons in each bin that holds some."""
    for k in range(len(_DECADES) + 1):
        rows = np.flatnonzero(which == k)
        if len(rows):
            yield rows


def _share_interval(one: IntArray, other: IntArray, mated: BoolArray) -> Interval:
    if _subjects(one, other) < 2:
        return Interval(0.0, 1.0, 0.95, "one subject says nothing")
    return dyadic_interval(one, other, mated)
