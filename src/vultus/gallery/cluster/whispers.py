"""Chinese whispers: every node takes the group that most of its neighbours are in, until the rumour settles.

After C. Biemann (2006), "Chinese whispers: an efficient graph clustering algorithm and its application to natural
language processing problems".
"""

from __future__ import annotations

import numpy as np

from vultus.gallery.cluster.components import separated
from vultus.gallery.cluster.constraints import numbered
from vultus.gallery.cluster.graph import Edges, Nodes
from vultus.types import IntArray

ROUNDS = 30


def whispers(nodes: Nodes, edges: Edges, *, threshold: float, seed: int = 0, rounds: int = ROUNDS) -> IntArray:
    """Groups by Chinese whispers on the pairs at or above the threshold.

    Every node starts as a group of its own. In each round the nodes, in an order drawn anew, take the group with the
    highest sum of scores among their neighbours; of equal groups the one with the lowest number.

    Args:
        nodes: what to group.
        edges: pairs of similar nodes.
        threshold: of the score of a pair.
        seed: of the orders; the same seed gives the same groups.
        rounds: the most rounds; it ends before if nobody changes.

    Returns:
        (m,) labels 0, 1, ... in the order of first members; groups with nodes that must stay apart are cut as by
        `components`.
    """
    near = edges.scores >= threshold
    ends = np.concatenate([edges.first[near], edges.second[near]])
    order = np.argsort(ends, kind="stable")
    others = np.concatenate([edges.second[near], edges.first[near]])[order]
    weights = np.concatenate([edges.scores[near]] * 2)[order].astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=len(nodes)))])
    linked = np.flatnonzero(np.diff(starts))
    labels: IntArray = np.arange(len(nodes))
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        changed = False
        for node in random.permutation(linked).tolist():
            own = slice(starts[node], starts[node + 1])
            heard, which = np.unique(labels[others[own]], return_inverse=True)
            loudest = heard[np.argmax(np.bincount(which, weights=weights[own]))]
            changed |= bool(labels[node] != loudest)
            labels[node] = loudest
        if not changed:
            break
    return numbered(separated(nodes, edges, labels, threshold=threshold))
