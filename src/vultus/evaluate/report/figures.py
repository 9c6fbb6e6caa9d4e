"""The numbers behind a page: each with its interval, or with the reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.calibrate.thresholds import allowed_errors
from vultus.errors import TooFewComparisons
from vultus.evaluate.comparison import right_decisions
from vultus.evaluate.discard import error_versus_discard
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.histogram import ScoreHistogram
from vultus.evaluate.intervals import Interval, rate_interval, rule_of_three
from vultus.evaluate.metrics import roc
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.report.curves import CrossPairs, Curve, cross_curve, pairs_curve
from vultus.evaluate.report.system import Evaluated
from vultus.evaluate.resampled import Drawn, interval_of, resample_accuracy
from vultus.evaluate.verification import RatePoint
from vultus.types import Float64Array, IntArray

_SHARES = np.linspace(0.0, 0.5, 26)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number and its interval.

    Args:
        value: the number.
        interval: None where there is none.
        reason: how the interval was made, or why there is none.
    """

    value: float
    interval: Interval | None
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        bounds = None if self.interval is None else [self.interval.low, self.interval.high]
        return {"value": self.value, "interval": bounds, "method": self.reason}


@dataclass(frozen=True, slots=True, eq=False)
class DiscardCurve:
    """FNMR at one threshold against the share of the photos of lowest quality that are left out.

    Args:
        point: the false match rate and the threshold.
        shares: (k,) share of the photos left out.
        fnmr, low, high: (k,) FNMR of the comparisons that remain and its 95 % bounds; NaN where none remains.
        kept: (k,) comparisons that remain.
    """

    point: RatePoint
    shares: Float64Array
    fnmr: Float64Array
    low: Float64Array
    high: Float64Array
    kept: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SystemFigures:
    """Everything that a page shows of one system in numbers.

    Args:
        label: how plots and tables call it.
        system: what was evaluated.
        scores: (n,) of the protocol's pairs; -inf where a comparison failed.
        accuracy: mean over folds; None where the protocol has none.
        eer, auc: over the protocol's pairs.
        enrolment: share of the photos that gave no template.
        curve: of the protocol's pairs.
        cross: over all cross-subject pairs, where they were asked for and are enough.
        mated, non_mated: histograms of the protocol's scores; failed comparisons are in neither.
        discard: None where it says nothing; `no_discard` is the reason.
    """

    label: str
    system: Evaluated
    scores: Float64Array
    accuracy: Measured | None
    eer: Measured
    auc: Measured
    enrolment: Measured
    curve: Curve
    cross: CrossPairs | None
    mated: ScoreHistogram
    non_mated: ScoreHistogram
    discard: DiscardCurve | None
    no_discard: str = ""


def figures_of(
    pairs: Pairs, system: Evaluated, label: str, *, cross_pairs: bool, replicates: int, seed: int
) -> SystemFigures:
    """Compute what a page shows of one system.

    Args:
        pairs: the protocol.
        system: its templates and figures.
        label: how plots and tables are to call it.
        cross_pairs: also take all cross-subject pairs, one photo a subject.
        replicates, seed: of the bootstrap over subjects.

    Raises:
        TooFewComparisons: one kind of comparison is missing.
    """
    scores = system.extraction.scores(pairs.first, pairs.second)
    drawn = Drawn.of(pairs.subjects, pairs.first, pairs.second, replicates=replicates, seed=seed)
    curve, replicated = pairs_curve(pairs, scores, drawn)
    whole = roc(scores, pairs.mated)
    finite = np.isfinite(scores)
    discard, reason = _discard(pairs, system, scores)
    bins = 128 if len(pairs) >= 4_000 else 64
    return SystemFigures(
        label=label,
        system=system,
        scores=scores,
        accuracy=_accuracy(pairs, scores, drawn),
        eer=_bootstrapped(whole.eer(), replicated.eer, min(whole.n_mated, whole.n_non_mated)),
        auc=_bootstrapped(whole.auc(), replicated.auc, min(whole.n_mated, whole.n_non_mated)),
        enrolment=_enrolment(system),
        curve=curve,
        cross=cross_curve(pairs, system.extraction, scores, drawn) if cross_pairs else None,
        mated=ScoreHistogram.of(scores[finite & pairs.mated], bins=bins),
        non_mated=ScoreHistogram.of(scores[finite & ~pairs.mated], bins=bins),
        discard=discard,
        no_discard=reason,
    )


def worst_pairs(pairs: Pairs, scores: Float64Array, *, count: int) -> tuple[IntArray, IntArray]:
    """Indices of the mated pairs with the lowest scores and of the non-mated ones with the highest, worst first.

    Comparisons that failed have no score and are not among them. A pair that is listed twice appears once.
    """
    usable = np.flatnonzero(np.isfinite(scores))
    low, high = np.minimum(pairs.first, pairs.second), np.maximum(pairs.first, pairs.second)
    _, once = np.unique(np.stack([low[usable], high[usable]]), axis=1, return_index=True)
    usable = usable[np.sort(once)]
    mated, rest = usable[pairs.mated[usable]], usable[~pairs.mated[usable]]
    return (
        mated[np.argsort(scores[mated], kind="stable")][:count],
        rest[np.argsort(-scores[rest], kind="stable")][:count],
    )


def _bootstrapped(value: float, replicates: Float64Array, trials: int) -> Measured:
    """A figure whose interval comes from draws of subjects, with the rule of three where no draw holds an error."""
    if np.isnan(value):
        return Measured(value, None, "there is no value")
    if value == 0.0 or value == 1.0:
        bound = rule_of_three(trials).high
        bounds = (0.0, bound) if value == 0.0 else (1.0 - bound, 1.0)
        return Measured(value, Interval(*bounds, 0.95, "rule of three"), f"rule of three on {trials:,} comparisons")
    try:
        return Measured(value, interval_of(replicates), f"bootstrap over subjects, {len(replicates):,} draws")
    except TooFewComparisons as problem:
        return Measured(value, None, str(problem))


def _accuracy(pairs: Pairs, scores: Float64Array, drawn: Drawn) -> Measured | None:
    if pairs.folds is None:
        return None
    result, right = right_decisions(scores, pairs.mated, pairs.folds)
    return _bootstrapped(result.mean, resample_accuracy(right, pairs.folds, drawn), len(pairs))


def _enrolment(system: Evaluated) -> Measured:
    failed, files = len(system.extraction.failures), len(system.extraction.files)
    interval = rate_interval(failed, files)
    return Measured(failed / files, interval, f"{interval.method}, photos taken as independent")


def _discard(pairs: Pairs, system: Evaluated, scores: Float64Array) -> tuple[DiscardCurve | None, str]:
    """FNMR along shares of discarded photos, at the lowest false match rate at which there is an error to lose."""
    missed = [p for p in system.result.points if p.fnmr > 0 and np.isfinite(p.threshold)]
    if not missed:
        return None, "no mated comparison is missed at a rate that the data support, so there is no error to lose"
    point = min(missed, key=lambda p: p.fmr)
    quality = np.where(system.extraction.enrolled, system.extraction.quality, -np.inf).astype(np.float64)
    if np.isnan(quality).any():
        return None, "no quality was measured for some of the photos"
    mated = np.flatnonzero(pairs.mated)
    x, one, other = scores[mated], pairs.first[mated], pairs.second[mated]
    found = error_versus_discard(x, one, other, quality, threshold=point.threshold, shares=_SHARES)
    place = np.empty(len(quality), dtype=np.intp)
    place[np.argsort(quality, kind="stable")] = np.arange(len(quality))
    goes_at = np.minimum(place[one], place[other])
    low, high = np.full(len(_SHARES), np.nan), np.full(len(_SHARES), np.nan)
    for i, share in enumerate(_SHARES.tolist()):
        stays = goes_at >= allowed_errors(share, len(quality))
        subjects = pairs.subjects[one[stays]]
        if len(np.unique(subjects)) > 1:
            interval = dyadic_interval(subjects, subjects, x[stays] < point.threshold)
            low[i], high[i] = interval.low, interval.high
    return DiscardCurve(point, found.shares, found.fnmr, low, high, found.kept), ""
