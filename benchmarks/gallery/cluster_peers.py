"""Other programs for the table of `clusters`, on the same rows and, where they take a graph, on all pairs above a threshold.

Each entry: the package that must be installed, a function of the faces and parameters, and the parameters to try.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vultus.types import FloatArray

Labels = np.ndarray[Any, Any]

_THRESHOLDS = tuple(round(float(t), 2) for t in np.arange(0.45, 0.59, 0.01))


def pairs_above(pile: Any, threshold: float) -> tuple[Labels, Labels, FloatArray]:
    near = pile.edges.scores >= threshold
    return pile.edges.first[near], pile.edges.second[near], pile.edges.scores[near]


def weighted(scores: FloatArray, threshold: float, weight: str) -> FloatArray:
    return {"score": scores, "excess": scores - threshold + 0.01, "none": np.ones_like(scores)}[weight]


def by_infomap(pile: Any, p: dict[str, Any]) -> Labels:
    import infomap

    one, other, scores = pairs_above(pile, p["threshold"])
    network = infomap.Infomap("--two-level --silent --seed 1")
    for node in range(len(pile.rows)):
        network.add_node(node)
    weights = weighted(scores, p["threshold"], p["weight"])
    for a, b, w in zip(one.tolist(), other.tolist(), weights.tolist(), strict=True):
        network.add_link(a, b, w)
    network.run()
    labels = np.full(len(pile.rows), -1)
    for node in network.nodes:
        labels[node.node_id] = node.module_id
    return labels


def by_leiden(pile: Any, p: dict[str, Any]) -> Labels:
    import igraph
    import leidenalg

    one, other, scores = pairs_above(pile, p["threshold"])
    graph = igraph.Graph(len(pile.rows), list(zip(one.tolist(), other.tolist(), strict=True)))
    kinds = {"cpm": leidenalg.CPMVertexPartition, "modularity": leidenalg.RBConfigurationVertexPartition}
    found = leidenalg.find_partition(
        graph, kinds[p["quality"]], weights=scores.tolist(), resolution_parameter=p["resolution"], seed=1
    )
    return np.array(found.membership)


def by_igraph(pile: Any, p: dict[str, Any]) -> Labels:
    import random

    import igraph

    one, other, scores = pairs_above(pile, p["threshold"])
    graph = igraph.Graph(len(pile.rows), list(zip(one.tolist(), other.tolist(), strict=True)))
    random.seed(1)
    if p["algorithm"] == "label propagation":
        return np.array(graph.community_label_propagation(weights=scores.tolist()).membership)
    return np.array(graph.community_multilevel(weights=scores.tolist()).membership)


def by_hdbscan(pile: Any, p: dict[str, Any]) -> Labels:
    import hdbscan

    distances = np.maximum(1 - pile.nodes.sums @ pile.nodes.sums.T, 0)
    found = hdbscan.HDBSCAN(
        metric="precomputed",
        min_cluster_size=2,
        min_samples=p["min_samples"],
        cluster_selection_method=p["select"],
        cluster_selection_epsilon=0.0 if p["threshold"] is None else 1 - p["threshold"],
    ).fit(distances)
    return alone_where_noise(found.labels_)


def by_sklearn_average(pile: Any, p: dict[str, Any]) -> Labels:
    from sklearn.cluster import AgglomerativeClustering

    distances = np.maximum(1 - pile.rows @ pile.rows.T, 0)
    found = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage=p["linkage"], distance_threshold=1 - p["threshold"]
    )
    return np.asarray(found.fit_predict(distances))


def alone_where_noise(labels: Labels) -> Labels:
    noise = labels < 0
    result = labels.copy()
    result[noise] = labels.max() + 1 + np.arange(np.count_nonzero(noise))
    return result


def _grid(**options: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = [{}]
    for name, values in options.items():
        found = [p | {name: v} for p in found for v in values]
    return tuple(found)


PEERS: dict[str, tuple[str, Callable[[Any, dict[str, Any]], Labels], tuple[dict[str, Any], ...]]] = {
    "infomap": ("infomap", by_infomap, _grid(weight=("score", "excess", "none"), threshold=_THRESHOLDS)),
    "leidenalg, CPM": (
        "leidenalg",
        by_leiden,
        _grid(quality=("cpm",), resolution=(0.05, 0.1, 0.2), threshold=_THRESHOLDS),
    ),
    "leidenalg, modularity": (
        "leidenalg",
        by_leiden,
        _grid(quality=("modularity",), resolution=(1.0, 10.0, 100.0), threshold=_THRESHOLDS),
    ),
    "igraph": (
        "igraph",
        by_igraph,
        _grid(algorithm=("label propagation", "multilevel"), threshold=_THRESHOLDS),
    ),
    "hdbscan": (
        "hdbscan",
        by_hdbscan,
        _grid(select=("eom", "leaf"), min_samples=(1, 2), threshold=(None, 0.49, 0.52, 0.55, 0.58, 0.61, 0.64)),
    ),
    "scikit-learn, linkage": (
        "sklearn",
        by_sklearn_average,
        _grid(linkage=("average", "complete"), threshold=_THRESHOLDS),
    ),
}
