"""A gallery that a PostgreSQL server with pgvector keeps, for sites that have a database, or several services on one.

    with vultus.Gallery.open("postgresql://host/database?gallery=staff", model=rec.model_id) as gallery:
        ...

The address is libpq's, and these parameters are its own:

- `gallery`: name of the gallery within the database, "vultus" unless given; each has a schema of that name.
- `partitions`: into how many parts the table that is scanned is divided, when the gallery is made; 4 unless given.
- `workers`: how many processes of the server may help with one search; the server's own setting unless given.
- `hnsw`: search by pgvector's graph, looking at this many entries at a time (1 to 1000), instead of a scan of everything.
  The graph is built where there is none. Its answers are approximate; measure by `Gallery.recall` how much.

Passwords belong into a `.pgpass` file, a service file or `PGPASSWORD`, which libpq reads; no message repeats the address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vultus.errors import ExtraMissing

if TYPE_CHECKING:
    from vultus.gallery.engine import Engine
    from vultus.gallery.postgres.address import Address


def open_postgres(
    address: str, *, model: str | None, read_only: bool, busy_seconds: float, clock: Callable[[], float]
) -> Engine:
    """The engine of the gallery at an address.

    Args:
        address: `postgresql://...`, see above.
        model: the model that its templates are, or will be, of.
        read_only: never write; a standby server can be read so.
        busy_seconds: how long to wait for others who write.
        clock: seconds since 1970.

    Raises:
        BadArgument: an address that is refused.
        ExtraMissing: psycopg or pgvector's package is not installed.
        GalleryError: there is no such gallery, or it cannot be opened.
        ModelMismatch: its templates are of another model.
    """
    where = parsed(address)
    from vultus.gallery.postgres.engine import PostgresEngine

    return PostgresEngine.open(where, model=model, read_only=read_only, busy_seconds=busy_seconds, clock=clock)


def parsed(address: str) -> Address:
    """The parts of an address.

    Raises:
        BadArgument: an address that is refused.
        ExtraMissing: psycopg or pgvector's package is not installed.
    """
    try:
        import pgvector.psycopg  # noqa: F401 - what is missing is to be said before anything else
        import psycopg  # noqa: F401
    except ImportError as problem:
        raise ExtraMissing(
            f"a gallery on PostgreSQL needs {problem.name}; install it with: pip install 'vultus[postgres]'"
        ) from problem
    from vultus.gallery.postgres.address import parse_address

    return parse_address(address)
