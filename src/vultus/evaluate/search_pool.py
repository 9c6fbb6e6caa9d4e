"""Searches of galleries: who is enrolled, who is searched, and what do all those searches give together?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.identification import Searches, searches
from vultus.evaluate.protocol import People
from vultus.types import FloatArray, IntArray

_BLOCK = 2_048


# --- who is enrolled and who is searched ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One repeat: (N, k) files of the gallery, (N,) its subjects, and the files of all probes."""

    gallery: IntArray
    subjects: IntArray
    probes: IntArray


def require_files(people: People, extraction: Extraction) -> None:
    """Refuse an extraction of other files than those of the folder.

    Raises:
        BadArgument: they differ.
    """
    if extraction.files != people.files:
        raise BadArgument(
            f"the extraction is not one of the {len(people.files):,} files of {people.name}, in their order"
        )


def split(people: People, *, gallery_size: int, gallery_photos: int, spare: int, rng: np.random.Generator) -> Split:
    """Enrol subjects drawn at random from those with `spare` photos more than a reference takes.

    Args:
        people: the folder.
        gallery_size: N.
        gallery_photos: photos of a reference, drawn at random too.
        spare: 1 where each enrolled subject must be searched for, 0 where only strangers are.
        rng: what draws.
    """
    count = np.bincount(people.subjects, minlength=len(people.names))
    able = np.flatnonzero(count >= gallery_photos + spare)
    chosen = np.sort(rng.choice(able, gallery_size, replace=False))
    order = np.lexsort((rng.random(len(people.files)), people.subjects))
    begin = np.cumsum(count) - count
    gallery = order[begin[chosen][:, None] + np.arange(gallery_photos)]
    rest = np.ones(len(people.files), dtype=np.bool_)
    rest[gallery] = False
    if not spare:
        rest[np.isin(people.subjects, chosen)] = False
    return Split(gallery, chosen, np.flatnonzero(rest))


def references(extraction: Extraction, gallery: IntArray) -> FloatArray:
    """(N, d) unit mean of the rows of (N, k) files; zeros, a blank reference, where none of them has a template."""
    sums = extraction.rows[gallery].sum(axis=1, dtype=np.float64)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means: FloatArray = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)
    return means


# --- searches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Searches of one or several galleries.

    Args:
        outcomes: the scores and ranks of all of them.
        mated_subjects, mated_photos: (m,) subject and probe of each mated search.
        strangers, strange_photos: (k,) subject and probe of each non-mated search.
        nearest: (k,) subject of its best candidate.
    """

    outcomes: Searches
    mated_subjects: IntArray
    mated_photos: IntArray
    strangers: IntArray
    strange_photos: IntArray
    nearest: IntArray


def searched_split(extraction: Extraction, subjects: IntArray, drawn: Split) -> Pool:
    """All searches of one repeat."""
    rows, probes = references(extraction, drawn.gallery), drawn.probes
    return searched(extraction.rows[probes], subjects[probes], probes, rows, drawn.subjects)


def searched(
    probes: FloatArray, probe_subjects: IntArray, photos: IntArray, gallery: FloatArray, gallery_subjects: IntArray
) -> Pool:
    """Search every probe in one gallery; rows of zeros match nobody."""
    mated = np.isin(probe_subjects, gallery_subjects)
    parts, nearest = [], []
    for scores, part in similarities(probes, gallery):
        parts.append(searches(scores, probe_subjects[part], gallery_subjects))
        nearest.append(gallery_subjects[scores.argmax(axis=1)][~mated[part]])
    if not parts:
        raise TooFewComparisons("no photo is left to search with")
    return Pool(
        _joined(parts),
        probe_subjects[mated],
        photos[mated],
        probe_subjects[~mated],
        photos[~mated],
        np.concatenate(nearest),
    )


def similarities(probes: FloatArray, gallery: FloatArray) -> Iterator[tuple[FloatArray, slice]]:
    """Scores of some probes at a time with the whole gallery, -inf where one of the two is blank, and which probes."""
    blank = ~gallery.any(axis=1)
    for begin in range(0, len(probes), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        scores: FloatArray = np.clip(probes[part] @ gallery.T, -1.0, 1.0)
        scores[:, blank] = -np.inf
        scores[~probes[part].any(axis=1)] = -np.inf
        yield scores, part


def pooled(pools: Iterable[Pool]) -> Pool:
    """The searches of several galleries as those of one."""
    several = list(pools)
    names = ("mated_subjects", "mated_photos", "strangers", "strange_photos", "nearest")
    return Pool(
        _joined([p.outcomes for p in several]), *(np.concatenate([getattr(p, n) for p in several]) for n in names)
    )


def _joined(parts: Sequence[Searches]) -> Searches:
    return Searches(
        np.concatenate([p.own_scores for p in parts]),
        np.concatenate([p.own_ranks for p in parts]).astype(np.intp),
        np.concatenate([p.best_scores for p in parts]),
        max(p.gallery_size for p in parts),
    )
