"""Changes to the store. Each is one operation with a revision of its own, inside a transaction that the caller holds."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from vultus.errors import BadArgument, BadTemplate, RequestConflict, SubjectExists
from vultus.gallery.reads import Reads
from vultus.gallery.records import NewTemplate, Request, Written
from vultus.gallery.schema import PER_OPERATION
from vultus.types import SearchThreshold

_KEPT_REQUESTS = 30 * 86_400


class Writes:
    """Writes to a connection that is inside a writing transaction."""

    def __init__(self, connection: apsw.Connection, path: Path, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self.reads = Reads(connection, path)

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
        if self._connection.execute("SELECT 1 FROM subjects WHERE id = ?", (subject_id,)).fetchone():
            raise SubjectExists(
                f"subject {subject_id!r} is enrolled in {self._path} already; add templates to it, or delete it first"
            )
        revision, now = self._begin("enrol")
        self._connection.execute(
            "INSERT INTO subjects (number, id, name, created) VALUES (?, ?, ?, ?)",
            (revision * PER_OPERATION, subject_id, name, now if created is None else created),
        )
        self._insert(revision, revision * PER_OPERATION, templates, now)
        return self._done(Written(revision, len(templates)), request, now)

    def add(self, subject_id: str, templates: Sequence[NewTemplate], *, request: Request | None) -> Written:
        """Give a subject more templates.

        Raises:
            SubjectUnknown: it is not enrolled.
            RequestConflict: the key was used for another request.
            BadTemplate: a vector of another dimension than the gallery's.
        """
        if (done := self._replayed(request)) is not None:
            return done
        subject = self.reads.subject_number(subject_id)
        revision, now = self._begin("add")
        self._insert(revision, subject, templates, now)
        return self._done(Written(revision, len(templates)), request, now)

    def delete(self, subject_id: str) -> Written:
        """Remove a subject and its templates.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        subject = self.reads.subject_number(subject_id)
        revision, _ = self._begin("delete")
        gone = self._remove(revision, "subject = ?", subject)
        self._connection.execute("DELETE FROM subjects WHERE number = ?", (subject,))
        return Written(revision, gone)

    def delete_template(self, subject_id: str, number: int) -> Written:
        """Remove one template of a subject, who stays enrolled.

        Raises:
            SubjectUnknown: it is not enrolled.
            BadArgument: it has no such template.
        """
        subject = self.reads.subject_number(subject_id)
        owner = self._connection.execute("SELECT subject FROM templates WHERE number = ?", (number,)).fetchone()
        if owner is None or owner[0] != subject:
            raise BadArgument(
                f"subject {subject_id!r} has no template {number}; its templates are listed by templates()"
            )
        revision, _ = self._begin("delete_template")
        return Written(revision, self._remove(revision, "number = ?", number))

    def purge(self) -> Written:
        """Remove the templates that have expired, the subjects whose last one that was, and old idempotency keys."""
        now = int(self._clock())
        old = "SELECT 1 FROM requests WHERE at <= ? UNION ALL SELECT 1 FROM templates WHERE expires <= ? LIMIT 1"
        if not self._connection.execute(old, (now - _KEPT_REQUESTS, now)).fetchone():
            return Written(self.reads.revision(), 0)
        revision, _ = self._begin("purge")
        self._connection.execute("DELETE FROM requests WHERE at <= ?", (now - _KEPT_REQUESTS,))
        losing = self._connection.execute(
            "SELECT DISTINCT subject FROM templates WHERE expires <= ?", (now,)
        ).fetchall()
        gone = self._remove(revision, "expires <= ?", now)
        self._connection.executemany(
            "DELETE FROM subjects WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM templates WHERE subject = ?1)", losing
        )
        return Written(revision, gone)

    def merge(self, subject_id: str, other_id: str) -> Written:
        """Give all templates of the other subject to the first and remove the other.

        Raises:
            SubjectUnknown: one of them is not enrolled.
            BadArgument: they are one.
        """
        subject, other = self.reads.subject_number(subject_id), self.reads.subject_number(other_id)
        if subject == other:
            raise BadArgument(f"{subject_id!r} cannot be merged with itself; name two subjects")
        revision, _ = self._begin("merge")
        self._connection.execute(
            "INSERT INTO changes SELECT ?, number, ? FROM templates WHERE subject = ?", (revision, subject, other)
        )
        self._connection.execute("UPDATE templates SET subject = ? WHERE subject = ?", (subject, other))
        moved = self._connection.changes()
        self._connection.execute("DELETE FROM subjects WHERE number = ?", (other,))
        return Written(revision, moved)

    def rename(self, subject_id: str, name: str | None) -> Written:
        """Change the name of a subject.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        subject = self.reads.subject_number(subject_id)
        revision, _ = self._begin("rename")
        self._connection.execute("UPDATE subjects SET name = ? WHERE number = ?", (name, subject))
        return Written(revision, 0)

    def set_search_threshold(self, known: SearchThreshold) -> Written:
        """Keep a threshold that was measured on searches, in place of one for the same rate and size."""
        revision, _ = self._begin("set_search_threshold")
        self._connection.execute(
            "INSERT OR REPLACE INTO search_thresholds VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                known.fpir,
                known.gallery_size,
                known.value,
                known.searches,
                known.low,
                known.high,
                known.data,
                known.fnir,
            ),
        )
        return Written(revision, 0)

    def _begin(self, kind: str) -> tuple[int, int]:
        """A new operation: its revision and the time."""
        revision, now = self.reads.revision() + 1, int(self._clock())
        self._connection.execute(
            "INSERT INTO operations (revision, kind, at, token) VALUES (?, ?, ?, ?)",
            (revision, kind, now, secrets.randbits(63)),
        )
        return revision, now

    def _insert(self, revision: int, subject: int, templates: Sequence[NewTemplate], now: int) -> None:
        if len(templates) > PER_OPERATION:
            raise BadArgument(f"{len(templates):,} templates in one operation; expected at most {PER_OPERATION:,}")
        self._pin_dimension([t.vector for t in templates if t.vector is not None])
        self._connection.executemany(
            "INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    revision * PER_OPERATION + i,
                    subject,
                    t.vector,
                    zlib.crc32(t.vector or b""),
                    t.samples,
                    t.quality,
                    t.photo_sha256,
                    t.consent,
                    t.expires,
                    now if t.created is None else t.created,
                )
                for i, t in enumerate(templates)
            ),
        )

    def _pin_dimension(self, vectors: list[bytes]) -> None:
        known = self.reads.dimension()
        if vectors and known is None:
            known = len(vectors[0]) // 4
            self._connection.execute("INSERT INTO facts VALUES ('dimension', ?)", (known,))
        for vector in vectors:
            if len(vector) != 4 * (known or 0):
                raise BadTemplate(
                    f"a template of {len(vector) // 4} numbers; the gallery {self._path} holds rows of {known}"
                )

    def _remove(self, revision: int, condition: str, value: int) -> int:
        query = f"INSERT INTO changes SELECT ?, number, NULL FROM templates WHERE {condition}"  # noqa: S608 - constants
        self._connection.execute(query, (revision, value))
        self._connection.execute(f"DELETE FROM templates WHERE {condition}", (value,))  # noqa: S608 - constants
        return self._connection.changes()

    def _replayed(self, request: Request | None) -> Written | None:
        if request is None:
            return None
        query = "SELECT digest, revision, templates FROM requests WHERE key = ?"
        found = self._connection.execute(query, (request.key,)).fetchone()
        if found is None:
            return None
        if found[0] != request.digest:
            raise RequestConflict(
                f"idempotency key {request.key!r} was used at revision {found[1]} for another request; use a new key"
            )
        return Written(found[1], found[2], replayed=True)

    def _done(self, written: Written, request: Request | None, now: int) -> Written:
        if request is not None:
            self._connection.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?)",
                (request.key, request.digest, written.revision, written.templates, now),
            )
        return written
