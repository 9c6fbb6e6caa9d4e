"""Identification: how often does a search miss the subject that is in the gallery, or name one who is not?

N is the number of subjects in the gallery, R the number of candidates looked at, T the threshold that a candidate's
score must reach. Terms follow ISO/IEC 19795-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_scores, require_support
from vultus.calibrate.thresholds import threshold_at_fmr
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.metrics import checked_threshold
from vultus.types import Float64Array, IntArray


@export("vultus.evaluate.Searches")
@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """What is kept of searches in a gallery with one reference a subject.

    Args:
        own_scores: (m,) for each mated search (the subject is in the gallery) the score of that subject; -inf where the
            probe gave no template.
        own_ranks: (m,) the rank of that subject among all candidates, from 1; 0 where it was not returned.
        best_scores: (k,) for each non-mated search (the subject is not in the gallery) the highest score; -inf where
            the probe gave no template.
        gallery_size: N, subjects in the gallery.

    Raises:
        BadArgument: shapes that differ, NaN, or ranks outside [0, N].
    """

    own_scores: Float64Array
    own_ranks: IntArray
    best_scores: Float64Array
    gallery_size: int

    def __post_init__(self) -> None:
        for name in ("own_scores", "best_scores"):
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if len(array):
                array = checked_scores(array, name=name)
            object.__setattr__(self, name, array)
        ranks = np.asarray(self.own_ranks)
        if not len(ranks):
            ranks = ranks.astype(np.intp)
        if self.gallery_size < 1:
            raise BadArgument(f"a gallery of {self.gallery_size} subjects; expected one or more")
        if ranks.shape != self.own_scores.shape or ranks.dtype.kind not in "iu":
            raise BadArgument(f"ranks of shape {ranks.shape} ({ranks.dtype}) for scores of {self.own_scores.shape}")
        if len(ranks) and not 0 <= ranks.min() <= ranks.max() <= self.gallery_size:
            raise BadArgument(f"ranks in [{ranks.min()}, {ranks.max()}]; expected [0, {self.gallery_size}]")
        object.__setattr__(self, "own_ranks", ranks)


@export("vultus.evaluate.SearchPoint")
@dataclass(frozen=True, slots=True)
class SearchPoint:
    """FPIR and FNIR(N, R, T).

    Args:
        threshold: T, the score that a candidate must reach.
        fpir: false positive identification rate, the share of non-mated searches with a candidate at or above T.
        fnir: false negative identification rate, the share of mated searches whose subject is not among the first R
            candidates with a score at or above T.
        max_rank: R.
        gallery_size: N.
        n_mated, n_non_mated: how many searches of each kind there were.
    """

    threshold: float
    fpir: float
    fnir: float
    max_rank: int
    gallery_size: int
    n_mated: int
    n_non_mated: int


@export("vultus.evaluate.searches")
def searches(similarity: npt.ArrayLike, probe_subjects: npt.ArrayLike, gallery_subjects: npt.ArrayLike) -> Searches:
    """Reduce a matrix of scores to the outcomes of its searches.

    A probe whose subject is in the gallery is a mated search, any other a non-mated one. A subject that ties with
    others gets the lowest rank among them.

    Args:
        similarity: (p, N) score of each probe with each subject; a row of -inf for a probe that gave no template.
        probe_subjects: (p,) whom each probe shows.
        gallery_subjects: (N,) the subject of each reference, all different.

    Raises:
        BadArgument: shapes that do not belong together, NaN, or a subject who is in the gallery twice.
        TooFewComparisons: no probe or no reference.
    """
    scores = np.asarray(similarity)
    probes, gallery = np.asarray(probe_subjects), np.asarray(gallery_subjects)
    if scores.ndim != 2 or scores.shape != (len(probes), len(gallery)):
        raise BadArgument(f"scores of shape {scores.shape} for {len(probes)} probes and {len(gallery)} references")
    if not scores.size:
        raise TooFewComparisons(f"{len(probes)} probes and {len(gallery)} references; expected at least one of each")
    if not (scores < np.inf).all():
        raise BadArgument("scores hold NaN or +inf; remove or repair those first")
    sorter = np.argsort(gallery, kind="stable")
    ascending = gallery[sorter]
    if (ascending[1:] == ascending[:-1]).any():
        raise BadArgument("a subject is in the gallery twice; merge the references of a subject first")
    place = np.minimum(np.searchsorted(ascending, probes), len(gallery) - 1)
    mated = ascending[place] == probes
    rows = np.flatnonzero(mated)
    own = scores[rows, sorter[place[rows]]]
    ranks = np.zeros(len(rows), dtype=np.intp)
    for begin in range(0, len(rows), 1024):  # bounds the temporary comparison to 1,024 rows
        part = slice(begin, begin + 1024)
        ranks[part] = np.count_nonzero(scores[rows[part]] >= own[part, None], axis=1)
    ranks[np.isneginf(own)] = 0
    best = scores.max(axis=1)[~mated]
    return Searches(own.astype(np.float64), ranks, best.astype(np.float64), len(gallery))


@export("vultus.evaluate.cmc")
def cmc(own_ranks: npt.ArrayLike, *, max_rank: int) -> Float64Array:
    """Cumulative match characteristic: the share of mated searches that return the subject at rank r or better.

    Args:
        own_ranks: (m,) rank of each probe's subject, from 1; 0 where it was not returned.
        max_rank: the highest rank asked for.

    Returns:
        (max_rank,) for r = 1, 2, ... max_rank.

    Raises:
        BadArgument: ranks that are not whole numbers of at least 0, or a `max_rank` below 1.
        TooFewComparisons: no search.
    """
    ranks = np.asarray(own_ranks)
    if not ranks.size:
        raise TooFewComparisons("no mated search; a CMC needs at least one")
    if ranks.ndim != 1 or ranks.dtype.kind not in "iu" or ranks.min() < 0 or max_rank < 1:
        raise BadArgument(
            f"ranks of shape {ranks.shape} ({ranks.dtype}) up to {max_rank}; expected (m,) whole numbers, 0 or more, "
            "and a max_rank of 1 or more"
        )
    counts = np.bincount(np.minimum(ranks, max_rank + 1), minlength=max_rank + 2)
    return np.cumsum(counts[1 : max_rank + 1]) / len(ranks)


@export("vultus.evaluate.fpir")
def fpir(outcomes: Searches, *, threshold: float) -> float:
    """False positive identification rate: the share of non-mated searches with a candidate at or above the threshold.

    Raises:
        BadArgument: a threshold that is NaN.
        TooFewComparisons: no non-mated search.
    """
    if not len(outcomes.best_scores):
        raise TooFewComparisons("no non-mated search; an FPIR needs subjects who are not in the gallery")
    return int(np.count_nonzero(outcomes.best_scores >= checked_threshold(threshold))) / len(outcomes.best_scores)


@export("vultus.evaluate.missed_searches")
def missed_searches(outcomes: Searches, *, threshold: float, max_rank: int = 1) -> npt.NDArray[np.bool_]:
    """(m,) True where a mated search does not return its subject within `max_rank` and at or above the threshold.

    Raises:
        BadArgument: a threshold that is NaN, or a `max_rank` below 1.
    """
    if max_rank < 1:
        raise BadArgument(f"max_rank is {max_rank}; expected 1 or more")
    ranks = outcomes.own_ranks
    found = (outcomes.own_scores >= checked_threshold(threshold)) & (ranks >= 1) & (ranks <= max_rank)
    missed: npt.NDArray[np.bool_] = ~found
    return missed


@export("vultus.evaluate.fnir")
def fnir(outcomes: Searches, *, threshold: float, max_rank: int = 1) -> float:
    """False negative identification rate FNIR(N, R, T), with R = `max_rank` and T = `threshold`.

    Raises:
        BadArgument: a threshold that is NaN, or a `max_rank` below 1.
        TooFewComparisons: no mated search.
    """
    missed = missed_searches(outcomes, threshold=threshold, max_rank=max_rank)
    if not len(missed):
        raise TooFewComparisons("no mated search; an FNIR needs probes of subjects who are in the gallery")
    return int(np.count_nonzero(missed)) / len(missed)


@export("vultus.evaluate.fnir_at_fpir")
def fnir_at_fpir(outcomes: Searches, *, fpir: float, max_rank: int = 1) -> SearchPoint:
    """FNIR(N, R, T) at the lowest threshold whose FPIR is at most `fpir`.

    Args:
        outcomes: the searches.
        fpir: share of non-mated searches with a candidate at or above the threshold, in (0, 1].
        max_rank: R, how many candidates are looked at.

    Returns:
        the point; its `fpir` is the one that was reached. The threshold lies midway between the best scores of two
        non-mated searches (see `vultus.calibrate.threshold_at_fmr`).

    Raises:
        BadArgument: `fpir` outside (0, 1], or a `max_rank` below 1.
        TooFewComparisons: no mated search, or fewer than 30 / fpir non-mated ones.
    """
    require_support(fpir, len(outcomes.best_scores), what="non-mated searches")
    threshold = threshold_at_fmr(outcomes.best_scores, fmr=fpir)
    reached = int(np.count_nonzero(outcomes.best_scores >= threshold)) / len(outcomes.best_scores)
    missed = fnir(outcomes, threshold=threshold, max_rank=max_rank)
    sizes = outcomes.gallery_size, len(outcomes.own_scores), len(outcomes.best_scores)
    return SearchPoint(threshold, reached, missed, max_rank, *sizes)
