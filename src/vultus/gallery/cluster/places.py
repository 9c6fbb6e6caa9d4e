"""How well does each face sit in its group, and which faces sit nowhere?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from vultus.gallery.cluster.constraints import FROZEN, Constraints
from vultus.gallery.cluster.graph import sums_by
from vultus.gallery.cluster.groups import UNSURE
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

_BLOCK = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How alike each of n faces is to its own group and to the best other one, by geometric link.

    Args:
        own: (n,) the link with the other faces of its group; -1 where there are none.
        other: (n,) the highest link with a group that it may join; -1 where there is none.
        best: (n,) that group, or -1.
    """

    own: Float64Array
    other: Float64Array
    best: IntArray


def fit(rows: FloatArray, labels: IntArray, constraints: Constraints, members: BoolArray) -> Fit:
    """Compare every face with every group.

    Args:
        rows: (n, d) unit rows.
        labels: (n,) groups 0, 1, ..., or -1.
        constraints: nodes and marks of the faces; a group with a face that must stay apart from this one is no choice.
        members: (n,) faces that make up what their group looks like; the others only belong to it.
    """
    n = len(rows)
    own, other, best = np.full(n, -1.0), np.full(n, -1.0), np.full(n, -1, dtype=np.intp)
    count = int(labels.max()) + 1 if n else 0
    if not count:
        return Fit(own, other, best)
    counted = members & (labels >= 0)
    sums = sums_by(labels[counted], rows[counted].astype(np.float64), count)
    sizes = np.bincount(labels[counted], minlength=count).astype(np.float64)
    lengths = np.linalg.norm(sums, axis=1)
    scaled = (sums / np.maximum(np.sqrt(sizes * lengths), 1e-9)[:, None]).astype(np.float32)
    closed = closed_groups(labels, constraints)
    width = max(1, _BLOCK // count)
    for start in range(0, n, width):
        stop = min(start + width, n)
        links = rows[start:stop] @ scaled.T
        links[:, sizes == 0] = -1.0
        placed = np.flatnonzero(labels[start:stop] >= 0)
        links[placed, labels[start:stop][placed]] = -1.0
        for face in range(start, stop):
            if (groups := closed.get(int(constraints.nodes[face]))) is not None:
                links[face - start, groups] = -1.0
        best[start:stop] = np.argmax(links, axis=1)
        other[start:stop] = np.take_along_axis(links, best[start:stop, None], axis=1)[:, 0]
    best[other <= -1.0] = -1
    placed = np.flatnonzero(labels >= 0)
    group, part = labels[placed], counted[placed]
    rest = sizes[group] - part
    with_rest = rest > 0
    placed, group, part, rest = placed[with_rest], group[with_rest], part[with_rest], rest[with_rest]
    row = rows[placed].astype(np.float64)
    along = np.einsum("nd,nd->n", row, sums[group])
    left = np.sqrt(np.maximum(lengths[group] ** 2 - part * (2 * along - 1), 1e-18))
    own[placed] = (along - part) / np.sqrt(rest * left)
    return Fit(own, other, best)


def closed_groups(labels: IntArray, constraints: Constraints) -> dict[int, IntArray]:
    """For each node with marks, the groups that hold one of them."""
    holders: defaultdict[int, set[int]] = defaultdict(set)
    for face in np.flatnonzero(labels >= 0).tolist():
        for mark in constraints.marks[constraints.nodes[face]]:
            if mark != FROZEN:
                holders[mark].add(int(labels[face]))
    closed = {}
    for node, own in enumerate(constraints.marks):
        if own:
            groups = set().union(*(holders[mark] for mark in own if mark in holders))
            closed[node] = np.fromiter(groups, dtype=np.intp)
    return closed


def confidence(found: Fit, *, threshold: float) -> FloatArray:
    """(n,) how sure it is that a face is in its group, or in none of the others if it is alone.

    With t the threshold, one unit u is a tenth of the way from t to 1. A face with others around it has the logistic of
    (own - max(t, best other)) / u, a face alone that of (t - best other) / u: a half where it could as well be elsewhere,
    0.73 one unit from there, 0.95 three units. It compares faces with one another and is no measured probability.
    """
    unit = (1.0 - threshold) / 10
    alone = found.own <= -1.0
    margin = np.where(alone, threshold - found.other, found.own - np.maximum(threshold, found.other))
    return (1 / (1 + np.exp(-np.clip(margin / unit, -50, 50)))).astype(np.float32)


def nearest(found: Fit, labels: IntArray, constraints: Constraints, *, threshold: float) -> IntArray:
    """The labels, with each unplaced face in the group that it is most like, if their link reaches the threshold.

    The most alike faces come first; a face whose group is closed by one before it stays unplaced.
    """
    labels = labels.copy()
    waiting = np.flatnonzero((labels == UNSURE) & (found.best >= 0) & (found.other >= threshold))
    taken: defaultdict[int, set[int]] = defaultdict(set)
    for face in waiting[np.argsort(-found.other[waiting], kind="stable")].tolist():
        group, own = int(found.best[face]), constraints.marks[constraints.nodes[face]]
        if taken[group].isdisjoint(own):
            labels[face] = group
            taken[group] |= own
    return labels
