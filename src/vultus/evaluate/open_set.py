"""Open-set identification: how often is an enrolled subject missed, and how often is a stranger named?

From a folder of people a repeat enrols N subjects who have photos to spare, searches their other photos (mated searches),
and searches all photos of everybody else (non-mated searches). The next repeat enrols others.

Repeats search the same photos again, so pooled searches are many and their errors few: one pair of subjects who look
alike errs in every repeat that puts one of them before a gallery with the other. Searches are counted as often as they
were made, each point tells how many pairs of subjects its false positives come from, and intervals take subjects, not
searches, for what chance has drawn. N, R and T are those of `vultus.evaluate.identification`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vultus._export import export
from vultus.calibrate.comparisons import required_comparisons
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.identification import cmc
from vultus.evaluate.intervals import Interval
from vultus.evaluate.protocol import People
from vultus.evaluate.protocols.ijb import SearchLists
from vultus.evaluate.search_pool import Pool, pooled, require_files, searched, searched_split, split
from vultus.evaluate.search_rates import LEAST_PAIRS, SearchRate, rate_of

RATES = (1e-2, 1e-3)


@export("vultus.evaluate.IdentificationResult")
@dataclass(frozen=True, slots=True, eq=False)
class IdentificationResult:
    """The figures of an identification protocol.

    Args:
        protocol: its name.
        model_id: the system that was evaluated.
        gallery_size: N; the largest where galleries differ.
        galleries: how many galleries were searched: repeats, or those of the protocol.
        n_mated, n_non_mated: searches of each kind in all of them.
        mated_photos, non_mated_photos: how many different probes those are.
        points: FNIR at each FPIR that the searches support.
        refused: each rate that was asked for and they do not support, and why.
        cmc: share of mated searches that return their subject at rank 1, 2, ... with no threshold.
        rank_one_interval: of the first of those, over subjects.
        failures: "file: code: message" of each photo without a template.
        notes: what was noticed, and what the points rest on.
    """

    protocol: str
    model_id: str
    gallery_size: int
    galleries: int
    n_mated: int
    n_non_mated: int
    mated_photos: int
    non_mated_photos: int
    points: tuple[SearchRate, ...]
    cmc: tuple[float, ...]
    rank_one_interval: Interval
    refused: dict[float, str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "protocol": self.protocol,
            "model_id": self.model_id,
            "gallery_size": self.gallery_size,
            "galleries": self.galleries,
            "n_mated": self.n_mated,
            "n_non_mated": self.n_non_mated,
            "mated_photos": self.mated_photos,
            "non_mated_photos": self.non_mated_photos,
            "fnir_at_fpir": {f"{p.fpir:g}": p.to_dict() for p in self.points},
            "refused": {f"{rate:g}": why for rate, why in self.refused.items()},
            "cmc": list(self.cmc),
            "rank_one_interval": [self.rank_one_interval.low, self.rank_one_interval.high],
            "failures_to_enrol": len(self.failures),
            "failures": list(self.failures),
            "notes": list(self.notes),
        }


# --- the two protocols ------------------------------------------------------------------------------------------------


@export("vultus.evaluate.measure_open_set")
def measure_open_set(
    people: People,
    extraction: Extraction,
    *,
    gallery_size: int | None = None,
    gallery_photos: int = 1,
    repeats: int = 10,
    rates: Sequence[float] = RATES,
    max_rank: int = 1,
    ranks: int = 20,
    replicates: int = 1_000,
    seed: int = 0,
) -> IdentificationResult:
    """Open-set identification over a folder of people; see `vultus.evaluate.open_set` for what is searched and counted.

    Args:
        people: the folder.
        extraction: templates of its files.
        gallery_size: N, subjects enrolled in each repeat; 1,000, or two thirds of the subjects with photos to spare where
            that is fewer, unless told otherwise.
        gallery_photos: photos whose mean is a subject's reference; at least one more must be left to search with.
        repeats: how many galleries are drawn.
        rates: FPIRs to give FNIR at; what the searches cannot support is refused by name.
        max_rank: R.
        ranks: highest rank of the CMC.
        replicates: of the bootstrap over subjects.
        seed: of the galleries and of the bootstrap.

    Raises:
        BadArgument: an option out of range, or an extraction of other files.
        TooFewComparisons: fewer than N subjects have photos to spare, or nobody is left who is not enrolled.
    """
    require_files(people, extraction)
    if repeats < 1 or gallery_photos < 1:
        raise BadArgument(f"{repeats} repeats with {gallery_photos} photos a subject; expected 1 or more of each")
    able = int(np.count_nonzero(np.bincount(people.subjects) > gallery_photos))
    size = min(1_000, able * 2 // 3) if gallery_size is None else gallery_size
    if not 1 <= size <= able:
        raise TooFewComparisons(
            f"a gallery of {size:,} subjects with {gallery_photos} photos each and one to search with; {able:,} of "
            f"{len(people.names):,} subjects have that many"
        )
    if size == len(people.names):
        raise TooFewComparisons(f"all {size:,} subjects are enrolled; enrol fewer, so that some are strangers")
    drawn = (
        split(people, gallery_size=size, gallery_photos=gallery_photos, spare=1, rng=np.random.default_rng([seed, r]))
        for r in range(repeats)
    )
    pool = pooled(searched_split(extraction, people.subjects, s) for s in drawn)
    notes = [
        f"{repeats} repeats search the same photos in other galleries; intervals are over subjects"
        if repeats > 1
        else "one gallery; others would give other figures"
    ]
    return _result(
        people.name,
        extraction,
        pool,
        repeats,
        rates,
        max_rank,
        ranks,
        replicates,
        seed,
        notes,
        "repeats, or more strangers",
    )


@export("vultus.evaluate.measure_search_lists")
def measure_search_lists(
    lists: SearchLists,
    extraction: Extraction,
    *,
    rates: Sequence[float] = RATES,
    max_rank: int = 1,
    ranks: int = 20,
    replicates: int = 1_000,
    seed: int = 0,
) -> IdentificationResult:
    """A protocol of given galleries and probes; the searches of all galleries are pooled.

    Args:
        lists: the protocol.
        extraction: of the templates that it refers to.
        rates: FPIRs to give FNIR at; what the searches cannot support is refused by name.
        max_rank: R.
        ranks: highest rank of the CMC.
        replicates, seed: of the bootstrap over subjects.

    Raises:
        TooFewComparisons: no mated or no non-mated search.
    """
    pool = pooled(
        searched(
            extraction.rows[lists.probes],
            lists.probe_subjects,
            lists.probes,
            extraction.rows[gallery],
            lists.gallery_subjects[name],
        )
        for name, gallery in lists.galleries.items()
    )
    if not len(pool.mated_subjects) or not len(pool.strangers):
        raise TooFewComparisons(f"{len(pool.mated_subjects)} mated and {len(pool.strangers)} non-mated searches")
    return _result(
        lists.name,
        extraction,
        pool,
        len(lists.galleries),
        rates,
        max_rank,
        ranks,
        replicates,
        seed,
        lists.notes,
        "galleries",
    )


def _result(
    name: str,
    extraction: Extraction,
    pool: Pool,
    galleries: int,
    rates: Sequence[float],
    max_rank: int,
    ranks: int,
    replicates: int,
    seed: int,
    notes: Sequence[str],
    remedy: str,
) -> IdentificationResult:
    outcomes = pool.outcomes
    points, refused, said = [], {}, list(notes)
    for rate in rates:
        needed = required_comparisons(rate)
        each = len(outcomes.best_scores) // galleries
        if len(outcomes.best_scores) < needed:
            refused[rate] = (
                f"{len(outcomes.best_scores):,} non-mated searches, {each:,} in each of {galleries}, cannot support an FPIR "
                f"of {rate:g}, which needs {needed:,} (30 / rate): {math.ceil(needed / max(each, 1))} {remedy}"
            )
            continue
        point = rate_of(pool, rate, max_rank=max_rank, replicates=replicates, seed=seed)
        points.append(point)
        if not point.supported:
            said.append(
                f"the {point.false_positives:,} false positives at an FPIR of {rate:g} come from {point.subject_pairs} pairs "
                f"of subjects, fewer than {LEAST_PAIRS}: its threshold is known no better than the intervals say"
            )
    curve = cmc(outcomes.own_ranks, max_rank=min(ranks, outcomes.gallery_size))
    return IdentificationResult(
        protocol=name,
        model_id=extraction.model_id,
        gallery_size=outcomes.gallery_size,
        galleries=galleries,
        n_mated=len(outcomes.own_scores),
        n_non_mated=len(outcomes.best_scores),
        mated_photos=len(np.unique(pool.mated_photos)),
        non_mated_photos=len(np.unique(pool.strange_photos)),
        points=tuple(points),
        refused=refused,
        cmc=tuple(curve.tolist()),
        rank_one_interval=_complement(
            dyadic_interval(pool.mated_subjects, pool.mated_subjects, outcomes.own_ranks != 1)
        ),
        failures=tuple(f"{extraction.files[i]}: {why}" for i, why in sorted(extraction.failures.items())),
        notes=tuple(said),
    )


def _complement(interval: Interval) -> Interval:
    return Interval(1.0 - interval.high, 1.0 - interval.low, interval.level, interval.method)
