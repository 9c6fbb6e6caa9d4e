"""Losses that ask of every class whether the face belongs to it: SphereFace2 and UniFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.functional._batch import (
    assembled,
    checked_choice,
    checked_cosine,
    checked_labels,
    checked_number,
    own,
)
from vultus.train.functional._margins import GRADIENTS, MarginGradient, with_gradient
from vultus.train.loss import Rows


def _similarity(cosine: Tensor, t: float) -> Tensor:
    return 2 * ((cosine + 1) / 2).clamp(min=0) ** t - 1


def sphereface2_others(cosine: Tensor, *, margin: float, t: float, margin_gradient: MarginGradient) -> Tensor:
    """g(c) + m."""
    base, through = with_gradient(cosine, margin_gradient)
    return _similarity(base, t) + margin + through


def sphereface2_slope(cosine: Tensor, *, t: float, margin_gradient: MarginGradient) -> Tensor:
    """g'(c), or 1 where the gradient is detached."""
    if margin_gradient == "detached":
        return torch.ones_like(cosine)
    return t * ((cosine + 1) / 2).clamp(min=0) ** (t - 1)


def sphereface2_rows(
    target: Tensor, offset: Tensor, *, margin: float, scale: float, t: float, margin_gradient: MarginGradient
) -> Rows:
    """The terms of `sphereface2`."""
    base, through = with_gradient(target, margin_gradient)
    offset = offset.to(target).expand_as(target)
    phi = scale * (_similarity(base, t) - margin + through) + offset
    return Rows(
        phi, torch.full_like(target, checked_number(scale, name="scale", above=0.0)), offset, torch.zeros_like(target)
    )


@export("vultus.train.functional.sphereface2")
def sphereface2(
    cosine: Tensor,
    labels: Tensor,
    offset: Tensor,
    *,
    margin: float = 0.4,
    scale: float = 40.0,
    t: float = 3.0,
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """Logits r (g(cos(theta_y)) - m) + b and r (g(cos(theta_j)) + m) + b, for `binary_loss` with alpha and 1 - alpha.

    g(c) = 2 ((c + 1) / 2)^t - 1.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        offset: 0-d, b; see `sphereface2_offset` for its start.
        margin: m.
        scale: r.
        t: exponent, at least 1; 1 is no adjustment.
        margin_gradient: "exact", or "detached" as in the authors' code: the derivative of a logit by its cosine is
            taken to be r.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `margin_gradient`, or t below 1.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Wen et al., SphereFace2, ICLR 2022 (arXiv:2108.01513), eq. 5, margin type C.
    """
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    checked_number(t, name="t", low=1.0)
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    rows = sphereface2_rows(
        own(cosine, labels), torch.as_tensor(offset), margin=margin, scale=scale, t=t, margin_gradient=margin_gradient
    )

    def others(products: Tensor, _: Rows) -> Tensor:
        return sphereface2_others(products, margin=margin, t=t, margin_gradient=margin_gradient)

    return assembled(cosine, labels, rows, others)


@export("vultus.train.functional.sphereface2_offset")
def sphereface2_offset(
    classes: int, *, margin: float = 0.4, scale: float = 40.0, t: float = 3.0, alpha: float = 0.7
) -> float:
    """The offset at the start: that which minimises the loss while all cosines are 0.

    Args:
        classes: C, at least 2.
        margin: m.
        scale: r.
        t: exponent of g.
        alpha: weight of the target's term, in (0, 1).

    Raises:
        BadArgument: fewer than two classes, or an alpha outside (0, 1).

    Closed form. With p the logistic function, a = r (g(0) - m), d = r (g(0) + m) and z = alpha / ((1 - alpha)(C - 1)),
    the derivative by b vanishes where z p(-(a + b)) = p(d + b), a quadratic in e^b.
    """
    if classes < 2:
        raise BadArgument(f"classes is {classes}, expected at least 2")
    if not 0 < alpha < 1:
        raise BadArgument(f"alpha is {alpha:g}, expected a number between 0 and 1")
    level = 2 * math.pow(0.5, t) - 1
    a, d = scale * (level - margin), scale * (level + margin)
    z = alpha / ((1 - alpha) * (classes - 1))
    # z (1 + e^d u) = e^d u (1 + e^a u) with u = e^b; v = e^d u solves e^(a-d) v^2 + (1 - z) v - z = 0.
    root = math.sqrt((1 - z) ** 2 + 4 * z * math.exp(a - d))
    if z <= 1:
        return math.log(2 * z / (1 - z + root)) - d
    return math.log(root - 1 + z) - math.log(2) - a


def uniface_rows(target: Tensor, threshold: Tensor, *, margin: float, scale: float) -> Rows:
    """The terms of `uniface`."""
    offset = -threshold.to(target).expand_as(target)
    checked_number(scale, name="scale", above=0.0)
    return Rows(scale * (target - margin) + offset, torch.full_like(target, scale), offset, torch.zeros_like(target))


@export("vultus.train.functional.uniface")
def uniface(cosine: Tensor, labels: Tensor, threshold: Tensor, *, margin: float = 0.4, scale: float = 64.0) -> Tensor:
    """Logits s (cos(theta_y) - m) - b and s cos(theta_j) - b, for `binary_loss`: one threshold for all classes.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        threshold: 0-d, b; see `uniface_threshold` for its start.
        margin: m.
        scale: s.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Zhou et al., UniFace, ICCV 2023, the unified cross-entropy loss with a margin. The authors' code clips logits to
    [-s, s] and thus takes the gradient from what lies outside; here nothing is clipped.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    return assembled(
        cosine, labels, uniface_rows(own(cosine, labels), torch.as_tensor(threshold), margin=margin, scale=scale)
    )


@export("vultus.train.functional.uniface_threshold")
def uniface_threshold(classes: int, *, rate: float = 1.0) -> float:
    """The threshold at the start, log(10 C r), with r the share of class centres that are sampled.

    Raises:
        BadArgument: fewer than two classes, or a rate outside (0, 1].
    """
    if classes < 2:
        raise BadArgument(f"classes is {classes}, expected at least 2")
    if not 0 < rate <= 1:
        raise BadArgument(f"rate is {rate:g}, expected a share above 0 and at most 1")
    return math.log(10 * classes * rate)
