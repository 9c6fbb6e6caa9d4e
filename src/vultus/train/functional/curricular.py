"""CurricularFace: other classes count more the nearer they are, and the more so the further training has come."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vultus._export import export
from vultus.train.functional._batch import (
    assembled,
    checked_choice,
    checked_cosine,
    checked_labels,
    own,
    single,
)
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient, angle, angular
from vultus.train.functional.margins import ARC_FAR
from vultus.train.functional.plain import scaled_rows
from vultus.train.loss import Rows


def curricularface_rows(
    target: Tensor, labels: Tensor, t: Tensor, *, margin: float, scale: float, far: Far, margin_gradient: MarginGradient
) -> Rows:
    """The terms of `curricularface`; state holds the bound above which another class is hard, and t."""
    phi = angular(target, margin=margin, far=far, gradient=margin_gradient)
    rows = scaled_rows(target, scale, phi)
    bound = (angle(target.detach()) + margin).cos()
    bound = torch.where(labels >= 0, bound, bound.new_tensor(math.inf))
    state = torch.stack([bound, t.detach().to(bound).expand_as(bound)], dim=1)
    return Rows(rows.target, rows.scale, rows.offset, rows.regulariser, state)


def curricularface_others(cosine: Tensor, rows: Rows) -> Tensor:
    """c (t + c) of the hard classes, c of the rest."""
    bound, t = _hardness(rows)
    return torch.where(cosine > bound, cosine * (t + cosine), cosine)


def curricularface_slope(cosine: Tensor, rows: Rows) -> Tensor:
    """t + 2 c of the hard classes, 1 of the rest."""
    bound, t = _hardness(rows)
    return torch.where(cosine > bound, t + 2 * cosine, cosine.new_ones(()))


def _hardness(rows: Rows) -> tuple[Tensor, Tensor]:
    assert rows.state is not None  # noqa: S101 - set by curricularface_rows
    return rows.state[:, :1], rows.state[:, 1:]


@export("vultus.train.functional.curricularface")
def curricularface(
    cosine: Tensor,
    labels: Tensor,
    t: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    far: Far = "linear",
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """`arcface` in which other classes closer than cos(theta_y + m) are hard and count s c (t + c).

    Rows with label -1 have no target to compare with, so that none of their classes are hard.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        t: 0-d, running mean of cos(theta_y); see `curricularface_t`. No gradient flows into it.
        margin: m, radians.
        scale: s.
        far: the target where theta + m > pi, as in `arcface`.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be s.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `far` or `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Huang et al., CurricularFace, CVPR 2020 (arXiv:2004.00288), the modulation I(t, cos(theta_j)). `far="linear"` is
    the authors' code; the paper does not say.
    """
    checked_choice(far, ARC_FAR, name="far")
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    rows = curricularface_rows(
        own(cosine, labels),
        labels,
        torch.as_tensor(t),
        margin=margin,
        scale=scale,
        far=far,
        margin_gradient=margin_gradient,
    )
    return assembled(cosine, labels, rows, curricularface_others)


@export("vultus.train.functional.curricularface_t")
def curricularface_t(t: Tensor, target: Tensor, *, momentum: float = 0.01) -> Tensor:
    """The running mean after a batch: momentum * mean(cos(theta_y)) + (1 - momentum) * t.

    Args:
        t: 0-d, before the batch.
        target: (n,) cosines with the own class, of rows that have one; n may be 0.
        momentum: weight of the batch.

    Returns:
        0-d, without gradient.

    Huang et al., CurricularFace, CVPR 2020 (arXiv:2004.00288), the adaptive estimation of t. The batch counts before
    its own loss is computed, as in the authors' code.
    """
    if target.numel() == 0:
        return t.detach().clone()
    return (momentum * single(target.detach()).mean() + (1 - momentum) * t.detach()).to(t.dtype)
