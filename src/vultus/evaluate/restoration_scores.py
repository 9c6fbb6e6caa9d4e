"""TAR at a false match rate under weights of the subjects: what a bootstrap over subjects asks for again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

_KEPT = 60  # of the different-person scores, so many times those above the threshold are kept for the replicates


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The comparisons: files once, pairs as indices into them, the subject of each file."""

    first_files: IntArray
    second_files: IntArray
    first: IntArray
    second: IntArray
    subject: IntArray
    first_subject: IntArray
    second_subject: IntArray
    subjects: int
    fmr: float

    @classmethod
    def of(cls, first: IntArray, second: IntArray, subjects: IntArray, fmr: float) -> Compared:
        """For mated pairs of files, the subject of each pair, and a false match rate.

        Raises:
            BadArgument: no such rate.
            TooFewComparisons: a single subject, or too few comparisons of different people for the rate.
        """
        if not 0 < fmr < 1:
            raise BadArgument(f"fmr is {fmr!r}; expected a rate in (0, 1)")
        names, subject = np.unique(subjects, return_inverse=True)
        if len(names) < 2:
            raise TooFewComparisons("the mated pairs show one subject; a threshold needs two or more")
        first_files, one = np.unique(first, return_inverse=True)
        second_files, two = np.unique(second, return_inverse=True)
        of_first, of_second = np.zeros(len(first_files), np.intp), np.zeros(len(second_files), np.intp)
        of_first[one], of_second[two] = subject, subject
        made = cls(first_files, second_files, one, two, subject, of_first, of_second, len(names), fmr)
        if made.non_mated * fmr < 30:
            raise TooFewComparisons(
                f"{made.non_mated:,} comparisons of different people are too few for FMR {fmr:g}: take more pairs, or "
                f"{30 / made.non_mated:.2g} or more"
            )
        return made

    @property
    def non_mated(self) -> int:
        """How many comparisons of different people there are."""
        return len(self.first_files) * len(self.second_files) - int(
            np.bincount(self.first_subject, minlength=self.subjects)
            @ np.bincount(self.second_subject, minlength=self.subjects)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Mated scores, and the highest scores of different people with the subjects on either side."""

    mated: Float64Array
    others: Float64Array
    one: IntArray
    two: IntArray

    @classmethod
    def of(cls, first: FloatArray, ok: BoolArray, second: FloatArray, found: BoolArray, pairs: Compared) -> Scores:
        """For rows of the first and of the second files, and where there are any."""
        scores = first.astype(np.float64) @ second.T.astype(np.float64)
        scores[~ok] = -np.inf
        scores[:, ~found] = -np.inf
        mated = scores[pairs.first, pairs.second]
        apart = pairs.first_subject[:, None] != pairs.second_subject[None]
        rows, columns = np.nonzero(apart)
        others = scores[rows, columns]
        keep = min(len(others), max(200, round(_KEPT * pairs.fmr * len(others))))
        top = np.argpartition(others, len(others) - keep)[len(others) - keep :]
        top = top[np.argsort(-others[top], kind="stable")]
        return cls(mated, others[top], pairs.first_subject[rows[top]], pairs.second_subject[columns[top]])

    def tar(self, weights: Float64Array, pairs: Compared) -> Float64Array:
        """(r,) TAR at the false match rate, for (subjects, r) weights of the subjects."""
        first = np.bincount(pairs.first_subject, minlength=pairs.subjects)[:, None] * weights
        second = np.bincount(pairs.second_subject, minlength=pairs.subjects)[:, None] * weights
        total = first.sum(axis=0) * second.sum(axis=0) - (first * second).sum(axis=0)
        above = np.cumsum(weights[self.one] * weights[self.two], axis=0)
        # the threshold is the lowest score that at most the rate of the comparisons reach
        reached = np.minimum((above <= pairs.fmr * total).sum(axis=0), len(self.others) - 1)
        limit = np.nextafter(self.others[reached], np.inf)
        of_pair = weights[pairs.subject]
        hits = (of_pair * (self.mated[:, None] >= limit[None])).sum(axis=0)
        return np.asarray(hits / of_pair.sum(axis=0))
