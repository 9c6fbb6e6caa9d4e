"""A torch module as a graph of its basic operators, with the path of the module that each one belongs to.

The module runs once on fake tensors, which have shapes and no values, while torch.fx writes down every operator
(`make_fx`). So control flow in Python is no obstacle, and nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx

from vultus.errors import AnalysisError, BadArgument

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What a module does with one picture.

    Args:
        graph: of operators of torch's "aten" set; its parameters and buffers are those of the module, not copies.
        names: for each node that makes a tensor out of the picture, a name of its own.
        tensors: parameter or buffer behind each `get_attr` node.
        paths: dotted path of each parameter and buffer, by `id`.
    """

    graph: fx.GraphModule
    names: dict[fx.Node, str]
    tensors: dict[fx.Node, Tensor]
    paths: dict[int, str]

    @property
    def nodes(self) -> list[fx.Node]:
        """All nodes in the order in which they run."""
        return list(self.graph.graph.nodes)

    @property
    def picture(self) -> fx.Node:
        """The node of the input."""
        return next(n for n in self.nodes if n.op == "placeholder")

    def path(self, node: object) -> str | None:
        """Dotted path of the parameter or buffer that a node stands for; None for anything else."""
        return self.paths.get(id(self.tensors.get(node))) if isinstance(node, fx.Node) else None


def trace(module: nn.Module, input_size: tuple[int, int, int], *, dropping: bool = False) -> Traced:
    """Write down the operators that a module runs on one picture, as in evaluation.

    Args:
        module: takes (n, c, h, w) and gives tensors. It is left as it is.
        input_size: (c, h, w).
        dropping: whether dropout modules act as in training, and so show up.

    Raises:
        BadArgument: the module does not take such a picture.
        AnalysisError: what it does cannot be written down, for example because it depends on the values of pixels.
    """
    weights = [*module.parameters(), *module.buffers()]
    like = next((w for w in weights if w.is_floating_point()), torch.zeros(0))
    picture = torch.zeros((1, *input_size), dtype=like.dtype, device=like.device)
    spans: list[tuple[str, int, int]] = []
    try:
        with _evaluating(module, dropping=dropping), _spans(module, spans), torch.no_grad():
            graph = make_fx(lambda x: module(x), tracing_mode="fake", _allow_non_fake_inputs=True)(picture)
    except (RuntimeError, TypeError, ValueError, IndexError) as problem:
        if "data-dependent" in str(problem).lower() or "DataDependent" in type(problem).__name__:
            raise AnalysisError(
                f"{type(module).__name__} decides by the values of pixels ({problem}); analyse the part before that"
            ) from problem
        raise BadArgument(
            f"{type(module).__name__} does not run on a picture of shape {(1, *input_size)}: {problem}"
        ) from problem
    tensors = {n: _attribute(graph, str(n.target)) for n in graph.graph.nodes if n.op == "get_attr"}
    paths = {id(t): name for name, t in (*module.named_parameters(), *module.named_buffers())}
    return Traced(graph, _named(graph.graph, spans), tensors, paths)


@contextmanager
def _evaluating(module: nn.Module, *, dropping: bool) -> Iterator[None]:
    """The module in evaluation for a while; every part goes back to the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    for part, _ in modes:
        if dropping and isinstance(part, _DROPOUT) and part.p > 0:
            part.training = True
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _spans(module: nn.Module, spans: list[tuple[str, int, int]]) -> Iterator[None]:
    """Note which operators run inside which module: (path, number of nodes before, after)."""
    begun: list[int] = []
    handles: list[Any] = []

    def count() -> int:
        mode = get_proxy_mode()
        return len(mode.tracer.graph.nodes) if mode is not None else 0

    def enter(_part: nn.Module, _arguments: Any) -> None:
        begun.append(count())

    def leave(path: str) -> Any:
        def note(_part: nn.Module, _arguments: Any, _result: Any) -> None:
            spans.append((path, begun.pop(), count()))

        return note

    try:
        for path, part in module.named_modules():
            handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave(path))]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attribute(graph: fx.GraphModule, target: str) -> Tensor:
    found: Any = graph
    for part in target.split("."):
        found = getattr(found, part)
    tensor: Tensor = found
    return tensor


def _named(graph: fx.Graph, spans: list[tuple[str, int, int]]) -> dict[fx.Node, str]:
    """Names of the nodes that depend on the picture: the path of the module whose result they are, or path and operator."""
    nodes = list(graph.nodes)
    live: set[fx.Node] = set()
    for node in nodes:
        if node.op == "placeholder" or (node.op == "call_function" and live & set(node.all_input_nodes)):
            live.add(node)
    tensors = [i for i, n in enumerate(nodes) if n in live and n.op == "call_function" and is_tensor(n) and n.users]
    names: dict[fx.Node, str] = {}
    inner: dict[int, str] = {}
    for path, first, last in spans:  # inner modules come before those that hold them
        inside = [i for i in tensors if first <= i < last]
        for i in inside:
            inner.setdefault(i, path)
        own = [i for i in inside if inner[i] == path]
        if path and own and own[-1] == inside[-1]:
            names[nodes[own[-1]]] = path
    used: dict[str, int] = {}
    for i in tensors:
        node, path = nodes[i], inner.get(i, "")
        name = names.get(node) or ".".join(filter(None, [path, operator_name(node)]))
        used[name] = used.get(name, 0) + 1
        names[node] = name if used[name] == 1 else f"{name}#{used[name]}"
    return {nodes[i]: names[nodes[i]] for i in tensors}


def is_tensor(node: fx.Node) -> bool:
    """True where a node makes one tensor."""
    return isinstance(node.meta.get("val"), Tensor)


def operator_name(node: fx.Node) -> str:
    """The operator without its set, its overload and the mark of in-place operators, such as "convolution"."""
    source = node
    while getattr(source.target, "__name__", "") == "getitem" and isinstance(source.args[0], fx.Node):
        source = source.args[0]
    schema = getattr(source.target, "_schema", None)
    name = schema.name if schema is not None else str(source.target)
    return str(name.rpartition("::")[2].removesuffix("_"))


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of the tensor that a node makes."""
    value = node.meta["val"]
    return tuple(int(n) for n in value.shape)
