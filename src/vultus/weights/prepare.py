"""Making an ONNX graph ready for the runtime: the same function, in the form that runs and runs fast.

Published files are written for other programs: weights quantised in blocks that onnxruntime refuses on a bias, weights
listed as inputs, one fixed size, normalisations and slopes as operators of their own. Each pass below removes one such
obstacle and leaves the function as it is; `PREPARATION` is part of the cache key, so a changed pass makes new files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus.errors import GraphError

PREPARATION = 1
_OLDEST_OPSET = 9

Array = npt.NDArray[Any]


class Graph:
    """An ONNX graph taken apart for rewriting: nodes in order, and constants by name as arrays."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.model = model
        self.nodes: list[Any] = list(model.graph.node)
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.outputs = [o.name for o in model.graph.output]

    def uses(self, name: str) -> list[Any]:
        """The nodes that read a value."""
        return [n for n in self.nodes if name in n.input]

    def producer(self, name: str) -> Any | None:
        """The node that makes a value, or None for an input or a constant."""
        return next((n for n in self.nodes if name in n.output), None)

    def only_use(self, name: str) -> Any | None:
        """The one node that reads a value, where there is exactly one and the value is no output."""
        uses = self.uses(name)
        return uses[0] if len(uses) == 1 and name not in self.outputs else None

    def constant(self, wish: str, value: Array) -> str:
        """Add a constant under a name that is free."""
        name, n = wish, 0
        while name in self.constants:
            n += 1
            name = f"{wish}_{n}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def bypass(self, node: Any) -> None:
        """Remove a node whose first output equals its first input."""
        source, result = node.input[0], node.output[0]
        self.nodes.remove(node)
        if result in self.outputs:
            maker = self.producer(source)
            if maker is None:
                raise GraphError(f"output {result!r} is only an input passed on")
            _replace(maker.output, source, result)
            for user in self.uses(source):
                _replace(user.input, source, result)
            return
        for user in self.uses(result):
            _replace(user.input, result, source)

    def rebuild(self) -> Any:
        """The ONNX model again, without constants and inputs that nothing reads."""
        from onnx import numpy_helper

        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input}
        inputs = [i for i in graph.input if i.name in used and i.name not in self.constants]
        for part, content in (
            (graph.node, self.nodes),
            (graph.input, inputs),
            (graph.initializer, [numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in used]),
            (graph.value_info, []),
        ):
            kept = [_copy(item) for item in content]
            del part[:]
            part.extend(kept)
        self.model.ir_version = max(self.model.ir_version, 8)
        return self.model


def _copy(message: Any) -> Any:
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


def _replace(names: Any, old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as plain values."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


# --- passes -----------------------------------------------------------------------------------------------------------


def fold_constants(graph: Graph) -> None:
    """Compute what depends on constants alone: dequantised weights, their reshapes, Constant nodes."""
    from onnx import numpy_helper

    for node in list(graph.nodes):
        if node.op_type == "Constant":
            given = attributes(node)
            if "value" not in given:
                continue
            graph.constants[node.output[0]] = numpy_helper.to_array(given["value"])
        elif not all(name in graph.constants for name in node.input if name):
            continue
        elif node.op_type == "DequantizeLinear":
            graph.constants[node.output[0]] = _dequantise(graph, node)
        elif node.op_type == "Reshape":
            shape = graph.constants[node.input[1]]
            graph.constants[node.output[0]] = graph.constants[node.input[0]].reshape(shape)
        elif node.op_type == "Identity":
            graph.constants[node.output[0]] = graph.constants[node.input[0]]
        else:
            continue
        graph.nodes.remove(node)


def _dequantise(graph: Graph, node: Any) -> Array:
    """(q - zero point) * scale, per tensor, per axis, or in blocks along an axis (ONNX DequantizeLinear, opset 21)."""
    given = attributes(node)
    quantised, scale = graph.constants[node.input[0]], graph.constants[node.input[1]]
    zero = graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros_like(scale)
    axis, block = given.get("axis", 1), given.get("block_size", 0)
    if block:
        keep = tuple(slice(0, n) if i == axis % quantised.ndim else slice(None) for i, n in enumerate(quantised.shape))
        scale, zero = (np.repeat(x, block, axis=axis)[keep] for x in (scale, zero))
    elif scale.size > 1:
        along = [1] * quantised.ndim
        along[axis] = -1
        scale, zero = scale.reshape(along), zero.reshape(along)
    return ((quantised.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)).astype(np.float32)


def drop_inference_noops(graph: Graph) -> None:
    """Remove Dropout and Identity, which do nothing at inference."""
    for node in list(graph.nodes):
        if node.op_type in {"Dropout", "Identity"} and not any(o in graph.outputs for o in node.output[1:]):
            graph.bypass(node)


def fold_batch_norm(graph: Graph) -> None:
    """Fold BatchNormalization into the convolution or matrix product before it, or into the product after it."""
    for node in [n for n in graph.nodes if n.op_type == "BatchNormalization"]:
        if not all(name in graph.constants for name in node.input[1:]):
            continue
        gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:5])
        factor = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        shift = beta - mean * factor
        before = graph.producer(node.input[0])
        if (
            before is not None
            and graph.only_use(node.input[0]) is node
            and _scale_outputs(graph, before, factor, shift)
        ) or _scale_product_inputs(graph, node.output[0], factor, shift):
            graph.bypass(node)


def _scale_outputs(graph: Graph, node: Any, factor: Array, shift: Array) -> bool:
    """Make a node give factor * y + shift per output channel; False where it is of no such kind."""
    if node.op_type not in {"Conv", "Gemm", "ConvTranspose"} or node.input[1] not in graph.constants:
        return False
    given = attributes(node)
    weight = graph.constants[node.input[1]].astype(np.float64)
    if node.op_type == "Gemm" and (given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0):
        return False
    channel = 0
    if node.op_type == "ConvTranspose":
        if given.get("group", 1) != 1:
            return False
        channel = 1
    elif node.op_type == "Gemm" and not given.get("transB", 0):
        channel = 1
    if weight.shape[channel] != len(factor):
        return False
    bias = np.zeros(len(factor))
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] not in graph.constants or graph.constants[node.input[2]].size != len(factor):
            return False
        bias = graph.constants[node.input[2]].astype(np.float64).reshape(-1)
    along = [1] * weight.ndim
    along[channel] = -1
    inputs = [
        node.input[0],
        graph.constant(f"{node.input[1]}_scaled", (weight * factor.reshape(along)).astype(np.float32)),
        graph.constant(f"{node.input[1]}_shift", (bias * factor + shift).astype(np.float32)),
    ]
    del node.input[:]
    node.input.extend(inputs)
    return True


def _scale_product_inputs(graph: Graph, name: str, factor: Array, shift: Array | None = None) -> bool:
    """Move factor * x + shift per channel of x into a matrix product that reads x through a Flatten."""
    flatten = graph.only_use(name)
    if flatten is None or flatten.op_type != "Flatten" or attributes(flatten).get("axis", 1) != 1:
        return False
    product = graph.only_use(flatten.output[0])
    if product is None or product.op_type != "Gemm" or product.input[0] != flatten.output[0]:
        return False
    given = attributes(product)
    plain = given.get("transB", 0) == 1 and given.get("transA", 0) == 0
    plain = plain and given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0
    if not plain or not all(i in graph.constants for i in product.input[1:]):
        return False
    weight = graph.constants[product.input[1]].astype(np.float64)
    if weight.shape[1] % len(factor):
        return False
    each = weight.shape[1] // len(factor)
    inputs = [
        product.input[0],
        graph.constant(f"{product.input[1]}_scaled", (weight * np.repeat(factor, each)).astype(np.float32)),
    ]
    bias = graph.constants[product.input[2]].astype(np.float64) if len(product.input) > 2 else np.zeros(len(weight))
    if shift is not None:
        bias = bias + weight @ np.repeat(shift, each)
    inputs.append(graph.constant(f"{product.input[1]}_shift", bias.astype(np.float32)))
    del product.input[:]
    product.input.extend(inputs)
    return True


def rewrite_prelu(graph: Graph) -> None:
    """Write PRelu in operators that onnxruntime keeps in its blocked layout.

    PRelu(x) = a x + (1 - a) relu(x) per channel. Where everything that reads the result is linear in it and scales by
    channel, the factor (1 - a) moves into those weights and what remains is relu(x) + a/(1 - a) x: one depthwise 1x1
    convolution with a fused sum. Elsewhere, and where a comes close to 1, it is a x + (1 - a) relu(x) with two.
    """
    from onnx import helper

    nodes: list[Any] = []
    for node in list(graph.nodes):
        slope = graph.constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or slope.ndim < 3 or slope.size != slope.shape[-3] or slope.size == 1:
            nodes.append(node)
            continue
        x, y, a = node.input[0], node.output[0], slope.astype(np.float64).reshape(-1)
        rest = 1.0 - a
        positive, sloped = f"{y}_positive", f"{y}_sloped"
        nodes.append(helper.make_node("Relu", [x], [positive]))
        if np.abs(rest).min() > 1e-3 and _scale_inputs(graph, y, rest):
            factor = graph.constant(f"{y}_slope", (a / rest).astype(np.float32).reshape(-1, 1, 1, 1))
            addend = positive
        else:
            factor = graph.constant(f"{y}_slope", a.astype(np.float32).reshape(-1, 1, 1, 1))
            scale = graph.constant(f"{y}_rest", rest.astype(np.float32).reshape(-1, 1, 1, 1))
            addend = f"{y}_scaled"
            nodes.append(helper.make_node("Conv", [positive, scale], [addend], kernel_shape=[1, 1], group=a.size))
        nodes.append(helper.make_node("Conv", [x, factor], [sloped], kernel_shape=[1, 1], group=a.size))
        nodes.append(helper.make_node("Add", [sloped, addend], [y]))
    graph.nodes = nodes


def _scale_inputs(graph: Graph, name: str, factor: Array) -> bool:
    """Make every reader of a value compute with factor * value per channel; False, and nothing changed, if one can't."""
    users = graph.uses(name)
    if name in graph.outputs or not users:
        return False
    if len(users) == 1 and users[0].op_type == "Flatten":
        return _scale_product_inputs(graph, name, factor)
    if not all(u.op_type == "Conv" and u.input[0] == name and u.input[1] in graph.constants for u in users):
        return False
    for user in users:
        weight, group = graph.constants[user.input[1]].astype(np.float64), attributes(user).get("group", 1)
        # input channel of weight[o, i] is group_of(o) * (inputs per group) + i
        per_group = factor.reshape(group, -1)
        by_output = np.repeat(per_group, weight.shape[0] // group, axis=0)
        scaled = weight * by_output.reshape(*by_output.shape, *[1] * (weight.ndim - 2))
        user.input[1] = graph.constant(f"{user.input[1]}_scaled", scaled.astype(np.float32))
    return True


def free_dimensions(graph: Graph, *, input_name: str, sizes: bool) -> None:
    """Make the batch free, and height and width where `sizes`; reshapes that hold the batch as 1 copy it instead."""
    model = graph.model.graph
    named = next((i for i in model.input if i.name == input_name), None)
    if named is None:
        known = ", ".join(i.name for i in model.input if i.name not in graph.constants)
        raise GraphError(f"the graph has no input {input_name!r}; it has: {known}")
    shape = named.type.tensor_type.shape.dim
    if len(shape) != 4:
        raise GraphError(f"input {input_name!r} has {len(shape)} dimensions; expected (n, 3, height, width)")
    for i, free in enumerate(("batch", None, "height", "width")):
        if free and (i == 0 or sizes):
            shape[i].dim_param = free
    for output in model.output:
        for i, dim in enumerate(output.type.tensor_type.shape.dim):
            if i == 0:
                dim.dim_param = "batch"
            elif sizes:
                dim.dim_param = f"{output.name}_{i}"
    for node in graph.nodes:
        if node.op_type == "Reshape" and node.input[1] in graph.constants:
            target = graph.constants[node.input[1]]
            if target.size > 1 and target[0] == 1:
                node.input[1] = graph.constant(f"{node.input[1]}_free", np.concatenate([[0], target[1:]]))


# --- all together -----------------------------------------------------------------------------------------------------


def prepare(content: bytes, *, input_name: str, free_size: bool, keep_outputs: tuple[str, ...] = ()) -> bytes:
    """The prepared form of an ONNX file.

    Args:
        content: the file's bytes; weights must be inside.
        input_name: the input for pixels, from the manifest.
        free_size: whether height and width are to be free too.
        keep_outputs: drop all other outputs; empty keeps every one.

    Raises:
        GraphError: not an ONNX file, too old, with weights outside, or without the named input or outputs.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as problem:
        raise GraphError("not an ONNX file, or a damaged one") from problem
    if not model.graph.node:
        raise GraphError("not an ONNX file: it has no nodes")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise GraphError("the weights lie in files beside the graph; save the model as one file")
    model = _current_opset(model)
    if keep_outputs:
        known = {o.name: o for o in model.graph.output}
        missing = [name for name in keep_outputs if name not in known]
        if missing:
            raise GraphError(f"the graph has no output {missing[0]!r}; it has: {', '.join(known)}")
        kept = [_copy(known[name]) for name in keep_outputs]
        del model.graph.output[:]
        model.graph.output.extend(kept)
    graph = Graph(model)
    passes: tuple[Callable[[Graph], None], ...] = (
        fold_constants,
        drop_inference_noops,
        fold_batch_norm,
        rewrite_prelu,
    )
    for rewrite in passes:
        rewrite(graph)
    free_dimensions(graph, input_name=input_name, sizes=free_size)
    prepared = graph.rebuild()
    try:
        onnx.checker.check_model(prepared)
    except onnx.checker.ValidationError as problem:
        raise GraphError(f"the prepared graph is not valid: {problem}") from problem
    result: bytes = prepared.SerializeToString()
    return result


def _current_opset(model: Any) -> Any:
    """Refuse graphs older than the oldest opset that the passes and the runtime know."""
    version = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
    if version < _OLDEST_OPSET:
        raise GraphError(f"opset {version} is too old; export with opset {_OLDEST_OPSET} or newer")
    return model
