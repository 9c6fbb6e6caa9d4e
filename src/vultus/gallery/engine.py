"""What a gallery rests on: an engine keeps subjects and templates and searches them; all decisions are made above it.

`Gallery` checks what it is handed, chooses thresholds and words its answers alike on every engine. An engine keeps four
promises: a snapshot shows one state; a change is made whole and is durable when `write` returns, or it is not made; a
search sees every change that was acknowledged before it began; and a score is `vultus.gallery.rows.row_scores` of the
stored float32 row, however the row was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from vultus.gallery.decide import Limit
from vultus.gallery.rank import By
from vultus.gallery.records import NewTemplate, Request, StoredTemplate, Subject, Totals, Written
from vultus.gallery.results import Integrity
from vultus.types import FloatArray, SearchThreshold

_T = TypeVar("_T")


class Snapshot(Protocol):
    """One state of a gallery, which changes made meanwhile do not touch."""

    def revision(self) -> int:
        """The revision of the last operation; 0 in a new gallery."""
        ...

    def dimension(self) -> int | None:
        """Numbers in a row; None before the first template."""
        ...

    def totals(self) -> Totals:
        """Subjects, templates and blank templates."""
        ...

    def subject_number(self, subject_id: str) -> int:
        """The number of a subject. Raises `SubjectUnknown`."""
        ...

    def subject(self, subject_id: str) -> Subject:
        """What is known of one subject. Raises `SubjectUnknown`."""
        ...

    def subjects(self, *, after: str = "", limit: int = -1) -> Iterator[Subject]:
        """Subjects in the order of their ids (by code point), from behind `after` on; -1 for all."""
        ...

    def templates(self, subject_number: int) -> Iterator[StoredTemplate]:
        """The templates of a subject in the order of their numbers. Raises `GalleryCorrupt` for a damaged vector."""
        ...

    def everything(self) -> Iterator[tuple[str, str | None, int, list[StoredTemplate]]]:
        """Id, name, time of enrolment and templates of each subject, in the order of enrolment."""
        ...

    def search_thresholds(self) -> list[SearchThreshold]:
        """Thresholds that were measured on searches in this gallery."""
        ...


class Changing(Protocol):
    """The operations that a change consists of. Each has a revision of its own, one above the one before."""

    def enrol(
        self,
        subject_id: str,
        templates: Sequence[NewTemplate],
        *,
        name: str | None,
        request: Request | None,
        created: int | None = None,
    ) -> Written:
        """Make a subject. Raises `SubjectExists`, `RequestConflict`, `BadTemplate` (another dimension)."""
        ...

    def add(self, subject_id: str, templates: Sequence[NewTemplate], *, request: Request | None) -> Written:
        """Give a subject more templates. Raises `SubjectUnknown`, `RequestConflict`, `BadTemplate`."""
        ...

    def delete(self, subject_id: str) -> Written:
        """Remove a subject and its templates. Raises `SubjectUnknown`."""
        ...

    def delete_template(self, subject_id: str, number: int) -> Written:
        """Remove one template of a subject, who stays. Raises `SubjectUnknown`, `BadArgument` (no such template)."""
        ...

    def purge(self) -> Written:
        """Remove expired templates, the subjects whose last ones they were, and idempotency keys of 30 days ago.

        Where there is nothing to remove no operation is made: the revision is the last one's.
        """
        ...

    def merge(self, subject_id: str, other_id: str) -> Written:
        """Give the other's templates to the first and remove the other. Raises `SubjectUnknown`, `BadArgument`."""
        ...

    def rename(self, subject_id: str, name: str | None) -> Written:
        """Change the name of a subject. Raises `SubjectUnknown`."""
        ...

    def set_search_threshold(self, known: SearchThreshold) -> Written:
        """Keep a threshold measured on searches, in place of one for the same rate and size."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What one search found: subjects with their scores, the limit they had to reach, and what was searched."""

    found: tuple[tuple[str, float], ...]
    limit: Limit
    compared: int
    revision: int


LimitOf = Callable[[Snapshot, int], Limit]


class Searcher(Protocol):
    """Finds the best subjects for a probe."""

    def search(self, probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float) -> Answer:
        """The best subjects at or above a limit, best first; equal scores in the order of enrolment.

        Args:
            probe: (d,) float32 of length 1.
            limit_of: the limit, given the snapshot that is searched and how many templates with a vector it holds
                (expired ones included). It may raise, and is called for an empty gallery too.
            max_rank: how many subjects at most, 1 or more.
            by: a subject's score is the highest, or the mean, of its templates' scores.
            now: seconds since 1970; templates that expire then or before are left out.

        Raises:
            BadTemplate: the probe has another dimension than the rows.
            GalleryError: the gallery cannot be read.
        """
        ...


class Engine(Searcher, Protocol):
    """Keeps a gallery. Safe for many threads."""

    @property
    def name(self) -> str:
        """What messages call the gallery; holds no password."""
        ...

    @property
    def path(self) -> Path | None:
        """The database file, where there is one on this machine."""
        ...

    @property
    def model_id(self) -> str:
        """The model that the templates are of."""
        ...

    def reading(self) -> AbstractContextManager[Snapshot]:
        """A snapshot for the length of a block. Raises `GalleryError`."""
        ...

    def write(self, change: Callable[[Changing], _T]) -> _T:
        """Make a change durable: all of its operations, or none where it raises.

        Raises:
            GalleryReadOnly, GalleryBusy, GalleryFull, GalleryUnavailable: it could not be made.
            VultusError: what the change raised.
        """
        ...

    def exactly(self) -> Searcher:
        """Searches the same gallery without any approximation, to measure `search` by."""
        ...

    def erase(self, deleted: Written | None) -> bool:
        """Erase the bytes of what an operation has deleted, or of everything deleted; whether none is left.

        An engine that cannot do so at once after a deletion answers False to that, and does it when asked with None.
        """
        ...

    def sizes(self) -> tuple[int, int]:
        """Bytes of the store, and of the index derived from it."""
        ...

    def verify(self) -> Integrity:
        """Read and check everything; what cannot be read is among the problems."""
        ...

    def close(self) -> None:
        """Give everything back; whatever is asked afterwards raises `GalleryUnavailable`."""
        ...
