"""Connected components: whoever is linked by a chain of similar pairs is one group (single linkage)."""

from __future__ import annotations

import numpy as np

from vultus.gallery.cluster.constraints import clashes, joined, numbered
from vultus.gallery.cluster.graph import Edges, Nodes
from vultus.types import IntArray


def components(nodes: Nodes, edges: Edges, *, threshold: float) -> IntArray:
    """Groups of nodes that a chain of pairs at or above the threshold connects.

    Args:
        nodes: what to group.
        edges: pairs of similar nodes.
        threshold: of the score of a pair.

    Returns:
        (m,) labels 0, 1, ... in the order of first members. A chain is cut at its weakest pairs where it would bring
        nodes together that must stay apart.
    """
    near = edges.scores >= threshold
    labels = joined(len(nodes), edges.first[near], edges.second[near])
    return numbered(separated(nodes, edges, labels, threshold=threshold))


def separated(nodes: Nodes, edges: Edges, labels: IntArray, *, threshold: float = -1.0) -> IntArray:
    """The same groups where nobody is in the wrong company, and parts of the others.

    A group that holds nodes that must stay apart is built up again from single nodes, along its own pairs, most similar
    first, leaving out each pair that would bring such nodes together (Kruskal's algorithm with exceptions).
    """
    wrong = clashes(labels, nodes.marks)
    if not wrong.any():
        return labels
    parent: IntArray = np.arange(len(nodes))
    marks = list(nodes.marks)

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = int(parent[node])
        return node

    inside = wrong[edges.first] & (labels[edges.first] == labels[edges.second]) & (edges.scores >= threshold)
    order = np.flatnonzero(inside)[np.argsort(-edges.scores[inside], kind="stable")]
    for one, other in zip(edges.first[order].tolist(), edges.second[order].tolist(), strict=True):
        a, b = sorted((root(one), root(other)))
        if a != b and marks[a].isdisjoint(marks[b]):
            parent[b] = a
            marks[a] |= marks[b]
    roots = np.array([root(node) for node in range(len(nodes))], dtype=np.intp)
    return np.where(wrong, len(nodes) + roots, labels)
