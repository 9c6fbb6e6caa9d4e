"""Whose turn is it to change the gallery? Of all threads and processes one at a time, for a limited time."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from vultus.errors import GalleryBusy, GalleryError, GalleryUnavailable
from vultus.gallery.qdrant.head import Head, Heads
from vultus.gallery.qdrant.points import equal

# A change takes milliseconds, and one that takes longer extends its turn. Only a process that died or was stopped loses it.
_SECONDS_HELD = 20.0
_LONGEST_PAUSE = 0.05


class Turn:
    """The head, taken. Points may be written under its ticket.

    Args:
        heads: of the gallery.
        head: as it was taken.
        seconds: how long it is held.
    """

    def __init__(self, heads: Heads, head: Head, seconds: float) -> None:
        self._heads = heads
        self._seconds = seconds
        self.head = head
        self.written: set[str] = set()
        self.committed = False
        self.unknown = False

    def extend(self) -> None:
        """Hold the head longer, where the time is half over; a change that writes a lot calls this between its parts.

        Raises:
            GalleryBusy: the turn is lost.
        """
        now = time.time()
        if now > self.head.held_until - self._seconds / 2:
            longer = self.head.changed(held_until=now + self._seconds)
            if not self._heads.replace(self.head, longer):
                raise self._lost()
            self.head = longer

    def commit(self, head: Head) -> None:
        """Replace the head by one that shows what was written: from here on the change is made.

        Where it removes nothing, others may have the head at once.

        Raises:
            GalleryBusy: the turn was lost, and nothing is changed.
            GalleryUnavailable: the server does not answer, and whether the change was made is not known.
            GalleryError: the server failed, and nothing is changed.
        """
        made = head.changed() if head.removed else head.changed(holder="", held_until=0.0)
        try:
            self._heads.offer(self.head, made)
            found = self._heads.read()
        except GalleryError as problem:
            if not self._made_after_all(problem):
                raise
        else:
            if not self._shows_mine(found):
                raise self._lost()
        self.head, self.committed = made, True

    def give_back(self) -> None:
        """Let others have the head. Where nothing was written the ticket is given back as well."""
        if not self.head.holder:
            return
        ticket, void = self.head.given, self.head.void
        if self.written and not self.committed:
            void |= {ticket}
        elif not self.committed:
            ticket -= 1
        free = self.head.changed(holder="", held_until=0.0, removed=frozenset(), given=ticket, void=void)
        self._heads.offer(self.head, free)

    def _shows_mine(self, found: Head) -> bool:
        return found.committed >= self.head.given and self.head.given not in found.void

    def _made_after_all(self, problem: GalleryError) -> bool:
        """Whether a commit that was not answered was made; where not, it is made impossible.

        Raises:
            GalleryUnavailable: this cannot be found out.
        """
        fence = self.head.changed()
        try:
            self._heads.offer(
                self.head, fence
            )  # a commit that is still on its way finds another stamp than it looks for
            found = self._heads.read()
        except GalleryError:
            self.unknown = True
            raise GalleryUnavailable(
                f"{problem}. Whether this change was made is not known; repeat it with its idempotency key"
            ) from problem
        if found.stamp == fence.stamp:
            self.head = fence
        return self._shows_mine(found)

    def _lost(self) -> GalleryBusy:
        return GalleryBusy(
            f"gallery {self._heads.points.address.name}: the change took so long that another process has taken over; nothing "
            "was changed, try again"
        )


class Turns:
    """Gives turns.

    Args:
        heads: of the gallery.
        busy_seconds: how long to wait for others.
    """

    def __init__(self, heads: Heads, *, busy_seconds: float) -> None:
        self._heads = heads
        self._busy_seconds = busy_seconds
        self._seconds = _SECONDS_HELD
        self._mine = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[Turn]:
        """The head for the length of a block. What was written in it and not committed does not show, ever.

        Raises:
            GalleryBusy: others have it for longer than was to be waited.
            GalleryError: the server fails.
        """
        deadline = time.monotonic() + self._busy_seconds
        if not self._mine.acquire(timeout=self._busy_seconds):
            raise self._busy("another thread")
        try:
            turn = self._take(deadline)
            first = turn.head.dimension is None
            try:
                self._clear(turn.head)
                yield turn
            finally:
                # where this fails, whoever comes next does it when the head's time has run out
                with suppress(GalleryError):
                    self._settle(turn, first=first)
        finally:
            self._mine.release()

    def _take(self, deadline: float) -> Turn:
        while True:
            head, now = self._heads.read(), time.time()
            # whose time would last so long goes by a clock that is wrong
            if not head.holder or not now < head.held_until < now + 2 * self._seconds:
                unfinished = {head.given} if head.given > head.committed else set()
                taken = head.changed(
                    holder=secrets.token_hex(8),
                    held_until=now + self._seconds,
                    given=head.given + 1,
                    void=head.void | unfinished,
                )
                if self._heads.replace(head, taken):
                    return Turn(self._heads, taken, self._seconds)
            if time.monotonic() >= deadline:
                raise self._busy("another process")
            time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - so that two do not meet again and again

    def _clear(self, head: Head) -> None:
        """Delete what others have left behind."""
        if head.given - 1 in head.void:
            self._forget(head.given - 1, collections_of(self._heads, head))
        self._delete(head)

    def _settle(self, turn: Turn, *, first: bool) -> None:
        """Delete what does not show any more, and give the head back; nothing, where it is not known what shows."""
        if turn.unknown:
            return
        if not turn.committed:
            self._forget(turn.head.given, turn.written)
        elif first:  # a first change that failed may have left rows that nobody knew where to look for
            for ticket in turn.head.void:
                self._forget(ticket, collections_of(self._heads, turn.head))
        self._delete(turn.head)
        turn.give_back()

    def _forget(self, ticket: int, collections: Collection[str]) -> None:
        """Delete what was written under a ticket that is not committed."""
        for collection in collections:
            self._heads.points.delete_where(collection, equal("ticket", ticket))

    def _delete(self, head: Head) -> None:
        for collection in collections_of(self._heads, head) if head.removed else ():
            self._heads.points.delete(collection, sorted(head.removed))

    def _busy(self, who: str) -> GalleryBusy:
        return GalleryBusy(
            f"gallery {self._heads.points.address.name}: {who} has been changing it for {self._busy_seconds:g} s; nothing was "
            "done, try again"
        )


def collections_of(heads: Heads, head: Head) -> list[str]:
    """The gallery's collections; rows first, so that what is deleted is not found by a search meanwhile."""
    address = heads.points.address
    return [address.records] if head.dimension is None else [address.rows(head.dimension), address.records]
