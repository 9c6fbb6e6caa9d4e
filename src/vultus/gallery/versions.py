"""From no file to a gallery, and from an older version of one to this."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import apsw

from vultus.errors import (
    BadArgument,
    GalleryCorrupt,
    GalleryFull,
    GalleryMissing,
    GalleryReadOnly,
    GalleryTooNew,
    GalleryUnavailable,
)
from vultus.gallery.connection import transaction
from vultus.gallery.schema import APPLICATION_ID, MIGRATIONS, VERSION

_LONGEST_MODEL = 1024


def make_file(file: Path, *, model: str | None, read_only: bool) -> None:
    """Make an empty file, which only its owner can read, where there is none; refuse one that has lost its content."""
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        if read_only or model is None:
            raise GalleryMissing(f"there is no gallery at {file}; make one with `vultus gallery create`") from None
        _check_model(model)
        with suppress(FileExistsError), _os_errors_typed(file):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return
    except (OSError, ValueError) as problem:
        raise GalleryUnavailable(f"gallery {file}: {problem}") from problem
    if not file.is_file():
        raise GalleryUnavailable(f"gallery {file} is no regular file")
    log = file.with_name(file.name + "-wal")
    if not size and log.exists() and log.stat().st_size:
        raise GalleryCorrupt(f"gallery {file} is empty and its log is not; restore both from a backup")


@contextmanager
def _os_errors_typed(file: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as problem:
        kind = GalleryFull if problem.errno in {errno.ENOSPC, errno.EDQUOT} else GalleryUnavailable
        raise kind(f"gallery {file} cannot be made: {problem}") from problem


def _check_model(model: str) -> None:
    if not 0 < len(model) <= _LONGEST_MODEL or not model.isprintable():
        raise BadArgument(f"model is {model!r}; expected the model_id of a recognizer")


def migrate(connection: apsw.Connection, file: Path, *, model: str | None, write: bool) -> None:
    """Bring the file to this version; make the tables of a new one."""
    version = _version(connection, file)
    if version == VERSION:
        return
    if not write:
        raise GalleryReadOnly(f"gallery {file} is of version {version} and must be written once to become {VERSION}")
    if version == 0 and model is None:
        raise GalleryMissing(f"{file} is an empty file and no gallery; make one with `vultus gallery create`")
    with transaction(connection, write=True):
        version = _version(connection, file)  # another process may have been faster
        make_tables(connection, version)
        if version == 0:
            facts = {"model_id": model, "identity": secrets.token_hex(16)}
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())


def make_tables(connection: apsw.Connection, version: int = 0) -> None:
    """Run the scripts that lead from a version to this one, inside a writing transaction."""
    for script in MIGRATIONS[version:]:
        connection.execute(script)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", VERSION)


def _version(connection: apsw.Connection, file: Path) -> int:
    """The version of a gallery's file, 0 for an empty one."""
    with nullcontext() if connection.in_transaction else transaction(connection, write=False):
        application, version = connection.pragma("application_id"), int(connection.pragma("user_version"))
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID:
        if application or version or tables is None or tables[0]:
            raise GalleryCorrupt(f"{file} is a database of another program and no gallery; name another file")
        return 0
    if not 0 < version <= VERSION:
        raise GalleryTooNew(
            f"gallery {file} is of version {version}, and this vultus knows versions up to {VERSION}; use a newer vultus"
        )
    return version
