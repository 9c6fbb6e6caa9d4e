"""The engine that keeps a gallery in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vultus.errors import BadTemplate, GalleryBusy, GalleryError, GalleryReadOnly, ModelMismatch
from vultus.gallery.engine import Answer, Changing, LimitOf, Searcher
from vultus.gallery.postgres.address import Address
from vultus.gallery.postgres.connections import Connections
from vultus.gallery.postgres.graph import ask_for_graph, is_asked_for
from vultus.gallery.postgres.problems import errors_typed
from vultus.gallery.postgres.reads import Reads, begin_reading
from vultus.gallery.postgres.scan import GraphWalk, Scan
from vultus.gallery.postgres.schema import prepare
from vultus.gallery.postgres.verify import verify
from vultus.gallery.postgres.writes import Writes, begin_writing
from vultus.gallery.rank import By, best_of
from vultus.gallery.records import Written
from vultus.gallery.results import Integrity
from vultus.types import FloatArray

_T = TypeVar("_T")


class PostgresEngine:
    """See `vultus.gallery.engine.Engine`. Use `PostgresEngine.open`.

    Args:
        connections: to the database.
        model_id: the model that the templates are of.
        read_only: never write.
        clock: seconds since 1970.
    """

    path = None

    def __init__(self, connections: Connections, *, model_id: str, read_only: bool, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._address = connections.address
        self.model_id = model_id
        self.name = self._address.name
        self._read_only = read_only
        self._clock = clock
        self._searcher = DatabaseSearcher(connections, Scan if self._address.entries is None else GraphWalk)

    @classmethod
    def open(
        cls, address: Address, *, model: str | None, read_only: bool, busy_seconds: float, clock: Callable[[], float]
    ) -> PostgresEngine:
        """Open a gallery, or make one where there is none and a model is named; see `open_postgres`."""
        connections = Connections(address, read_only=read_only, busy_seconds=busy_seconds)
        try:
            with connections.begun(lambda c: c.execute("BEGIN")) as (connection, _):
                found = prepare(connection, address, model=model, read_only=read_only)
                connection.execute("COMMIT")
            if model is not None and model != found:
                raise ModelMismatch(
                    f"gallery {address.name} holds templates of {found!r}, not of {model!r}; open it with that model, or "
                    "enrol the photos anew in a gallery of this one"
                )
            if address.entries is not None and not read_only:
                _ask_for_graph(connections)
        except BaseException:
            connections.close()
            raise
        return cls(connections, model_id=found, read_only=read_only, clock=clock)

    @contextmanager
    def reading(self) -> Iterator[Reads]:
        """A snapshot for the length of a block.

        Raises:
            GalleryError: it cannot be read.
        """
        with self._connections.begun(begin_reading) as (connection, state):
            yield Reads(connection, self.name, state)

    def write(self, change: Callable[[Changing], _T]) -> _T:
        """Make a change durable, or not at all.

        Raises:
            GalleryReadOnly: the gallery was opened to read, or the server is a standby.
            VultusError: what the change raises, or why it could not be made durable.
        """
        if self._read_only:
            raise GalleryReadOnly(f"gallery {self.name} was opened to read; open it without read_only to change it")
        with self._connections.begun(begin_writing) as (connection, state):
            writes = Writes(connection, self.name, state, self._clock)
            value = change(writes)
            if writes.finish():
                connection.execute("COMMIT")
        return value

    def search(self, probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float) -> Answer:
        """See `Searcher`; by the graph where the address asks for it."""
        return self._searcher.search(probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)

    def exactly(self) -> Searcher:
        """Searches by a scan of everything."""
        return DatabaseSearcher(self._connections, Scan)

    def erase(self, deleted: Written | None) -> bool:
        """Rewrite the tables without what was deleted; not after each deletion, for everybody has to wait meanwhile."""
        if deleted is not None:
            return False
        if self._read_only:
            raise GalleryReadOnly(f"gallery {self.name} was opened to read; open it without read_only to erase in it")
        connection = self._connections.autocommit()
        try:
            with errors_typed(self._address):
                connection.execute("VACUUM (FULL, ANALYZE) halves, templates, subjects, requests, operations, state")
        except GalleryBusy:
            return False
        finally:
            connection.close()
        return True

    def sizes(self) -> tuple[int, int]:
        """Bytes of the tables of record, and of those that are scanned, with their indexes."""
        query = """
            SELECT coalesce(sum(size) FILTER (WHERE relname NOT LIKE 'halves\\_%%'), 0)::bigint,
                coalesce(sum(size) FILTER (WHERE relname LIKE 'halves\\_%%'), 0)::bigint
            FROM (SELECT c.relname, pg_total_relation_size(c.oid) AS size FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = %s AND c.relkind = 'r') AS tables
        """
        with self._connections.begun(begin_reading) as (connection, _):
            found = connection.execute(query, (self._address.schema,)).fetchone()
        return (0, 0) if found is None else (found[0], found[1])

    def verify(self) -> Integrity:
        """Check the server's settings, each template, and what is scanned in its place."""
        try:
            with self._connections.begun(begin_reading) as (connection, state):
                return verify(connection, Reads(connection, self.name, state), state)
        except GalleryError as problem:
            return Integrity((str(problem),), 0)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()


def _ask_for_graph(connections: Connections) -> None:
    with connections.begun(begin_reading) as (connection, _):
        asked = is_asked_for(connection)
    if not asked:
        with connections.begun(begin_writing) as (connection, state):
            ask_for_graph(connection, state.dimension)
            connection.execute("COMMIT")


class DatabaseSearcher:
    """Finds the best subjects by what the database proposes. See `Searcher`.

    Args:
        connections: to the database.
        way: through the rows.
    """

    def __init__(self, connections: Connections, way: type[Scan]) -> None:
        self._connections = connections
        self._way = way

    def search(self, probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float) -> Answer:
        """See `Searcher`."""
        name = self._connections.address.name
        with self._connections.begun(begin_reading) as (connection, state):
            reads = Reads(connection, name, state)
            limit = limit_of(reads, state.vectors)
            if state.dimension is None:
                return Answer((), limit, 0, state.revision)
            if len(probe) != state.dimension:
                raise BadTemplate(
                    f"a template of {len(probe)} numbers; the gallery {name} holds rows of {state.dimension}"
                )
            way = self._way(connection, reads, probe, threshold=limit.value, by=by, now=now)
            numbers, scores = best_of(way, threshold=limit.value, max_rank=max_rank, by=by)
            found = tuple(zip(reads.subject_ids(numbers), scores, strict=True))
        return Answer(found, limit, state.vectors, state.revision)
