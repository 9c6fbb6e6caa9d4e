"""Connections to the database: set up alike, bounded in number and in their waiting, and replaced when they break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from pgvector.psycopg import register_vector

from vultus.errors import GalleryBusy, GalleryUnavailable
from vultus.gallery.postgres.address import Address
from vultus.gallery.postgres.problems import errors_typed

Connection = psycopg.Connection[tuple[Any, ...]]

_T = TypeVar("_T")
_MOST = 16
_IDLE = 4


class Connections:
    """Connections of one gallery. Safe for many threads.

    Args:
        address: of the gallery.
        read_only: never write.
        busy_seconds: how long to wait for another's lock, or for a connection.
    """

    def __init__(self, address: Address, *, read_only: bool, busy_seconds: float) -> None:
        self.address = address
        self._read_only = read_only
        self._busy_seconds = busy_seconds
        self._idle: list[Connection] = []
        self._guard = threading.Lock()
        self._free = threading.BoundedSemaphore(_MOST)
        self._closed = False

    @contextmanager
    def begun(self, begin: Callable[[Connection], _T]) -> Iterator[tuple[Connection, _T]]:
        """A connection inside the transaction that `begin` has begun; rolled back, unless the block ends it.

        A connection that broke while nobody used it shows this in `begin`; another takes its place then.

        Raises:
            GalleryBusy: all connections are in use for too long.
            GalleryError: the database cannot be reached, or what PostgreSQL's errors mean.
        """
        if not self._free.acquire(timeout=self._busy_seconds):
            raise GalleryBusy(f"gallery {self.address.name}: {_MOST} threads are using it; try again")
        try:
            with errors_typed(self.address):
                connection, begun = self._begin(begin)
                try:
                    yield connection, begun
                finally:
                    self._give_back(connection)
        finally:
            self._free.release()

    def _begin(self, begin: Callable[[Connection], _T]) -> tuple[Connection, _T]:
        while True:
            idle = self._take_idle()
            connection = self._connect() if idle is None else idle
            try:
                return connection, begin(connection)
            except psycopg.OperationalError:
                broken = connection.closed
                connection.close()
                if not broken or idle is None:
                    raise
            except BaseException:
                connection.close()
                raise

    def autocommit(self) -> Connection:
        """A new connection outside of any transaction, for the caller to close.

        Raises:
            GalleryError: the database cannot be reached.
        """
        self._check_open()
        with errors_typed(self.address):
            return self._connect()

    def close(self) -> None:
        """Close all connections that nobody uses, and those in use when they come back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise GalleryUnavailable(f"gallery {self.address.name} is closed; open it again")

    def _take_idle(self) -> Connection | None:
        with self._guard:
            self._check_open()
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: Connection) -> None:
        with suppress(psycopg.Error):
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._guard:
            if idle and not self._closed and len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> Connection:
        parameters: dict[str, Any] = {"fallback_application_name": "vultus", **self.address.parameters}
        connection = psycopg.connect(autocommit=True, **parameters)
        try:
            connection.execute(
                "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
                self._settings(),
            )
            connection.execute(_SEARCH_PATH, (self.address.schema,))
            if connection.execute("SELECT to_regtype('halfvec')").fetchone() != (None,):
                register_vector(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _settings(self) -> tuple[list[str], list[str]]:
        """What every connection is set to, whatever the server's or the user's defaults are."""
        settings = {
            "lock_timeout": str(max(1, int(1000 * self._busy_seconds))),
            "jit": "off",  # which takes longer to compile a scan than the scan takes
            "min_parallel_table_scan_size": "1MB",
            "default_transaction_read_only": "on" if self._read_only else "off",
            "client_min_messages": "warning",
        }
        if self.address.workers is not None:
            settings["max_parallel_workers_per_gather"] = str(self.address.workers)
        if self.address.entries is not None:
            settings["hnsw.ef_search"] = str(self.address.entries)
            settings["hnsw.iterative_scan"] = "strict_order"
        return list(settings), list(settings.values())


# The gallery's own schema first, then that of the extension; an acknowledged change waits for the disk at least.
_SEARCH_PATH = """
SELECT set_config('search_path', concat_ws(', ', quote_ident(%s), (
    SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e
    JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'
), 'pg_temp'), false), set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)
"""
