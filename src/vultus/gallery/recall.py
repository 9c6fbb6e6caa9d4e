"""How often does a search find what an exact search finds?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vultus._export import export
from vultus.errors import BadArgument
from vultus.gallery.decide import Limit, share_interval
from vultus.gallery.engine import Engine
from vultus.gallery.rank import By
from vultus.types import FloatArray


@export("vultus.gallery.Recall")
@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the candidates that an exact search names the gallery's own search names too.

    Args:
        searches: how many probes were searched for, each in both ways.
        max_rank: how many candidates each search was asked for.
        candidates: how many the exact searches named.
        found: how many of those the others named.
        first: in how many of the searches the best candidate was the same.
        low, high: 95 % interval of the share of searches whose best candidate is the same.
    """

    searches: int
    max_rank: int
    candidates: int
    found: int
    first: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Found of all candidates; 1 where there were none."""
        return self.found / self.candidates if self.candidates else 1.0


def measure_recall(engine: Engine, probes: Sequence[FloatArray], *, max_rank: int, by: By, now: float) -> Recall:
    """Search for each probe in both ways, without a threshold.

    Args:
        engine: of a gallery that nobody changes meanwhile.
        probes: rows of the gallery's model.
        max_rank: how many candidates count.
        by: how a subject's score comes from those of its templates.
        now: seconds since 1970.

    Raises:
        BadArgument: no probes, or no rank.
        GalleryError: the gallery cannot be read.
    """
    if not probes or max_rank < 1:
        raise BadArgument(f"{len(probes)} probes and max_rank {max_rank!r}; expected at least 1 of each")
    exactly = engine.exactly()
    candidates = found = first = 0
    for probe in probes:
        true, own = (
            [
                subject
                for subject, _ in searcher.search(
                    probe, limit_of=lambda _, __: Limit(-1.0), max_rank=max_rank, by=by, now=now
                ).found
            ]
            for searcher in (exactly, engine)
        )
        candidates += len(true)
        found += len(set(true) & set(own))
        first += true[:1] == own[:1]
    low, high = share_interval(first, len(probes))
    return Recall(len(probes), max_rank, candidates, found, first, low, high)
