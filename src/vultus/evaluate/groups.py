"""Groups: do error rates differ between people of different labels, at the one threshold that all of them meet?

Labels come from the user and mean whatever the user says. A rate is given only where 30 errors or more stand behind it;
fewer are a count, not a rate, and comparing such counts between groups misleads. Comparisons of photos without a template
count as non-matches, so FMR and FTE of a group are to be read together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.dyadic import dyadic_interval, dyadic_interval_all_pairs, interval_of_sums
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.intervals import Interval
from vultus.evaluate.labels import Labels
from vultus.evaluate.metrics import checked_threshold
from vultus.evaluate.pairs import cells_of
from vultus.evaluate.protocol import Pairs, People
from vultus.types import BoolArray, Float64Array, IntArray

LEAST_ERRORS = 30
_BLOCK = 1_024
_MOST_FALSE_MATCHES = 20_000_000


@export("vultus.evaluate.GroupRate")
@dataclass(frozen=True, slots=True)
class GroupRate:
    """A rate of one group, or of one group with another.

    Args:
        errors, trials: what it is the share of.
        rate: None where too few errors stand behind it.
        interval: over subjects; None where the rate is.
        reason: why there is no rate.
    """

    errors: int
    trials: int
    rate: float | None = None
    interval: Interval | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "errors": self.errors,
            "trials": self.trials,
            "rate": self.rate,
            "interval": None if self.interval is None else [self.interval.low, self.interval.high],
            "reason": self.reason,
        }


@export("vultus.evaluate.Group")
@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one label.

    Args:
        label: as the user gave it.
        subjects, files: how many have it.
        fmr: of comparisons within the group.
        fnmr: of mated comparisons.
        fte: share of the files that gave no template.
    """

    label: str
    subjects: int
    files: int
    fmr: GroupRate
    fnmr: GroupRate
    fte: GroupRate


@export("vultus.evaluate.GroupResult")
@dataclass(frozen=True, slots=True, eq=False)
class GroupResult:
    """Error rates by group at one threshold.

    Args:
        protocol: name of the data.
        model_id: the system that was evaluated.
        threshold: match iff score >= threshold, for everybody.
        groups: one for each label, by name.
        cross_fmr: FMR of each group with each, in the order of `groups`; symmetric, and `Group.fmr` on the diagonal.
        overall: all comparisons of labelled files.
        least_errors: what a rate must have behind it.
        notes: what was noticed, such as files without a label.
    """

    protocol: str
    model_id: str
    threshold: float
    groups: tuple[Group, ...]
    cross_fmr: tuple[tuple[GroupRate, ...], ...]
    overall: Group
    least_errors: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""

        def plain(group: Group) -> dict[str, object]:
            return {
                "label": group.label,
                "subjects": group.subjects,
                "files": group.files,
                "fmr": group.fmr.to_dict(),
                "fnmr": group.fnmr.to_dict(),
                "fte": group.fte.to_dict(),
            }

        return {
            "protocol": self.protocol,
            "model_id": self.model_id,
            "threshold": self.threshold,
            "least_errors": self.least_errors,
            "groups": [plain(g) for g in self.groups],
            "cross_fmr": [[cell.to_dict() for cell in row] for row in self.cross_fmr],
            "overall": plain(self.overall),
            "notes": list(self.notes),
        }


@export("vultus.evaluate.measure_groups")
def measure_groups(
    data: Pairs | People,
    extraction: Extraction,
    labels: Labels,
    *,
    threshold: float,
    least_errors: int = LEAST_ERRORS,
    level: float = 0.95,
) -> GroupResult:
    """FMR, FNMR and FTE by label, and FMR across labels.

    Of a protocol its comparisons are taken; of a folder of people the mated ones of `People.mated_pairs`, and as
    non-mated ones all pairs of photos of two subjects.

    Args:
        data: a protocol or a folder of people.
        extraction: templates of its files.
        labels: of its subjects or files.
        threshold: one for all groups, chosen on other data.
        least_errors: a rate with fewer errors behind it is withheld.
        level: of the intervals.

    Raises:
        BadArgument: an extraction of other files, a threshold that is no number or matches millions of strangers, or
            labels of which none belongs to the data.
    """
    if extraction.files != data.files:
        raise BadArgument(f"the extraction is not one of the {len(data.files):,} files of {data.name}, in their order")
    if not np.isfinite(checked_threshold(threshold)) or least_errors < 1:
        raise BadArgument(
            f"threshold is {threshold}, least_errors {least_errors}; expected a finite one, and 1 or more"
        )
    given = labels.of_files(data)
    names = sorted({g for g in given if g is not None})
    if not names:
        raise BadArgument(f"none of the {len(labels.of):,} labels belongs to a {labels.kind} of {data.name}")
    number = {name: i for i, name in enumerate(names)}
    group = np.array([-1 if g is None else number[g] for g in given], dtype=np.intp)
    table = _Table(data, extraction, group, threshold, least_errors, level)
    every = range(len(names))
    cross = [[table.fmr([g], [h]) if g <= h else None for h in every] for g in every]
    matrix = tuple(tuple(cross[min(g, h)][max(g, h)] or GroupRate(0, 0) for h in every) for g in every)
    return GroupResult(
        protocol=data.name,
        model_id=extraction.model_id,
        threshold=float(threshold),
        groups=tuple(table.group(name, [g], matrix[g][g]) for name, g in number.items()),
        cross_fmr=matrix,
        overall=table.group("all labelled", list(every), table.fmr(list(every), list(every))),
        least_errors=least_errors,
        notes=(*getattr(data, "notes", ()), *labels.notes, *_noticed(data, labels, given), *table.notes()),
    )


def _noticed(data: Pairs | People, labels: Labels, given: Sequence[str | None]) -> list[str]:
    notes = []
    bare = [f for f, g in zip(data.files, given, strict=True) if g is None]
    if bare:
        notes.append(f"{len(bare):,} of {len(given):,} files have no label and are in no group, the first {bare[0]}")
    if labels.kind == "subject" and isinstance(data, People):
        strange = sorted(set(labels.of) - set(data.names))
        if strange:
            notes.append(
                f"{len(strange):,} labels name subjects that {data.name} does not have, the first {strange[0]!r}"
            )
    return notes


class _Table:
    """Comparisons of labelled files, from which the cells are counted."""

    def __init__(
        self,
        data: Pairs | People,
        extraction: Extraction,
        group: IntArray,
        threshold: float,
        least_errors: int,
        level: float,
    ) -> None:
        self._subjects, self._group, self._failed = data.subjects, group, ~extraction.enrolled
        self._least, self._level = least_errors, level
        self._listed_pairs = isinstance(data, Pairs)
        if isinstance(data, Pairs):
            self._mated = data.first[data.mated], data.second[data.mated]
            self._non_mated = data.first[~data.mated], data.second[~data.mated]
            self._matches = extraction.scores(*self._non_mated) >= threshold
        else:
            self._mated = data.mated_pairs()
            self._non_mated = _false_matches(extraction, data.subjects, group, threshold)
            self._matches = np.ones(len(self._non_mated[0]), dtype=np.bool_)
        self._missed = extraction.scores(*self._mated) < threshold

    def group(self, label: str, groups: list[int], fmr: GroupRate) -> Group:
        """The figures of one label, or of several together."""
        own = np.isin(self._group, groups)
        one, other = self._mated
        inside = own[one] & own[other]
        subjects = self._subjects[one[inside]]
        files = np.flatnonzero(own)
        return Group(
            label=label,
            subjects=len(np.unique(self._subjects[own])),
            files=len(files),
            fmr=fmr,
            fnmr=self._listed(subjects, subjects, self._missed[inside]),
            fte=self._listed(self._subjects[files], self._subjects[files], self._failed[files]),
        )

    def fmr(self, groups: list[int], others: list[int]) -> GroupRate:
        """FMR of comparisons of one side with the other."""
        own, strange = np.isin(self._group, groups), np.isin(self._group, others)
        first, second = self._non_mated
        between = (own[first] & strange[second]) | (own[second] & strange[first])
        one, other = self._subjects[first[between]], self._subjects[second[between]]
        if self._listed_pairs:
            return self._listed(one, other, self._matches[between])
        a, b = (np.bincount(self._subjects[side], minlength=int(self._subjects.max()) + 1) for side in (own, strange))
        if groups == others:
            trials = (int(a.sum()) ** 2 - int((a**2).sum())) // 2
            return self._cell(
                len(one), trials, lambda: dyadic_interval_all_pairs(one, other, samples=a, level=self._level)
            )
        trials = int(a.sum()) * int(b.sum()) - int((a * b).sum())
        return self._cell(len(one), trials, lambda: between_groups(one, other, a, b, level=self._level))

    def notes(self) -> list[str]:
        """Mated comparisons that no group counts."""
        one, other = self._mated
        torn = (self._group[one] != self._group[other]) & (self._group[one] >= 0) & (self._group[other] >= 0)
        return [f"{np.count_nonzero(torn):,} mated comparisons join files of two labels; no group counts them"] * bool(
            torn.any()
        )

    def _listed(self, one: IntArray, other: IntArray, errors: BoolArray) -> GroupRate:
        count = int(np.count_nonzero(errors))
        return self._cell(count, len(errors), lambda: dyadic_interval(one, other, errors, level=self._level))

    def _cell(self, errors: int, trials: int, interval: Callable[[], Interval]) -> GroupRate:
        if errors < self._least:
            said = f"{errors} errors in {trials:,} trials; a rate is given from {self._least} on"
            return GroupRate(errors, trials, reason=said)
        try:
            return GroupRate(errors, trials, errors / trials, interval())
        except TooFewComparisons as problem:
            return GroupRate(errors, trials, reason=str(problem))


def _false_matches(
    extraction: Extraction, subjects: IntArray, group: IntArray, threshold: float
) -> tuple[IntArray, IntArray]:
    """(first, second) labelled files of two subjects whose score reaches the threshold, first < second."""
    usable = np.flatnonzero(extraction.enrolled & (group >= 0))
    rows, who = extraction.rows[usable], subjects[usable]
    first, second = [np.zeros(0, dtype=np.intp)], [np.zeros(0, dtype=np.intp)]
    count = 0
    for begin in range(0, len(rows), _BLOCK):
        part = rows[begin : begin + _BLOCK]
        i, j = np.nonzero(np.clip(part @ rows[begin:].T, -1.0, 1.0) >= threshold)
        keep = (i < j) & (who[begin + i] != who[begin + j])
        first.append(usable[begin + i[keep]])
        second.append(usable[begin + j[keep]])
        count += len(first[-1])
        if count > _MOST_FALSE_MATCHES:
            raise BadArgument(
                f"more than {_MOST_FALSE_MATCHES:,} pairs of subjects match at {threshold}; raise the threshold"
            )
    return np.concatenate(first), np.concatenate(second)


def between_groups(
    first: IntArray, second: IntArray, samples: IntArray, other_samples: IntArray, *, level: float = 0.95
) -> Interval:
    """Dyadic interval of the FMR over all pairs of a sample of one group with one of another, of two subjects.

    Args:
        first, second: (e,) subjects of the false matches, in either order.
        samples, other_samples: (s,) samples that each subject has in the one and the other group.
        level: probability with which the interval should hold the true rate.

    See `vultus.evaluate.dyadic` for the variance; here subjects i and j have a_i b_j + a_j b_i comparisons.
    """
    a, b = samples.astype(np.float64), other_samples.astype(np.float64)
    n = round(float(a.sum() * b.sum() - (a * b).sum()))
    p = len(first) / n
    cells = cells_of(first, second, np.ones((len(first), 1)), len(a))
    counts: Float64Array = cells.sums[:, 0]
    size = a[cells.first] * b[cells.second] + a[cells.second] * b[cells.first]
    of_subject = np.bincount(np.concatenate([first, second]), minlength=len(a)).astype(np.float64)
    of_subject -= p * (a * (b.sum() - b) + b * (a.sum() - a))
    squares = float((a**2).sum() * (b**2).sum() + (a * b).sum() ** 2 - 2 * (a**2 * b**2).sum())
    of_pair = float((counts**2 - 2 * p * counts * size).sum()) + p * p * squares
    return interval_of_sums(len(first), n, of_subject, of_pair, level)
