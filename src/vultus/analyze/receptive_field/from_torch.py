"""The steps of a torch module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from vultus.analyze.receptive_field.graph import PICTURE, Step
from vultus.analyze.receptive_field.rules import Attention, Join, Move, Numbers, Product, Reduce, Rule, Spread, Windows
from vultus.analyze.receptive_field.taps import (
    Edge,
    adaptive,
    convolution,
    interpolated,
    nearest,
    padded,
    transposed,
)
from vultus.analyze.tracing import Traced, is_tensor, operator_name, shape_of, trace
from vultus.errors import AnalysisError

_PLAIN = {
    "_prelu_kernel", "_to_copy", "alias", "clone", "contiguous", "detach", "dropout", "hardswish", "hardtanh",
    "lift_fresh_copy", "log_sigmoid_forward", "native_dropout",
}  # fmt: skip
MOVES = {
    "_reshape_alias", "_unsafe_view", "cat", "channel_shuffle", "chunk", "expand", "flip", "gather", "im2col", "index",
    "index_select", "movedim", "narrow", "permute", "pixel_shuffle", "pixel_unshuffle", "repeat", "reshape", "roll",
    "select", "slice", "split", "split_with_sizes", "squeeze", "stack", "t", "transpose", "unbind", "unfold", "unsqueeze",
    "view",
}  # fmt: skip
_REDUCE = {
    "amax", "amin", "any", "argmax", "linalg_vector_norm", "logsumexp", "max", "mean", "min", "norm", "prod", "std", "sum",
    "var",
}  # fmt: skip
_SPREAD = {"_log_softmax", "_softmax", "cumsum", "log_softmax", "softmax", "sort", "topk"}
_RESIZE = {
    "_upsample_nearest_exact2d": "exact", "upsample_bicubic2d": "cubic", "upsample_bilinear2d": "linear",
    "upsample_nearest2d": "nearest",
}  # fmt: skip
_PAD: dict[str, Edge] = {"constant_pad_nd": "nothing", "reflection_pad2d": "mirror", "replication_pad2d": "nearest"}


def torch_steps(module: nn.Module, input_size: tuple[int, int, int]) -> list[Step]:
    """The steps of a module that depend on the picture, in the order in which they run.

    Raises:
        BadArgument: the module does not take such a picture.
        AnalysisError: it runs an operator that is not known here, or depends on the values of pixels.
    """
    return steps_of(trace(module, input_size))


def steps_of(traced: Traced) -> list[Step]:
    """The steps of a module that was traced.

    Raises:
        AnalysisError: an operator that is not known here.
    """
    keys = {traced.picture: PICTURE, **{node: node.name for node in traced.names}}
    steps = []
    for node, name in traced.names.items():
        source, index = _source(node)
        if not any(n in keys or _source(n)[0] in keys for n in source.all_input_nodes):
            continue
        read = [n for n in pytree.tree_leaves((source.args, source.kwargs)) if isinstance(n, fx.Node)]
        read = [n for n in read if is_tensor(n)]
        rule, inputs = _rule(traced, source, index, read, keys)
        steps.append(
            Step(
                key=node.name,
                name=name,
                operator=operator_name(node),
                inputs=tuple(keys.get(n) for n in inputs),
                shapes=tuple(shape_of(n) for n in inputs),
                shape=shape_of(node),
                rule=rule,
            )
        )
    return steps


def _source(node: fx.Node) -> tuple[fx.Node, int | None]:
    """The operator behind a node, and which of its results the node is."""
    if getattr(node.target, "__name__", "") == "getitem" and isinstance(node.args[0], fx.Node):
        return node.args[0], int(node.args[1])  # type: ignore[arg-type]
    return node, None


def _rule(
    traced: Traced, node: fx.Node, index: int | None, read: list[fx.Node], keys: dict[fx.Node, str]
) -> tuple[Rule, list[fx.Node]]:
    """The rule of an operator, and those of its inputs that the rule is about."""
    name = operator_name(node)
    given = given_of(node)
    live = [n for n in read if n in keys]
    if name == "convolution":
        return _convolution(given), live[:1]
    if name in {"max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d"}:
        return _pooling(given), live
    if name in {"_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}:
        before, after = shape_of(live[0])[-2:], tuple(given["output_size"])
        return Windows((adaptive(before[0], after[0]), adaptive(before[1], after[1]))), live
    if name in _RESIZE:
        return _resizing(_RESIZE[name], given, shape_of(live[0])), live
    if name in _PAD:
        return _padding(given["pad" if name == "constant_pad_nd" else "padding"], _PAD[name]), live
    if "batch_norm" in name:
        rank = len(shape_of(live[0]))
        return (Spread((0, *range(2, rank))) if given.get("training") else Join()), live
    if name == "native_group_norm":
        return Spread(tuple(range(2, len(shape_of(live[0])))), groups=given["group"]), live
    if name == "native_layer_norm":
        return Spread(tuple(range(-len(given["normalized_shape"]), 0))), live
    if name in {"mm", "bmm", "matmul", "dot", "mv"}:
        return Product(), read[:2]
    if name in {"addmm", "baddbmm", "addmv"}:
        return Product(), [*read[1:3], read[0]]
    if name.startswith("_scaled_dot_product"):
        return Attention(), read[:3]
    if name in _REDUCE:
        axes = given.get("dim")
        rank = len(shape_of(live[0]))
        chosen = (
            tuple(range(rank)) if axes is None or axes == [] else tuple(axes) if isinstance(axes, list) else (axes,)
        )
        return Reduce(chosen, bool(given.get("keepdim", False))), live
    if name in _SPREAD:
        return Spread((given.get("dim", -1),)), live
    if name in MOVES:
        return Move(_mover(traced, node, index, read)), read
    if name in _PLAIN or _is_pointwise(node):
        return Join(), live
    raise AnalysisError(
        f"the operator {name!r} of {traced.names.get(node, node.name)!r} is not known, so it is not known what it reads; "
        "analyse the network up to there"
    )


def given_of(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operator by name, defaults filled in."""
    schema = node.target._schema  # type: ignore[union-attr]
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    for argument, value in zip(schema.arguments, node.args, strict=False):
        given[argument.name] = list(value) if isinstance(value, list | tuple) else value
    given.update(node.kwargs)
    return given


def _is_pointwise(node: fx.Node) -> bool:
    target: Any = node.target
    if torch.Tag.pointwise in getattr(target, "tags", ()):
        return True
    packet = getattr(torch.ops.aten, operator_name(node), None)  # an in-place operator: ask the one it is the twin of
    return packet is not None and any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )


def _each(value: Sequence[int] | int, count: int) -> list[int]:
    """A number per axis, where one may stand for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


def _convolution(given: dict[str, Any]) -> Windows:
    kernel = shape_of(given["weight"])[2:]
    stride, padding, dilation = (_each(given[k], len(kernel)) for k in ("stride", "padding", "dilation"))
    make = transposed if given["transposed"] else convolution
    taps = tuple(
        make(k, s, padding=p, dilation=d) for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)
    )
    return Windows(taps, groups=int(given["groups"]))


def _pooling(given: dict[str, Any]) -> Windows:
    kernel = _each(given["kernel_size"], 2)
    stride = _each(given["stride"] or kernel, len(kernel))
    padding, dilation = (_each(given.get(k, d), len(kernel)) for k, d in (("padding", 0), ("dilation", 1)))
    return Windows(
        tuple(
            convolution(k, s, padding=p, dilation=d)
            for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)
        )
    )


def _padding(amounts: list[int], edge: Edge) -> Windows:
    """From the last axis on, (before, after) for each axis that is padded."""
    before = amounts[::2]
    return Windows(tuple(padded(n, edge=edge) for n in reversed([*before, *[0] * (2 - len(before))])))


def _resizing(kind: str, given: dict[str, Any], shape: tuple[int, ...]) -> Windows:
    corners = bool(given.get("align_corners", False))
    scales = given.get("scale_factors") or [given.get("scales_h"), given.get("scales_w")]
    sizes = given.get("output_size") or [int(n * s) for n, s in zip(shape[-2:], scales, strict=True)]
    taps = []
    for inputs, outputs, scale in zip(shape[-2:], sizes, scales, strict=True):
        ratio = Fraction(inputs, outputs) if scale is None else 1 / Fraction(scale).limit_denominator(1000)
        if corners:
            ratio = Fraction(inputs - 1, outputs - 1) if outputs > 1 else Fraction(0)
        if kind in {"linear", "cubic"}:
            taps.append(interpolated(ratio, reach=2 if kind == "cubic" else 1, corners=corners))
        else:
            taps.append(nearest(ratio, centred=kind == "exact"))
    return Windows(tuple(taps))


def _mover(traced: Traced, node: fx.Node, index: int | None, read: list[fx.Node]) -> Callable[[list[Numbers]], Numbers]:
    """The operator itself, to be run on whole numbers."""

    def apply(parts: list[Numbers]) -> Numbers:
        values = {n: torch.from_numpy(np.array(part)) for n, part in zip(read, parts, strict=True)}

        def value(x: Any) -> Any:
            if not isinstance(x, fx.Node):
                return x
            known = constant_of(traced, x)
            is_index = known is not None and not known.is_floating_point()
            return known if is_index else values[x]

        args, kwargs = pytree.tree_map(value, (tuple(node.args), dict(node.kwargs)))
        result = node.target(*args, **kwargs)  # type: ignore[operator]
        moved: Tensor = result if index is None else result[index]
        return np.asarray(moved.contiguous().numpy())

    return apply


def constant_of(traced: Traced, node: fx.Node) -> Tensor | None:
    """The value of a node that does not depend on the picture, or None where it does."""
    if node.op == "get_attr":
        return traced.tensors[node]
    if node.op != "call_function" or node in traced.names:
        return None
    values = {n: constant_of(traced, n) for n in node.all_input_nodes}
    if any(v is None for v in values.values()):
        return None
    args, kwargs = pytree.tree_map(
        lambda x: values[x] if isinstance(x, fx.Node) else x, (tuple(node.args), dict(node.kwargs))
    )
    result: Tensor = node.target(*args, **kwargs)  # type: ignore[operator]
    return result
