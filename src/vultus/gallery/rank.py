"""From proposed templates to ranked subjects: exact scores decide, and a bound on the others says when to stop.

However an engine finds candidates, the answer is the same: the engine says how high the templates that it did not
propose can score, and where that is high enough to matter it is asked for all that can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from vultus.types import Float64Array

By = Literal["max", "mean"]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Usable templates with their exact scores; of a subject, all those that its score depends on.

    Args:
        subjects: (n,) number of each template's subject.
        scores: (n,) of the templates.
    """

    subjects: npt.NDArray[np.int64]
    scores: Float64Array


class Proposals(Protocol):
    """One probe's way through the templates."""

    def nearest(self, count: int) -> tuple[Scored, float]:
        """About the `count` best templates, or more, and a bound that all others score below."""
        ...

    def down_to(self, limit: float) -> Scored:
        """All templates that score at least that much, and perhaps others."""
        ...


def best_of(proposals: Proposals, *, threshold: float, max_rank: int, by: By) -> tuple[list[int], list[float]]:
    """Numbers and scores of at most `max_rank` subjects that reach the threshold, best first.

    Args:
        proposals: of this probe.
        threshold: lowest score.
        max_rank: how many subjects.
        by: a subject's score is the highest or the mean of its templates' scores.

    Returns:
        equal scores are in the order of the subjects' numbers, which is that of enrolment.
    """
    found, floor = proposals.nearest(4 * max_rank + 28)
    numbers, scores = ranked(found, threshold=threshold, max_rank=max_rank, by=by)
    limit = threshold if len(scores) < max_rank else scores[-1]
    if floor > limit:
        numbers, scores = ranked(proposals.down_to(limit), threshold=threshold, max_rank=max_rank, by=by)
    return numbers, scores


def ranked(found: Scored, *, threshold: float, max_rank: int, by: By) -> tuple[list[int], list[float]]:
    """The best subjects among those that were found."""
    subjects, best = _by_subject(found, by)
    reached = np.flatnonzero(best >= threshold)
    order = reached[np.lexsort((subjects[reached], -best[reached]))][:max_rank]
    return subjects[order].tolist(), best[order].tolist()


def _by_subject(found: Scored, by: By) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Each subject once, ascending, with its score."""
    order = np.argsort(found.subjects, kind="stable")
    subjects, scores = found.subjects[order], found.scores[order]
    first = np.flatnonzero(np.diff(subjects, prepend=-1))
    if not len(first):
        return subjects, scores
    if by == "max":
        return subjects[first], np.maximum.reduceat(scores, first)
    counts = np.diff(np.append(first, len(subjects)))
    return subjects[first], np.add.reduceat(scores, first) / counts
