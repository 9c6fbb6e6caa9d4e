"""Encrypt a gallery that is not, give it another key, or take its key away: a copy takes its place, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import apsw

from vultus._export import export
from vultus.errors import (
    BadArgument,
    GalleryBusy,
    GalleryFull,
    GalleryMissing,
    GalleryUnavailable,
)
from vultus.gallery.connection import connect, connect_alone, errors_typed, transaction
from vultus.gallery.keys import Key, checked_key, secret_of
from vultus.gallery.versions import make_tables, migrate

_CHUNK = 1 << 20


@export("vultus.gallery.Rekeying")
@dataclass(frozen=True, slots=True)
class Rekeying:
    """What a change of the key has done; it is on the disk.

    Args:
        encrypted: whether the gallery has a key now.
        templates: how many templates it holds.
        erased: whether the bytes of the old file were overwritten; not where another hard link keeps them, or where the
            disk failed at it.
    """

    encrypted: bool
    templates: int
    erased: bool


@export("vultus.gallery.rekey")
def rekey(
    path: str | os.PathLike[str], *, key: Key | None = None, new_key: Key | None = None, busy_seconds: float = 5.0
) -> Rekeying:
    """Encrypt a gallery, change its key, or decrypt it. Nobody else may have it open meanwhile.

    A copy with the new key is written beside it (`<path>-rekey`), checked, synced and renamed over it; then the old file's
    bytes and those of an index file are overwritten. Whatever interrupts this, the gallery opens with one of the two keys
    and holds everything; a copy that was left behind is removed by the next call.

    Args:
        path: of the gallery.
        key: its key now; None where it is not encrypted.
        new_key: its key from now on: 32 random bytes or a passphrase; None to decrypt it.
        busy_seconds: how long to wait for others to close it.

    Raises:
        BadArgument: a key that is none, or the same twice.
        GalleryMissing: there is no gallery.
        GalleryLocked: `key` does not fit.
        GalleryBusy: somebody has it open; nothing was changed.
        GalleryFull, GalleryUnavailable, GalleryError: the copy cannot be written; nothing was changed.
    """
    old, new = checked_key(key), checked_key(new_key)
    if old == new:
        raise BadArgument("the new key is the old one" if new else "neither a key nor a new key; give the new key")
    file = Path(path)
    if not file.is_file():
        raise GalleryMissing(f"there is no gallery at {file}; make one with `vultus gallery create`")
    file = file.resolve()  # so that a symbolic link stays one
    connection = _alone(file, old, busy_seconds)
    try:
        with _os_errors_typed(file):
            return _replace(connection, file, new, busy_seconds)
    finally:
        connection.close(True)


def _alone(file: Path, key: Key | None, busy_seconds: float) -> apsw.Connection:
    """The only connection to a file, its log folded in."""
    try:
        connection = connect_alone(file, busy_seconds=busy_seconds, key=key)
    except GalleryBusy as problem:
        raise GalleryBusy(
            f"gallery {file} is open elsewhere; close it in all programs to change its key ({problem})"
        ) from problem
    try:
        with errors_typed(file):
            migrate(connection, file, model=None, write=True)
            left = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if any(left):
            raise GalleryUnavailable(f"gallery {file}: its log could not be folded in; nothing was changed, try again")
    except BaseException:
        connection.close(True)
        raise
    return connection


def _replace(connection: apsw.Connection, file: Path, new: Key | None, busy_seconds: float) -> Rekeying:
    """Put a copy in the place of the file, which nobody can open meanwhile; then overwrite the old bytes."""
    copy = _beside(file, "-rekey")
    try:
        _remove(copy)
        templates = _copied(connection, copy, new, busy_seconds)
        _like(copy, file)
        _wipe(_beside(file, "-index"))  # rows of a plain gallery; nothing is lost with it
        old = file.open("r+b")
        with old:
            for suffix in ("-wal", "-shm"):  # empty, and nobody else has them open
                _beside(file, suffix).unlink(missing_ok=True)
            copy.replace(file)
            _sync(file.parent)
            erased = _overwritten(old, links=0)
            connection.close(True)  # before its file is closed a second time, by which this process's locks would go
    except BaseException:
        with suppress(OSError):
            _remove(copy)
        raise
    return Rekeying(new is not None, templates, erased)


def _copied(connection: apsw.Connection, copy: Path, key: Key | None, busy_seconds: float) -> int:
    """Write everything into a new file, and read it back; how many templates there are."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    made = connect(copy, write=True, busy_seconds=busy_seconds, key=key)
    try:
        with errors_typed(copy), transaction(made, write=True):
            make_tables(made)
    finally:
        made.close(True)
    with errors_typed(copy):
        connection.execute("ATTACH ? AS copied KEY ?", (os.fspath(copy), secret_of(key)))
        tables = [row[0] for row in connection.execute("SELECT name FROM copied.sqlite_schema WHERE type = 'table'")]
        with transaction(connection, write=True):
            for table in tables:
                connection.execute(f"INSERT INTO copied.{table} SELECT * FROM main.{table}")  # noqa: S608 - of the schema
        counts = {table: _count(connection, f"main.{table}") for table in tables}
        connection.wal_checkpoint("copied", apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.execute("DETACH copied")
    read_back = connect(copy, write=True, busy_seconds=busy_seconds, key=key)
    try:
        with errors_typed(copy):
            problems = [row[0] for row in read_back.execute("PRAGMA integrity_check(5)")]
            found = {table: _count(read_back, table) for table in tables}
    finally:
        read_back.close(True)
    if problems != ["ok"] or found != counts or _beside(copy, "-wal").exists():
        raise GalleryUnavailable(f"the copy {copy} is not what was written ({problems}, {found}); nothing was changed")
    return counts["templates"]


def _count(connection: apsw.Connection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - of the schema
    return int(found[0]) if found else 0


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _remove(copy: Path) -> None:
    """Remove a copy that was not finished."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        _beside(copy, suffix).unlink(missing_ok=True)


def _like(copy: Path, file: Path) -> None:
    """Give the copy the owner and the permissions of the file, and wait until it is on the disk."""
    known = file.stat()
    with copy.open("rb") as content:
        if hasattr(os, "fchown"):
            with suppress(PermissionError):
                os.fchown(content.fileno(), known.st_uid, known.st_gid)
            os.fchmod(content.fileno(), known.st_mode & 0o777)
        os.fsync(content.fileno())


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _wipe(file: Path) -> None:
    """Overwrite a file and remove it, where there is one."""
    if file.exists():
        with file.open("r+b") as content:
            _overwritten(content, links=1)
        file.unlink()


def _overwritten(content: BinaryIO, *, links: int) -> bool:
    """Write zeros over a file, unless more hard links keep it than are known of; whether they are on the disk."""
    state = os.fstat(content.fileno())
    if state.st_nlink > links:
        return False
    try:
        content.seek(0)
        for first in range(0, state.st_size, _CHUNK):
            content.write(bytes(min(_CHUNK, state.st_size - first)))
        content.flush()
        os.fsync(content.fileno())
    except OSError:
        return False
    return True


@contextmanager
def _os_errors_typed(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        kind = GalleryFull if problem.errno in {errno.ENOSPC, errno.EDQUOT} else GalleryUnavailable
        raise kind(
            f"gallery {file}: the change of its key failed ({problem}); it holds everything and opens with the old key, or "
            "with the new one"
        ) from problem
