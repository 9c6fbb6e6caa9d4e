"""Agglomeration: the two most alike groups are joined, again and again, until none are alike enough.

How alike two groups are is computed from sums of rows and not from the graph, which only proposes whom to compare.
With A and B the mean rows of two groups,

    average link       A·B, the mean score of all pairs between them (Sokal and Michener 1958)
    template score     A·B / (|A| |B|), the cosine of their templates
    geometric link     the geometric mean of the two, A·B / sqrt(|A| |B|)

The average asks as much of two large groups as of two faces, though photos of one person differ and no mean of their
scores comes near the score of two good photos: large groups fall apart. The template score rises as groups grow, also
where they grow by mistake, and one mistake leads to the next. The geometric link lies between, and is better than
either on each set of faces that it was measured on.
"""

from __future__ import annotations

import heapq

import numpy as np

from vultus.gallery.cluster.constraints import numbered
from vultus.gallery.cluster.graph import Edges, Nodes, similar
from vultus.types import Float64Array, IntArray

GROUP = 3
"""From how many faces on a group has a template that a single face can be compared with."""


def average(nodes: Nodes, edges: Edges, *, threshold: float) -> IntArray:
    """Groups by average link; the last two left are less alike than the threshold.

    Args:
        nodes: what to group.
        edges: all pairs of nodes whose templates score at least `threshold`, or each node's best ones.
        threshold: of the average score.

    Returns:
        (m,) labels 0, 1, ... in the order of first members. Where the edges are complete it is the cut of the whole
        tree of average linkage: groups of which no pair reaches the threshold have no mean that does.
    """
    return linked(nodes, edges, threshold=threshold, exponent=0.0)


def geometric(nodes: Nodes, edges: Edges, *, threshold: float) -> IntArray:
    """Groups by geometric link, and then each face that was left alone to the template of the group that it reaches.

    Args:
        nodes: what to group.
        edges: as for `average`.
        threshold: of the link, and of a single face's score with the template of a group of `GROUP` faces or more.

    Returns:
        (m,) labels 0, 1, ... in the order of first members.
    """
    labels = linked(nodes, edges, threshold=threshold, exponent=0.5)
    return absorbed(nodes, labels, threshold=threshold)


def linked(nodes: Nodes, edges: Edges, *, threshold: float, exponent: float) -> IntArray:
    """Join groups until no two that may be joined have a link of the threshold.

    A link never exceeds the cosine of the templates. So after each round the pairs whose templates reach the threshold
    are found anew, and the next round starts from them: it makes up for neighbours that the graph left out.
    """
    labels: IntArray = np.arange(len(nodes))
    while True:
        merged = _merged(nodes, edges, threshold, exponent)
        count = int(merged.max()) + 1 if len(merged) else 0
        labels = merged[labels]
        if count == len(nodes):
            return labels
        grown = np.bincount(merged, minlength=count) > 1
        nodes = nodes.united(merged)
        edges = similar(nodes.templates, floor=threshold, only=grown)


CROWDED = 1024
"""A group with more neighbours than this looks only now and then, and only at others that have as many."""


class _Merging:
    """The groups at one moment. A group goes by the number of one of its nodes."""

    def __init__(self, nodes: Nodes, edges: Edges, threshold: float, exponent: float) -> None:
        self.parent: IntArray = np.arange(len(nodes))
        self.age: IntArray = np.zeros(len(nodes), dtype=np.intp)
        self.sums, self.sizes = nodes.sums.copy(), nodes.sizes.astype(np.float64)
        self.squares: Float64Array = np.einsum("md,md->m", self.sums, self.sums)
        self.marks = list(nodes.marks)
        self.threshold, self.exponent = threshold, exponent
        ends = np.concatenate([edges.first, edges.second])
        order = np.argsort(ends, kind="stable")
        cuts = np.cumsum(np.bincount(ends, minlength=len(nodes)))[:-1]
        self.near = np.split(np.concatenate([edges.second, edges.first])[order], cuts)
        self.degrees: IntArray = np.bincount(ends, minlength=len(nodes))
        self.unseen: IntArray = self.degrees.copy()
        self.heap: list[tuple[float, int, int, int, int]] = []

    def roots(self, nodes: IntArray) -> IntArray:
        """The groups that these nodes are in now."""
        while not np.array_equal(up := self.parent[nodes], nodes):
            nodes = up
        return nodes

    def look(self, group: int) -> None:
        """Find the group that is most like this one, and put the pair on the heap."""
        if self.degrees[group] > CROWDED and self.unseen[group] < self.degrees[group] // 8:
            return
        others = np.unique(self.roots(self.near[group]))
        others = others[others != group]
        if own := self.marks[group]:
            apart = [bool(m := self.marks[i]) and not own.isdisjoint(m) for i in others.tolist()]
            others = others[~np.array(apart, dtype=np.bool_)]
        self.near[group] = others
        self.degrees[group], self.unseen[group] = len(others), 0
        if len(others) > CROWDED:
            others = others[self.degrees[others] > CROWDED]
        if not len(others):
            return
        links = self.sums[others] @ self.sums[group] / (self.sizes[others] * self.sizes[group])
        if self.exponent:
            spread = self.squares[others] / self.sizes[others] ** 2 * self.squares[group] / self.sizes[group] ** 2
            links /= np.maximum(spread, 1e-18) ** (self.exponent / 2)
        best = int(np.argmax(links))
        if links[best] >= self.threshold:
            other = int(others[best])
            heapq.heappush(self.heap, (-float(links[best]), group, int(self.age[group]), other, int(self.age[other])))

    def join(self, group: int, other: int) -> None:
        """Put the nodes of `other` into `group`."""
        self.parent[other] = group
        self.age[group] += 1
        self.age[other] += 1
        self.sums[group] += self.sums[other]
        self.sizes[group] += self.sizes[other]
        self.squares[group] = self.sums[group] @ self.sums[group]
        self.marks[group] |= self.marks[other]
        self.near[group] = np.concatenate([self.near[group], self.near[other]])
        self.near[other] = np.zeros(0, dtype=np.intp)  # a slice would keep the whole array alive
        self.degrees[group] += self.degrees[other]
        self.unseen[group] += self.unseen[other] + 1


def _merged(nodes: Nodes, edges: Edges, threshold: float, exponent: float) -> IntArray:
    """(m,) labels after joining along these edges, best link first.

    Every group, when it comes to be, looks at all its neighbours and puts its best partner on the heap. So of the two
    groups with the highest link the younger one has an entry at least that high, and an entry that is out of date makes
    its group look again.

    A crowded group would look at thousands, once for each face that it takes in. It leaves that to the others, whose
    entries come up and make them look: by average link a group that grows is never more like a third one than the more
    similar of its parts was. By geometric link, and between two crowded groups, the order may change; what is left out
    is made up for in the next round.
    """
    if not len(nodes):
        return np.zeros(0, dtype=np.intp)
    state = _Merging(nodes, edges, threshold, exponent)
    for group in np.unique(np.concatenate([edges.first, edges.second])).tolist():
        state.look(group)
    while state.heap:
        _, group, age, other, other_age = heapq.heappop(state.heap)
        if state.age[group] != age or state.parent[group] != group:
            continue
        if state.age[other] == other_age and state.marks[group].isdisjoint(state.marks[other]):
            state.join(group, other)
        state.look(group)
    return numbered(state.roots(np.arange(len(nodes))))


def absorbed(nodes: Nodes, labels: IntArray, *, threshold: float) -> IntArray:
    """Move each face that is alone into the group whose template it is most like, if their score reaches the threshold.

    Best scores first, templates as they were before. Only groups of `GROUP` faces or more take faces in.
    """
    groups = nodes.united(labels)
    large, alone = np.flatnonzero(groups.sizes >= GROUP), np.flatnonzero(groups.sizes == 1)
    if not len(large) or not len(alone):
        return labels
    templates = groups.templates
    offers: list[tuple[float, int, int]] = []
    width = max(1, (1 << 25) // len(large))
    for start in range(0, len(alone), width):
        block = alone[start : start + width]
        scores = templates[block] @ templates[large].T
        at, to = np.nonzero(scores >= threshold)
        offers += zip((-scores[at, to]).tolist(), block[at].tolist(), large[to].tolist(), strict=True)
    marks, target = list(groups.marks), np.arange(len(groups))
    for _, face, group in sorted(offers):
        if target[face] == face and marks[group].isdisjoint(marks[face]):
            target[face] = group
            marks[group] |= marks[face]
    return numbered(target[labels])
