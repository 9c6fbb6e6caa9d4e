"""Joining parallel branches of a graph, so that the runtime computes them as one."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from vultus.weights.graph import Graph, attributes


def join_branches(graph: Graph) -> None:
    """Compute parallel branches of a pointwise and a depthwise convolution as one branch, and split its result.

    A detector's heads read the same value and give few channels each. The runtime computes in blocks of channels, so that
    a head of one channel costs as much as one of eight; joined they fill the blocks.
    """
    from onnx import helper

    if _opset(graph) < 13:  # before, Split takes its sizes in another way
        return
    branches: dict[tuple[Any, ...], list[tuple[Any, Any]]] = defaultdict(list)
    for first in graph.nodes:
        second = graph.only_use(first.output[0]) if _is_conv(graph, first, depthwise=False) else None
        if second is not None and _is_conv(graph, second, depthwise=True):
            alike = [sorted((k, str(v)) for k, v in attributes(n).items() if k != "group") for n in (first, second)]
            kernel = graph.constants[second.input[1]].shape[2:]
            branches[first.input[0], str(alike), kernel].append((first, second))
    for (source, *_), members in branches.items():
        if len(members) < 2:
            continue
        sizes = [len(graph.constants[second.input[1]]) for _, second in members]
        if max(sizes) > 16:  # branches that fill their blocks gain nothing
            continue
        joined, value = [], source
        for place, group in ((0, 1), (1, sum(sizes))):
            weight, bias = (
                graph.constant(
                    f"{members[0][place].input[i]}_joined",
                    np.concatenate([graph.constants[m[place].input[i]] for m in members]),
                )
                for i in (1, 2)
            )
            given = attributes(members[0][place]) | {"group": group}
            joined.append(
                helper.make_node("Conv", [value, weight, bias], [f"{members[0][place].output[0]}_joined"], **given)
            )
            value = joined[-1].output[0]
        parts = graph.constant(f"{value}_sizes", np.array(sizes, dtype=np.int64))
        joined.append(helper.make_node("Split", [value, parts], [second.output[0] for _, second in members], axis=1))
        gone = {n.output[0] for member in members for n in member}
        at = graph.nodes.index(members[0][0])
        before, after = ([n for n in part if n.output[0] not in gone] for part in (graph.nodes[:at], graph.nodes[at:]))
        graph.nodes = [*before, *joined, *after]


def _is_conv(graph: Graph, node: Any, *, depthwise: bool) -> bool:
    """Whether a node is a pointwise, or a depthwise, convolution with constant weights and a bias."""
    if node.op_type != "Conv" or len(node.input) < 3 or not all(i in graph.constants for i in node.input[1:]):
        return False
    shape, group = graph.constants[node.input[1]].shape, attributes(node).get("group", 1)
    return shape[1] == 1 and group == shape[0] if depthwise else set(shape[2:]) == {1} and group == 1


def _opset(graph: Graph) -> int:
    return next((o.version for o in graph.model.opset_import if o.domain in {"", "ai.onnx"}), 0)
