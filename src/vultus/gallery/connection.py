"""A connection to the database file: durable, bounded in its waiting, and with typed errors.

SQLite comes from `apsw` and not from Python's own library, whose version is the system's: versions before 3.51.3 can
damage a write-ahead log that two connections reset at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import apsw

from vultus.errors import (
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryFull,
    GalleryReadOnly,
    GalleryUnavailable,
)

PAGE = 16_384
Durability = Literal["full", "normal"]

_RESTORE = (
    "keep the damaged file, put a backup in its place, or make a new gallery from an archive with "
    "`vultus gallery import`"
)
_KINDS: tuple[tuple[tuple[type[apsw.Error], ...], type[GalleryError], str], ...] = (
    ((apsw.BusyError, apsw.LockedError), GalleryBusy, "another process is writing to it; try again"),
    ((apsw.FullError,), GalleryFull, "the disk is full; make room and try again, nothing was acknowledged"),
    ((apsw.ReadOnlyError, apsw.PermissionsError), GalleryReadOnly, "it cannot be written"),
    ((apsw.CorruptError, apsw.NotADBError, apsw.FormatError), GalleryCorrupt, f"it is damaged; {_RESTORE}"),
)


def typed(problem: apsw.Error, path: Path) -> GalleryError:
    """The error of vultus that says what an error of SQLite means for the gallery at `path`."""
    for kinds, error, advice in _KINDS:
        if isinstance(problem, kinds):
            return error(f"gallery {path}: {advice} ({problem})")
    return GalleryUnavailable(
        f"gallery {path}: the storage failed ({type(problem).__name__}: {problem}); nothing was acknowledged, try again "
        "when it works"
    )


@contextmanager
def errors_typed(path: Path) -> Iterator[None]:
    """Turn what SQLite raises inside the block into errors of vultus."""
    try:
        yield
    except apsw.Error as problem:
        raise typed(problem, path) from problem


def connect(
    path: Path, *, write: bool, busy_seconds: float, durability: Durability = "full", vfs: str | None = None
) -> apsw.Connection:
    """Open a database file that exists, or an empty one to write.

    Args:
        path: the file.
        write: whether it may be changed; a file on a read-only medium opens without.
        busy_seconds: how long to wait for another process's transaction.
        durability: "full" keeps every acknowledged change through a loss of power; "normal" does not, and serves as the
            control that a test of the former can fail.
        vfs: name of a registered VFS of apsw, for tests that watch or disturb the file.

    Raises:
        GalleryError: it cannot be opened.
    """
    with errors_typed(path):
        if write:
            connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        else:
            connection = _open_to_read(path, vfs)
        try:
            _configure(connection, write=write, busy_seconds=busy_seconds, durability=durability)
        except BaseException:
            connection.close(True)
            raise
    return connection


def _open_to_read(path: Path, vfs: str | None) -> apsw.Connection:
    """A reader; where the log's files cannot be made beside the database and there are none, it cannot change either."""
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close(True)
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        return apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags, vfs=vfs)
    return connection


def _configure(connection: apsw.Connection, *, write: bool, busy_seconds: float, durability: Durability) -> None:
    connection.set_busy_timeout(int(1000 * busy_seconds))
    if write:
        connection.pragma("page_size", PAGE)
        _use_log(connection, busy_seconds)
        connection.pragma("secure_delete", True)
        connection.pragma("synchronous", durability.upper())
        connection.pragma("fullfsync", True)
        connection.pragma("checkpoint_fullfsync", True)
    connection.pragma("foreign_keys", True)
    connection.pragma("trusted_schema", False)
    connection.pragma("cell_size_check", True)
    connection.pragma("cache_size", -16_000)


def _use_log(connection: apsw.Connection, busy_seconds: float) -> None:
    """Switch to a write-ahead log; SQLite itself does not wait when several processes switch a new file at once."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            mode = connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise apsw.CantOpenError(
                f"a write-ahead log is not possible on this file system; the journal stays {mode!r}"
            )
        return


@contextmanager
def transaction(connection: apsw.Connection, *, write: bool) -> Iterator[None]:
    """One transaction: committed at the end of the block, undone where it raises."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        undo(connection)
        raise


def undo(connection: apsw.Connection) -> None:
    """Leave the transaction, whatever state an error has left it in."""
    with suppress(apsw.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
