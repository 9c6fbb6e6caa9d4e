"""The passes of preparation: each removes one obstacle from a graph and leaves its function as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from vultus.errors import GraphError
from vultus.weights.graph import Array, Graph, attributes


def fold_constants(graph: Graph) -> None:
    """Compute what depends on constants alone: dequantised weights, their reshapes, Constant nodes."""
    from onnx import numpy_helper

    for node in list(graph.nodes):
        if node.output[0] in graph.outputs:
            continue
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
            value, shape = graph.constants[node.input[0]], graph.constants[node.input[1]].tolist()
            if not attributes(node).get("allowzero", 0):
                shape = [n or value.shape[i] for i, n in enumerate(shape)]
            graph.constants[node.output[0]] = value.reshape(shape)
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
        masks = node.output[1:]
        if node.op_type in {"Dropout", "Identity"} and not any(m in graph.outputs or graph.uses(m) for m in masks if m):
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
