"""The head of a gallery: the one point whose replacement makes a change, whole, on a server without transactions.

Qdrant changes points one request at a time, and shows what it has of them meanwhile. So:

- Every point but the head is written once and never changed. Its number says under which *ticket* it was written: each
  transaction has one, which no other ever had.
- The head names the last ticket that was committed, the tickets that never were, and the points that a commit has removed
  and that are not yet deleted. A point shows if its ticket was committed and it is not removed. Points of a transaction
  that was not finished do not show, whenever they arrive.
- A transaction takes the head (nobody else can then, until it gives it back or its time has run out), writes its points,
  replaces the head, which is the moment of the commit, deletes what was removed, and gives the head back. Each replacement
  is one request that does nothing unless the head is still the one that was read.
- A reader reads the head first, passes over what does not show, and reads the head again in the end. Where points were
  removed meanwhile it starts again.

What a process that died has left is cleared by the next one that takes the head.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from vultus.errors import GalleryCorrupt, GalleryTooNew
from vultus.gallery.qdrant.points import Point, Points, equal

HEAD = 0
FORMAT = 1
PLACES = 25  # bits of a number that are the place within its transaction
MOST = 1 << PLACES


@dataclass(frozen=True, slots=True)
class Head:
    """The state of a gallery.

    Args:
        stamp: random, of this state.
        format: version of the scheme.
        model_id: the model that the templates are of.
        dimension: numbers in a row; None before the first.
        revision: of the last operation.
        committed: the last ticket that was.
        given: the last ticket that was given to a transaction.
        void: tickets that never were committed.
        removed: points that are no longer there, and may not be deleted yet.
        removals: how many commits have removed something.
        subjects, templates, blanks: how many there are.
        holder: who has the head; empty for nobody.
        held_until: when its time runs out, in seconds since 1970.
    """

    stamp: str
    model_id: str
    format: int = FORMAT
    dimension: int | None = None
    revision: int = 0
    committed: int = 0
    given: int = 0
    void: frozenset[int] = frozenset()
    removed: frozenset[int] = frozenset()
    removals: int = 0
    subjects: int = 0
    templates: int = 0
    blanks: int = 0
    holder: str = ""
    held_until: float = 0.0

    @property
    def vectors(self) -> int:
        """Templates that are not blank."""
        return self.templates - self.blanks

    def shows(self, number: int) -> bool:
        """Whether a point is part of this state."""
        ticket = number >> PLACES
        return 0 < ticket <= self.committed and ticket not in self.void and number not in self.removed

    def changed(self, **parts: Any) -> Head:
        """The head with other parts, and a stamp of its own."""
        return replace(self, stamp=secrets.token_hex(8), **parts)


def new_head(model_id: str) -> Head:
    """The head of a gallery in which nothing was done yet."""
    return Head(secrets.token_hex(8), model_id)


class Heads:
    """Reads and replaces the head of one gallery.

    Args:
        points: of the server.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        self._collection = points.address.records

    def make(self, head: Head) -> None:
        """Write the head, unless there is one."""
        self.points.insert_unless_there(self._collection, Point(HEAD, _payload(head)))

    def find(self) -> Head | None:
        """The head; None where there is none.

        Raises:
            GalleryCorrupt, GalleryTooNew: it is none of this version.
        """
        found = self.points.latest(self._collection, HEAD)
        return None if found is None else self._parsed(found.payload)

    def read(self) -> Head:
        """The head.

        Raises:
            GalleryCorrupt: there is none.
        """
        head = self.find()
        if head is None:
            raise GalleryCorrupt(f"gallery {self.points.address.name}: its head is missing; restore a snapshot")
        return head

    def offer(self, old: Head, new: Head) -> None:
        """Put a new head in the place of the old one, in one step, if that is still there."""
        self.points.replace_where(self._collection, HEAD, _payload(new), equal("stamp", old.stamp))

    def replace(self, old: Head, new: Head) -> bool:
        """The same; whether the new one, which nobody else may replace yet, is there now."""
        self.offer(old, new)
        return self.read().stamp == new.stamp

    def _parsed(self, payload: dict[str, Any]) -> Head:
        name = self.points.address.name
        version = payload.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise GalleryTooNew(
                f"gallery {name} is of version {version}, and this vultus knows versions up to {FORMAT}; use a newer vultus"
            )
        try:
            parts = {f.name: payload[f.name] for f in fields(Head)}
            return Head(**{**parts, "void": frozenset(parts["void"]), "removed": frozenset(parts["removed"])})
        except (LookupError, TypeError) as problem:
            raise GalleryCorrupt(
                f"the collection {self._collection} is another program's and no gallery, or its head is damaged; name "
                "another gallery, or restore a snapshot"
            ) from problem


def _payload(head: Head) -> dict[str, Any]:
    return {**asdict(head), "kind": "head", "void": sorted(head.void), "removed": sorted(head.removed)}
