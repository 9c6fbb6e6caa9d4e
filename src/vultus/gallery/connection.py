"""A connection to the database file: durable, bounded in its waiting, and with typed errors.

SQLite comes from `apsw` and not from Python's own library, whose version is the system's: versions before 3.51.3 can
damage a write-ahead log that two connections reset at once. It is the `apsw` of the distribution `apsw-sqlite3mc`, which
can encrypt.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
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
from vultus.gallery.keys import Key, lock_of, not_the_key, refuse_other_lock, unlock

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
    path: Path,
    *,
    write: bool,
    busy_seconds: float,
    durability: Durability = "full",
    key: Key | None = None,
    vfs: str | None = None,
) -> apsw.Connection:
    """Open a database file that exists, or an empty one to write.

    Args:
        path: the file.
        write: whether it may be changed; a file on a read-only medium opens without.
        busy_seconds: how long to wait for another process's transaction.
        durability: "full" keeps every acknowledged change through a loss of power; "normal" does not, and serves as the
            control that a test of the former can fail.
        key: of an encrypted file, or to encrypt an empty one with.
        vfs: name of a registered VFS of apsw, for tests that watch or disturb the file; of one that encrypts, with a key.

    Raises:
        GalleryLocked: the key does not fit, or there should be one, or none.
        GalleryBusy: other processes write, or the file is being given another key.
        GalleryError: it cannot be opened.
    """
    return _unless_moved(path, lambda: _connected(path, write, busy_seconds, durability, key, vfs))


def connect_alone(path: Path, *, busy_seconds: float, key: Key | None) -> apsw.Connection:
    """Open a database file so that nobody else, in this process or another, has it open or can open it.

    Raises:
        GalleryLocked: the key does not fit, or there should be one, or none.
        GalleryBusy: somebody has it open.
        GalleryError: it cannot be opened.
    """

    def attempt() -> apsw.Connection:
        refuse_other_lock(path, key)
        connection = _open_to_write(path, key, None, busy_seconds)
        with _closed_on_error(connection):
            connection.pragma("locking_mode", "exclusive")
            connection.pragma("trusted_schema", False)
            _first_read(connection, path, key)  # which takes the lock
        return connection

    return _unless_moved(path, attempt)


def _connected(
    path: Path, write: bool, busy_seconds: float, durability: Durability, key: Key | None, vfs: str | None
) -> apsw.Connection:
    refuse_other_lock(path, key)
    opened = _open_to_write if write else _open_to_read
    connection = opened(path, key, vfs, busy_seconds)
    with _closed_on_error(connection):
        _configure(connection, write=write, busy_seconds=busy_seconds, durability=durability)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    return connection


def _unless_moved(path: Path, attempt: Callable[[], apsw.Connection]) -> apsw.Connection:
    """What the attempt opens, if it is the file at the path: a change of the key puts another one there."""
    before = _place(path)
    try:
        with errors_typed(path):
            connection = attempt()
    except GalleryError:
        if _place(path) == before:
            raise
    else:
        if _place(path) == before:
            return connection
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close(True)
    raise GalleryBusy(f"gallery {path}: another file has just taken its place, with another key perhaps; try again")


def _place(path: Path) -> tuple[int, int]:
    """Which file is at a path."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_dev, found.st_ino


@contextmanager
def _closed_on_error(connection: apsw.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close(True)
        raise


def _opened(name: str, flags: int, key: Key | None, vfs: str | None, busy_seconds: float) -> apsw.Connection:
    """A connection with its key, which folds no log into the database when it is closed: the key may not fit."""
    connection = apsw.Connection(name, flags=flags, vfs=vfs)
    with _closed_on_error(connection):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(int(1000 * busy_seconds))
        unlock(connection, key)
    return connection


def _open_to_write(path: Path, key: Key | None, vfs: str | None, busy_seconds: float) -> apsw.Connection:
    """A writer, whose key was tried by a reader first."""
    if key is not None and lock_of(path) != "none":
        reader = _opened(os.fspath(path), apsw.SQLITE_OPEN_READONLY, key, vfs, busy_seconds)
        with suppress(apsw.CantOpenError, apsw.ReadOnlyError), _closed_on_error(reader):
            _first_read(reader, path, key)  # unless the making of the file was interrupted, which a writer puts right
        reader.close(True)
    return _opened(os.fspath(path), apsw.SQLITE_OPEN_READWRITE, key, vfs, busy_seconds)


def _open_to_read(path: Path, key: Key | None, vfs: str | None, busy_seconds: float) -> apsw.Connection:
    """A reader; where the log's files cannot be made beside the database and there are none, it cannot change either."""
    connection = _opened(os.fspath(path), apsw.SQLITE_OPEN_READONLY, key, vfs, busy_seconds)
    try:
        with _closed_on_error(connection):
            _first_read(connection, path, key)
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = _opened(f"{path.absolute().as_uri()}?immutable=1", flags, key, vfs, busy_seconds)
        with _closed_on_error(connection):
            _first_read(connection, path, key)
    return connection


def _first_read(connection: apsw.Connection, path: Path, key: Key | None) -> None:
    """Read the schema, which shows whether the key fits."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.NotADBError as problem:
        if key is not None and lock_of(path) == "encrypted":
            raise not_the_key(path) from problem
        raise


def _configure(connection: apsw.Connection, *, write: bool, busy_seconds: float, durability: Durability) -> None:
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
