"""A prepared ONNX graph as a torch module with fixed weights, so that a loss can look through a model that is no torch model.

Knows the operators of prepared embedders; another one is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus.errors import GraphError
from vultus.weights import Manifest, prepared_weights
from vultus.weights.graph import Graph, attributes

_Values = dict[str, Tensor]
_Operation = Callable[[list[Tensor], Mapping[str, Any]], Tensor]


class Frozen(nn.Module):
    """The graph of a manifest. Its weights are buffers and receive no gradient; its input does.

    Args:
        manifest: of a model with one input for pixels; its first output, or the one that the manifest names, is given.
        cache: where prepared weights are kept.

    Raises:
        WeightsError: the weights cannot be had, or the graph has an operator that is not known.
    """

    def __init__(self, manifest: Manifest, *, cache: Path | None = None) -> None:
        import onnx

        super().__init__()
        found = prepared_weights(manifest, cache=cache)
        graph = Graph(onnx.load_model_from_string(found if isinstance(found, bytes) else found.read_bytes()))
        self.input, self.output = manifest.input.name, graph.outputs[0]
        self._steps: list[tuple[_Operation, tuple[str, ...], str, dict[str, Any]]] = []
        self._names = {name: f"constant_{i}" for i, name in enumerate(graph.constants)}
        for name, value in graph.constants.items():
            self.register_buffer(self._names[name], torch.from_numpy(value.copy()), persistent=False)
        for node in graph.nodes:
            if node.op_type not in _OPERATIONS:
                raise GraphError(
                    f"{manifest.name!r} has the operator {node.op_type}, which has no form in torch here; known are "
                    f"{', '.join(sorted(_OPERATIONS))}"
                )
            self._steps.append((_OPERATIONS[node.op_type], tuple(node.input), node.output[0], attributes(node)))
        self._last = {name: i for i, (_, names, _, _) in enumerate(self._steps) for name in names}
        order = [0, 1, 2] if manifest.input.channels == "RGB" else [2, 1, 0]
        self._order = order
        self.register_buffer("mean", torch.tensor(manifest.input.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(manifest.input.std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """What the graph gives.

        Args:
            pixels: (n, 3, h, w) RGB in 0..255.
        """
        x = (pixels[:, self._order] - self.mean) / self.std  # type: ignore[operator]
        values: _Values = {self.input: x}
        for number, (operation, names, result, given) in enumerate(self._steps):
            held = [values[n] if n in values else getattr(self, self._names[n]) for n in names if n]
            values[result] = operation(held, given)
            for name in names:
                if self._last[name] == number and name != self.output:
                    values.pop(name, None)
        return values[self.output]


def _conv(x: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    weight, bias = x[1], x[2] if len(x) > 2 else None
    groups = int(given.get("group", 1))
    pads = list(given.get("pads", [0, 0, 0, 0]))
    if weight.shape[1:].numel() == 1 and groups == len(weight) and bias is None:  # a slope for each map, as PReLU has
        return x[0] * weight.reshape(1, -1, 1, 1)
    if pads[:2] != pads[2:]:
        padded = functional.pad(x[0], (pads[1], pads[3], pads[0], pads[2]))
        pads = [0, 0, 0, 0]
    else:
        padded = x[0]
    return functional.conv2d(
        padded,
        weight,
        bias,
        stride=list(given.get("strides", [1, 1])),
        padding=pads[:2],
        dilation=list(given.get("dilations", [1, 1])),
        groups=groups,
    )


def _gemm(x: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    a = x[0].T if given.get("transA", 0) else x[0]
    b = x[1].T if given.get("transB", 0) else x[1]
    product = float(given.get("alpha", 1.0)) * (a @ b)
    return product if len(x) < 3 else product + float(given.get("beta", 1.0)) * x[2]


_OPERATIONS: dict[str, _Operation] = {
    "Add": lambda x, _: x[0] + x[1],
    "Conv": _conv,
    "Flatten": lambda x, given: x[0].flatten(int(given.get("axis", 1))),
    "Gemm": _gemm,
    "Mul": lambda x, _: x[0] * x[1],
    "Relu": lambda x, _: torch.relu(x[0]),
    "Sub": lambda x, _: x[0] - x[1],
}
