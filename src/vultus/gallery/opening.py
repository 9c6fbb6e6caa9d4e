"""Which engine keeps the gallery at an address?"""

from __future__ import annotations

import os
from collections.abc import Callable

from vultus.errors import BadArgument
from vultus.gallery.engine import Engine
from vultus.gallery.index import COMPRESS_FROM, Index
from vultus.gallery.keys import Key
from vultus.gallery.local import LocalEngine
from vultus.gallery.store import Store

_POSTGRES = ("postgresql://", "postgres://")
_QDRANT = ("qdrant://", "qdrants://")


def open_engine(
    address: str | os.PathLike[str],
    *,
    model: str | None,
    read_only: bool,
    busy_seconds: float,
    clock: Callable[[], float],
    compress_from: int | None,
    key: Key | None = None,
) -> Engine:
    """The engine of a gallery: one that a server keeps where the address has its scheme, else the file at that path.

    Args:
        address: a path, `postgresql://...` or `qdrant://...`.
        model: to make the gallery for where there is none.
        read_only: never write.
        busy_seconds: how long to wait for others who write.
        clock: seconds since 1970.
        compress_from: see `Index`; of files only.
        key: of a file that is encrypted, or to encrypt a new one with.

    Raises:
        GalleryError: there is none, or it cannot be opened.
        BadArgument: an option that the engine does not have.
    """
    if busy_seconds < 0:
        raise BadArgument(f"busy_seconds is {busy_seconds!r}; expected 0 or more")
    if not is_served(address):
        store = Store.open(address, model=model, read_only=read_only, busy_seconds=busy_seconds, clock=clock, key=key)
        return LocalEngine(store, Index(store, compress_from=compress_from))
    if compress_from != COMPRESS_FROM:
        raise BadArgument("compress_from is an option of galleries in files; leave it out for one that a server keeps")
    if key is not None:
        raise BadArgument("a key is for galleries in files; let the server encrypt its disk")
    if str(address).startswith(_QDRANT):
        from vultus.gallery.qdrant import open_qdrant

        return open_qdrant(str(address), model=model, read_only=read_only, busy_seconds=busy_seconds, clock=clock)
    from vultus.gallery.postgres import open_postgres

    return open_postgres(str(address), model=model, read_only=read_only, busy_seconds=busy_seconds, clock=clock)


def is_served(address: str | os.PathLike[str]) -> bool:
    """Whether a server keeps the gallery at this address; a path otherwise."""
    return isinstance(address, str) and address.startswith(_POSTGRES + _QDRANT)


def name_of(address: str | os.PathLike[str]) -> str:
    """What to call the gallery at an address: the path, or the address without user and password.

    Raises:
        BadArgument: an address that cannot be parsed.
        ExtraMissing: what it needs is not installed.
    """
    if not is_served(address):
        return os.fspath(address)
    if str(address).startswith(_QDRANT):
        from vultus.gallery import qdrant

        return qdrant.parsed(str(address)).name
    from vultus.gallery.postgres import parsed

    return parsed(str(address)).name
