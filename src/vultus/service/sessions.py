"""Sessions of the page: a key is exchanged for a cookie that scripts cannot read, and a token that other sites cannot know."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vultus.errors import NotAuthenticated

COOKIE, TOKEN = "vultus_session", "x-csrf-token"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """An open session.

    Args:
        key_id: of the key that it was opened with; revoking that ends it.
        csrf: the token that every change must carry.
        until: when it ends unless it is used.
    """

    key_id: str
    csrf: str
    until: float


class Sessions:
    """Open sessions, in memory: a restart ends them."""

    def __init__(self, minutes: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = 60 * minutes, clock
        self._guard = threading.Lock()
        self._open: dict[str, Session] = {}

    def start(self, key_id: str) -> tuple[str, Session]:
        """The cookie's value, and the session."""
        cookie, now = secrets.token_urlsafe(32), self._clock()
        session = Session(key_id, secrets.token_urlsafe(32), now + self._seconds)
        with self._guard:
            self._open = {k: s for k, s in self._open.items() if s.until > now}
            while len(self._open) >= _MOST:
                self._open.pop(next(iter(self._open)))
            self._open[_digest(cookie)] = session
        return cookie, session

    def get(self, cookie: str) -> Session:
        """The session of a cookie, which goes on from now.

        Raises:
            NotAuthenticated: it has ended.
        """
        now, name = self._clock(), _digest(cookie)
        with self._guard:
            session = self._open.get(name)
            if session is None or session.until <= now:
                self._open.pop(name, None)
                raise NotAuthenticated("the session has ended; sign in again")
            session = Session(session.key_id, session.csrf, now + self._seconds)
            self._open[name] = session
        return session

    def end(self, cookie: str) -> None:
        """End a session, if there is one."""
        with self._guard:
            self._open.pop(_digest(cookie), None)


def fits(session: Session, token: str | None) -> bool:
    """Whether the token is the session's, compared in constant time."""
    return token is not None and hmac.compare_digest(session.csrf.encode(), token.encode("utf-8", "surrogatepass"))


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
