"""Long tasks: one at a time, with progress, that can be cancelled; a restart ends those that were not done."""

from __future__ import annotations

import json
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vultus.errors import NotFound, Overloaded, StateConflict, VultusError
from vultus.service.state import State

_MOST = 16
_LIVE = ("waiting", "running")
_log = logging.getLogger("vultus.service")


class Cancelled(Exception):
    """The job was cancelled."""


@dataclass(frozen=True, slots=True)
class Job:
    """A long task.

    Args:
        job_id: names it.
        kind: "cluster" or "purge".
        gallery: that it is about.
        key_id: who asked for it.
        state: "waiting", "running", "done", "failed" or "cancelled".
        done, total: progress.
        created, finished: when.
        code: of the error where it failed.
        result: in numbers where it is done.
    """

    job_id: str
    kind: str
    gallery: str
    key_id: str
    state: str
    done: int
    total: int
    created: datetime
    finished: datetime | None
    code: str | None
    result: dict[str, Any] | None


class Progress:
    """What a running job reports to, and learns of its end from."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self.job_id = job_id
        self._jobs = jobs

    def __call__(self, done: int) -> None:
        """So much is done.

        Raises:
            Cancelled: the job is to end.
        """
        if not self._jobs.advance(self.job_id, done):
            raise Cancelled


Work = Callable[[Progress], dict[str, Any]]


class Jobs:
    """The queue of jobs and their results.

    Args:
        state: keeps them.
        hours: how long results are kept.
    """

    def __init__(self, state: State, *, hours: float) -> None:
        self._state, self._seconds = state, 3600 * hours
        self._waiting: queue.SimpleQueue[tuple[str, Work] | None] = queue.SimpleQueue()
        self._state.change(
            "UPDATE jobs SET state = 'failed', code = 'interrupted', finished = ? WHERE state IN ('waiting', 'running')",
            (int(time.time()),),
        )
        self._closing = False
        self._thread = threading.Thread(target=self._run_all, name="vultus-jobs", daemon=True)
        self._thread.start()

    def start(self, kind: str, gallery: str, key_id: str, work: Work, *, total: int) -> Job:
        """Put a job into the queue.

        Raises:
            Overloaded: too many wait already.
        """
        self.expire()
        waiting = self._state.row("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'running')")
        if waiting is not None and waiting[0] >= _MOST:
            raise Overloaded(f"{waiting[0]} jobs wait already; try again when one is done")
        job_id = secrets.token_hex(8)
        self._state.change(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, 'waiting', 0, ?, ?, NULL, NULL, NULL)",
            (job_id, kind, gallery, key_id, total, int(time.time())),
        )
        self._waiting.put((job_id, work))
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none of this id.
        """
        row = self._state.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise NotFound("there is no job of this id; results are kept for a while only")
        return _job(row)

    def listed(self, *, limit: int = 100) -> list[Job]:
        """Jobs, the newest first."""
        return [_job(r) for r in self._state.rows("SELECT * FROM jobs ORDER BY created DESC, id LIMIT ?", (limit,))]

    def cancel(self, job_id: str) -> None:
        """Cancel a job that is not done, or remove one that is, with its result.

        Raises:
            NotFound: there is none of this id.
        """
        job = self.get(job_id)
        if job.state in _LIVE:
            self._finish(job_id, "cancelled", code="cancelled")
        else:
            self._state.change("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._state.erase()

    def advance(self, job_id: str, done: int) -> bool:
        """Note progress; whether the job is to go on."""
        changed = self._state.change("UPDATE jobs SET done = ? WHERE id = ? AND state = 'running'", (done, job_id))
        return bool(changed) and not self._closing

    def expire(self) -> None:
        """Remove results that are old."""
        past = int(time.time() - self._seconds)
        if self._state.change("DELETE FROM jobs WHERE finished IS NOT NULL AND finished < ?", (past,)):
            self._state.erase()

    def close(self) -> None:
        """Let the running job end, and no other begin."""
        self._closing = True
        self._waiting.put(None)
        self._thread.join(timeout=10)

    def _run_all(self) -> None:
        while (item := self._waiting.get()) is not None and not self._closing:
            job_id, work = item
            if not self._state.change(
                "UPDATE jobs SET state = 'running' WHERE id = ? AND state = 'waiting'", (job_id,)
            ):
                continue
            try:
                result = work(Progress(self, job_id))
            except Cancelled:
                self._finish(job_id, "cancelled", code="cancelled")
            except VultusError as problem:
                self._finish(job_id, "failed", code=problem.code)
            except Exception as problem:  # noqa: BLE001 - a job's fault ends the job, not the thread
                _log.error("job failed", extra={"job": job_id, "kind": type(problem).__name__})
                self._finish(job_id, "failed", code="internal_error")
            else:
                self._finish(job_id, "done", result=result)

    def _finish(
        self, job_id: str, state: str, *, code: str | None = None, result: dict[str, Any] | None = None
    ) -> None:
        text = None if result is None else json.dumps(result)
        self._state.change(
            "UPDATE jobs SET state = ?, code = ?, result = ?, finished = ?, "
            "done = CASE WHEN ? = 'done' THEN total ELSE done END"
            " WHERE id = ? AND state IN ('waiting', 'running')",
            (state, code, text, int(time.time()), state, job_id),
        )


def refuse_unless_done(job: Job) -> None:
    """Only a finished job has groups.

    Raises:
        StateConflict: it has not finished.
    """
    if job.state != "done" or job.kind != "cluster":
        raise StateConflict(f"the job is {job.kind}, {job.state}; groups belong to a clustering job that is done")


def _job(row: tuple[Any, ...]) -> Job:
    job_id, kind, gallery, key, state, done, total, created, finished, code, result = row
    end = None if finished is None else datetime.fromtimestamp(finished, UTC)
    found = None if result is None else json.loads(result)
    return Job(job_id, kind, gallery, key, state, done, total, datetime.fromtimestamp(created, UTC), end, code, found)
