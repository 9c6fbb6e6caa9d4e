"""Making an ONNX graph ready for the runtime: the same function, in the form that runs and runs fast.

Published files are written for other programs: weights quantised in blocks that onnxruntime refuses on a bias, weights
listed as inputs, one fixed size, normalisations and slopes as operators of their own. Each pass removes one such obstacle
and leaves the function as it is; `PREPARATION` is part of the cache key, so a changed pass makes new files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vultus.errors import GraphError
from vultus.weights.branches import join_branches
from vultus.weights.graph import Graph, copied
from vultus.weights.passes import drop_inference_noops, fold_batch_norm, fold_constants, free_dimensions, rewrite_prelu

PREPARATION = 2
_OLDEST_OPSET = 9


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
    try:
        return _prepared(content, input_name=input_name, free_size=free_size, keep_outputs=keep_outputs)
    except GraphError:
        raise
    except Exception as problem:  # a damaged graph fails in as many ways as it has fields
        raise GraphError(f"the graph cannot be prepared: {problem}") from problem


def _prepared(content: bytes, *, input_name: str, free_size: bool, keep_outputs: tuple[str, ...]) -> bytes:
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
        kept = [copied(known[name]) for name in keep_outputs]
        del model.graph.output[:]
        model.graph.output.extend(kept)
    graph = Graph(model)
    passes: tuple[Callable[[Graph], None], ...] = (
        fold_constants,
        drop_inference_noops,
        fold_batch_norm,
        join_branches,
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
