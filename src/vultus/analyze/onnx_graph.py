"""An ONNX file as a list of nodes with the shape of every value, and the values of those that are constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vultus.errors import AnalysisError, BadArgument, GraphError
from vultus.weights.graph import Array, Graph, attributes, copied
from vultus.weights.passes import fold_constants


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGraph:
    """A graph for one picture.

    Args:
        model: the file, with constants folded.
        nodes: those that depend on the picture, in the order in which they run.
        picture: name of the input for the picture.
        input_size: (c, h, w).
        shapes: of every value.
        constants: values that do not depend on the picture, by name.
        opset: version of the operators.
    """

    model: Any
    nodes: list[Any]
    picture: str
    input_size: tuple[int, int, int]
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Array]
    opset: int

    def run(self, node: Any, values: Mapping[str, Array], output: int = 0) -> Array:
        """One node on given values, by the reference implementation; constants need not be given."""
        from onnx.reference import ReferenceEvaluator

        given = {n: values[n] if n in values else self.constants[n] for n in node.input if n}
        try:
            result: Array = np.asarray(ReferenceEvaluator(_alone(node, given, self.opset)).run(None, given)[output])
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as problem:
            raise AnalysisError(
                f"{node.op_type} of {node.name or node.output[0]!r} cannot be run: {problem}"
            ) from problem
        return result


def read_onnx(content: bytes, input_size: tuple[int, int, int] | None) -> OnnxGraph:
    """Take a file apart for one picture of a size.

    Raises:
        GraphError: no ONNX file, or a damaged one.
        BadArgument: a size that is missing or does not fit.
        AnalysisError: a shape that cannot be found out.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as problem:
        raise GraphError("not an ONNX file, or a damaged one") from problem
    if not model.graph.node:
        raise GraphError("not an ONNX file: it has no nodes")
    graph = Graph(model)
    fold_constants(graph)
    opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 1)
    name, size = _picture(graph, input_size)
    shapes: dict[str, tuple[int, ...]] = {name: (1, *size), **{k: v.shape for k, v in graph.constants.items()}}
    types: dict[str, Any] = {
        **{i.name: i.type for i in model.graph.input if i.name != name},
        **{k: _type(onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in graph.constants.items()},
        name: _type(onnx.TensorProto.FLOAT, (1, *size)),
    }
    found = OnnxGraph(model, [], name, size, shapes, graph.constants, opset)
    live = {name}
    for node in graph.nodes:
        _add_node(found, node, types, live)
    return found


def _add_node(graph: OnnxGraph, node: Any, types: dict[str, Any], live: set[str]) -> None:
    """Work out the shape of what a node makes, or its value where it is constant."""
    import onnx

    constants, shapes = graph.constants, graph.shapes
    assert isinstance(constants, dict)  # noqa: S101
    assert isinstance(shapes, dict)  # noqa: S101
    label = node.name or node.output[0]
    if node.domain not in {"", "ai.onnx"}:
        raise AnalysisError(f"the operator {node.op_type!r} of {label!r} is of {node.domain!r} and not of ONNX itself")
    if node.op_type == "Shape" and node.input[0] in shapes:
        given = attributes(node)
        whole = np.array(shapes[node.input[0]], dtype=np.int64)
        constants[node.output[0]] = whole[given.get("start", 0) : given.get("end")]
    elif not live & set(node.input) and all(n in constants for n in node.input if n):
        for i, name in enumerate(node.output):
            constants[name] = graph.run(node, {}, i)
    if node.output[0] in constants:
        for name in node.output:
            value = constants[name]
            shapes[name] = value.shape
            types[name] = _type(onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        return
    data = {n: onnx.numpy_helper.from_array(constants[n], n) for n in node.input if n in constants}
    try:
        schema = onnx.defs.get_schema(node.op_type, graph.opset, "")
        made = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[onnx.helper.make_opsetid("", graph.opset)]
        )
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, KeyError) as problem:
        raise BadArgument(
            f"{node.op_type} of {label!r} does not fit a picture of shape {(1, *graph.input_size)}: {problem}"
        ) from problem
    for name in filter(None, node.output):
        dims = made[name].tensor_type.shape.dim if name in made else []
        if name not in made or not all(d.HasField("dim_value") for d in dims):
            if name == node.output[0]:
                raise AnalysisError(f"the shape that {node.op_type} of {label!r} gives cannot be found out")
            continue
        types[name], shapes[name] = made[name], tuple(d.dim_value for d in dims)
        live.add(name)
    graph.nodes.append(node)


def _alone(node: Any, given: Mapping[str, Array], opset: int) -> Any:
    """A model of one node."""
    from onnx import helper

    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(n) for n in node.output if n]
    graph = helper.make_graph([node], "one", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _type(kind: int, shape: tuple[int, ...]) -> Any:
    from onnx import helper

    return helper.make_tensor_type_proto(kind, shape)


def _picture(graph: Graph, input_size: tuple[int, int, int] | None) -> tuple[str, tuple[int, int, int]]:
    """Name and size of the input for the picture: the only one of four axes that is no constant."""
    read = {name for node in graph.nodes for name in node.input}
    inputs = [i for i in graph.model.graph.input if i.name in read and i.name not in graph.constants]
    pictures = [i for i in inputs if len(i.type.tensor_type.shape.dim) == 4]
    if len(pictures) != 1 or len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise BadArgument(f"the graph has the inputs {names}; expected one, of shape (n, channels, height, width)")
    sizes = [d.dim_value or None for d in pictures[0].type.tensor_type.shape.dim][1:]
    if input_size is None:
        if None in sizes:
            raise BadArgument("the graph takes pictures of any size; pass input_size=(channels, height, width)")
        channels, height, width = (int(n) for n in sizes if n is not None)
        return pictures[0].name, (channels, height, width)
    if sizes[0] not in {None, input_size[0]}:
        raise BadArgument(f"the graph takes pictures of {sizes[0]} channels, not of {input_size[0]}")
    return pictures[0].name, input_size


def exposing(content: bytes, value: str, input_size: tuple[int, int, int]) -> bytes:
    """The file in a form that the runtime takes, with one more output, the last: a value inside the graph."""
    import onnx

    graph = read_onnx(content, input_size)
    made = Graph(graph.model)
    made.nodes, made.constants = list(graph.nodes), dict(graph.constants)
    model = made.rebuild()
    others = [copied(o) for o in model.graph.output if o.name != value]
    del model.graph.output[:]
    model.graph.output.extend([*others, onnx.helper.make_empty_tensor_value_info(value)])
    result: bytes = model.SerializeToString()
    return result
