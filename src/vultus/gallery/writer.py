"""Group commit: changes that wait for each other share one transaction, and so one wait for the disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

import apsw

from vultus.errors import GalleryBusy, GalleryUnavailable, VultusError
from vultus.gallery.connection import typed, undo
from vultus.gallery.writes import Writes

_T = TypeVar("_T")
_GROUP = 1024

Change = Callable[[Writes], _T]


class _Job(Generic[_T]):
    """One change that waits to be committed, and then what became of it."""

    def __init__(self, change: Change[_T]) -> None:
        self.change = change
        self.settled = False
        self.value: _T | None = None
        self.problem: BaseException | None = None

    def settle(self, problem: BaseException | None = None) -> None:
        if problem is not None:
            self.problem = problem
        self.settled = True

    def result(self) -> _T:
        if self.problem is not None:
            raise self.problem
        return cast("_T", self.value)


class Writer:
    """The one writer of a process. Whoever gets the turn commits for all who wait."""

    def __init__(
        self, connection: apsw.Connection, path: Path, clock: Callable[[], float], *, busy_seconds: float
    ) -> None:
        self.connection = connection
        self._busy_seconds = busy_seconds
        self.turn = threading.RLock()
        self._path = path
        self._writes = Writes(connection, path, clock)
        self._waiting: deque[_Job[object]] = deque()

    def commit(self, change: Change[_T]) -> _T:
        """Make a change durable; it shares the transaction of other threads' changes.

        Raises:
            VultusError: what the change raised, or that the transaction failed. It was not made then.
        """
        job = _Job(change)
        self._waiting.append(cast("_Job[object]", job))
        while not job.settled:
            if self.turn.acquire(timeout=self._busy_seconds):
                try:
                    if not job.settled:
                        self._commit_group()
                finally:
                    self.turn.release()
            elif self._withdrawn(job):
                raise GalleryBusy(f"gallery {self._path}: another thread is changing it; nothing was done, try again")
        return job.result()

    def commit_all(self, changes: Sequence[Change[_T]]) -> list[_T]:
        """Make several changes durable in one transaction: all of them, or none.

        Raises:
            VultusError: what the first of them raised, or that the transaction failed.
        """
        return self.commit(lambda writes: [change(writes) for change in changes])

    def _commit_group(self) -> None:
        group: list[_Job[object]] = []
        while self._waiting and len(group) < _GROUP:
            group.append(self._waiting.popleft())
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            for job in group:
                self._attempt(job)
            self.connection.execute("COMMIT")
        except apsw.Error as problem:
            undo(self.connection)
            self._fail(group, typed(problem, self._path))
        except BaseException:
            undo(self.connection)
            self._fail(
                group, GalleryUnavailable(f"gallery {self._path}: the writer was interrupted; nothing was changed")
            )
            raise
        for job in group:
            job.settle()

    def _withdrawn(self, job: _Job[_T]) -> bool:
        """Take a change back that nobody has begun with."""
        try:
            self._waiting.remove(cast("_Job[object]", job))
        except ValueError:
            return False
        return True

    def _attempt(self, job: _Job[object]) -> None:
        """Run one change; what it raises undoes it alone, unless the storage has failed."""
        self.connection.execute("SAVEPOINT change")
        try:
            job.value = job.change(self._writes)
        except apsw.Error:
            raise
        except Exception as problem:  # noqa: BLE001 - it is raised where the change was asked for
            job.problem = problem
            self.connection.execute("ROLLBACK TO change")
        self.connection.execute("RELEASE change")

    @staticmethod
    def _fail(group: list[_Job[object]], problem: VultusError) -> None:
        for job in group:
            job.value = None
            job.settle(type(problem)(str(problem)))
