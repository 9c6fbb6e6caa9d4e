"""A folder of people as pairs, so that what was searched can be verified and reported as well."""

from __future__ import annotations

import numpy as np

from vultus._export import export
from vultus.errors import TooFewComparisons
from vultus.evaluate.protocol import Pairs, People
from vultus.types import IntArray

_LEAST = 3_000


@export("vultus.evaluate.pairs_of_people")
def pairs_of_people(people: People, *, most: int = 20, seed: int = 0) -> Pairs:
    """All mated pairs of at most `most` photos a subject, and as many random pairs of two subjects, 3,000 at least.

    Lower false match rates than so many pairs support come from all cross-subject pairs, as everywhere.

    Args:
        people: the folder.
        most: photos of a subject that are paired with each other.
        seed: of the random pairs; none is taken twice.

    Raises:
        TooFewComparisons: a single subject, or nobody has two photos.
    """
    first, second = people.mated_pairs(most=most)
    if len(people.names) < 2 or not len(first):
        raise TooFewComparisons(
            f"{len(people.names)} subjects with {len(first)} pairs of photos of one subject; expected two subjects or more, "
            "and two photos or more of one of them"
        )
    one, other = _strangers(people.subjects, max(_LEAST, len(first)), np.random.default_rng(seed))
    return Pairs(
        name=people.name,
        files=people.files,
        first=np.concatenate([first, one]),
        second=np.concatenate([second, other]),
        mated=np.arange(len(first) + len(one)) < len(first),
        subjects=people.subjects,
        notes=(
            f"pairs made from a folder of people: every mated pair of at most {most} photos a subject, and {len(one):,} "
            f"pairs of two subjects drawn with the seed {seed}",
        ),
    )


def _strangers(subjects: IntArray, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Up to `count` different pairs of photos of two subjects, the subjects drawn evenly, then a photo of each."""
    starts = np.searchsorted(subjects, np.arange(int(subjects.max()) + 1))
    sizes = np.diff(np.append(starts, len(subjects)))
    one = rng.integers(0, len(sizes), 2 * count)
    other = (one + rng.integers(1, len(sizes), 2 * count)) % len(sizes)
    sides = [starts[s] + rng.integers(0, sizes[s]) for s in (one, other)]
    pairs = np.sort(np.stack(sides), axis=0)
    _, once = np.unique(pairs, axis=1, return_index=True)
    chosen = np.sort(once)[:count]
    return pairs[0, chosen].astype(np.intp), pairs[1, chosen].astype(np.intp)
