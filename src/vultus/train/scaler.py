"""Scaling of gradients for float16, so that small ones do not vanish (Micikevicius et al. 2018, "Mixed precision training").

The features' gradient is scaled where it enters the backbone, instead of the loss: the gradients of class centres and of
the loss's own numbers are float32 and need none, and a head that moves its centres in the backward pass sees true values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from vultus.errors import NotFinite


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, scale: float) -> Tensor:
        ctx.scale = scale  # type: ignore[attr-defined]
        return features.view_as(features)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None  # type: ignore[attr-defined]


class Scaler:
    """A factor that halves when a gradient overflows and doubles after a while without.

    Args:
        enabled: False leaves everything as it is.
        scale: at the start.
        patience: steps without an overflow after which the factor doubles.
    """

    def __init__(self, *, enabled: bool, scale: float = 65_536.0, patience: int = 2_000) -> None:
        self.enabled = enabled
        self.scale = scale if enabled else 1.0
        self.patience = patience
        self._good = 0

    def attach(self, features: Tensor) -> Tensor:
        """The features; what flows back through them is scaled."""
        if not self.enabled:
            return features
        scaled: Tensor = _Scaled.apply(features, self.scale)  # type: ignore[no-untyped-call]
        return scaled

    @torch.no_grad()
    def release(self, parameters: Iterable[Tensor]) -> None:
        """Divide the gradients of parameters by the factor."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.enabled and gradients:
            torch._foreach_mul_(gradients, 1.0 / self.scale)

    def update(self, *, overflow: bool) -> None:
        """Move the factor after a step.

        Raises:
            NotFinite: the factor fell to nothing, so that the cause is no overflow.
        """
        if not self.enabled:
            return
        if overflow:
            self.scale, self._good = self.scale / 2, 0
            if self.scale < 2**-14:
                raise NotFinite(
                    "gradients stay NaN or infinite in float16 however small their scale; train with run.precision = "
                    "'bf16' or 'float32', or lower the learning rate"
                )
            return
        self._good += 1
        if self._good >= self.patience:
            self.scale, self._good = min(self.scale * 2, 2.0**24), 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scale": self.scale, "good": self._good}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        if self.enabled and state:
            self.scale, self._good = float(state["scale"]), int(state["good"])
