"""Two systems on the same pairs: which is better, and is the difference more than the choice of subjects?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.bootstrap import Difference
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.folds import FoldAccuracy, accuracy_by_fold
from vultus.evaluate.intervals import Interval, require_support, rule_of_three
from vultus.evaluate.metrics import fnmr, roc
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.resampled import (
    Drawn,
    interval_of,
    resample_accuracy,
    resample_curve,
    resample_tail,
)
from vultus.evaluate.streams import all_pairs_tail
from vultus.evaluate.tail import Tail
from vultus.evaluate.verification import RATES
from vultus.types import BoolArray, Float64Array, IntArray


@export("vultus.evaluate.PairedFigure")
@dataclass(frozen=True, slots=True)
class PairedFigure:
    """One figure of two systems.

    Args:
        name: what was measured, such as "EER" or "FNMR at FMR 0.01".
        value, other: of the one and the other system.
        difference: value - other, with its interval.
        lower_is_better: True for rates of errors, False for an accuracy.
        source: the comparisons that it rests on.
    """

    name: str
    value: float
    other: float
    difference: Difference
    lower_is_better: bool
    source: str

    @property
    def better(self) -> str | None:
        """The system "one" or "other" where the interval of the difference does not hold 0, and None where it does."""
        if 0.0 in self.difference.interval:
            return None
        return "one" if (self.difference.value < 0) == self.lower_is_better else "other"


@export("vultus.evaluate.SystemComparison")
@dataclass(frozen=True, slots=True, eq=False)
class SystemComparison:
    """Paired differences of two systems on one protocol.

    Args:
        protocol: its name.
        model_id, other_model_id: the systems.
        figures: what could be compared.
        refused: what could not, and why.
        replicates, seed: of the bootstrap over subjects; both systems see the same draws.
    """

    protocol: str
    model_id: str
    other_model_id: str
    figures: tuple[PairedFigure, ...]
    refused: dict[str, str] = field(default_factory=dict)
    replicates: int = 1_000
    seed: int = 0

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "protocol": self.protocol,
            "model_id": self.model_id,
            "other_model_id": self.other_model_id,
            "figures": [
                {
                    "name": f.name,
                    "value": f.value,
                    "other": f.other,
                    "difference": f.difference.value,
                    "low": f.difference.interval.low,
                    "high": f.difference.interval.high,
                    "interval": f.difference.interval.method,
                    "better": f.better,
                    "source": f.source,
                }
                for f in self.figures
            ],
            "refused": dict(self.refused),
            "replicates": self.replicates,
            "seed": self.seed,
        }


@export("vultus.evaluate.compare_systems")
def compare_systems(
    pairs: Pairs,
    extraction: Extraction,
    other: Extraction,
    *,
    rates: Sequence[float] = RATES,
    cross_pairs: bool = False,
    replicates: int = 1_000,
    seed: int = 0,
) -> SystemComparison:
    """Accuracy by fold, EER and FNMR at false match rates of one system minus those of another.

    In each draw of subjects both systems find their thresholds anew, each its own; an accuracy keeps the decisions that
    were made with the thresholds of the other folds.

    Args:
        pairs: the protocol.
        extraction, other: templates of its files by the one and the other system.
        rates: false match rates; what the data cannot support is refused by name.
        cross_pairs: take thresholds for rates that the protocol's own non-mated pairs cannot support from all
            cross-subject pairs of its files, one file a subject: the first that both systems enrolled.
        replicates, seed: of the bootstrap over subjects.

    Raises:
        BadArgument: templates of other files than the protocol's.
        TooFewComparisons: one kind of comparison is missing, or too few subjects for an interval.
    """
    for templates in (extraction, other):
        require_same_files(pairs, templates)
    systems = [e.scores(pairs.first, pairs.second) for e in (extraction, other)]
    curves = [roc(scores, pairs.mated) for scores in systems]
    drawn = Drawn.of(pairs.subjects, pairs.first, pairs.second, replicates=replicates, seed=seed)
    few: dict[float, str] = {}
    for rate in rates:
        try:
            require_support(rate, curves[0].n_non_mated, what="non-mated comparisons")
        except TooFewComparisons as problem:
            few[rate] = str(problem)
    supported = [rate for rate in rates if rate not in few]
    one, two = (resample_curve(scores, pairs.mated, drawn, fmrs=supported) for scores in systems)
    source = f"pairs of {pairs.name}"
    refused: dict[str, str] = {}
    figures = []
    if pairs.folds is None:
        refused["accuracy"] = "the protocol has no folds, and a threshold must come from pairs that it is not tested on"
    else:
        figures.append(_accuracy(pairs, pairs.folds, systems, drawn, source))
    least = min(curves[0].n_mated, curves[0].n_non_mated)
    eers = curves[0].eer(), curves[1].eer()
    figures.append(PairedFigure("EER", *eers, _difference(*eers, one.eer - two.eer, least), True, source))
    for i, rate in enumerate(supported):
        values = curves[0].at_fmr(rate).fnmr, curves[1].at_fmr(rate).fnmr
        change = _difference(*values, one.fnmr[:, i] - two.fnmr[:, i], curves[0].n_mated)
        figures.append(PairedFigure(_name(rate), *values, change, True, source))
    if cross_pairs and few:
        found, few = _of_all_pairs(pairs, extraction, other, systems, drawn, list(few))
        figures += found
    refused |= {_name(rate): why for rate, why in few.items()}
    return SystemComparison(pairs.name, extraction.model_id, other.model_id, tuple(figures), refused, replicates, seed)


def require_same_files(pairs: Pairs, extraction: Extraction) -> None:
    """Refuse templates of other files than those of the protocol.

    Raises:
        BadArgument: naming the first file that differs.
    """
    if extraction.files == pairs.files:
        return
    differ = [(a, b) for a, b in zip(pairs.files, extraction.files, strict=False) if a != b]
    example = f"; the first that differs is {differ[0][1]!r} in place of {differ[0][0]!r}" if differ else ""
    raise BadArgument(
        f"the templates are of {len(extraction.files)} files and the protocol has {len(pairs.files)}{example}; extract "
        "the files of the protocol, in its order"
    )


def right_decisions(scores: Float64Array, mated: BoolArray, folds: IntArray) -> tuple[FoldAccuracy, BoolArray]:
    """Accuracy by fold, and (n,) whether each comparison was decided rightly with the threshold of the other folds."""
    result = accuracy_by_fold(scores, mated, folds)
    fold = np.unique(folds, return_inverse=True)[1]
    return result, (scores >= result.thresholds[fold]) == mated


def _name(rate: float) -> str:
    return f"FNMR at FMR {rate:g}"


def _accuracy(
    pairs: Pairs, folds: IntArray, systems: Sequence[Float64Array], drawn: Drawn, source: str
) -> PairedFigure:
    (one, right), (other, other_right) = (right_decisions(scores, pairs.mated, folds) for scores in systems)
    apart = resample_accuracy(right, folds, drawn) - resample_accuracy(other_right, folds, drawn)
    return PairedFigure(
        "accuracy", one.mean, other.mean, _difference(one.mean, other.mean, apart, len(pairs)), False, source
    )


def _difference(value: float, other: float, replicates: Float64Array, trials: int) -> Difference:
    """The difference and its interval; the rule of three on either side where no draw tells the systems apart."""
    usable = replicates[~np.isnan(replicates)]
    if len(usable) and not usable.any() and value == other:
        high = rule_of_three(trials).high
        return Difference(0.0, Interval(-high, high, 0.95, "rule of three"))
    return Difference(value - other, interval_of(replicates))


def _of_all_pairs(
    pairs: Pairs,
    extraction: Extraction,
    other: Extraction,
    systems: Sequence[Float64Array],
    drawn: Drawn,
    rates: Sequence[float],
) -> tuple[list[PairedFigure], dict[float, str]]:
    """FNMR of the protocol's mated pairs at thresholds from all cross-subject pairs of its files."""
    both = extraction.enrolled & other.enrolled
    files, subjects, sizes = one_file_each(pairs, both)
    total = len(files) * (len(files) - 1) // 2
    refused, supported = {}, []
    for rate in rates:
        try:
            if not total:
                raise TooFewComparisons("both systems enrolled no two subjects; there is no cross-subject pair")
            require_support(rate, total, what="cross-subject pairs")
            supported.append(rate)
        except TooFewComparisons as problem:
            refused[rate] = str(problem)
    if not supported:
        return [], refused
    keep = max(1, min(total, int(4 * max(supported) * total) + 1_000))
    owner = drawn.first[pairs.mated]
    values, replicates = [], []
    for templates, scores in zip((extraction, other), systems, strict=True):
        tail = of_subjects(all_pairs_tail(templates.rows[files], keep=keep), subjects)
        mated = scores[pairs.mated]
        values.append([fnmr(mated, threshold=tail.threshold_at_fmr(rate)) for rate in supported])
        replicates.append(resample_tail(mated, owner, tail, drawn, sizes=sizes, fmrs=supported))
    source = f"all cross-subject pairs of {len(files):,} subjects of {pairs.name}"
    figures = []
    for i, rate in enumerate(supported):
        one, two = values[0][i], values[1][i]
        change = _difference(one, two, replicates[0][:, i] - replicates[1][:, i], len(owner))
        figures.append(PairedFigure(_name(rate), one, two, change, True, source))
    return figures, refused


def one_file_each(pairs: Pairs, enrolled: BoolArray) -> tuple[IntArray, IntArray, Float64Array]:
    """The first enrolled file of each subject, its subject by number, and (subjects,) 1 where a subject has one, or 0."""
    names, number = np.unique(pairs.subjects, return_inverse=True)
    usable = np.flatnonzero(enrolled)
    subjects, where = np.unique(number[usable], return_index=True)
    sizes = np.zeros(len(names))
    sizes[subjects] = 1.0
    return usable[where], subjects.astype(np.intp), sizes


def of_subjects(tail: Tail, subjects: IntArray) -> Tail:
    """A tail of rows as one of the subjects of those rows."""
    return Tail(tail.scores, subjects[tail.first], subjects[tail.second], tail.comparisons)
