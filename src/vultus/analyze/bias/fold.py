"""Folding of BatchNorm into the layer before it, for a network that is no longer trained."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

from vultus._export import export

if TYPE_CHECKING:
    from torch import fx, nn


@export("vultus.analyze.bias.fold_batch_norm")
def fold_batch_norm(module: nn.Module, input_size: tuple[int, int, int]) -> nn.Module:
    """A copy of a module, in evaluation, in which convolutions and linear layers do the work of the norms behind them.

    With s = weight / sqrt(running_var + eps), the layer's kernels are multiplied by s and its bias becomes
    (bias - running_mean) * s + shift; the norm becomes an identity. Norms stay where the layer's result is read by something
    else too, where layer or norm run more than once, and where no such layer stands before them.

    Args:
        module: left as it is. Its norms must have remembered statistics.
        input_size: (c, h, w).

    Raises:
        BadArgument: the module does not take such a picture.
        AnalysisError: the module cannot be traced.
    """
    from torch import nn

    from vultus.analyze.receptive_field.from_torch import given_of
    from vultus.analyze.tracing import operator_name, trace

    traced = trace(module, input_size)
    folded = copy.deepcopy(module).eval()
    pairs: list[tuple[str, str]] = []
    runs: Counter[str] = Counter()
    for node in traced.nodes:
        if node.op != "call_function":
            continue
        name = operator_name(node) if not isinstance(node.args[0] if node.args else None, tuple) else ""
        is_getitem = getattr(node.target, "__name__", "") == "getitem"
        if is_getitem:
            continue
        if name in {"convolution", "addmm", "mm"}:
            runs[_weight(traced, node)] += 1
        elif "batch_norm" in name and not given_of(node).get("training", False):
            norm = (traced.path(given_of(node).get("running_mean")) or "").rpartition(".")[0]
            runs[norm] += 1
            before: Any = node.args[0]
            if operator_name(before) in {"convolution", "addmm", "mm"} and len(before.users) == 1:
                pairs.append((_weight(traced, before), norm))
    for layer_path, norm_path in pairs:
        if not layer_path or not norm_path or runs[layer_path] > 1 or runs[norm_path] > 1:
            continue
        layer, norm_module = folded.get_submodule(layer_path), folded.get_submodule(norm_path)
        plain = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Linear)
        if plain and "weight" in layer._parameters and isinstance(norm_module, nn.modules.batchnorm._BatchNorm):
            _fold(layer, norm_module)
            owner, _, name = norm_path.rpartition(".")
            setattr(folded.get_submodule(owner), name, nn.Identity())
    return folded


def _weight(traced: Any, node: fx.Node) -> str:
    """Path of the layer whose weight a convolution or a product reads."""
    from vultus.analyze.tracing import operator_name

    for value in reversed([n for n in node.all_input_nodes if n not in traced.names]):
        source = value.all_input_nodes[0] if value.op == "call_function" and operator_name(value) == "t" else value
        path = traced.path(source)
        if path is not None and path.rpartition(".")[2] == "weight":
            return str(path.rpartition(".")[0])
    return ""


def _fold(layer: Any, norm: Any) -> None:
    """Put a norm into the layer before it, in doubles."""
    import torch
    from torch import nn

    with torch.no_grad():
        mean, variance = norm.running_mean.double(), norm.running_var.double()
        scale = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            scale = scale * norm.weight.double()
        shift = -mean * scale if layer.bias is None else (layer.bias.double() - mean) * scale
        if norm.affine:
            shift = shift + norm.bias.double()
        weight = layer.weight.double()
        if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
            # (inputs, outputs per group, ...): output channel g * n + j is row j of group g
            grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
            factor = scale.reshape(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
            weight = (grouped * factor).reshape(weight.shape)
        else:
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        layer.weight.copy_(weight)
        layer.bias = nn.Parameter(shift.to(layer.weight), requires_grad=layer.weight.requires_grad)
