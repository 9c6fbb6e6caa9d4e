"""What every part of a gallery works with: the engine that keeps it, and how scores become decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vultus.errors import BadArgument
from vultus.gallery.decide import Limit
from vultus.gallery.engine import Engine, LimitOf
from vultus.gallery.intake import checked_probe
from vultus.gallery.rank import By
from vultus.types import Candidate, FloatArray, SearchThreshold, Template, Threshold


class Opened:
    """An open gallery.

    Args:
        engine: keeps subjects and templates, and searches them.
        thresholds: measured for the gallery's model on comparisons.
        searches: measured for the gallery's model on searches.
        by: a subject's score is the highest, or the mean, of its templates' scores.
        near_duplicate: from which score on an enrolment reports other subjects; None for no such look.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        thresholds: Sequence[Threshold],
        searches: Sequence[SearchThreshold],
        by: By,
        near_duplicate: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self.thresholds = tuple(thresholds)
        self.searches = tuple(searches)
        self.by = by
        self.near_duplicate = near_duplicate

    @property
    def name(self) -> str:
        """What messages call the gallery: its file, or its address without user and password."""
        return self._engine.name

    @property
    def path(self) -> Path | None:
        """The database file; None for a gallery that a server keeps."""
        return self._engine.path

    @property
    def model_id(self) -> str:
        """The model that the templates are of."""
        return self._engine.model_id

    def _search(
        self, probe: Template, limit_of: LimitOf, max_rank: int
    ) -> tuple[tuple[Candidate, ...], Limit, int, int]:
        """Candidates, the limit they had to reach, how many templates were compared, and the revision."""
        vector = checked_probe(probe, model_id=self.model_id, dimension=None, gallery=self.name)
        return self._search_row(vector, limit_of, max_rank)

    def _search_row(
        self, row: FloatArray, limit_of: LimitOf, max_rank: int
    ) -> tuple[tuple[Candidate, ...], Limit, int, int]:
        if max_rank < 1:
            raise BadArgument(f"max_rank is {max_rank!r}; expected 1 or more")
        answer = self._engine.search(row, limit_of=limit_of, max_rank=max_rank, by=self.by, now=self._clock())
        candidates = tuple(Candidate(i, subject, score) for i, (subject, score) in enumerate(answer.found, start=1))
        return candidates, answer.limit, answer.compared, answer.revision
