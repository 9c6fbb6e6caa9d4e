"""Batch normalisation with the statistics of all ranks, on any device and backend, and one that is frozen.

torch.nn.SyncBatchNorm does the first on accelerators only; this one also runs under gloo on a CPU, so that the equality of
two ranks and one process with twice the batch can be tested anywhere.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

Kind = Literal["local", "sync", "frozen"]


class _Sum(torch.autograd.Function):
    """The sum over ranks. Each rank's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        del ctx
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        del ctx
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class SharedNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm1d or BatchNorm2d whose batch is that of all ranks. Without a process group it is plain BatchNorm."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        del input

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """(n, channels, ...) normalised over all axes but the second, over all ranks."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        count = torch.full((1,), x.numel() / x.shape[1], dtype=x.dtype, device=x.device)
        total: Tensor = _Sum.apply(torch.cat([x.sum(axes), count]))  # type: ignore[no-untyped-call]
        mean = total[:-1] / total[-1]
        shape = (1, -1, *(1,) * (input.ndim - 2))
        centred = x - mean.view(shape)
        spread: Tensor = _Sum.apply((centred * centred).sum(axes))  # type: ignore[no-untyped-call]
        variance = spread / total[-1]
        with torch.no_grad():
            self._move(mean, variance, total[-1])
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    def _move(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        unbiased = variance * (count / (count - 1).clamp_min(1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)


def with_norms(module: nn.Module, kind: Kind) -> nn.Module:
    """The module with its batch normalisations of a kind; parameters, buffers and their names stay."""
    if kind == "sync":
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SharedNorm):
                    setattr(parent, name, _shared(child))
    return module


def _shared(norm: nn.modules.batchnorm._BatchNorm) -> SharedNorm:
    shared = SharedNorm(
        norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=norm.track_running_stats
    )
    shared.affine = norm.affine
    shared.weight, shared.bias = norm.weight, norm.bias
    shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
    shared.num_batches_tracked = norm.num_batches_tracked
    return shared


def set_training(module: nn.Module, kind: Kind) -> None:
    """Training mode; frozen normalisations stay in evaluation."""
    module.train()
    if kind == "frozen":
        for child in module.modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                child.eval()
