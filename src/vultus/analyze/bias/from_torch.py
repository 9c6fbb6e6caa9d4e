"""The biases of a torch module, and the operators that they go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from vultus.analyze.bias.follow import Array, Candidate, Hop, Kind
from vultus.analyze.receptive_field.from_torch import MOVES, constant_of, given_of
from vultus.analyze.tracing import Traced, is_tensor, operator_name, shape_of, trace
from vultus.errors import BadArgument

_LINEAR = MOVES | {
    "_adaptive_avg_pool2d", "_to_copy", "_upsample_nearest_exact2d", "add", "addmm", "alias", "avg_pool2d", "clone",
    "constant_pad_nd", "contiguous", "convolution", "detach", "lift_fresh_copy", "matmul", "mean", "mm", "neg",
    "reflection_pad2d", "replication_pad2d", "rsub", "sub", "sum", "upsample_bicubic2d", "upsample_bilinear2d",
    "upsample_nearest2d",
}  # fmt: skip
_MAXIMUM = {"adaptive_max_pool2d", "amax", "max_pool2d", "max_pool2d_with_indices"}


def torch_hops(
    module: nn.Module, input_size: tuple[int, int, int] | None
) -> tuple[list[Candidate], list[Hop], list[str]]:
    """The biases of a module, its operators in order, and its results.

    Raises:
        BadArgument: a size that is missing or that the module does not take.
        AnalysisError: the module cannot be traced.
    """
    if input_size is None:
        raise BadArgument("a module does not say how large its pictures are; pass input_size=(channels, height, width)")
    traced = trace(module, input_size, dropping=True)
    hops: list[Hop] = []
    found: dict[str, list[fx.Node]] = {}
    for node, name in traced.names.items():
        source = node.args[0] if getattr(node.target, "__name__", "") == "getitem" else node
        assert isinstance(source, fx.Node)  # noqa: S101
        inputs = [n for n in source.all_input_nodes if n in traced.names]
        kind, norm = _kind(traced, source)
        hops.append(
            Hop(
                key=node.name,
                name=name,
                operator=operator_name(node),
                inputs=tuple(n.name for n in inputs),
                kind=kind,
                respond=_responder(traced, source, node),
                norm=norm,
            )
        )
        bias = _bias_of(source)
        path = traced.path(bias)
        if bias is not None and path is not None and isinstance(traced.tensors[bias], nn.Parameter):
            found.setdefault(path, []).append(node)
    candidates = []
    for path, nodes in found.items():
        values = module.get_parameter(path).detach().double().cpu().numpy()
        operator = operator_name(nodes[0]).removeprefix("native_")
        candidates.append(Candidate(path, operator, values.reshape(-1), _adder(nodes)))
    results = [n.name for n in pytree.tree_leaves(traced.nodes[-1].args) if isinstance(n, fx.Node)]
    return candidates, hops, results


def _adder(nodes: list[fx.Node]) -> Callable[[Array], Mapping[str, Array]]:
    """What a bias of given numbers, one for each channel or feature, adds to the results of some nodes."""

    def add(values: Array) -> Mapping[str, Array]:
        added = {}
        for node in nodes:
            shape = shape_of(node)
            axes = [1] * (len(shape) - 2) if operator_name(node) != "addmm" else []
            added[node.name] = np.broadcast_to(values.reshape(-1, *axes), shape)
        return added

    return add


def _bias_of(node: fx.Node) -> fx.Node | None:
    """The bias that an operator adds: of a convolution, a linear layer or a BatchNorm."""
    name = operator_name(node)
    given = given_of(node)
    bias = (
        given.get("self") if name == "addmm" else given.get("bias") if name == "convolution" or _is_norm(name) else None
    )
    return bias if isinstance(bias, fx.Node) else None


def _is_norm(name: str) -> bool:
    return "batch_norm" in name


def _kind(traced: Traced, node: fx.Node) -> tuple[Kind, str]:
    """What an operator does with a constant, and which norm with fixed statistics it is."""
    name = operator_name(node)
    given = given_of(node)
    live = [n for n in node.all_input_nodes if n in traced.names]
    if _is_norm(name):
        mean = traced.path(given.get("running_mean"))
        fixed = not given.get("training", False)
        if fixed and mean is None:
            return "other", ""
        return "norm", mean.rpartition(".")[0] if fixed and mean is not None else ""
    if name in _MAXIMUM:
        return "maximum", ""
    if name in _LINEAR:
        # both factors of a product depending on the picture is no linear operator
        product = name in {"mm", "matmul", "convolution", "addmm"} and len(live) > 1
        return ("other" if product else "linear"), ""
    if name in {"mul", "div"} and len(live) == 1 and node.args[0] in (live if name == "div" else node.args):
        return "linear", ""
    return "other", ""


def _responder(traced: Traced, source: fx.Node, node: fx.Node) -> Callable[[Mapping[str, Array]], Array]:
    """How a linear operator's result moves: what it makes of the responses, less what it makes of zeros."""

    def respond(arriving: Mapping[str, Array]) -> Array:
        def run(responses: Mapping[str, Array]) -> Tensor:
            def value(x: Any) -> Any:
                if not isinstance(x, fx.Node):
                    return x
                if x.name in responses:
                    return torch.from_numpy(np.array(responses[x.name], dtype=np.float64))
                known = constant_of(traced, x)
                if known is not None:
                    return known.detach().cpu().double() if known.is_floating_point() else known.cpu()
                return torch.zeros(shape_of(x), dtype=torch.float64) if is_tensor(x) else x

            args, kwargs = pytree.tree_map(value, (tuple(source.args), dict(source.kwargs)))
            with torch.no_grad():
                result = source.target(*args, **kwargs)  # type: ignore[operator]
            chosen: Tensor = result if node is source else result[node.args[1]]
            return chosen

        result: Array = (run(arriving) - run({})).numpy()
        return result

    return respond
