"""Verification: a protocol and its templates give one record of figures, with intervals and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vultus._export import export
from vultus.errors import TooFewComparisons
from vultus.evaluate.bootstrap_figures import bootstrap_fnmr_at_fmr, bootstrap_metric
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.folds import accuracy_by_fold
from vultus.evaluate.intervals import Interval
from vultus.evaluate.metrics import Roc, eer, roc
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.streams import all_pairs_tail
from vultus.types import Float64Array, IntArray

_MOST_RESAMPLED = 50_000
RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


@export("vultus.evaluate.RatePoint")
@dataclass(frozen=True, slots=True)
class RatePoint:
    """FNMR at one FMR.

    Args:
        fmr: the rate that was asked for.
        threshold: match iff score >= threshold.
        fnmr: share of mated comparisons below it; comparisons that failed count as not matching.
        interval: 95 % interval of `fnmr` over subjects.
        reached: the false match rate at the threshold.
        comparisons: non-mated comparisons that the threshold rests on.
        source: which comparisons those are.
    """

    fmr: float
    threshold: float
    fnmr: float
    interval: Interval
    reached: float
    comparisons: int
    source: str


@export("vultus.evaluate.VerificationResult")
@dataclass(frozen=True, slots=True, eq=False)
class VerificationResult:
    """The figures of a verification protocol.

    Args:
        protocol: its name.
        model_id: the system that was evaluated.
        n_mated, n_non_mated: comparisons of each kind, failed ones included.
        failures: "file: code: message" of each photo without a template.
        eer: equal error rate, failed comparisons counting as non-matches.
        eer_interval: not computed where None.
        auc: area under the ROC curve.
        accuracy, accuracy_std, accuracy_standard_error: mean and spread over folds, where the protocol has folds.
        points: FNMR at each rate that the data supports.
        refused: each rate that was asked for and the data cannot support, and why.
        notes: what was noticed.
    """

    protocol: str
    model_id: str
    n_mated: int
    n_non_mated: int
    failures: tuple[str, ...]
    eer: float
    auc: float
    points: tuple[RatePoint, ...]
    refused: dict[float, str] = field(default_factory=dict)
    accuracy: float | None = None
    accuracy_std: float | None = None
    accuracy_standard_error: float | None = None
    eer_interval: Interval | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; numbers that are not finite become None."""
        record: dict[str, object] = {
            "protocol": self.protocol,
            "model_id": self.model_id,
            "pairs": self.n_mated + self.n_non_mated,
            "n_mated": self.n_mated,
            "n_non_mated": self.n_non_mated,
            "failures_to_enrol": len(self.failures),
            "failures": list(self.failures),
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "accuracy_standard_error": self.accuracy_standard_error,
            "eer": self.eer,
            "eer_interval": _bounds(self.eer_interval),
            "auc": self.auc,
            "fnmr_at_fmr": {f"{p.fmr:g}": _point(p) for p in self.points},
            "threshold": {f"{p.fmr:g}": _finite(p.threshold) for p in self.points},
            "refused": {f"{rate:g}": why for rate, why in self.refused.items()},
            "notes": list(self.notes),
        }
        return record


def _point(point: RatePoint) -> dict[str, object]:
    return {
        "fnmr": point.fnmr,
        "low": point.interval.low,
        "high": point.interval.high,
        "interval": point.interval.method,
        "threshold": _finite(point.threshold),
        "fmr": point.reached,
        "comparisons": point.comparisons,
        "source": point.source,
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@export("vultus.evaluate.measure_verification")
def measure_verification(
    pairs: Pairs,
    extraction: Extraction,
    *,
    rates: Sequence[float] = RATES,
    cross_pairs: bool = False,
    replicates: int = 1_000,
    seed: int = 0,
) -> VerificationResult:
    """The figures of a protocol.

    Args:
        pairs: the protocol.
        extraction: templates of its files.
        rates: false match rates to give FNMR at; what the data cannot support is refused by name.
        cross_pairs: take thresholds for rates that the protocol's own non-mated pairs cannot support from all
            cross-subject pairs of its files, one file a subject, if its subjects are named.
        replicates, seed: of the bootstrap over subjects.

    Raises:
        TooFewComparisons: one kind of comparison is missing.
    """
    scores = extraction.scores(pairs.first, pairs.second)
    curve = roc(scores, pairs.mated)
    folds = accuracy_by_fold(scores, pairs.mated, pairs.folds) if pairs.folds is not None else None
    mated_subjects = pairs.subjects[pairs.first[pairs.mated]]
    points, refused = [], {}
    for rate in rates:
        try:
            points.append(_of_pairs(pairs, scores, curve, rate))
        except TooFewComparisons as problem:
            refused[rate] = str(problem)
    if cross_pairs and refused and pairs.named:
        rest = [r for r in rates if r in refused]
        found, refused = _of_all_pairs(pairs, extraction, scores[pairs.mated], mated_subjects, rest, replicates, seed)
        points += found
    return VerificationResult(
        protocol=pairs.name,
        model_id=extraction.model_id,
        n_mated=curve.n_mated,
        n_non_mated=curve.n_non_mated,
        failures=tuple(f"{extraction.files[i]}: {why}" for i, why in sorted(extraction.failures.items())),
        eer=curve.eer(),
        auc=curve.auc(),
        points=tuple(points),
        refused=refused,
        accuracy=folds.mean if folds else None,
        accuracy_std=folds.std if folds else None,
        accuracy_standard_error=folds.standard_error if folds else None,
        eer_interval=_eer_interval(pairs, scores, replicates, seed),
        notes=pairs.notes,
    )


def _eer_interval(pairs: Pairs, scores: Float64Array, replicates: int, seed: int) -> Interval | None:
    """By bootstrap over subjects; None where there are too many pairs to sort in each replicate, or too few to draw from."""
    if len(pairs) > _MOST_RESAMPLED:
        return None
    mated, one, other = pairs.mated, pairs.subjects[pairs.first], pairs.subjects[pairs.second]
    try:
        return bootstrap_metric(lambda i: eer(scores[i], mated[i]), one, other, replicates=replicates, seed=seed)
    except TooFewComparisons:
        return None


def _of_pairs(pairs: Pairs, scores: Float64Array, curve: Roc, rate: float) -> RatePoint:
    point = curve.at_fmr(rate)
    one, other = pairs.subjects[pairs.first[pairs.mated]], pairs.subjects[pairs.second[pairs.mated]]
    interval = dyadic_interval(one, other, scores[pairs.mated] < point.threshold)
    return RatePoint(
        rate, point.threshold, point.fnmr, interval, point.fmr, point.n_non_mated, f"pairs of {pairs.name}"
    )


def _of_all_pairs(
    pairs: Pairs,
    extraction: Extraction,
    mated_scores: Float64Array,
    mated_subjects: IntArray,
    rates: Sequence[float],
    replicates: int,
    seed: int,
) -> tuple[list[RatePoint], dict[float, str]]:
    """FNMR of the protocol's mated pairs at thresholds from all cross-subject pairs of its files."""
    enrolled = np.flatnonzero(extraction.enrolled)
    subjects, where = np.unique(pairs.subjects[enrolled], return_index=True)
    rows = extraction.rows[enrolled[where]]
    total = len(rows) * (len(rows) - 1) // 2
    keep = max(1, min(total, int(4 * max(rates) * total) + 1_000))
    tail = all_pairs_tail(rows, keep=keep)
    # subjects whose only files failed have no row: number the others anew
    renumber = np.full(int(pairs.subjects.max()) + 1, -1)
    renumber[subjects] = np.arange(len(subjects))
    known = renumber[mated_subjects] >= 0
    points, refused = [], {}
    for rate in rates:
        try:
            threshold = tail.threshold_at_fmr(rate)
            interval = bootstrap_fnmr_at_fmr(
                mated_scores[known],
                renumber[mated_subjects[known]],
                tail.scores,
                tail.first,
                tail.second,
                fmr=rate,
                samples=np.ones(len(subjects), dtype=np.intp),
                replicates=replicates,
                seed=seed,
            )
        except TooFewComparisons as problem:
            refused[rate] = str(problem)
            continue
        fnmr = float(np.mean(mated_scores < threshold))
        source = f"all cross-subject pairs of {len(subjects):,} subjects of {pairs.name}"
        points.append(RatePoint(rate, threshold, fnmr, interval, tail.fmr(threshold), total, source))
    return points, refused
