"""The service's own database: keys, jobs, reviews and thumbnails, beside the galleries and locked like them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from vultus.errors import GalleryCorrupt
from vultus.gallery.connection import connect, errors_typed, transaction
from vultus.gallery.keys import Key

_VERSION = 1
_TABLES = """
CREATE TABLE keys (id TEXT PRIMARY KEY, digest BLOB NOT NULL, name TEXT NOT NULL, scopes TEXT NOT NULL,
    created INTEGER NOT NULL, revoked INTEGER) STRICT;
CREATE TABLE galleries (name TEXT PRIMARY KEY, file TEXT NOT NULL UNIQUE, created INTEGER NOT NULL) STRICT;
CREATE TABLE thumbnails (gallery TEXT NOT NULL, subject TEXT NOT NULL, picture BLOB NOT NULL,
    PRIMARY KEY (gallery, subject)) STRICT;
CREATE TABLE jobs (id TEXT PRIMARY KEY, kind TEXT NOT NULL, gallery TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL,
    done INTEGER NOT NULL, total INTEGER NOT NULL, created INTEGER NOT NULL, finished INTEGER, code TEXT, result TEXT) STRICT;
CREATE TABLE job_faces (job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, face INTEGER NOT NULL, photo INTEGER NOT NULL,
    label INTEGER NOT NULL, box TEXT NOT NULL, quality REAL NOT NULL, vector BLOB NOT NULL, picture BLOB NOT NULL,
    photo_sha256 TEXT NOT NULL, PRIMARY KEY (job, face)) STRICT;
CREATE TABLE reviews (id TEXT PRIMARY KEY, gallery TEXT NOT NULL, subject TEXT NOT NULL, kind TEXT NOT NULL,
    band TEXT NOT NULL, threshold REAL NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL, key TEXT NOT NULL,
    picture BLOB) STRICT;
CREATE TABLE decisions (review TEXT NOT NULL REFERENCES reviews ON DELETE CASCADE, key TEXT NOT NULL, verdict TEXT NOT NULL,
    made INTEGER NOT NULL, PRIMARY KEY (review, key)) STRICT;
"""


class State:
    """The open database; one connection, used by one thread at a time."""

    def __init__(self, folder: Path, key: Key | None) -> None:
        self.path = folder / "service.db"
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._guard = threading.RLock()
        self._connection = connect(self.path, write=True, busy_seconds=5.0, key=key)
        with self.writing() as db:
            version = next(iter(db.execute("PRAGMA user_version")))[0]
            if version == 0:
                db.execute(_TABLES)
                db.execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise GalleryCorrupt(f"{self.path} is of version {version}; this vultus reads {_VERSION}")

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """One durable transaction.

        Raises:
            GalleryError: it could not be made durable; nothing was changed.
        """
        with self._guard, errors_typed(self.path), transaction(self._connection, write=True):
            yield self._connection

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._guard, errors_typed(self.path):
            return list(self._connection.execute(query, tuple(values)))

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query."""
        return next(iter(self.rows(query, values)), None)

    def change(self, query: str, values: Sequence[Any] = ()) -> int:
        """One statement in a transaction of its own; how many rows it changed."""
        with self.writing() as db:
            db.execute(query, tuple(values))
            return int(db.changes())

    def erase(self) -> None:
        """Empty the log, so that no deleted byte is left in the files."""
        with self._guard, errors_typed(self.path):
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def close(self) -> None:
        """Close the database."""
        with self._guard:
            self._connection.close()
