"""Questions to the database, all answered from one snapshot of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from vultus.errors import GalleryCorrupt, SubjectUnknown
from vultus.gallery.postgres.connections import Connection
from vultus.gallery.records import StoredTemplate, Subject, Totals, moment
from vultus.types import FloatArray, SearchThreshold

_FETCHED = 2000
_COLUMNS = "number, vector, checksum, samples, quality, photo_sha256, consent, expires, created"


@dataclass(frozen=True, slots=True)
class State:
    """What the gallery's row of state says.

    Args:
        revision: of the last operation.
        vectors: templates that are not blank.
        dimension: numbers in a row; None before the first.
    """

    revision: int
    vectors: int
    dimension: int | None


def begin_reading(connection: Connection) -> State:
    """Begin a transaction that sees one state of the gallery, and say which."""
    with connection.pipeline():
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        state = connection.execute("SELECT revision, vectors, dimension FROM state")
    return state_of(state.fetchone())


def state_of(found: tuple[Any, ...] | None) -> State:
    """The state that a row says."""
    if found is None:
        raise GalleryCorrupt("a gallery's row of state is missing; restore a backup")
    return State(*found)


class Reads:
    """Reads from a connection that is inside a transaction.

    Args:
        connection: the connection.
        name: of the gallery, for messages.
        state: of the gallery in this transaction.
    """

    def __init__(self, connection: Connection, name: str, state: State) -> None:
        self._connection = connection
        self._name = name
        self._state = state

    def revision(self) -> int:
        """The revision of the last operation; 0 in a new gallery."""
        return self._state.revision

    def dimension(self) -> int | None:
        """Numbers in a row; None before the first template."""
        return self._state.dimension

    def totals(self) -> Totals:
        """Subjects, templates and blank templates."""
        query = "SELECT (SELECT count(*) FROM subjects), count(*), count(*) - count(vector) FROM templates"
        return Totals(*self._one(query))

    def subject_number(self, subject_id: str) -> int:
        """The number of a subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        found = self._connection.execute("SELECT number FROM subjects WHERE id = %s", (subject_id,)).fetchone()
        if found is None:
            raise SubjectUnknown(f"no subject {subject_id!r} is enrolled in {self._name}")
        return int(found[0])

    def subject_ids(self, numbers: Sequence[int]) -> list[str]:
        """The ids of subjects that exist in this snapshot, in the order of their numbers as given."""
        if not numbers:
            return []
        query = "SELECT number, id FROM subjects WHERE number = ANY(%s)"
        known: dict[int, str] = dict(self._connection.execute(query, (list(numbers),)).fetchall())
        return [known[n] for n in numbers]

    def subject(self, subject_id: str) -> Subject:
        """What is known of one subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        number = self.subject_number(subject_id)
        query = """
            SELECT s.name, count(t.number), count(t.number) - count(t.vector), s.created
            FROM subjects AS s LEFT JOIN templates AS t ON t.subject = s.number WHERE s.number = %s GROUP BY s.number
        """
        name, templates, blanks, created = self._one(query, (number,))
        return Subject(subject_id, name, templates, blanks, moment(created))

    def subjects(self, *, after: str = "", limit: int = -1) -> Iterator[Subject]:
        """Subjects in the order of their ids, from behind `after` on."""
        query = """
            SELECT s.id, s.name, count(t.number), count(t.number) - count(t.vector), s.created
            FROM (SELECT * FROM subjects WHERE id > %s ORDER BY id LIMIT %s) AS s
            LEFT JOIN templates AS t ON t.subject = s.number
            GROUP BY s.number, s.id, s.name, s.created ORDER BY s.id
        """
        found = self._connection.execute(query, (after, None if limit < 0 else limit))
        for id_, name, templates, blanks, created in found:
            yield Subject(id_, name, templates, blanks, moment(created))

    def everything(self) -> Iterator[tuple[str, str | None, int, list[StoredTemplate]]]:
        """Id, name, time of enrolment and templates of each subject, in the order of enrolment.

        Raises:
            GalleryCorrupt: a vector is not what was written.
        """
        query = """
            SELECT s.number, s.id, s.name, s.created, t.number, t.vector, t.checksum, t.samples, t.quality,
                t.photo_sha256, t.consent, t.expires, t.created
            FROM subjects AS s LEFT JOIN templates AS t ON t.subject = s.number ORDER BY s.number, t.number
        """
        with self._connection.cursor("everything") as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(query, binary=True)
            for (_, id_, name, created), rows in groupby(cursor, key=lambda row: row[:4]):
                yield id_, name, created, [self._template(row[4:]) for row in rows if row[4] is not None]

    def templates(self, subject_number: int) -> Iterator[StoredTemplate]:
        """The templates of a subject in the order in which they were added.

        Raises:
            GalleryCorrupt: a vector is not what was written.
        """
        query = f"SELECT {_COLUMNS} FROM templates WHERE subject = %s ORDER BY number"  # noqa: S608
        for row in self._connection.execute(query, (subject_number,), binary=True):
            yield self._template(row)

    def search_thresholds(self) -> list[SearchThreshold]:
        """Thresholds that were measured on searches in this gallery."""
        query = "SELECT value, fpir, gallery_size, searches, low, high, data, fnir FROM search_thresholds"
        return [SearchThreshold(*row) for row in self._connection.execute(query + " ORDER BY fpir, gallery_size")]

    def vector(self, number: int, blob: bytes, checksum: int) -> FloatArray:
        """(d,) a stored vector.

        Raises:
            GalleryCorrupt: it is not what was written.
        """
        if zlib.crc32(blob) != checksum or len(blob) != 4 * (self.dimension() or 0):
            raise GalleryCorrupt(
                f"gallery {self._name}: template {number} is not what was written; restore a backup, or delete its subject"
            )
        return np.frombuffer(blob, dtype="<f4")

    def _template(self, row: Sequence[Any]) -> StoredTemplate:
        number, blob, checksum, samples, quality, sha256, consent, expires, created = row
        vector = None if blob is None else self.vector(number, blob, checksum)
        until = None if expires is None else moment(expires)
        return StoredTemplate(number, vector, samples, quality, sha256, consent, until, moment(created))

    def _one(self, query: str, values: tuple[int | str, ...] = ()) -> tuple[Any, ...]:
        found = self._connection.execute(query, values).fetchone()
        if found is None:
            raise GalleryCorrupt(f"gallery {self._name}: a record that others refer to is missing; restore a backup")
        return found
