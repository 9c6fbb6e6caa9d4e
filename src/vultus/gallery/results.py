"""What a gallery answers: candidates with the threshold that they had to reach, and what is known of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from vultus._export import export
from vultus.types import Candidate, SearchThreshold, Threshold


@export("vultus.gallery.Identification")
@dataclass(frozen=True, slots=True)
class Identification(Sequence[Candidate]):
    """The candidates of one search, best first: none of them for "nobody".

    Args:
        candidates: those at or above the threshold.
        threshold: the score that was asked of them.
        fpir: how often a search for a stranger names somebody at this threshold and size, where known.
        basis: the measurement that the threshold rests on; None where the caller chose the threshold.
        compared: N, how many templates the probe was compared with.
        revision: of the gallery that was searched.
    """

    candidates: tuple[Candidate, ...]
    threshold: float
    fpir: float | None
    basis: Threshold | SearchThreshold | None
    compared: int
    revision: int

    def __len__(self) -> int:
        return len(self.candidates)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self.candidates[index]

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)


@export("vultus.gallery.SubjectVerification")
@dataclass(frozen=True, slots=True)
class SubjectVerification:
    """Whether a probe shows one enrolled subject.

    Args:
        match: whether the score reaches the threshold; never for a subject with blank templates only.
        score: similarity in [-1, 1]; -1 where there was nothing to compare with.
        threshold: the score that was asked for.
        fmr: the false match rate that the threshold stands for; None where the caller chose the threshold.
        subject_id: whom.
        basis: what the threshold was measured on.
    """

    match: bool
    score: float
    threshold: float
    fmr: float | None
    subject_id: str
    basis: Threshold | None = None


@export("vultus.gallery.Stats")
@dataclass(frozen=True, slots=True)
class Stats:
    """A gallery in numbers.

    Args:
        model_id: the model that its templates are of.
        dimension: numbers in a row; None before the first template.
        subjects: enrolled subjects.
        templates: their templates, blank ones included.
        blanks: templates that record a failed enrolment.
        revision: operations so far.
        store_bytes, index_bytes: size of the database with its log, and of the index beside it.
        search_thresholds: thresholds measured on searches in this gallery.
    """

    model_id: str
    dimension: int | None
    subjects: int
    templates: int
    blanks: int
    revision: int
    store_bytes: int
    index_bytes: int
    search_thresholds: tuple[SearchThreshold, ...]


@export("vultus.gallery.Integrity")
@dataclass(frozen=True, slots=True)
class Integrity:
    """What a check of everything found.

    Args:
        problems: what is wrong, in words; none where all is well.
        templates: how many templates were read and compared with the index.
    """

    problems: tuple[str, ...]
    templates: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
