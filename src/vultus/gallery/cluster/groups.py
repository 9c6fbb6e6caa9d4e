"""What grouping faces gives: a group for each face, how sure that is, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import FloatArray, IntArray

LabelArray = npt.NDArray[np.int64]

UNSURE = -1


@export("vultus.gallery.cluster.Groups")
@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """n faces by person. A group of one face is a person who was seen once; -1 means "unsure".

    Args:
        labels: (n,) int64, the group of each face, or -1 for a face that could not be placed: it lies between groups,
            or its quality is too low to tell. Numbers of groups are not in sequence once groups were merged or split.
        confidences: (n,) float32 in [0, 1], how probable it is that the face is where it was put, by the margin of its
            score over the threshold and over the next best group. It orders faces for review; it is not calibrated.
        method: which method made the groups, such as "average".
        threshold: the score that it was given.
        next_label: the lowest number that no group ever had, for groups that are opened later.

    Raises:
        BadArgument: shapes that do not belong together, labels below -1 or at `next_label` and above, confidences
            outside [0, 1].
    """

    labels: LabelArray
    confidences: FloatArray
    method: str
    threshold: float
    next_label: int

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels, dtype=np.int64)
        confidences = np.asarray(self.confidences, dtype=np.float32)
        if labels.ndim != 1 or confidences.shape != labels.shape:
            raise BadArgument(
                f"labels of shape {labels.shape} and confidences of shape {confidences.shape}; expected (n,) for both"
            )
        if len(labels) and (labels.min() < UNSURE or labels.max() >= self.next_label):
            raise BadArgument(
                f"labels from {labels.min()} to {labels.max()}; expected -1 or more, and less than next_label, "
                f"{self.next_label}"
            )
        if not ((confidences >= 0) & (confidences <= 1)).all():
            raise BadArgument("confidences hold numbers outside [0, 1]")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "confidences", confidences)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ids(self) -> LabelArray:
        """(g,) the numbers of the groups, ascending, without -1."""
        found: LabelArray = np.unique(self.labels[self.labels != UNSURE])
        return found

    @property
    def sizes(self) -> IntArray:
        """(g,) how many faces each group of `ids` holds."""
        counts: IntArray = np.bincount(np.searchsorted(self.ids, self.labels[self.labels != UNSURE]))
        return counts

    @property
    def unsure(self) -> IntArray:
        """Places of the faces that could not be placed, ascending."""
        return np.flatnonzero(self.labels == UNSURE)

    def members(self, label: int) -> IntArray:
        """Places of the faces of one group, ascending; none where there is no such group."""
        return np.flatnonzero(self.labels == label)

    def at(self, places: npt.ArrayLike) -> Groups:
        """The same groups of other faces: some left out, in another order, or with new ones among them.

        Args:
            places: (m,) for each face its place among these, or -1 for a new one, which has no group yet.

        Raises:
            BadArgument: places that do not exist.
        """
        where = np.asarray(places, dtype=np.intp).reshape(-1)
        if len(where) and not (where.min() >= -1 and where.max() < len(self)):
            raise BadArgument(f"places from {where.min()} to {where.max()}; expected -1 to {len(self) - 1}")
        labels = np.append(self.labels, UNSURE)[where]
        confidences = np.append(self.confidences, np.float32(0))[where]
        return Groups(labels, confidences, self.method, self.threshold, self.next_label)

    def partition(self) -> LabelArray:
        """(n,) labels in which each unsure face has a number of its own, as clustering metrics want them."""
        labels = self.labels.copy()
        alone = self.unsure
        labels[alone] = self.next_label + np.arange(len(alone))
        return labels
