"""Which photos of a preparation stay, and why the others go."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.detect import Policy
from vultus.errors import BadArgument
from vultus.train.data.codec import ENCODINGS, Encoding
from vultus.train.data.cutting import FOUND, Cuts
from vultus.train.data.duplicates import distinct

KEPT = ""


@export("vultus.train.data.Preparation")
@dataclass(frozen=True, slots=True)
class Preparation:
    """What a preparation is to do.

    Args:
        policy: which face of a photo is meant.
        min_quality: lowest overall quality of a kept face.
        min_eyes: smallest distance between the eyes, in pixels of the photo.
        duplicate_cosine: two photos of an identity are near-duplicates if their embeddings have at least this cosine
        duplicate_bits: and their 64-bit difference hashes differ in at most so many bits; -1 keeps near-duplicates.
        min_photos: identities with fewer photos left are dropped.
        encoding: of the faces: "webp" or "png" without loss, "jpeg" smaller, "raw" quickest to read.
        shard_photos: photos in one shard.
        shuffle: mix the identities in the shards, so that reading them in order gives mixed batches.
        seed: of that order.
        damaged: "skip" counts photos that cannot be read; "error" stops at the first.
    """

    policy: Policy = "largest"
    min_quality: float = 0.02
    min_eyes: float = 12.0
    duplicate_cosine: float = 0.9
    duplicate_bits: int = 4
    min_photos: int = 1
    encoding: Encoding = "webp"
    shard_photos: int = 10_000
    shuffle: bool = True
    seed: int = 0
    damaged: str = "skip"

    def __post_init__(self) -> None:
        if self.policy not in ("largest", "central", "one"):
            raise BadArgument(f"policy is {self.policy!r}; expected 'largest', 'central' or 'one'")
        if self.encoding not in ENCODINGS:
            raise BadArgument(f"encoding is {self.encoding!r}; expected one of {', '.join(ENCODINGS)}")
        if self.damaged not in ("skip", "error"):
            raise BadArgument(f"damaged is {self.damaged!r}; expected 'skip' or 'error'")
        ranges: dict[str, tuple[float, float]] = {
            "min_quality": (0, 1),
            "min_eyes": (0, np.inf),
            "duplicate_cosine": (-1, 1),
            "duplicate_bits": (-1, 64),
            "min_photos": (1, np.inf),
            "shard_photos": (1, np.inf),
            "seed": (0, np.inf),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise BadArgument(f"{name} is {getattr(self, name)!r}; expected {low:g} to {high:g}")


def judge(cuts: Cuts, labels: npt.NDArray[np.int64], options: Preparation) -> npt.NDArray[np.str_]:
    """(n,) why each photo is dropped, or `KEPT`: the code of an error, "low_quality", "small", "duplicate" or "few_photos".

    Args:
        cuts: what became of n photos.
        labels: (n,) identity of each.
        options: the limits.
    """
    reasons = np.where(cuts.outcome == FOUND, KEPT, cuts.outcome).astype("U32")
    reasons[(reasons == KEPT) & (cuts.eyes < options.min_eyes)] = "small"
    reasons[(reasons == KEPT) & (cuts.quality < options.min_quality)] = "low_quality"
    for start, stop in _runs(labels):
        members = start + np.flatnonzero(reasons[start:stop] == KEPT)
        if options.duplicate_bits >= 0:
            stays = distinct(
                cuts.rows[members],
                cuts.hash[members],
                cuts.quality[members],
                cosine=options.duplicate_cosine,
                bits=options.duplicate_bits,
            )
            reasons[members[~stays]] = "duplicate"
            members = members[stays]
        if len(members) < options.min_photos:
            reasons[members] = "few_photos"
    return reasons


def _runs(labels: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where each run of equal labels begins and ends."""
    edges = np.flatnonzero(np.diff(labels, prepend=-1, append=-1)).tolist()
    return list(itertools.pairwise(edges))
