"""What a margin does to the cosine of a row's own class. Applied to n target entries, never to a whole matrix."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from vultus.train.functional._batch import checked_number

MarginGradient = Literal["exact", "detached"]
Far = Literal["linear", "easy", "cosine", "psi"]
GRADIENTS = ("exact", "detached")


class _Angle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cosine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine)
        return torch.acos(cosine.clamp(-1, 1))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        cosine: Tensor = ctx.saved_tensors[0]
        squared_sine = ((1 - cosine) * (1 + cosine)).clamp(min=torch.finfo(cosine.dtype).eps)
        return -grad * squared_sine.rsqrt()


def angle(cosine: Tensor) -> Tensor:
    """acos, in [0, pi], whose derivative -1/sin stays finite.

    sin^2 is (1 - c)(1 + c), exact near 1, and is taken to be no less than the machine epsilon of the type, which
    is where a cosine cannot be told from +-1 any more. Rounding that leads outside [-1, 1] is 0 or pi.
    """
    result: Tensor = _Angle.apply(cosine)  # type: ignore[no-untyped-call]
    return result


def psi_of(theta: Tensor, margin: float) -> Tensor:
    """(-1)^k cos(m theta) - 2k with k = floor(m theta / pi): cos(m theta), continued so that it falls on [0, pi]."""
    k = whole_turns(margin * theta)
    return _signed(margin * theta, k)


def whole_turns(angles: Tensor) -> Tensor:
    """floor(angle / pi), detached."""
    return (angles.detach() / math.pi).floor()


def _signed(angles: Tensor, k: Tensor) -> Tensor:
    return (1 - 2 * torch.remainder(k, 2)) * angles.cos() - 2 * k


def with_gradient(cosine: Tensor, gradient: MarginGradient) -> tuple[Tensor, Tensor]:
    """(the cosine to compute the margin from, what to add to the result).

    "exact": the cosine, and 0. "detached": the cosine without its gradient, and a zero whose gradient is that of the
    cosine, so that the logit's derivative by the cosine is 1.
    """
    if gradient == "exact":
        return cosine, cosine.new_zeros(())
    fixed = cosine.detach()
    return fixed, cosine - fixed


def angular(
    cosine: Tensor,
    *,
    factor: float = 1.0,
    margin: Tensor | float = 0.0,
    far: Far,
    gradient: MarginGradient,
) -> Tensor:
    """cos(factor * theta + margin), and what `far` names where that would not fall any more.

    "linear": c - m sin m where theta > pi - m. "easy": c where c <= 0. "cosine": nothing special. "psi": continued as
    psi.
    """
    if not isinstance(margin, Tensor):
        checked_number(margin, name="margin")
    cosine, through = with_gradient(cosine, gradient)
    theta = angle(cosine)
    moved = factor * theta + margin
    if far == "psi":
        return _signed(moved, whole_turns(moved)) + through
    phi = moved.cos()
    if far == "easy":
        phi = torch.where(cosine > 0, phi, cosine)
    elif far == "linear":
        drop = margin * margin.sin() if isinstance(margin, Tensor) else margin * math.sin(margin)
        phi = torch.where(moved.detach() <= math.pi, phi, cosine - drop)
    return phi + through
