"""New rows on their way to the server, sent together: many subjects, or an archive, need few answers of it."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from vultus.errors import SubjectExists
from vultus.gallery.postgres.connections import Connection
from vultus.gallery.postgres.scan import halved
from vultus.gallery.reads import NEVER
from vultus.gallery.records import NewTemplate

_MOST = 2000
_INSERT_OPERATIONS = "INSERT INTO operations SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[])"
_INSERT_SUBJECTS = "INSERT INTO subjects SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bigint[])"
_INSERT_TEMPLATES = """
INSERT INTO templates SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[], %b::bigint[], %b::integer[],
    %b::float8[], %b::text[], %b::text[], %b::bigint[], %b::bigint[])
"""
_INSERT_HALVES = "INSERT INTO halves SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::halfvec[])"


class Gathered:
    """Rows that were not sent yet.

    Args:
        connection: inside a writing transaction.
        name: of the gallery, for messages.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._operations: list[tuple[Any, ...]] = []
        self._subjects: dict[str, tuple[Any, ...]] = {}
        self._templates: list[tuple[Any, ...]] = []

    def operation(self, revision: int, kind: str, now: int) -> None:
        """Take an operation; what was gathered is sent where it has become much."""
        if max(map(len, (self._operations, self._templates))) >= _MOST:
            self.send()
        self._operations.append((revision, kind, now))

    def subject(self, number: int, subject_id: str, name: str | None, created: int) -> None:
        """Take a subject.

        Raises:
            SubjectExists: one with this id was taken before.
        """
        if subject_id in self._subjects:
            raise self._exists(subject_id)
        self._subjects[subject_id] = (number, subject_id, name, created)

    def template(self, number: int, subject: int, template: NewTemplate, now: int) -> None:
        """Take a template."""
        self._templates.append(
            (
                number,
                subject,
                template.vector,
                zlib.crc32(template.vector or b""),
                template.samples,
                template.quality,
                template.photo_sha256,
                template.consent,
                template.expires,
                now if template.created is None else template.created,
            )
        )

    def send(self) -> None:
        """Write what was gathered.

        Raises:
            SubjectExists: the id of a gathered subject is taken.
        """
        if self._subjects:
            query = "SELECT id FROM subjects WHERE id = ANY(%s) LIMIT 1"
            if taken := self._connection.execute(query, (list(self._subjects),)).fetchone():
                raise self._exists(taken[0])
        halves = [
            (number, subject, NEVER if expires is None else expires, halved(np.frombuffer(vector, dtype="<f4")))
            for number, subject, vector, *_, expires, _ in self._templates
            if vector is not None
        ]
        with self._connection.pipeline():
            for query, rows in (
                (_INSERT_OPERATIONS, self._operations),
                (_INSERT_SUBJECTS, list(self._subjects.values())),
                (_INSERT_TEMPLATES, self._templates),
                (_INSERT_HALVES, halves),
            ):
                if rows:
                    self._connection.execute(query, [list(column) for column in zip(*rows, strict=True)])
        self._operations, self._subjects, self._templates = [], {}, []

    def _exists(self, subject_id: str) -> SubjectExists:
        return SubjectExists(
            f"subject {subject_id!r} is enrolled in {self._name} already; add templates to it, or delete it first"
        )
