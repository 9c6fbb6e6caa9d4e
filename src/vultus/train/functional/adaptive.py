"""Margins that follow the length of the feature, which tells the quality of the photo: MagFace and AdaFace."""

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
    checked_vector,
    own,
    single,
)
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient, angle, angular, with_gradient
from vultus.train.functional.margins import ARC_FAR
from vultus.train.functional.plain import scaled_rows
from vultus.train.loss import Rows

# AdaFace keeps theta this far from 0 and pi, and adds as much to the deviation of the norms.
_ADAFACE_EPSILON = 1e-3


# --- MagFace ----------------------------------------------------------------------------------------------------------


def magface_rows(
    target: Tensor,
    norms: Tensor,
    *,
    scale: float,
    low_norm: float,
    high_norm: float,
    low_margin: float,
    high_margin: float,
    weight: float,
    far: Far,
    margin_gradient: MarginGradient,
) -> Rows:
    """The terms of `magface` with its regulariser."""
    length = norms.clamp(low_norm, high_norm)
    regulariser = _length_cost(length, high_norm, weight)
    margin = low_margin + (high_margin - low_margin) / (high_norm - low_norm) * (length - low_norm)
    rows = scaled_rows(target, scale, angular(target, margin=margin, far=far, gradient=margin_gradient))
    return Rows(rows.target, rows.scale, rows.offset, regulariser)


@export("vultus.train.functional.magface")
def magface(
    cosine: Tensor,
    labels: Tensor,
    norms: Tensor,
    *,
    scale: float = 64.0,
    low_norm: float = 10.0,
    high_norm: float = 110.0,
    low_margin: float = 0.45,
    high_margin: float = 0.8,
    far: Far = "easy",
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """`arcface` with a margin that grows with the length of the feature; add `magface_regulariser` to the loss.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        norms: (n,) |x|; the gradient of the margin flows into it.
        scale: s.
        low_norm: l_a, lengths below count as this.
        high_norm: u_a, lengths above count as this.
        low_margin: margin at `low_norm`, radians.
        high_margin: margin at `high_norm`, radians; linear between.
        far: the target where theta + m > pi, as in `arcface`; "easy" as in the authors' recipes.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be s.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `far` or `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Meng et al., MagFace, CVPR 2021 (arXiv:2103.06627), the magnitude-aware margin m(a).
    """
    checked_choice(far, ARC_FAR, name="far")
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    norms = checked_vector(norms, len(labels), name="norms", positive=True)
    rows = magface_rows(
        own(cosine, labels),
        norms,
        scale=scale,
        low_norm=low_norm,
        high_norm=high_norm,
        low_margin=low_margin,
        high_margin=high_margin,
        weight=0.0,
        far=far,
        margin_gradient=margin_gradient,
    )
    return assembled(cosine, labels, rows)


@export("vultus.train.functional.magface_regulariser")
def magface_regulariser(
    norms: Tensor, *, low_norm: float = 10.0, high_norm: float = 110.0, weight: float = 35.0
) -> Tensor:
    """weight * (a / u_a^2 + 1 / a) of each row, with a the length clipped to [l_a, u_a].

    Args:
        norms: (n,) |x|.
        low_norm: l_a.
        high_norm: u_a, where the regulariser is least.
        weight: lambda_g.

    Returns:
        (n,).

    Raises:
        BadBatch: lengths that are not (n,) finite numbers above 0.

    Meng et al., MagFace, CVPR 2021 (arXiv:2103.06627), the regulariser g(a).
    """
    norms = checked_vector(norms, norms.numel(), name="norms", positive=True)
    return _length_cost(norms.clamp(low_norm, high_norm), high_norm, weight)


def _length_cost(length: Tensor, high_norm: float, weight: float) -> Tensor:
    return weight * (length / high_norm**2 + 1 / length)


# --- AdaFace ----------------------------------------------------------------------------------------------------------


def adaface_rows(
    target: Tensor,
    norms: Tensor,
    mean: Tensor,
    deviation: Tensor,
    *,
    margin: float,
    concentration: float,
    scale: float,
    margin_gradient: MarginGradient,
) -> Rows:
    """The terms of `adaface`."""
    mean, deviation = (x.detach().to(target) for x in (mean, deviation))
    z = (adaface_lengths(norms) - mean) / (deviation + _ADAFACE_EPSILON)
    z = (concentration * z).clamp(-1, 1)
    cosine, through = with_gradient(target, margin_gradient)
    theta = (angle(cosine) - margin * z).clamp(_ADAFACE_EPSILON, math.pi - _ADAFACE_EPSILON)
    return scaled_rows(target, scale, theta.cos() - (margin + margin * z) + through)


def adaface_lengths(norms: Tensor) -> Tensor:
    """Lengths as AdaFace sees them: without gradient, 0.001 to 100."""
    return norms.detach().clamp(1e-3, 100)


@export("vultus.train.functional.adaface")
def adaface(
    cosine: Tensor,
    labels: Tensor,
    norms: Tensor,
    mean: Tensor,
    deviation: Tensor,
    *,
    margin: float = 0.4,
    concentration: float = 0.333,
    scale: float = 64.0,
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """Logits s (cos(theta_y - m z) - (m + m z)) of the target, z the standardised length of the feature, in [-1, 1].

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        norms: (n,) |x|, clipped to [0.001, 100]; no gradient flows into it.
        mean: 0-d, running mean of the lengths; see `adaface_statistics`.
        deviation: 0-d, running standard deviation of the lengths.
        margin: m.
        concentration: h, by which the standardised length is multiplied before it is clipped to [-1, 1].
        scale: s.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be s.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Kim, Jain and Liu, AdaFace, CVPR 2022 (arXiv:2204.00964), g_angle and g_add. theta - m z is clipped to [0.001, pi -
    0.001] as in the authors' code; there the gradient is 0.
    """
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    norms = checked_vector(norms, len(labels), name="norms", positive=True)
    rows = adaface_rows(
        own(cosine, labels),
        norms,
        torch.as_tensor(mean),
        torch.as_tensor(deviation),
        margin=margin,
        concentration=concentration,
        scale=scale,
        margin_gradient=margin_gradient,
    )
    return assembled(cosine, labels, rows)


@export("vultus.train.functional.adaface_statistics")
def adaface_statistics(
    mean: Tensor, deviation: Tensor, norms: Tensor, *, momentum: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Running mean and standard deviation of the lengths after a batch: momentum * batch + (1 - momentum) * before.

    Args:
        mean: 0-d, before the batch.
        deviation: 0-d, before the batch.
        norms: (n,) |x|, clipped to [0.001, 100]. A single one has no deviation: it moves the mean only.
        momentum: weight of the batch.

    Returns:
        (mean, deviation), 0-d, without gradient.

    Kim, Jain and Liu, AdaFace, CVPR 2022 (arXiv:2204.00964), the image quality indicator; n - 1 in the deviation, as
    in the authors' code, which divides 0 by 0 at n = 1.
    """
    lengths = adaface_lengths(single(norms))
    mean, deviation = mean.detach(), deviation.detach()
    new_mean, new_deviation = mean.clone(), deviation.clone()
    if lengths.numel() > 0:
        new_mean = momentum * lengths.mean() + (1 - momentum) * mean
    if lengths.numel() > 1:
        new_deviation = momentum * lengths.std() + (1 - momentum) * deviation
    return new_mean.to(mean.dtype), new_deviation.to(deviation.dtype)
