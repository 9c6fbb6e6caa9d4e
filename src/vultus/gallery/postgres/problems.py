"""What an error of PostgreSQL means for a gallery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from vultus.errors import (
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryFull,
    GalleryReadOnly,
    GalleryUnavailable,
)
from vultus.gallery.postgres.address import Address

_RESTORE = (
    "keep the damaged database, restore a backup, or make a new gallery from an archive with `vultus gallery import`"
)
_KINDS: tuple[tuple[tuple[type[psycopg.Error], ...], type[GalleryError], str], ...] = (
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure, errors.QueryCanceled),
        GalleryBusy,
        "others are using it; nothing was changed, try again",
    ),
    ((errors.DiskFull,), GalleryFull, "the server's disk is full; make room and try again, nothing was acknowledged"),
    (
        (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege),
        GalleryReadOnly,
        "the server does not let this user change it",
    ),
    (
        (
            errors.DataCorrupted,
            errors.IndexCorrupted,
            errors.UndefinedTable,
            errors.UndefinedColumn,
            errors.InvalidSchemaName,
        ),
        GalleryCorrupt,
        f"it is damaged; {_RESTORE}",
    ),
)


def typed(problem: psycopg.Error, address: Address) -> GalleryError:
    """The error of vultus that says what an error of PostgreSQL means for the gallery."""
    words = problem.diag.message_primary or (str(problem).splitlines() or [type(problem).__name__])[0]
    words = address.without_password(words)
    for kinds, error, advice in _KINDS:
        if isinstance(problem, kinds):
            return error(f"gallery {address.name}: {advice} ({words})")
    return GalleryUnavailable(
        f"gallery {address.name}: the server failed or cannot be reached ({type(problem).__name__}: {words}); nothing was "
        "acknowledged, try again when it works"
    )


@contextmanager
def errors_typed(address: Address) -> Iterator[None]:
    """Turn what psycopg raises inside the block into errors of vultus."""
    try:
        yield
    except psycopg.Error as problem:
        raise typed(problem, address) from None  # whose text may hold a parameter
