"""DBSCAN on the graph: groups are chains of nodes that have enough similar faces around them.

After Ester, Kriegel, Sander and Xu (1996), "A density-based algorithm for discovering clusters in large spatial
databases with noise".
"""

from __future__ import annotations

import numpy as np

from vultus.gallery.cluster.components import separated
from vultus.gallery.cluster.constraints import joined, numbered
from vultus.gallery.cluster.graph import Edges, Nodes
from vultus.types import IntArray

CROWD = 3


def density(nodes: Nodes, edges: Edges, *, threshold: float, crowd: int = CROWD) -> IntArray:
    """Groups by DBSCAN with a lowest score in place of a largest distance.

    A node is in a crowd if it and its neighbours at or above the threshold hold at least `crowd` faces. Crowds that
    touch are one group; another node joins the crowd of its most similar neighbour that is in one, and is alone where
    there is none.

    Args:
        nodes: what to group.
        edges: pairs of similar nodes.
        threshold: of the score of a pair.
        crowd: how many faces make a crowd, the node's own included.

    Returns:
        (m,) labels 0, 1, ... in the order of first members; groups with nodes that must stay apart are cut as by
        `components`.
    """
    near = edges.scores >= threshold
    first, second, scores = edges.first[near], edges.second[near], edges.scores[near]
    around = nodes.sizes.astype(np.intp)
    np.add.at(around, first, nodes.sizes[second])
    np.add.at(around, second, nodes.sizes[first])
    core = around >= crowd
    both = core[first] & core[second]
    labels = joined(len(nodes), first[both], second[both])
    one, other = np.concatenate([first, second]), np.concatenate([second, first])
    twice = np.concatenate([scores, scores])
    border = np.flatnonzero(~core[one] & core[other])
    order = border[np.lexsort((other[border], -twice[border], one[border]))]
    nodes_at, places = np.unique(one[order], return_index=True)
    labels[nodes_at] = labels[other[order[places]]]
    return numbered(separated(nodes, edges, labels, threshold=threshold))
