"""Changes to the gallery: points that are written under the ticket of a turn, and the head that will show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vultus.errors import BadArgument, BadTemplate, RequestConflict, SubjectExists
from vultus.gallery.qdrant.head import MOST, PLACES, Head, Heads
from vultus.gallery.qdrant.points import Payload, Point, among, at_most, equal
from vultus.gallery.qdrant.reads import (
    REQUEST,
    SUBJECT,
    TEMPLATE,
    THRESHOLD,
    Listing,
    Reads,
    checksum_of,
    threshold_of,
    threshold_record,
)
from vultus.gallery.qdrant.turns import Turn
from vultus.gallery.records import NewTemplate, Request, Written
from vultus.types import SearchThreshold

_KEPT_REQUESTS = 30 * 86_400
_GATHERED = 1000
_CHUNK = 200
_LARGEST = 65_536  # numbers in a vector of Qdrant

WORDS = ("kind", "id", "key", "stamp")
NUMBERS = ("subject", "ticket", "expires", "at")
ROW_NUMBERS = ("subject", "ticket")


class Writes(Reads):
    """Writes within a turn. What it reads is what the head shows and what it has written itself.

    Args:
        heads: of the gallery.
        turn: to write in.
        clock: seconds since 1970.
    """

    def __init__(self, heads: Heads, turn: Turn, clock: Callable[[], float]) -> None:
        super().__init__(heads, turn.head, Listing())
        self._turn = turn
        self._clock = clock
        self._ticket = turn.head.given
        self._place = 0
        self._subjects: dict[str, Point] = {}
        self._made: list[Point] = []
        self._rows: list[Point] = []
        self._requests: dict[str, tuple[str, Written]] = {}
        self._gone: set[int] = set()

    def enrol(
        self,
        subject_id: str,
        templates: Sequence[NewTemplate],
        *,
        name: str | None,
        request: Request | None,
        created: int | None = None,
    ) -> Written:
        """Make a subject with its templates; `created` is of its first enrolment, where it comes from an archive.

        Raises:
            SubjectExists: the id is taken.
            RequestConflict: the key was used for another request.
            BadTemplate: a vector of another dimension than the gallery's.
        """
        if (done := self._replayed(request)) is not None:
            return done
        if subject_id in self._subjects:
            raise self._exists(subject_id)
        now = self._begin()
        number = self._number()
        made = now if created is None else created
        self._subjects[subject_id] = self._subject(number, number, subject_id, name, made)
        self._head = replace(self._head, subjects=self._head.subjects + 1)
        self._insert(number, templates, now)
        return self._done(request, now, len(templates))

    def add(self, subject_id: str, templates: Sequence[NewTemplate], *, request: Request | None) -> Written:
        """Give a subject more templates.

        Raises:
            SubjectUnknown: it is not enrolled.
            RequestConflict: the key was used for another request.
            BadTemplate: a vector of another dimension than the gallery's.
        """
        if (done := self._replayed(request)) is not None:
            return done
        subject = self._known(subject_id).payload["subject"]
        now = self._begin()
        self._insert(subject, templates, now)
        return self._done(request, now, len(templates))

    def delete(self, subject_id: str) -> Written:
        """Remove a subject and its templates.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        record = self._known(subject_id)
        templates = list(self._records(TEMPLATE, equal("subject", record.payload["subject"])))
        self._begin()
        self._remove_templates(templates)
        self._remove_subject(record)
        return Written(self._head.revision, len(templates))

    def delete_template(self, subject_id: str, number: int) -> Written:
        """Remove one template of a subject, who stays enrolled.

        Raises:
            SubjectUnknown: it is not enrolled.
            BadArgument: it has no such template.
        """
        record = self._known(subject_id)
        known = self._records(TEMPLATE, equal("subject", record.payload["subject"]))
        found = [template for template in known if template.payload["number"] == number]
        if not found:
            raise BadArgument(
                f"subject {subject_id!r} has no template {number}; its templates are listed by templates()"
            )
        self._begin()
        self._remove_templates(found)
        return Written(self._head.revision, 1)

    def purge(self) -> Written:
        """Remove the templates that have expired, the subjects whose last one that was, and old idempotency keys."""
        self._send()
        now = int(self._clock())
        expired = list(self._records(TEMPLATE, at_most("expires", now)))
        requests = list(self._records(REQUEST, at_most("at", now - _KEPT_REQUESTS)))
        if not expired and not requests:
            return Written(self._head.revision, 0)
        self._begin()
        self._gone.update(request.id for request in requests)
        self._remove_templates(expired)
        losing = sorted({template.payload["subject"] for template in expired})
        for first in range(0, len(losing), _CHUNK):
            of = among("subject", losing[first : first + _CHUNK])
            kept = {template.payload["subject"] for template in self._records(TEMPLATE, of)}
            for record in list(self._records(SUBJECT, of)):
                if record.payload["subject"] not in kept:
                    self._remove_subject(record)
        return Written(self._head.revision, len(expired))

    def merge(self, subject_id: str, other_id: str) -> Written:
        """Give all templates of the other subject to the first and remove the other.

        Raises:
            SubjectUnknown: one of them is not enrolled.
            BadArgument: they are one.
        """
        record, other = self._known(subject_id), self._known(other_id)
        if record.payload["subject"] == other.payload["subject"]:
            raise BadArgument(f"{subject_id!r} cannot be merged with itself; name two subjects")
        moved = list(self._records(TEMPLATE, equal("subject", other.payload["subject"])))
        filled = [template.id for template in moved if not template.payload["blank"]]
        rows = self._points.with_vectors(self._rows_name(), filled) if filled else {}
        self._begin()
        for template in moved:
            number = self._number()
            payload = {**template.payload, "subject": record.payload["subject"], "ticket": self._ticket}
            self._made.append(Point(number, payload))
            if not template.payload["blank"]:
                self._rows.append(self._row(number, payload, self.checked(rows.get(template.id, template))))
        self._gone.update(template.id for template in moved)
        self._remove_subject(other)
        return Written(self._head.revision, len(moved))

    def rename(self, subject_id: str, name: str | None) -> Written:
        """Change the name of a subject.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        record = self._known(subject_id)
        known = record.payload
        self._begin()
        self._gone.add(record.id)
        self._made.append(self._subject(self._number(), known["subject"], subject_id, name, known["created"]))
        return Written(self._head.revision, 0)

    def set_search_threshold(self, known: SearchThreshold) -> Written:
        """Keep a threshold that was measured on searches, in place of one for the same rate and size."""
        self._send()
        for record in list(self._records(THRESHOLD)):
            kept = threshold_of(record.payload)
            if (kept.fpir, kept.gallery_size) == (known.fpir, known.gallery_size):
                self._gone.add(record.id)
        self._begin()
        self._made.append(Point(self._number(), {"kind": THRESHOLD, "ticket": self._ticket, **threshold_record(known)}))
        return Written(self._head.revision, 0)

    def finish(self) -> Head | None:
        """Write what was gathered; the head that shows it, or None where there is nothing to commit."""
        self._send()
        if self._head.revision == self._turn.head.revision:
            return None
        return replace(
            self._head,
            committed=self._ticket,
            held_until=self._turn.head.held_until,
            removed=frozenset(self._gone),
            removals=self._head.removals + bool(self._gone),
        )

    # --- gathering ----------------------------------------------------------------------------------------------------

    def _shows(self, number: int) -> bool:
        return number not in self._gone and (number >> PLACES == self._ticket or self._head.shows(number))

    def _begin(self) -> int:
        """A new operation; the time."""
        self._turn.extend()
        self._head = replace(self._head, revision=self._head.revision + 1)
        return int(self._clock())

    def _number(self) -> int:
        if self._place == MOST:
            raise BadArgument(f"more than {MOST:,} subjects, templates and requests in one change; divide it")
        self._place += 1
        return (self._ticket << PLACES) + self._place - 1

    def _subject(self, number: int, subject: int, subject_id: str, name: str | None, created: int) -> Point:
        payload = {"kind": SUBJECT, "ticket": self._ticket, "subject": subject, "id": subject_id, "name": name}
        return Point(number, {**payload, "created": created})

    def _row(self, number: int, record: Payload, vector: Any) -> Point:
        payload = {name: record[name] for name in ("ticket", "subject", "expires", "checksum")}
        return Point(number, payload, vector)

    def _insert(self, subject: int, templates: Sequence[NewTemplate], now: int) -> None:
        for template in templates:
            number = self._number()
            vector = None if template.vector is None else np.frombuffer(template.vector, dtype="<f4")
            if vector is not None:
                self._check_dimension(len(vector))
            record = {
                "kind": TEMPLATE,
                "ticket": self._ticket,
                "subject": subject,
                "number": number,
                "blank": vector is None,
                "checksum": None if vector is None else checksum_of(vector),
                "samples": template.samples,
                "quality": None if template.quality is None else float(template.quality).hex(),
                "photo_sha256": template.photo_sha256,
                "consent": template.consent,
                "expires": template.expires,
                "created": now if template.created is None else template.created,
            }
            self._made.append(Point(number, record))
            if vector is not None:
                self._rows.append(self._row(number, record, vector))
            self._count(1, blanks=int(vector is None))
            if len(self._made) >= _GATHERED:
                self._send()

    def _check_dimension(self, dimension: int) -> None:
        if self._head.dimension is None:
            if dimension > _LARGEST:
                raise BadTemplate(f"a template of {dimension:,} numbers; on Qdrant expected at most {_LARGEST:,}")
            self._points.make_rows(self._points.address.rows(dimension), dimension, numbers=ROW_NUMBERS)
            self._head = replace(self._head, dimension=dimension)
        if dimension != self._head.dimension:
            raise BadTemplate(
                f"a template of {dimension} numbers; the gallery {self.name} holds rows of {self._head.dimension}"
            )

    def _send(self) -> None:
        """Write what was gathered.

        Raises:
            SubjectExists: the id of a gathered subject is taken.
        """
        ids = list(self._subjects)
        for first in range(0, len(ids), _CHUNK):
            for taken in self._records(SUBJECT, among("id", ids[first : first + _CHUNK])):
                raise self._exists(taken.payload["id"])
        records = [*self._subjects.values(), *self._made]
        if records:
            self._turn.extend()
            for collection, points in ((self._rows_name(), self._rows), (self._points.address.records, records)):
                if points:
                    self._turn.written.add(collection)
                    self._points.insert(collection, points)
        self._subjects, self._made, self._rows = {}, [], []

    def _rows_name(self) -> str:
        return self._points.address.rows(self._head.dimension or 0)

    def _exists(self, subject_id: str) -> SubjectExists:
        return SubjectExists(
            f"subject {subject_id!r} is enrolled in {self.name} already; add templates to it, or delete it first"
        )

    def _known(self, subject_id: str) -> Point:
        """The record of a subject, after what was gathered has been written."""
        self._send()
        return self.record(subject_id)

    def _remove_templates(self, templates: Sequence[Point]) -> None:
        self._gone.update(template.id for template in templates)
        self._count(-len(templates), blanks=-sum(template.payload["blank"] for template in templates))

    def _remove_subject(self, record: Point) -> None:
        self._gone.add(record.id)
        self._head = replace(self._head, subjects=self._head.subjects - 1)

    def _count(self, templates: int, *, blanks: int) -> None:
        head = self._head
        self._head = replace(head, templates=head.templates + templates, blanks=head.blanks + blanks)

    def _replayed(self, request: Request | None) -> Written | None:
        if request is None:
            return None
        known = self._requests.get(request.key)
        for record in self._records(REQUEST, equal("key", request.key)) if known is None else ():
            kept = record.payload
            known = kept["digest"], Written(kept["revision"], kept["templates"])
        if known is None:
            return None
        digest, written = known
        if digest != request.digest.hex():
            raise RequestConflict(
                f"idempotency key {request.key!r} was used at revision {written.revision} for another request; use a new key"
            )
        return replace(written, replayed=True)

    def _done(self, request: Request | None, now: int, templates: int) -> Written:
        written = Written(self._head.revision, templates)
        if request is not None:
            digest = request.digest.hex()
            self._requests[request.key] = digest, written
            record = {"kind": REQUEST, "ticket": self._ticket, "key": request.key, "digest": digest, "at": now}
            record |= {"revision": written.revision, "templates": templates}
            self._made.append(Point(self._number(), record))
        return written
