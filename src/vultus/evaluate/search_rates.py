"""Rates of pooled searches: what is FNIR at an FPIR, and on how many subjects does it rest?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vultus._export import export
from vultus.errors import TooFewComparisons
from vultus.evaluate.draws import draws, percentiles
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.identification import fnir_at_fpir
from vultus.evaluate.intervals import Interval, rule_of_three
from vultus.evaluate.search_pool import Pool
from vultus.types import BoolArray, IntArray

LEAST_PAIRS = 30  # of subjects behind false positives: the rule of 30, counted in what is independent


@export("vultus.evaluate.SearchRate")
@dataclass(frozen=True, slots=True)
class SearchRate:
    """FNIR(N, R, T) at one FPIR.

    Args:
        fpir: the rate that was asked for.
        threshold: T, the lowest score at which no more than that share of non-mated searches returns a candidate.
        reached: that share.
        fpir_interval: of the FPIR at this threshold, over subjects.
        fnir: share of mated searches that do not return their subject among the first R with a score of T or more; a
            probe or a reference without a template counts as missed.
        fnir_interval: over subjects, the threshold being found anew in each replicate.
        max_rank: R.
        n_mated, n_non_mated: searches of each kind, over all repeats.
        false_positives: non-mated searches that return a candidate.
        subject_pairs: how many pairs of subjects those come from.
    """

    fpir: float
    threshold: float
    reached: float
    fpir_interval: Interval
    fnir: float
    fnir_interval: Interval
    max_rank: int
    n_mated: int
    n_non_mated: int
    false_positives: int
    subject_pairs: int

    @property
    def supported(self) -> bool:
        """Whether 30 pairs of subjects or more stand behind the false positives."""
        return self.subject_pairs >= LEAST_PAIRS

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "fpir": self.fpir,
            "threshold": self.threshold if math.isfinite(self.threshold) else None,
            "reached": self.reached,
            "fpir_interval": [self.fpir_interval.low, self.fpir_interval.high],
            "fnir": self.fnir,
            "fnir_interval": [self.fnir_interval.low, self.fnir_interval.high],
            "max_rank": self.max_rank,
            "n_mated": self.n_mated,
            "n_non_mated": self.n_non_mated,
            "false_positives": self.false_positives,
            "subject_pairs": self.subject_pairs,
            "supported": self.supported,
        }


def rate_of(pool: Pool, fpir: float, *, max_rank: int, replicates: int, seed: int) -> SearchRate:
    """FNIR at an FPIR, with what it rests on.

    Raises:
        TooFewComparisons: fewer than 30 / fpir non-mated searches, no mated one, or a single subject.
    """
    point = fnir_at_fpir(pool.outcomes, fpir=fpir, max_rank=max_rank)
    false = pool.outcomes.best_scores >= point.threshold
    return SearchRate(
        fpir=fpir,
        threshold=point.threshold,
        reached=point.fpir,
        fpir_interval=dyadic_interval(pool.strangers, pool.nearest, false),
        fnir=point.fnir,
        fnir_interval=_fnir_interval(pool, fpir, max_rank=max_rank, replicates=replicates, seed=seed),
        max_rank=max_rank,
        n_mated=point.n_mated,
        n_non_mated=point.n_non_mated,
        false_positives=int(np.count_nonzero(false)),
        subject_pairs=pairs_behind(pool.strangers, pool.nearest, false),
    )


def pairs_behind(strangers: IntArray, nearest: IntArray, false: BoolArray) -> int:
    """How many unordered pairs of subjects false positives come from."""
    sides = np.sort(np.stack([strangers[false], nearest[false]], axis=1), axis=1)
    return len(np.unique(sides, axis=0))


def _fnir_interval(
    pool: Pool, fpir: float, *, max_rank: int, replicates: int, seed: int, level: float = 0.95
) -> Interval:
    """Bootstrap over subjects of FNIR at an FPIR, with the threshold of each replicate.

    A subject that was drawn w_i times gives its mated searches the weight w_i, and a search of i whose nearest candidate
    is j the weight w_i w_j, as if it were their comparison.
    """
    outcomes = pool.outcomes
    everyone = np.concatenate([pool.mated_subjects, pool.strangers, pool.nearest])
    names, index = np.unique(everyone, return_inverse=True)
    own, stranger, nearest = np.split(index, np.cumsum([len(pool.mated_subjects), len(pool.strangers)]))
    order = np.argsort(-outcomes.best_scores, kind="stable")
    tail, stranger, nearest = outcomes.best_scores[order], stranger[order], nearest[order]
    ends = np.append(np.flatnonzero(tail[1:] != tail[:-1]), len(tail) - 1)  # tied scores match together
    found = (outcomes.own_ranks >= 1) & (outcomes.own_ranks <= max_rank)
    kept = np.where(found, outcomes.own_scores, -np.inf)
    by_score = np.argsort(kept, kind="stable")
    missed_up_to = np.searchsorted(kept[by_score], tail[ends], side="right")  # if scores must exceed this one
    never = int(np.count_nonzero(~found | np.isneginf(kept)))
    rates: list[float] = []
    for weights in draws(len(names), replicates, seed):
        for w in np.ascontiguousarray(weights.T):
            reached = np.cumsum(w[stranger] * w[nearest])[ends]
            of_mated = np.concatenate([[0.0], np.cumsum(w[own[by_score]])])
            if not (reached[-1] > 0 and of_mated[-1] > 0):
                continue
            k = int(np.searchsorted(reached, fpir * reached[-1] * (1.0 + 1e-12), side="right"))
            missed = missed_up_to[k] if k < len(ends) else never
            rates.append(float(of_mated[missed] / of_mated[-1]))
    if len(rates) < 0.9 * replicates:
        raise TooFewComparisons(f"{len(rates)} of {replicates} replicates hold searches of both kinds")
    if max(rates) == 0.0:
        return rule_of_three(len(np.unique(pool.mated_photos)), level=level)
    return percentiles(np.asarray(rates), level)
