"""What a preparation kept, what it dropped and why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vultus._export import export
from vultus.errors import DatasetError
from vultus.types import IntArray

EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


@export("vultus.train.data.PreparationReport")
@dataclass(frozen=True, slots=True)
class PreparationReport:
    """Counts of one preparation.

    Args:
        source: folder of the photos.
        model: detector and embedder.
        photos: in the source.
        kept: photos in the shards.
        identities: in the source.
        kept_identities: in the shards.
        dropped: by reason, how many photos; the sum with `kept` is `photos`.
        lost: identities of which no photo, or too few, were kept.
        histogram: (from, identities before, identities after) with so many photos or more, but fewer than the next row.
        quality: quantiles 0, 0.05, 0.25, 0.5, 0.75, 0.95 and 1 of the kept photos.
        shared: pairs of photos under two identities that are near-duplicates: (photo, other photo), paths in the source.
        options: what the preparation was asked for.
        seconds: it took, of this run alone.
    """

    source: str
    model: str
    photos: int
    kept: int
    identities: int
    kept_identities: int
    dropped: Mapping[str, int]
    lost: tuple[str, ...]
    histogram: tuple[tuple[int, int, int], ...]
    quality: tuple[float, ...]
    shared: tuple[tuple[str, str], ...]
    options: Mapping[str, float | str]
    seconds: float

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def of_json(cls, text: str) -> PreparationReport:
        """The inverse of `to_json`.

        Raises:
            DatasetError: the text is no such report.
        """
        try:
            table = json.loads(text)
            for name in ("lost", "histogram", "quality", "shared"):
                table[name] = tuple(tuple(x) if isinstance(x, list) else x for x in table[name])
            return cls(**table)
        except (ValueError, TypeError, KeyError) as problem:
            raise DatasetError(f"this is no report of a preparation: {problem}") from problem

    def __str__(self) -> str:
        """For people."""
        lines = [
            f"{self.source}: {self.photos} photos of {self.identities} identities",
            f"prepared by {self.model} in {self.seconds:.0f} s",
            f"  kept       {self.kept:>9} photos of {self.kept_identities} identities",
        ]
        lines += [f"  {reason:<10} {count:>9}" for reason, count in self.dropped.items()]
        lines.append("photos of an identity   identities before   after")
        ends = [*(str(row[0] - 1) for row in self.histogram[1:]), ""]
        for (start, before, after), end in zip(self.histogram, ends, strict=True):
            span = f"{start}" if end == str(start) else f"{start} to {end}" if end else f"{start} and more"
            lines.append(f"  {span:<20} {before:>18} {after:>7}")
        lines.append(
            "quality of the kept: " + ", ".join(f"{q:.2f}" for q in self.quality) + " (min, 5, 25, 50, 75, 95 %, max)"
        )
        if self.lost:
            lines.append(f"{len(self.lost)} identities without enough photos left: " + _some(self.lost))
        if self.shared:
            pairs = tuple(f"{one} = {other}" for one, other in self.shared)
            lines.append(
                f"{len(pairs)} pairs of photos under two identities are near-duplicates (kept; look at them): "
                + _some(pairs)
            )
        return "\n".join(lines) + "\n"


def histogram(before: IntArray, after: IntArray) -> tuple[tuple[int, int, int], ...]:
    """How many identities have how many photos.

    Args:
        before, after: photos of each identity.
    """
    counted = [np.histogram(counts, [*EDGES, np.inf])[0] for counts in (before, after)]
    used = np.flatnonzero(counted[0] + counted[1])
    rows = range(used.min(), used.max() + 1) if len(used) else range(0)
    return tuple((EDGES[i], int(counted[0][i]), int(counted[1][i])) for i in rows)


def _some(names: tuple[str, ...], most: int = 10) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more (see report.json)" if rest > 0 else "")
