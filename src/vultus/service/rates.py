"""How often may a key ask, and how often may somebody guess?"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from vultus.errors import LockedOut, RateLimited

_REMEMBERED = 10_000


class Bucket:
    """So many requests a second for each name, and a burst after a pause.

    Args:
        rate: requests a second; 0 for no limit.
        burst: how many at once after a pause.
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, float(burst), clock
        self._guard = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Count one request.

        Raises:
            RateLimited: it is one too many.
        """
        if not self._rate:
            return
        now = self._clock()
        with self._guard:
            level, at = self._levels.pop(name, (self._burst, now))
            level = min(self._burst, level + (now - at) * self._rate)
            allowed = level >= 1
            self._levels[name] = (level - 1 if allowed else level, now)
            while len(self._levels) > _REMEMBERED:
                self._levels.popitem(last=False)
        if not allowed:
            problem = RateLimited(f"more than {self._rate:g} requests a second with this key; wait and try again")
            problem.retry_after = max(1, round((1 - level) / self._rate))  # type: ignore[attr-defined]
            raise problem


class Attempts:
    """Failures by name within a time; too many of them close the door until the oldest is past.

    Args:
        most: failures that are allowed; 0 for no limit.
        seconds: how long each counts.
    """

    def __init__(self, most: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._guard = threading.Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, name: str) -> None:
        """Let a name pass.

        Raises:
            LockedOut: it has failed too often.
        """
        if not self._most:
            return
        now = self._clock()
        with self._guard:
            recent = [t for t in self._failures.get(name, ()) if t > now - self._seconds]
        if len(recent) >= self._most:
            problem = LockedOut(f"{len(recent)} failed attempts; wait before the next one")
            problem.retry_after = max(1, round(recent[-self._most] + self._seconds - now))  # type: ignore[attr-defined]
            raise problem

    def failed(self, name: str) -> None:
        """Count a failure."""
        if not self._most:
            return
        now = self._clock()
        with self._guard:
            recent = [t for t in self._failures.pop(name, ()) if t > now - self._seconds]
            self._failures[name] = [*recent, now][-self._most :]
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name."""
        with self._guard:
            self._failures.pop(name, None)
