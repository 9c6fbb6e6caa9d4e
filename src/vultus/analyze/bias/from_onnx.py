"""The biases of an ONNX file, and the operators that they go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vultus._export import export
from vultus.analyze.bias.follow import Array, Candidate, Hop, Kind, fate_of
from vultus.analyze.onnx_graph import OnnxGraph, read_onnx
from vultus.weights.graph import Graph, attributes

_LINEAR = {
    "Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather",
    "Gemm", "GlobalAveragePool", "Identity", "MatMul", "Neg", "Pad", "ReduceMean", "ReduceSum", "Reshape", "Resize", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Sub", "Sum", "Tile", "Transpose", "Unsqueeze", "Upsample",
}  # fmt: skip
_MAXIMUM = {"GlobalMaxPool", "MaxPool", "ReduceMax"}


def onnx_hops(
    content: bytes, input_size: tuple[int, int, int] | None
) -> tuple[OnnxGraph, list[Candidate], list[Hop], list[str]]:
    """A file taken apart, its biases, its operators in order, and its results.

    Raises:
        GraphError: no ONNX file, or a damaged one.
        BadArgument: a size that is missing or does not fit.
        AnalysisError: a shape that cannot be found out.
    """
    graph = read_onnx(content, input_size)
    live = {graph.picture, *(o for n in graph.nodes for o in n.output)}
    hops: list[Hop] = []
    found: dict[str, list[Any]] = {}
    for node in graph.nodes:
        inputs = tuple(n for n in node.input if n in live)
        kind = _kind(node, inputs)
        for i, value in enumerate(node.output):
            if value in graph.shapes:
                name = node.name or value
                hops.append(
                    Hop(value, name, node.op_type, inputs, kind, _responder(graph, node, i), norm=node.output[0])
                )
        place = _bias_place(node)
        bias = node.input[place] if place is not None else ""
        if bias in graph.constants:
            found.setdefault(bias, []).append(node)
    candidates = [
        Candidate(
            name, nodes[0].op_type, graph.constants[name].astype(np.float64).reshape(-1), _adder(graph, name, nodes)
        )
        for name, nodes in found.items()
    ]
    return graph, candidates, hops, [o.name for o in graph.model.graph.output]


def _adder(graph: OnnxGraph, name: str, nodes: list[Any]) -> Callable[[Array], Mapping[str, Array]]:
    """What a bias of given numbers adds to the results of the nodes that read it."""

    def add(values: Array) -> Mapping[str, Array]:
        added = {}
        for node in nodes:
            shape = graph.shapes[node.output[0]]
            if node.op_type == "Gemm":
                shaped = values.reshape(graph.shapes[name]) * attributes(node).get("beta", 1.0)
            else:
                shaped = values.reshape(-1, *[1] * (len(shape) - 2))
            added[node.output[0]] = np.broadcast_to(shaped, shape)
        return added

    return add


def _bias_place(node: Any) -> int | None:
    """Which input of an operator is a bias that it adds."""
    if node.op_type == "BatchNormalization":
        return 2
    has = node.op_type in {"Conv", "ConvTranspose", "Gemm"} and len(node.input) > 2 and node.input[2]
    return 2 if has else None


def _kind(node: Any, live: tuple[str, ...]) -> Kind:
    if node.op_type == "BatchNormalization":
        return "other" if attributes(node).get("training_mode", 0) else "norm"
    if node.op_type in _MAXIMUM:
        return "maximum"
    if node.op_type in _LINEAR:
        product = node.op_type in {"Conv", "ConvTranspose", "Gemm", "MatMul"} and set(live) != {node.input[0]}
        return "other" if product else "linear"
    factor = node.op_type == "Mul" and len(live) == 1
    return "linear" if factor or (node.op_type == "Div" and live == (node.input[0],)) else "other"


def _responder(graph: OnnxGraph, node: Any, output: int) -> Callable[[Mapping[str, Array]], Array]:
    """How a linear operator's result moves: what it makes of the responses, less what it makes of zeros."""

    def respond(arriving: Mapping[str, Array]) -> Array:
        zeros = {n: np.zeros(graph.shapes[n], dtype=np.float32) for n in node.input if n and n not in graph.constants}
        moved = {**zeros, **{n: np.ascontiguousarray(r, dtype=np.float32) for n, r in arriving.items()}}
        response: Array = graph.run(node, moved, output).astype(np.float64) - graph.run(node, zeros, output)
        return response

    return respond


@export("vultus.analyze.bias.remove_cancelled_biases_of_graph")
def remove_cancelled_biases_of_graph(content: bytes, input_size: tuple[int, int, int] | None = None) -> bytes:
    """An ONNX file without the biases that a BatchNormalization cancels, which computes the same up to rounding.

    Convolutions and products lose the input; a cancelled shift of a BatchNormalization becomes zero. What the biases added is
    taken off the means of the norms. Constants are folded on the way.

    Args:
        content: of the file.
        input_size: (c, h, w). A file of fixed size needs none.

    Raises:
        GraphError: no ONNX file, or a damaged one.
        BadArgument: a size that is missing or does not fit.
        AnalysisError: a shape that cannot be found out.
    """
    from vultus.analyze.bias.audit import ONNX_TOLERANCE

    taken, candidates, hops, outputs = onnx_hops(content, input_size)
    fates = {c.name: fate_of(c, hops, outputs, tolerance=ONNX_TOLERANCE) for c in candidates}
    graph = Graph(taken.model)
    graph.constants.update(taken.constants)
    graph.nodes = list(taken.nodes)
    shifts: dict[str, Array] = {}
    for fate in fates.values():
        for norm, shift in ({} if fate.why else fate.shifts).items():
            shifts[norm] = shifts.get(norm, 0.0) + shift
    for node in graph.nodes:
        place = _bias_place(node)
        if place is not None and node.input[place] in fates and not fates[node.input[place]].why:
            if node.op_type == "BatchNormalization":
                zero = np.zeros_like(graph.constants[node.input[place]])
                node.input[place] = graph.constant(f"{node.input[place]}_zero", zero)
            else:
                del node.input[place:]
        if node.op_type == "BatchNormalization" and node.output[0] in shifts:
            mean = graph.constants[node.input[3]]
            moved = (mean.astype(np.float64) - shifts[node.output[0]]).astype(mean.dtype)
            node.input[3] = graph.constant(f"{node.input[3]}_moved", moved)
    result: bytes = graph.rebuild().SerializeToString()
    return result
