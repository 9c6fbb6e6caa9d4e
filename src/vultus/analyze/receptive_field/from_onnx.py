"""The steps of an ONNX file."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from vultus.analyze.onnx_graph import OnnxGraph, read_onnx
from vultus.analyze.receptive_field.graph import PICTURE, Step
from vultus.analyze.receptive_field.rules import Join, Move, Numbers, Product, Reduce, Rule, Spread, Windows
from vultus.analyze.receptive_field.taps import Edge, Taps, convolution, interpolated, padded, transposed
from vultus.errors import AnalysisError
from vultus.weights.graph import attributes

_JOIN = {
    "Abs", "Add", "And", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor",
    "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Where",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
_MOVES = {
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Reshape", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
_EDGES: dict[str, Edge] = {"constant": "nothing", "edge": "nearest", "reflect": "mirror", "wrap": "around"}


def onnx_steps(content: bytes, input_size: tuple[int, int, int] | None) -> tuple[list[Step], tuple[int, int, int]]:
    """The steps of a file that depend on the picture, in the order in which they run, and the picture's size.

    Raises:
        GraphError: no ONNX file, or a damaged one.
        BadArgument: a size that is missing or does not fit.
        AnalysisError: an operator that is not known here.
    """
    graph = read_onnx(content, input_size)
    keys = {graph.picture: PICTURE}
    steps: list[Step] = []
    used: dict[str, int] = {}
    for node in graph.nodes:
        for output, value in enumerate(node.output):
            if not value or value not in graph.shapes or (output and node.op_type != "Split"):
                continue
            rule, inputs = _rule(graph, node, output)
            name = node.name or value
            used[name] = used.get(name, 0) + 1
            keys[value] = value
            steps.append(
                Step(
                    key=value,
                    name=name if used[name] == 1 else f"{name}#{used[name]}",
                    operator=node.op_type,
                    inputs=tuple(keys.get(n) for n in inputs),
                    shapes=tuple(graph.shapes[n] for n in inputs),
                    shape=graph.shapes[value],
                    rule=rule,
                )
            )
    return steps, graph.input_size


def _rule(graph: OnnxGraph, node: Any, output: int) -> tuple[Rule, list[str]]:
    """The rule of a node, and those of its inputs that the rule is about."""
    kind, given = node.op_type, attributes(node)
    inputs = [n for n in node.input if n]
    first = graph.shapes[inputs[0]]
    if kind in {"Conv", "ConvTranspose"}:
        return _convolution(graph, node, given), inputs[:1]
    if kind in {"MaxPool", "AveragePool", "LpPool"}:
        return Windows(_windows(graph, node, given, tuple(given["kernel_shape"]), output)), inputs[:1]
    if kind in {"Resize", "Upsample"}:
        return _resizing(graph, node, given), inputs[:1]
    if kind == "Pad":
        return _padding(graph, node, given), inputs[:1]
    if kind.startswith("Global"):
        return Reduce(tuple(range(2, len(first))), keep=True), inputs[:1]
    if kind == "BatchNormalization":
        return (Spread((0, *range(2, len(first)))) if given.get("training_mode", 0) else Join()), inputs[:1]
    if kind == "InstanceNormalization":
        return Spread(tuple(range(2, len(first)))), inputs[:1]
    if kind == "GroupNormalization":
        return Spread(tuple(range(2, len(first))), groups=int(given["num_groups"])), inputs[:1]
    if kind == "LayerNormalization":
        return Spread(tuple(range(given.get("axis", -1) % len(first), len(first)))), inputs[:1]
    if kind in {"Softmax", "LogSoftmax", "LpNormalization", "CumSum"}:
        axis = int(graph.constants[inputs[1]]) if kind == "CumSum" else given.get("axis", -1)
        return Spread((axis,)), inputs[:1]
    if kind.startswith("Reduce") or kind in {"ArgMax", "ArgMin"}:
        return _reduction(graph, given, inputs, first), inputs[:1]
    if kind == "MatMul":
        return Product(), inputs
    if kind == "Gemm" and not given.get("transA", 0) and not given.get("transB", 0):
        return Product(), inputs
    if kind == "Gemm":
        return _Gemm(bool(given.get("transA", 0)), bool(given.get("transB", 0))), inputs
    if kind in _MOVES:
        return Move(_mover(graph, node, inputs, output)), inputs
    if kind in _JOIN:
        return Join(), inputs
    raise AnalysisError(
        f"the operator {kind!r} of {node.name or node.output[0]!r} is not known, so it is not known what it reads"
    )


class _Gemm(Product):
    """A matrix product with transposed operands."""

    __slots__ = ("turned",)

    def __init__(self, left: bool, right: bool) -> None:
        object.__setattr__(self, "turned", (left, right))

    def boxes(self, parts: Any, shapes: Any, out: Any) -> Any:
        """As of a product, of the operands as they are multiplied."""
        turned: tuple[bool, bool] = self.turned  # type: ignore[attr-defined]
        parts = [*(p.swapaxes(-1, -2) if t else p for p, t in zip(parts, turned, strict=False)), *parts[2:]]
        shapes = [*(s[::-1] if t else s for s, t in zip(shapes, turned, strict=False)), *shapes[2:]]
        return super().boxes(parts, shapes, out)


def _windows(
    graph: OnnxGraph, node: Any, given: dict[str, Any], kernel: tuple[int, ...], output: int = 0
) -> tuple[Taps, ...]:
    """Windows of a convolution or a pooling."""
    axes = len(kernel)
    stride, dilation = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
    before = list(given.get("pads", [0] * 2 * axes))[:axes]
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        inputs, outputs = (graph.shapes[n][2:] for n in (node.input[0], node.output[output]))
        for i in range(axes):
            total = max(0, (outputs[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - inputs[i])
            before[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
    return tuple(
        convolution(k, s, padding=p, dilation=d) for k, s, p, d in zip(kernel, stride, before, dilation, strict=True)
    )


def _convolution(graph: OnnxGraph, node: Any, given: dict[str, Any]) -> Windows:
    kernel = graph.shapes[node.input[1]][2:]
    groups = int(given.get("group", 1))
    if node.op_type == "Conv":
        return Windows(_windows(graph, node, given, kernel), groups=groups)
    axes = len(kernel)
    stride, dilation = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
    before = list(given.get("pads", [0] * 2 * axes))[:axes]
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME") or "output_shape" in given:
        extra = given.get("output_padding", [0] * axes)
        for i in range(axes):
            inputs, outputs = graph.shapes[node.input[0]][i + 2], graph.shapes[node.output[0]][i + 2]
            total = stride[i] * (inputs - 1) + extra[i] + (kernel[i] - 1) * dilation[i] + 1 - outputs
            before[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
    taps = [
        transposed(k, s, padding=p, dilation=d) for k, s, p, d in zip(kernel, stride, before, dilation, strict=True)
    ]
    return Windows(tuple(taps), groups=groups)


def _padding(graph: OnnxGraph, node: Any, given: dict[str, Any]) -> Windows:
    rank = len(graph.shapes[node.input[0]])
    amounts = given["pads"] if "pads" in given else graph.constants[node.input[1]].tolist()
    edge = _EDGES[given.get("mode", b"constant").decode()]
    if len(node.input) > 3 and node.input[3]:
        axes = [int(a) % rank for a in graph.constants[node.input[3]]]
    else:
        axes = list(range(rank))
    before = dict(zip(axes, amounts[: len(axes)], strict=True))
    return Windows(tuple(padded(int(before.get(axis, 0)), edge=edge) for axis in range(2, rank)))


def _reduction(graph: OnnxGraph, given: dict[str, Any], inputs: list[str], shape: tuple[int, ...]) -> Reduce:
    axes = given.get("axes", given.get("axis"))
    if axes is None and len(inputs) > 1:
        axes = graph.constants[inputs[1]].reshape(-1).tolist()
    chosen = tuple(range(len(shape))) if axes is None else tuple(axes) if isinstance(axes, list) else (int(axes),)
    return Reduce(chosen, keep=bool(given.get("keepdims", 1)))


def _resizing(graph: OnnxGraph, node: Any, given: dict[str, Any]) -> Windows:
    """Resizing, by the rules of the ONNX operator for where an output lies among the inputs."""
    label = node.name or node.output[0]
    inputs, outputs = graph.shapes[node.input[0]], graph.shapes[node.output[0]]
    mode = given.get("mode", b"nearest").decode()
    old = node.op_type == "Upsample"
    where = "asymmetric" if old else given.get("coordinate_transformation_mode", b"half_pixel").decode()
    if given.get("antialias", 0) or where == "tf_crop_and_resize":
        raise AnalysisError(f"Resize of {label!r} with antialiasing or tf_crop_and_resize is not known")
    named = node.input[1] if old else node.input[2] if len(node.input) > 2 else ""
    scales = graph.constants[named].tolist() if named and graph.constants[named].size else None
    taps = []
    for axis in range(2, len(inputs)):
        i, o = inputs[axis], outputs[axis]
        ratio = Fraction(i, o) if scales is None else 1 / Fraction(scales[axis]).limit_denominator(1000)
        shift = Fraction(0)
        if where == "align_corners":
            ratio = Fraction(i - 1, o - 1) if o > 1 else Fraction(0)
        elif where in {"half_pixel", "half_pixel_symmetric"} or (where == "pytorch_half_pixel" and o > 1):
            shift = (ratio - 1) / 2
        if mode == "nearest":
            rounding = "floor" if old else given.get("nearest_mode", b"round_prefer_floor").decode()
            taps.append(_rounded(ratio, shift, _ROUND[rounding]))
        elif shift or ratio in {0, 1} or where == "align_corners":
            reach = 2 if mode == "cubic" else 1
            taps.append(interpolated(ratio, reach=reach, corners=where == "align_corners"))
        else:
            taps.append(interpolated(ratio, reach=2 if mode == "cubic" else 1, corners=True))
    return Windows(tuple(taps))


_ROUND: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - Fraction(1, 2)),
    "round_prefer_ceil": lambda x: math.floor(x + Fraction(1, 2)),
}


def _rounded(ratio: Fraction, shift: Fraction, rounding: Callable[[Fraction], int]) -> Taps:
    """Nearest neighbour where output j lies at j * ratio + shift."""
    places = [r * ratio + shift for r in range(ratio.denominator)]
    return Taps(tuple((rounding(p),) for p in places), ratio.numerator, "nearest")


def _mover(graph: OnnxGraph, node: Any, inputs: list[str], output: int) -> Callable[[list[Numbers]], Numbers]:
    """The operator itself, to be run on whole numbers."""

    def apply(parts: list[Numbers]) -> Numbers:
        values = dict(zip(inputs, parts, strict=True))
        for name in inputs:
            known = graph.constants.get(name)
            if known is not None and np.issubdtype(known.dtype, np.integer):
                values[name] = known
        return np.asarray(graph.run(node, values, output), dtype=np.int32)

    return apply
