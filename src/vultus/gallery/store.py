"""The store of record: subjects, templates and what was done to them, in one SQLite file that loses nothing.

Readers see snapshots and are never blocked; writers wait for each other. What is derived from the store, such as an
index, follows it by its revision.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import apsw

from vultus.errors import (
    BadArgument,
    GalleryCorrupt,
    GalleryReadOnly,
    GalleryUnavailable,
    ModelMismatch,
)
from vultus.gallery.connection import Durability, connect, errors_typed, transaction, undo
from vultus.gallery.keys import Key, checked_key
from vultus.gallery.reads import Reads
from vultus.gallery.versions import make_file, migrate
from vultus.gallery.writer import Change, Writer

_T = TypeVar("_T")
_IDLE_READERS = 8
_ERASE_MILLISECONDS = 200


class Store:
    """A gallery's database file. Use `Store.open`; safe for many threads, and for many processes on one machine.

    Args:
        path: the file.
        model_id: the model that its templates are of.
        identity: random number given at creation, which copies share.
        writer: None where the file can only be read.
        connect_reader: opens one more connection that reads.
        busy_seconds: how long to wait for another process's transaction.
        encrypted: whether the file is opened with a key.
    """

    def __init__(
        self,
        path: Path,
        *,
        model_id: str,
        identity: str,
        writer: Writer | None,
        connect_reader: Callable[[], apsw.Connection],
        busy_seconds: float,
        encrypted: bool = False,
    ) -> None:
        self.path = path
        self.encrypted = encrypted
        self.busy_seconds = busy_seconds
        self.model_id = model_id
        self.identity = identity
        self._writer = writer
        self._connect_reader = connect_reader
        self._idle: list[apsw.Connection] = []
        self._guard = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        model: str | None = None,
        read_only: bool = False,
        busy_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        key: Key | None = None,
        durability: Durability = "full",
        vfs: str | None = None,
    ) -> Store:
        """Open a gallery's file, or make one where there is none and a model is named.

        Args:
            path: the file.
            model: the model that its templates are, or will be, of.
            read_only: never write; also taken where the file turns out not to be writable.
            busy_seconds: how long to wait for another process's transaction.
            clock: seconds since 1970.
            key: 32 bytes or a passphrase, of an encrypted file or to encrypt a new one with.
            durability: "full", or "normal" for the tests' control.
            vfs: a VFS registered with apsw, for tests.

        Raises:
            GalleryMissing: there is none, and it was to be read or no model was named.
            GalleryCorrupt, GalleryTooNew: the file is damaged, no gallery, or of a newer vultus.
            GalleryLocked: the key does not fit, or there should be one, or none.
            ModelMismatch: its templates are of another model.
            GalleryError: it cannot be opened.
        """
        file = Path(path)
        secret = checked_key(key)
        if busy_seconds < 0:
            raise BadArgument(f"busy_seconds is {busy_seconds!r}; expected 0 or more")
        make_file(file, model=model, read_only=read_only)

        def reader() -> apsw.Connection:
            return connect(file, write=False, busy_seconds=busy_seconds, key=secret, vfs=vfs)

        writer = None
        if not read_only:
            with suppress(GalleryReadOnly):
                connection = connect(
                    file, write=True, busy_seconds=busy_seconds, durability=durability, key=secret, vfs=vfs
                )
                writer = Writer(connection, file, clock, busy_seconds=busy_seconds)
        first = writer.connection if writer is not None else reader()
        try:
            with errors_typed(file):
                migrate(first, file, model=model, write=writer is not None)
                with transaction(first, write=False):
                    facts = Reads(first, file)
                    found, identity = facts.fact("model_id"), facts.fact("identity")
            if not isinstance(found, str) or not isinstance(identity, str):
                raise GalleryCorrupt(f"gallery {file} does not say what model it is of; restore a backup")
            if model is not None and model != found:
                raise ModelMismatch(
                    f"gallery {file} holds templates of {found!r}, not of {model!r}; open it with that model, or enrol "
                    "the photos anew in a gallery of this one"
                )
        except BaseException:
            first.close(True)
            raise
        store = cls(
            file,
            model_id=found,
            identity=identity,
            writer=writer,
            connect_reader=reader,
            busy_seconds=busy_seconds,
            encrypted=secret is not None,
        )
        if writer is None:
            store._idle.append(first)
        return store

    @property
    def writable(self) -> bool:
        """Whether changes are possible at all."""
        return self._writer is not None

    def write(self, change: Change[_T]) -> _T:
        """Make one change durable; threads that wait at the same time share one commit.

        Raises:
            GalleryReadOnly: the gallery was opened to read.
            VultusError: what the change raises, or why it could not be made durable.
        """
        return self._writing().commit(change)

    def write_all(self, changes: Sequence[Change[_T]]) -> list[_T]:
        """Make several changes durable in one transaction: all of them, or none."""
        return self._writing().commit_all(changes)

    @contextmanager
    def reading(self) -> Iterator[Reads]:
        """A snapshot that does not change while the block runs.

        Raises:
            GalleryError: it cannot be read.
        """
        connection = self._take()
        try:
            with errors_typed(self.path), transaction(connection, write=False):
                yield Reads(connection, self.path)
        finally:
            self._give_back(connection)

    @contextmanager
    def still(self) -> Iterator[Reads]:
        """A snapshot during which no process can write, this thread included; for short work.

        Raises:
            GalleryReadOnly: the gallery was opened to read.
            GalleryError: another process writes for too long.
        """
        writer = self._writing()
        with writer.turn, errors_typed(self.path):
            outermost = not writer.connection.in_transaction
            if outermost:
                writer.connection.execute("BEGIN IMMEDIATE")
            try:
                yield Reads(writer.connection, self.path)
            finally:
                if outermost:
                    undo(writer.connection)

    def erase(self) -> bool:
        """Write deleted bytes over in the database file and empty its log.

        Returns:
            whether it is done; False while a reader still needs the log.
        """
        writer = self._writing()
        with writer.turn:
            writer.connection.set_busy_timeout(_ERASE_MILLISECONDS)
            try:
                writer.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.Error:
                return False
            finally:
                writer.connection.set_busy_timeout(int(1000 * self.busy_seconds))
        return True

    def close(self) -> None:
        """Close all connections; the last process to do so folds the log into the database file."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close(True)
        if self._writer is not None:
            with self._writer.turn, errors_typed(self.path):
                self._writer.connection.close(True)

    def _writing(self) -> Writer:
        if self._closed:
            raise GalleryUnavailable(f"gallery {self.path} is closed; open it again")
        if self._writer is None:
            raise GalleryReadOnly(
                f"gallery {self.path} cannot be written; it was opened to read, or its file is read-only"
            )
        return self._writer

    def _take(self) -> apsw.Connection:
        with self._guard:
            if self._closed:
                raise GalleryUnavailable(f"gallery {self.path} is closed; open it again")
            if self._idle:
                return self._idle.pop()
        return self._connect_reader()

    def _give_back(self, connection: apsw.Connection) -> None:
        with self._guard:
            if not self._closed and not connection.in_transaction and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close(True)
