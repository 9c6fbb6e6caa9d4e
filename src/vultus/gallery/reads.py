"""Questions to the store, all answered from one snapshot of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from vultus.errors import GalleryCorrupt, SubjectUnknown
from vultus.gallery.records import StoredTemplate, Subject, Totals, moment
from vultus.gallery.schema import first_number_after
from vultus.types import FloatArray, SearchThreshold

NEVER = (1 << 63) - 1
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The searchable templates of one range of numbers, ascending.

    Args:
        numbers: (n,) of the templates.
        subjects: (n,) number of each one's subject.
        expires: (n,) seconds since 1970; the largest int64 for never.
        rows: (n, d) float32.
    """

    numbers: Int64Array
    subjects: Int64Array
    expires: Int64Array
    rows: FloatArray


class Reads:
    """Reads from a connection that is inside a transaction."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def revision(self) -> int:
        """The revision of the last operation; 0 in a new gallery."""
        return int(self._one("SELECT max(revision) FROM operations")[0] or 0)

    def token(self, revision: int) -> int | None:
        """The random number of an operation: two histories that differ do not agree in it."""
        found = self._connection.execute("SELECT token FROM operations WHERE revision = ?", (revision,)).fetchone()
        return None if found is None else int(found[0])

    def fact(self, name: str) -> str | int | None:
        """One of the facts that a gallery is pinned to."""
        found = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def dimension(self) -> int | None:
        """Numbers in a row; None before the first template."""
        value = self.fact("dimension")
        return None if value is None else int(value)

    def totals(self) -> Totals:
        """Subjects, templates and blank templates."""
        return Totals(
            int(self._one("SELECT count(*) FROM subjects")[0]),
            int(self._one("SELECT count(*) FROM templates")[0]),
            int(self._one("SELECT count(*) FROM templates WHERE vector IS NULL")[0]),
        )

    def subject_number(self, subject_id: str) -> int:
        """The number of a subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        found = self._connection.execute("SELECT number FROM subjects WHERE id = ?", (subject_id,)).fetchone()
        if found is None:
            raise SubjectUnknown(f"no subject {subject_id!r} is enrolled in {self._path}")
        return int(found[0])

    def subject_ids(self, numbers: Sequence[int]) -> list[str]:
        """The ids of subjects that exist in this snapshot, in the order of their numbers as given."""
        query = "SELECT id FROM subjects WHERE number = ?"
        return [str(self._one(query, (int(n),))[0]) for n in numbers]

    def subjects(self, *, after: str = "", limit: int = -1) -> Iterator[Subject]:
        """Subjects in the order of their ids, from behind `after` on."""
        query = """
            SELECT s.id, s.name, count(t.number), count(t.number) - count(t.vector), s.created
            FROM (SELECT * FROM subjects WHERE id > ? ORDER BY id LIMIT ?) AS s
            LEFT JOIN templates AS t ON t.subject = s.number GROUP BY s.number ORDER BY s.id
        """
        for id_, name, templates, blanks, created in self._connection.execute(query, (after, limit)):
            yield Subject(id_, name, templates, blanks, moment(created))

    def everything(self) -> Iterator[tuple[str, str | None, int, list[StoredTemplate]]]:
        """Id, name, time of enrolment and templates of each subject, in the order of enrolment.

        Raises:
            GalleryCorrupt: a vector is not what was written.
        """
        for number, id_, name, created in self._connection.execute(
            "SELECT number, id, name, created FROM subjects ORDER BY number"
        ):
            yield id_, name, created, list(self.templates(number))

    def subject(self, subject_id: str) -> Subject:
        """What is known of one subject.

        Raises:
            SubjectUnknown: there is none of this id.
        """
        number = self.subject_number(subject_id)
        name, created = self._one("SELECT name, created FROM subjects WHERE number = ?", (number,))
        templates, vectors = self._one("SELECT count(*), count(vector) FROM templates WHERE subject = ?", (number,))
        return Subject(subject_id, name, templates, templates - vectors, moment(created))

    def templates(self, subject_number: int) -> Iterator[StoredTemplate]:
        """The templates of a subject in the order in which they were added.

        Raises:
            GalleryCorrupt: a vector is not what was written.
        """
        query = """
            SELECT number, vector, checksum, samples, quality, photo_sha256, consent, expires, created
            FROM templates WHERE subject = ? ORDER BY number
        """
        for row in self._connection.execute(query, (subject_number,)):
            number, blob, checksum, samples, quality, sha256, consent, expires, created = row
            vector = None if blob is None else np.frombuffer(self._checked(number, blob, checksum), dtype="<f4")
            until = None if expires is None else moment(expires)
            yield StoredTemplate(number, vector, samples, quality, sha256, consent, until, moment(created))

    def batches(self, *, after: int, size: int = 4096) -> Iterator[Batch]:
        """Searchable templates that were added after a revision, in ascending order of their numbers.

        Raises:
            GalleryCorrupt: a vector is not what was written.
        """
        query = """
            SELECT number, subject, expires, vector, checksum FROM templates
            WHERE number >= ? AND vector IS NOT NULL ORDER BY number
        """
        cursor = self._connection.execute(query, (first_number_after(after),))
        dimension = self.dimension() or 0
        while True:
            found = list(islice(cursor, size))
            if not found:
                return
            blob = b"".join(self._checked(n, v, c, length=4 * dimension) for n, _, _, v, c in found)
            yield Batch(
                np.array([row[0] for row in found], dtype=np.int64),
                np.array([row[1] for row in found], dtype=np.int64),
                np.array([NEVER if row[2] is None else row[2] for row in found], dtype=np.int64),
                np.frombuffer(blob, dtype="<f4").reshape(len(found), dimension),
            )

    def removed(self, *, after: int, upto: int = NEVER) -> Int64Array:
        """Numbers of the templates that were deleted after a revision, up to another."""
        query = "SELECT template FROM changes WHERE revision > ? AND revision <= ? AND subject IS NULL"
        return np.array([row[0] for row in self._connection.execute(query, (after, upto))], dtype=np.int64)

    def any_removed(self, *, after: int) -> bool:
        """Whether a template was deleted after a revision."""
        query = "SELECT 1 FROM changes WHERE revision > ? AND subject IS NULL LIMIT 1"
        return self._connection.execute(query, (after,)).fetchone() is not None

    def moved(self, *, after: int) -> tuple[Int64Array, Int64Array]:
        """Templates that were given to another subject after a revision, the latest last, and those subjects."""
        query = "SELECT template, subject FROM changes WHERE revision > ? AND subject IS NOT NULL ORDER BY revision"
        found = list(self._connection.execute(query, (after,)))
        return np.array([t for t, _ in found], dtype=np.int64), np.array([s for _, s in found], dtype=np.int64)

    def structure(self) -> list[str]:
        """What SQLite finds wrong with the file's structure."""
        found = [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check(20)")]
        orphans = islice(self._connection.execute("PRAGMA foreign_key_check"), 20)
        return [line for line in found if line != "ok"] + [f"template {row[1]} has no subject" for row in orphans]

    def search_thresholds(self) -> list[SearchThreshold]:
        """Thresholds that were measured on searches in this gallery."""
        query = "SELECT value, fpir, gallery_size, searches, low, high, data, fnir FROM search_thresholds"
        return [SearchThreshold(*row) for row in self._connection.execute(query)]

    def _one(self, query: str, values: tuple[int | str, ...] = ()) -> tuple[Any, ...]:
        found = self._connection.execute(query, values).fetchone()
        if found is None:
            raise GalleryCorrupt(f"gallery {self._path}: a record that others refer to is missing; restore a backup")
        return tuple(found)

    def _checked(self, number: int, blob: bytes, checksum: int, *, length: int | None = None) -> bytes:
        if zlib.crc32(blob) != checksum or (length is not None and len(blob) != length):
            raise GalleryCorrupt(
                f"gallery {self._path}: template {number} is not what was written; restore a backup, or delete its subject"
            )
        return blob
