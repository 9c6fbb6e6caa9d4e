"""Candidates that a machine is not sure of: two people look, each with a key of his own, and neither decides alone."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from vultus.errors import NotFound, StateConflict
from vultus.service.state import State

_STATES = {"same": "confirmed", "different": "refuted"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reviewer said."""

    key_id: str
    verdict: str
    made: datetime


@dataclass(frozen=True, slots=True)
class Review:
    """One candidate to look at.

    Args:
        review_id: names it.
        gallery, subject_id: the candidate.
        band: how alike, coarsely.
        threshold: that the candidate reached.
        state: "open", "confirmed" or "refuted" by two, or "disputed": two disagree, and a third decides.
        created: when the search was made.
        picture: whether a small picture of the probe was kept.
        decisions: so far.
    """

    review_id: str
    gallery: str
    subject_id: str
    band: str
    threshold: float
    state: str
    created: datetime
    picture: bool
    decisions: tuple[Decision, ...]


class Reviews:
    """The queue."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self, *, gallery: str, subject_id: str, band: str, threshold: float, key_id: str, picture: bytes | None
    ) -> str:
        """Put a candidate into the queue; its id."""
        review = secrets.token_hex(8)
        self._state.change(
            "INSERT INTO reviews VALUES (?, ?, ?, 'identify', ?, ?, 'open', ?, ?, ?)",
            (review, gallery, subject_id, band, threshold, int(time.time()), key_id, picture),
        )
        return review

    def listed(self, *, state: str | None = None, limit: int = 100) -> list[Review]:
        """Reviews, the oldest first."""
        query = "SELECT id FROM reviews WHERE ?1 IS NULL OR state = ?1 ORDER BY created, id LIMIT ?2"
        return [self.get(row[0]) for row in self._state.rows(query, (state, limit))]

    def about(self, gallery: str, subject_id: str) -> list[str]:
        """Ids of the reviews of a subject."""
        rows = self._state.rows("SELECT id FROM reviews WHERE gallery = ? AND subject = ?", (gallery, subject_id))
        return [row[0] for row in rows]

    def get(self, review_id: str) -> Review:
        """One review.

        Raises:
            NotFound: there is none of this id.
        """
        query = (
            "SELECT gallery, subject, band, threshold, state, created, picture IS NOT NULL FROM reviews WHERE id = ?"
        )
        row = self._state.row(query, (review_id,))
        if row is None:
            raise NotFound("there is no review of this id")
        made = self._state.rows("SELECT key, verdict, made FROM decisions WHERE review = ? ORDER BY made", (review_id,))
        gallery, subject, band, threshold, state, created, picture = row
        found = tuple(Decision(k, v, datetime.fromtimestamp(m, UTC)) for k, v, m in made)
        when = datetime.fromtimestamp(created, UTC)
        return Review(review_id, gallery, subject, band, threshold, state, when, bool(picture), found)

    def picture(self, review_id: str) -> bytes | None:
        """The small picture of the probe, where one was kept."""
        self.get(review_id)
        row = self._state.row("SELECT picture FROM reviews WHERE id = ?", (review_id,))
        return None if row is None or row[0] is None else bytes(row[0])

    def decide(self, review_id: str, key_id: str, verdict: str) -> Review:
        """Add a reviewer's verdict; two that agree settle it, and its picture goes.

        Raises:
            NotFound: there is no such review.
            StateConflict: it is settled, or this key has decided already.
        """
        with self._state.writing() as db:
            before = self.get(review_id)
            if before.state in _STATES.values():
                raise StateConflict(f"the review is {before.state} already")
            if any(d.key_id == key_id for d in before.decisions):
                raise StateConflict("this key has decided already; a review needs two people")
            db.execute("INSERT INTO decisions VALUES (?, ?, ?, ?)", (review_id, key_id, verdict, int(time.time())))
            votes = Counter([verdict, *(d.verdict for d in before.decisions)])
            settled = [v for v, n in votes.items() if n >= 2]
            state = _STATES[settled[0]] if settled else "disputed" if len(votes) > 1 else "open"
            db.execute("UPDATE reviews SET state = ? WHERE id = ?", (state, review_id))
            if settled:
                db.execute("UPDATE reviews SET picture = NULL WHERE id = ?", (review_id,))
        if settled:
            self._state.erase()
        return self.get(review_id)
