"""Clusterings: do the groups that were found keep subjects together and apart?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import Float64Array


@export("vultus.evaluate.ClusteringScore")
@dataclass(frozen=True, slots=True)
class ClusteringScore:
    """Precision (are groups pure?), recall (are subjects whole?) and their harmonic mean."""

    precision: float
    recall: float

    @property
    def f(self) -> float:
        """2 precision recall / (precision + recall); 0 where both are 0."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total else 0.0


@export("vultus.evaluate.bcubed")
def bcubed(found: npt.ArrayLike, subjects: npt.ArrayLike) -> ClusteringScore:
    """BCubed precision and recall, averaged over samples.

    For each sample, precision is the share of its group that shows its subject, and recall the share of its subject's
    samples that are in its group, itself included both times (Bagga and Baldwin 1998, "Algorithms for scoring
    coreference chains"; Amigó et al. 2009, "A comparison of extrinsic clustering evaluation metrics").

    Args:
        found: (n,) group of each sample. A sample that no group took needs a label of its own.
        subjects: (n,) whom each sample shows.

    Raises:
        BadArgument: shapes that differ.
        TooFewComparisons: no sample.
    """
    cells, of_group, of_subject, n = _overlaps(found, subjects)
    return ClusteringScore(float((cells**2 / of_group).sum() / n), float((cells**2 / of_subject).sum() / n))


@export("vultus.evaluate.pairwise")
def pairwise(found: npt.ArrayLike, subjects: npt.ArrayLike) -> ClusteringScore:
    """Pairwise precision and recall: of all pairs of samples, those in one group against those of one subject.

    Where no pair is in one group nothing was claimed and precision is 1; where no subject has two samples nothing
    could be missed and recall is 1.

    Args:
        found: (n,) group of each sample. A sample that no group took needs a label of its own.
        subjects: (n,) whom each sample shows.

    Raises:
        BadArgument: shapes that differ.
        TooFewComparisons: no sample.
    """
    cells, of_group, of_subject, _ = _overlaps(found, subjects)
    both = float((cells * (cells - 1)).sum())
    grouped = float((cells * (of_group - 1)).sum())  # each sample once, with the rest of its group
    mated = float((cells * (of_subject - 1)).sum())
    return ClusteringScore(both / grouped if grouped else 1.0, both / mated if mated else 1.0)


def _overlaps(found: npt.ArrayLike, subjects: npt.ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array, int]:
    """For each (group, subject) that occurs: samples in both, in the group, of the subject; and all samples."""
    one, other = np.asarray(found), np.asarray(subjects)
    if one.ndim != 1 or one.shape != other.shape:
        raise BadArgument(f"groups of shape {one.shape} and subjects of shape {other.shape}; expected (n,) for both")
    if not len(one):
        raise TooFewComparisons("no sample; a clustering needs at least one to be scored")
    _, group = np.unique(one, return_inverse=True)
    _, subject = np.unique(other, return_inverse=True)
    width = int(subject.max()) + 1
    codes, cells = np.unique(group.astype(np.int64) * width + subject, return_counts=True)
    of_group, of_subject = np.bincount(group)[codes // width], np.bincount(subject)[codes % width]
    return cells.astype(np.float64), of_group.astype(np.float64), of_subject.astype(np.float64), len(one)
