"""The audit: which biases of a network a norm cancels, and the network without them."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vultus._export import export
from vultus.analyze.bias.follow import fate_of

if TYPE_CHECKING:
    from torch import nn

# A response is computed in doubles in torch and in floats in ONNX.
TORCH_TOLERANCE, ONNX_TOLERANCE = 1e-9, 1e-4


@export("vultus.analyze.bias.Bias")
@dataclass(frozen=True, slots=True)
class Bias:
    """What became of one bias.

    Args:
        name: of the parameter, or of the value in an ONNX graph.
        operator: that adds it: a convolution, a linear layer, or a BatchNorm, whose shift is a bias too.
        size: numbers in it.
        cancelled_by: norms that take it off, all of which it reaches; empty where it counts.
        why: why it counts; empty where it is cancelled.
    """

    name: str
    operator: str
    size: int
    cancelled_by: tuple[str, ...]
    why: str

    @property
    def cancelled(self) -> bool:
        """True where the network computes the same whatever the bias is, as far as the norm learns its mean."""
        return not self.why

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "operator": self.operator,
            "size": self.size,
            "cancelled": self.cancelled,
            "cancelled_by": list(self.cancelled_by),
            "why": self.why,
        }


@export("vultus.analyze.bias.Audit")
@dataclass(frozen=True, slots=True)
class Audit:
    """All biases of a network.

    Args:
        biases: in the order in which they are first added.
    """

    biases: tuple[Bias, ...]

    @property
    def cancelled(self) -> tuple[Bias, ...]:
        """Those that do nothing."""
        return tuple(b for b in self.biases if b.cancelled)

    @property
    def numbers(self) -> int:
        """Numbers in all biases."""
        return sum(b.size for b in self.biases)

    @property
    def cancelled_numbers(self) -> int:
        """Numbers in those that do nothing."""
        return sum(b.size for b in self.cancelled)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "biases": [b.to_dict() for b in self.biases],
            "numbers": self.numbers,
            "cancelled_numbers": self.cancelled_numbers,
        }


@export("vultus.analyze.bias.audit_biases")
def audit_biases(
    module_or_path: nn.Module | str | os.PathLike[str] | bytes, input_size: tuple[int, int, int] | None = None
) -> Audit:
    """Find the biases that a following norm cancels.

    A bias is followed through everything that is linear, branches, sums, flattening and further layers included, up to the
    norms that it reaches. It is cancelled where all of them take it off: where its effect is the same all over each channel.
    Zeros for padding in between make it differ at the border, an activation or a dropout that is in use make it count.

    In training a BatchNorm subtracts the batch's mean, so the gradient of such a bias is zero up to rounding. In evaluation
    it subtracts the mean that it remembers, which has the bias in it.

    Args:
        module_or_path: a torch module, or an ONNX file as path or bytes. Only dropout modules are seen as in training;
            `torch.nn.functional.dropout` is not.
        input_size: (c, h, w). An ONNX file of fixed size needs none.

    Raises:
        BadArgument: a size that is missing or that the network does not take.
        AnalysisError: the network cannot be traced.
        SourceUnavailable: the file cannot be read.
        GraphError: the file is no ONNX file, or a damaged one.
    """
    if isinstance(module_or_path, str | bytes | os.PathLike):
        from vultus.analyze.bias.from_onnx import onnx_hops
        from vultus.analyze.receptive_field.measure import read_graph

        content = module_or_path if isinstance(module_or_path, bytes) else read_graph(module_or_path)
        _, candidates, hops, outputs = onnx_hops(content, input_size)
        tolerance = ONNX_TOLERANCE
    else:
        from vultus.analyze.bias.from_torch import torch_hops

        candidates, hops, outputs = torch_hops(module_or_path, input_size)
        tolerance = TORCH_TOLERANCE
    found = []
    for candidate in candidates:
        fate = fate_of(candidate, hops, outputs, tolerance=tolerance)
        found.append(Bias(candidate.name, candidate.operator, candidate.values.size, tuple(fate.shifts), fate.why))
    return Audit(tuple(found))


@export("vultus.analyze.bias.remove_cancelled_biases")
def remove_cancelled_biases(module: nn.Module, input_size: tuple[int, int, int]) -> nn.Module:
    """A copy of a module without the biases that a norm cancels, which computes the same in training and in evaluation.

    Convolutions and linear layers lose the parameter. A cancelled shift of a BatchNorm becomes zero and is no longer learned.
    What the biases added is taken off the means that the norms remember.

    Args:
        module: left as it is.
        input_size: (c, h, w).

    Raises:
        BadArgument: the module does not take such a picture.
        AnalysisError: the module cannot be traced.
    """
    import torch

    from vultus.analyze.bias.from_torch import torch_hops

    candidates, hops, outputs = torch_hops(module, input_size)
    slim = copy.deepcopy(module)
    for candidate in candidates:
        fate = fate_of(candidate, hops, outputs, tolerance=TORCH_TOLERANCE)
        if fate.why:
            continue
        path, _, name = candidate.name.rpartition(".")
        owner = slim.get_submodule(path)
        with torch.no_grad():
            for norm, shift in fate.shifts.items():
                mean: Any = slim.get_submodule(norm).running_mean
                mean -= torch.from_numpy(shift).to(mean)
            parameter: Any = getattr(owner, name)
            if isinstance(owner, torch.nn.modules.batchnorm._BatchNorm):
                parameter.zero_().requires_grad_(False)
            else:
                setattr(owner, name, None)
    return slim
