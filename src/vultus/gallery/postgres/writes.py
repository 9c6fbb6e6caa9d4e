"""Changes to the gallery, each one operation with a revision of its own, inside a transaction that the caller holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import LiteralString

from psycopg import sql

from vultus.errors import BadArgument, BadTemplate, RequestConflict
from vultus.gallery.postgres.connections import Connection
from vultus.gallery.postgres.gathered import Gathered
from vultus.gallery.postgres.graph import build_graph_where_asked
from vultus.gallery.postgres.reads import Reads, State, state_of
from vultus.gallery.records import NewTemplate, Request, Written
from vultus.gallery.schema import PER_OPERATION
from vultus.types import SearchThreshold

_KEPT_REQUESTS = 30 * 86_400
_LARGEST = 16_000  # numbers in pgvector's halfvec


def begin_writing(connection: Connection) -> State:
    """Begin a transaction that no other change can run beside, and say what state it finds."""
    with connection.pipeline():
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        state = connection.execute("SELECT revision, vectors, dimension FROM state FOR UPDATE")
    return state_of(state.fetchone())


class Writes:
    """Writes to a connection that is inside a transaction that `begin_writing` began.

    Args:
        connection: the connection.
        name: of the gallery, for messages.
        state: what the transaction found.
        clock: seconds since 1970.
    """

    def __init__(self, connection: Connection, name: str, state: State, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._name = name
        self._clock = clock
        self._revision, self._vectors, self._dimension = state.revision, state.vectors, state.dimension
        self._found = state
        self._gathered = Gathered(connection, name)

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
        revision, now = self._begin("enrol")
        number = revision * PER_OPERATION
        self._gathered.subject(number, subject_id, name, now if created is None else created)
        self._insert(revision, number, templates, now)
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
        subject = self._number(subject_id)
        revision, now = self._begin("add")
        self._insert(revision, subject, templates, now)
        return self._done(Written(revision, len(templates)), request, now)

    def delete(self, subject_id: str) -> Written:
        """Remove a subject and its templates.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        subject = self._number(subject_id)
        revision, _ = self._begin("delete")
        gone = self._remove("subject = %s", subject)
        self._connection.execute("DELETE FROM subjects WHERE number = %s", (subject,))
        return Written(revision, gone)

    def delete_template(self, subject_id: str, number: int) -> Written:
        """Remove one template of a subject, who stays enrolled.

        Raises:
            SubjectUnknown: it is not enrolled.
            BadArgument: it has no such template.
        """
        subject = self._number(subject_id)
        query = "SELECT 1 FROM templates WHERE number = %s AND subject = %s"
        if not self._connection.execute(query, (number, subject)).fetchone():
            raise BadArgument(
                f"subject {subject_id!r} has no template {number}; its templates are listed by templates()"
            )
        revision, _ = self._begin("delete_template")
        return Written(revision, self._remove("number = %s", number))

    def purge(self) -> Written:
        """Remove the templates that have expired, the subjects whose last one that was, and old idempotency keys."""
        self._gathered.send()
        now = int(self._clock())
        old = "SELECT 1 FROM requests WHERE at <= %s UNION ALL SELECT 1 FROM templates WHERE expires <= %s LIMIT 1"
        if not self._connection.execute(old, (now - _KEPT_REQUESTS, now)).fetchone():
            return Written(self._revision, 0)
        revision, _ = self._begin("purge")
        self._connection.execute("DELETE FROM requests WHERE at <= %s", (now - _KEPT_REQUESTS,))
        losing = self._connection.execute("SELECT DISTINCT subject FROM templates WHERE expires <= %s", (now,))
        subjects = [row[0] for row in losing]
        gone = self._remove("expires <= %s", now)
        self._connection.execute(
            "DELETE FROM subjects AS s WHERE number = ANY(%s) "
            "AND NOT EXISTS (SELECT 1 FROM templates AS t WHERE t.subject = s.number)",
            (subjects,),
        )
        return Written(revision, gone)

    def merge(self, subject_id: str, other_id: str) -> Written:
        """Give all templates of the other subject to the first and remove the other.

        Raises:
            SubjectUnknown: one of them is not enrolled.
            BadArgument: they are one.
        """
        subject, other = self._number(subject_id), self._number(other_id)
        if subject == other:
            raise BadArgument(f"{subject_id!r} cannot be merged with itself; name two subjects")
        revision, _ = self._begin("merge")
        query = "UPDATE templates SET subject = %s WHERE subject = %s RETURNING number"
        moved = [row[0] for row in self._connection.execute(query, (subject, other))]
        self._connection.execute("UPDATE halves SET subject = %s WHERE number = ANY(%s)", (subject, moved))
        self._connection.execute("DELETE FROM subjects WHERE number = %s", (other,))
        return Written(revision, len(moved))

    def rename(self, subject_id: str, name: str | None) -> Written:
        """Change the name of a subject.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        subject = self._number(subject_id)
        revision, _ = self._begin("rename")
        self._connection.execute("UPDATE subjects SET name = %s WHERE number = %s", (name, subject))
        return Written(revision, 0)

    def set_search_threshold(self, known: SearchThreshold) -> Written:
        """Keep a threshold that was measured on searches, in place of one for the same rate and size."""
        revision, _ = self._begin("set_search_threshold")
        self._connection.execute(
            """
            INSERT INTO search_thresholds (fpir, gallery_size, value, searches, low, high, data, fnir)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (fpir, gallery_size) DO UPDATE SET value = excluded.value,
            searches = excluded.searches, low = excluded.low, high = excluded.high, data = excluded.data,
            fnir = excluded.fnir
            """,
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

    def finish(self) -> bool:
        """Send what was gathered and note the new state; whether there is anything to commit."""
        self._gathered.send()
        if self._revision == self._found.revision:
            return False
        self._connection.execute(
            "UPDATE state SET revision = %s, vectors = %s, dimension = %s",
            (self._revision, self._vectors, self._dimension),
        )
        if self._found.dimension is None and self._dimension is not None:
            build_graph_where_asked(self._connection, self._dimension)
        return True

    def _begin(self, kind: str) -> tuple[int, int]:
        """A new operation: its revision and the time."""
        self._revision += 1
        now = int(self._clock())
        self._gathered.operation(self._revision, kind, now)
        return self._revision, now

    def _insert(self, revision: int, subject: int, templates: Sequence[NewTemplate], now: int) -> None:
        if len(templates) > PER_OPERATION:
            raise BadArgument(f"{len(templates):,} templates in one operation; expected at most {PER_OPERATION:,}")
        for place, template in enumerate(templates):
            if template.vector is not None:
                self._check_dimension(len(template.vector) // 4)
                self._vectors += 1
            self._gathered.template(revision * PER_OPERATION + place, subject, template, now)

    def _check_dimension(self, dimension: int) -> None:
        if self._dimension is None:
            if dimension > _LARGEST:
                raise BadTemplate(f"a template of {dimension:,} numbers; on PostgreSQL expected at most {_LARGEST:,}")
            self._dimension = dimension
        if dimension != self._dimension:
            raise BadTemplate(
                f"a template of {dimension} numbers; the gallery {self._name} holds rows of {self._dimension}"
            )

    def _number(self, subject_id: str) -> int:
        """The number of a subject, after what was gathered has been written."""
        self._gathered.send()
        return Reads(self._connection, self._name, self._found).subject_number(subject_id)

    def _remove(self, condition: LiteralString, value: int) -> int:
        """Remove templates; how many there were."""
        query = _DELETE.format(sql.SQL(condition))
        found = self._connection.execute(query, (value,)).fetchall()
        numbers = [number for number, has_vector in found if has_vector]
        self._connection.execute("DELETE FROM halves WHERE number = ANY(%s)", (numbers,))
        self._vectors -= len(numbers)
        return len(found)

    def _replayed(self, request: Request | None) -> Written | None:
        if request is None:
            return None
        query = "SELECT digest, revision, templates FROM requests WHERE key = %s"
        found = self._connection.execute(query, (request.key,), binary=True).fetchone()
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
                "INSERT INTO requests VALUES (%s, %s, %s, %s, %s)",
                (request.key, request.digest, written.revision, written.templates, now),
            )
        return written


_DELETE = sql.SQL("DELETE FROM templates WHERE {} RETURNING number, vector IS NOT NULL")
