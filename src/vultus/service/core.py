"""The parts of a running service, put together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.keys import Key
from vultus.service.audit import Audit
from vultus.service.engine import Engine
from vultus.service.galleries import Galleries
from vultus.service.jobs import Jobs
from vultus.service.keys import SCOPES, Keys
from vultus.service.metrics import Metrics
from vultus.service.rates import Attempts, Bucket
from vultus.service.reviews import Reviews
from vultus.service.sessions import Sessions
from vultus.service.settings import Settings
from vultus.service.state import State
from vultus.service.thumbnails import Thumbnails

_T = TypeVar("_T")
_STORAGE_THREADS = 16
_log = logging.getLogger("vultus.service")


class Service:
    """One service over one data folder.

    Args:
        settings: how it runs.
        gallery_key: that galleries and the service's database are encrypted with.

    Raises:
        GalleryError: the database cannot be opened.
        AuditBroken, AuditUnavailable: the audit log was changed, or cannot be written.
    """

    def __init__(self, settings: Settings, *, gallery_key: Key | None = None) -> None:
        self.settings = settings
        folder = settings.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state = State(folder, gallery_key)
        self.keys = Keys(self.state)
        self.audit = Audit(folder / "audit")
        self.galleries = Galleries(folder / "galleries", self.state, gallery_key)
        self.thumbnails = Thumbnails(self.state)
        self.reviews = Reviews(self.state)
        self.metrics = Metrics()
        self.engine = Engine(settings, self.metrics)
        self.jobs = Jobs(self.state, hours=settings.job_hours)
        self.sessions = Sessions(settings.session_minutes)
        self.bucket = Bucket(settings.requests_per_second, settings.burst)
        self.attempts = Attempts(settings.attempts, settings.lockout_seconds)
        # who keeps a picture of a subject, and who removes the subject, wait for each other: none is kept of who is gone
        self.erasing = threading.Lock()
        self._storage = ThreadPoolExecutor(_STORAGE_THREADS, thread_name_prefix="vultus-storage")

    def first_key(self) -> str | None:
        """The text of a first key with all scopes, where there is none yet; it is not kept."""
        if self.keys.any():
            return None
        key, text = self.keys.create("first key", SCOPES)
        self.audit.record(action="key.create", key=key.key_id, target=key.key_id, result="done")
        return text

    def load(self, on_failure: Callable[[VultusError], None] = lambda _: None) -> threading.Thread:
        """Load the model on a thread of its own, so that the service answers at once."""

        def work() -> None:
            try:
                self.engine.load()
                self.metrics.ready.set(1)
                _log.info("ready", extra={"model": self.engine.ready.alone.model_id})
            except VultusError as problem:
                _log.error("cannot start", extra={"code": problem.code})
                on_failure(problem)

        thread = threading.Thread(target=work, name="vultus-load", daemon=True)
        thread.start()
        return thread

    async def run(self, work: Callable[..., _T], *values: object, **named: object) -> _T:
        """Something that waits for a disk, on a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._storage, partial(work, *values, **named))

    def gallery(self, name: str) -> Gallery:
        """The open gallery of a name."""
        return self.galleries.get(name, self.engine.ready.alone)

    async def opened(self, name: str) -> Gallery:
        """The same, for a route: opening one waits for a disk."""
        found = self.galleries.already(name)
        return found if found is not None else await self.run(self.gallery, name)

    def forget(self, gallery: str, subject: str | None) -> None:
        """Remove what is kept of a subject, or of all, outside the gallery; the gallery itself comes after."""
        where, values = (
            ("gallery = ?", (gallery,)) if subject is None else ("gallery = ? AND subject = ?", (gallery, subject))
        )
        with self.state.writing() as db:
            db.execute(f"DELETE FROM thumbnails WHERE {where}", values)  # noqa: S608 - of two fixed texts
            db.execute(f"DELETE FROM reviews WHERE {where}", values)  # noqa: S608
        self.state.erase()

    def close(self) -> None:
        """Stop jobs, close galleries and the log."""
        self.jobs.close()
        self.engine.close()
        self._storage.shutdown(wait=True)
        self.galleries.close()
        self.audit.close()
        self.state.close()
