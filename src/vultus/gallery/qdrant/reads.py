"""Questions to the server, answered from what the head shows.

The server has no snapshots. Where points were removed while an answer was put together, the answer is not used: it is
asked for again, of the state that is the latest then. So a snapshot stays as it is while others enrol, and moves forward
when they delete, merge or rename.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vultus.errors import GalleryBusy, GalleryCorrupt, SubjectUnknown
from vultus.gallery.qdrant.head import Head, Heads
from vultus.gallery.qdrant.points import Condition, Payload, Point, among, equal
from vultus.gallery.qdrant.turns import Turns
from vultus.gallery.records import StoredTemplate, Subject, Totals, moment
from vultus.types import FloatArray, SearchThreshold

_T = TypeVar("_T")
_TRIES = 8
_CHUNK = 200

SUBJECT, TEMPLATE, REQUEST, THRESHOLD = "subject", "template", "request", "threshold"


@dataclass(slots=True)
class Listing:
    """The ids of all subjects in their order, kept from one page to the next.

    Args:
        kept: the state that they are of, as its last ticket and its number of removals, and the ids.
    """

    kept: tuple[tuple[int, int], tuple[str, ...]] = ((-1, -1), ())


class Reads:
    """A state of a gallery, which moves forward when something is removed. See `Snapshot`.

    Args:
        heads: of the gallery.
        head: of the state.
        listing: kept between snapshots.
        turns: to take, so that nothing is removed meanwhile, where reading does not succeed otherwise; None to give up.
    """

    def __init__(self, heads: Heads, head: Head, listing: Listing, turns: Turns | None = None) -> None:
        self._heads = heads
        self._points = self.points = heads.points
        self._head = head
        self._listing = listing
        self._turns = turns

    @property
    def name(self) -> str:
        """Of the gallery."""
        return self._points.address.name

    def revision(self) -> int:
        """The revision of the last operation; 0 in a new gallery."""
        return self._head.revision

    def dimension(self) -> int | None:
        """Numbers in a row; None before the first template."""
        return self._head.dimension

    def totals(self) -> Totals:
        """Subjects, templates and blank templates."""
        return Totals(self._head.subjects, self._head.templates, self._head.blanks)

    def subject_number(self, subject_id: str) -> int:
        """The number of a subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        return int(self._steady(lambda: self.record(subject_id)).payload["subject"])

    def subject_ids(self, numbers: Sequence[int]) -> list[str]:
        """The ids of subjects, in the order of their numbers as given; fewer where one is not there any more."""
        if not numbers:
            return []
        known = {p.payload["subject"]: p.payload["id"] for p in self._records(SUBJECT, among("subject", numbers))}
        return [known[n] for n in numbers if n in known]

    def subject(self, subject_id: str) -> Subject:
        """What is known of one subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        return self._steady(lambda: self._described([self.record(subject_id)])[0])

    def subjects(self, *, after: str = "", limit: int = -1) -> Iterator[Subject]:
        """Subjects in the order of their ids, from behind `after` on."""

        def page() -> list[Subject]:
            ids = [i for i in self._listed() if i > after]
            ids = ids if limit < 0 else ids[:limit]
            found: list[Subject] = []
            for first in range(0, len(ids), _CHUNK):
                found += self._described(list(self._records(SUBJECT, among("id", ids[first : first + _CHUNK]))))
            return sorted(found, key=lambda subject: subject.subject_id)

        yield from self._steady(page)

    def templates(self, subject_number: int) -> Iterator[StoredTemplate]:
        """The templates of a subject in the order in which they were added.

        Raises:
            SubjectUnknown: it was removed meanwhile.
            GalleryCorrupt: a vector is not what was written.
        """

        def found() -> list[StoredTemplate]:
            of = equal("subject", subject_number)
            templates = self.templates_of(list(self._records(TEMPLATE, of)))
            if not templates and not any(True for _ in self._records(SUBJECT, of)):
                raise SubjectUnknown(f"subject number {subject_number} is not enrolled in {self.name} any more")
            return templates

        yield from self._steady(found)

    def everything(self) -> Iterator[tuple[str, str | None, int, list[StoredTemplate]]]:
        """Id, name, time of enrolment and templates of each subject, in the order of enrolment.

        Raises:
            GalleryBusy: something is removed meanwhile.
            GalleryCorrupt: a vector is not what was written.
        """
        subjects = sorted(self._records(SUBJECT), key=lambda point: int(point.payload["subject"]))
        for first in range(0, len(subjects), _CHUNK):
            part = subjects[first : first + _CHUNK]
            of: dict[int, list[Point]] = {s.payload["subject"]: [] for s in part}
            for template in self._records(TEMPLATE, among("subject", list(of))):
                of[template.payload["subject"]].append(template)
            stored = {number: self.templates_of(points) for number, points in of.items()}
            if self._heads.read().removals != self._head.removals:
                raise GalleryBusy(f"gallery {self.name} was changed while everything was read; try again")
            for subject in part:
                known = subject.payload
                yield known["id"], known["name"], known["created"], stored[known["subject"]]

    def search_thresholds(self) -> list[SearchThreshold]:
        """Thresholds that were measured on searches in this gallery."""
        return self._steady(lambda: [threshold_of(p.payload) for p in self._records(THRESHOLD)])

    # --- what changes and searches use --------------------------------------------------------------------------------

    def record(self, subject_id: str) -> Point:
        """The record of a subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        for found in self._records(SUBJECT, equal("id", subject_id)):
            return found
        raise SubjectUnknown(f"no subject {subject_id!r} is enrolled in {self.name}")

    def templates_of(self, records: Sequence[Point]) -> list[StoredTemplate]:
        """Templates in the order of their numbers, with their vectors.

        Raises:
            GalleryCorrupt: a vector is missing or not what was written.
        """
        vectors: dict[int, Point] = {}
        dimension = self._head.dimension
        filled = [p.id for p in records if not p.payload["blank"]]
        if filled and dimension is not None:
            vectors = self._points.with_vectors(self._points.address.rows(dimension), filled)
        stored = [self._stored(p.payload, None if p.payload["blank"] else vectors.get(p.id)) for p in records]
        return sorted(stored, key=lambda template: template.number)

    def checked(self, row: Point) -> FloatArray:
        """The vector of a row.

        Raises:
            GalleryCorrupt: it is not what was written.
        """
        if row.vector is None or checksum_of(row.vector) != row.payload.get("checksum"):
            raise GalleryCorrupt(
                f"gallery {self.name}: a template is not what was written; restore a snapshot, or delete its subject"
            )
        return row.vector

    def _records(self, kind: str, *conditions: Condition, fields: Sequence[str] | bool = True) -> Iterator[Point]:
        """Records that show, in the order in which they were written."""
        found = self._points.scroll(self._points.address.records, equal("kind", kind), *conditions, fields=fields)
        return (point for point in found if self._shows(point.id))

    def _shows(self, number: int) -> bool:
        return self._head.shows(number)

    def _steady(self, ask: Callable[[], _T]) -> _T:
        """An answer of one state.

        Raises:
            GalleryBusy: something was removed each time that it was asked for, or others write for too long.
            GalleryError: what asking raises, where nothing was removed.
        """
        for _ in range(_TRIES):
            answer, problem = None, None
            try:
                answer = ask()
            except (SubjectUnknown, GalleryCorrupt) as raised:
                problem = raised
            latest = self._heads.read()
            if latest.removals == self._head.removals:
                if problem is not None:
                    raise problem
                return answer  # type: ignore[return-value]
            self._head = latest
        if self._turns is not None:
            with self._turns.taken() as turn:
                self._head = turn.head
                return ask()
        raise GalleryBusy(f"gallery {self.name}: subjects are removed faster than it can be read; try again")

    def _listed(self) -> tuple[str, ...]:
        of = (self._head.committed, self._head.removals)
        known, ids = self._listing.kept
        if known != of:
            ids = tuple(sorted(p.payload["id"] for p in self._records(SUBJECT, fields=["id"])))
            self._listing.kept = of, ids
        return ids

    def _described(self, records: Sequence[Point]) -> list[Subject]:
        counts = {p.payload["subject"]: [0, 0] for p in records}
        for first in range(0, len(records), _CHUNK):
            part = [p.payload["subject"] for p in records[first : first + _CHUNK]]
            for template in self._records(TEMPLATE, among("subject", part), fields=["subject", "blank"]):
                counts[template.payload["subject"]][0] += 1
                counts[template.payload["subject"]][1] += template.payload["blank"]
        known = (p.payload for p in records)
        return [_subject(k, *counts[k["subject"]]) for k in known]

    def _stored(self, known: Payload, row: Point | None) -> StoredTemplate:
        vector = None
        if not known["blank"]:
            if row is None or row.payload.get("checksum") != known["checksum"]:
                raise GalleryCorrupt(
                    f"gallery {self.name}: the vector of template {known['number']} is missing; restore a snapshot, or delete "
                    "its subject"
                )
            vector = self.checked(row)
        return StoredTemplate(
            known["number"],
            vector,
            known["samples"],
            None if known["quality"] is None else float.fromhex(known["quality"]),
            known["photo_sha256"],
            known["consent"],
            None if known["expires"] is None else moment(known["expires"]),
            moment(known["created"]),
        )


def _subject(known: Payload, templates: int, blanks: int) -> Subject:
    return Subject(known["id"], known["name"], templates, blanks, moment(known["created"]))


def checksum_of(vector: FloatArray) -> int:
    """Of a row's bytes."""
    return zlib.crc32(vector.astype("<f4").tobytes())


_NUMBERS = ("value", "fpir", "low", "high")


def threshold_record(known: SearchThreshold) -> Payload:
    """A threshold as it is kept. Numbers are hexadecimal: a reader of JSON may round what is decimal."""
    record: Payload = {name: getattr(known, name).hex() for name in _NUMBERS}
    fnir = None if known.fnir is None else known.fnir.hex()
    return {
        **record,
        "fnir": fnir,
        "gallery_size": known.gallery_size,
        "searches": known.searches,
        "data": known.data,
    }


def threshold_of(record: Payload) -> SearchThreshold:
    """The threshold that a record keeps."""
    numbers = {name: float.fromhex(record[name]) for name in _NUMBERS}
    fnir = None if record["fnir"] is None else float.fromhex(record["fnir"])
    return SearchThreshold(
        **numbers, fnir=fnir, gallery_size=record["gallery_size"], searches=record["searches"], data=record["data"]
    )
