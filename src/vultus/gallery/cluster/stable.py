"""Which new group is which old one? Numbers that people have seen should go on meaning the same person."""

from __future__ import annotations

import numpy as np

from vultus.gallery.cluster.groups import UNSURE, LabelArray


def matched(labels: LabelArray, known: LabelArray, *, next_label: int) -> tuple[LabelArray, int]:
    """The new labels under the old numbers.

    A new group takes the number of the old one that it shares most faces with; where two want one number, the one with
    more of its faces gets it, and the other its next best that is free. What is left takes numbers that were never used,
    in the order of first members.

    Args:
        labels: (n,) new groups, or -1.
        known: (n,) old groups, or -1 for faces that had none.
        next_label: the lowest number that no old group ever had.

    Returns:
        (n,) labels, and the lowest number that is free then.
    """
    both = (labels != UNSURE) & (known != UNSURE)
    pairs, shared = np.unique(np.stack([labels[both], known[both]], axis=1), axis=0, return_counts=True)
    names: dict[int, int] = {}
    used: set[int] = set()
    for i in np.lexsort((pairs[:, 0], pairs[:, 1], -shared)).tolist():
        new, old = (int(x) for x in pairs[i])
        if new not in names and old not in used:
            names[new] = old
            used.add(old)
    groups, first = np.unique(labels, return_index=True)
    for group in groups[np.argsort(first)].tolist():
        if group != UNSURE and group not in names:
            names[group] = next_label
            next_label += 1
    result = labels.copy()
    if len(groups):
        numbers = np.array([UNSURE if g == UNSURE else names[g] for g in groups.tolist()], dtype=np.int64)
        result = numbers[np.searchsorted(groups, labels)]
    return result, next_label
