"""Softmax with a margin that multiplies the angle: L-Softmax, A-Softmax (SphereFace) and SphereFace-R."""

from __future__ import annotations

import math

from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.functional._batch import (
    assembled,
    checked_choice,
    checked_cosine,
    checked_labels,
    checked_matrix,
    checked_number,
    checked_vector,
    own,
    own_of,
    single,
)
from vultus.train.functional._margins import GRADIENTS, MarginGradient, angle, psi_of, with_gradient
from vultus.train.functional.plain import scaled_rows
from vultus.train.loss import Rows


@export("vultus.train.functional.psi")
def psi(theta: Tensor, *, margin: float = 4.0) -> Tensor:
    """(-1)^k cos(m theta) - 2 k, k = floor(m theta / pi): continuous and falling on [0, pi], from 1 to 1 - 2 m for whole m.

    Args:
        theta: angles in [0, pi], of any shape.
        margin: m, at least 1; need not be whole.

    Raises:
        BadArgument: a margin below 1.

    Liu et al., SphereFace, CVPR 2017 (arXiv:1704.08063), eq. 7; the same psi is eq. 6 of L-Softmax (arXiv:1612.02295).
    """
    checked_number(margin, name="margin", low=1.0)
    return psi_of(single(theta), margin)


@export("vultus.train.functional.annealed_lambda")
def annealed_lambda(
    iteration: int, *, base: float = 1000.0, gamma: float = 0.12, power: float = 1.0, least: float = 5.0
) -> float:
    """max(least, base (1 + gamma iteration)^-power): how much of the plain cosine is mixed into psi.

    The defaults are those of the SphereFace authors; of L-Softmax: gamma 2.5e-5, power 35, least 0, or 5 to 10 on hard
    sets. Another author's: base 1500, gamma 0.1.

    Args:
        iteration: batches seen so far.
        base: lambda at iteration 0.
        gamma: how fast it falls.
        power: how steeply it falls.
        least: where it stops.

    Raises:
        BadArgument: a negative iteration.

    Liu et al., SphereFace, CVPR 2017 (arXiv:1704.08063), appendix on annealing, and the authors' code.
    """
    if iteration < 0:
        raise BadArgument(f"iteration is {iteration}, expected at least 0")
    return max(least, base * math.pow(1 + gamma * iteration, -power))


def _blended(cosine: Tensor, *, margin: float, annealing: float, gradient: MarginGradient) -> Tensor:
    base, through = with_gradient(cosine, gradient)
    return (annealing * base + psi_of(angle(base), margin)) / (1 + annealing) + through


def l_softmax_rows(
    target: Tensor,
    norms: Tensor,
    centre_norms: Tensor,
    *,
    margin: float,
    annealing: float,
    margin_gradient: MarginGradient,
) -> Rows:
    """The terms of `l_softmax`; centre_norms (n,) are those of the rows' own classes."""
    phi = centre_norms * _blended(target / centre_norms, margin=margin, annealing=annealing, gradient=margin_gradient)
    return scaled_rows(target, norms, phi)


@export("vultus.train.functional.l_softmax")
def l_softmax(
    products: Tensor,
    labels: Tensor,
    norms: Tensor,
    centre_norms: Tensor,
    annealing: float = 0.0,
    *,
    margin: float = 4.0,
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """Logits |W_y| |x| (lambda cos(theta_y) + psi(theta_y)) / (1 + lambda) of the target, W_j . x of the others.

    Args:
        products: (n, C), W_j . x / |x|.
        labels: (n,), -1 where the class is held elsewhere.
        norms: (n,) |x|.
        centre_norms: (C,) |W_j|.
        annealing: lambda, see `annealed_lambda`; 0 is the loss itself.
        margin: m, at least 1; need not be whole.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be
            |W_y| |x|.

    Returns:
        (n, C).

    Raises:
        BadArgument: a margin below 1, a negative annealing, or an unknown `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite, lengths of 0.

    Liu et al., Large-margin softmax, ICML 2016 (arXiv:1612.02295), eq. 4 to 6; the blend is that of its experiments.
    No bias, as there.
    """
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    checked_number(margin, name="margin", low=1.0)
    checked_number(annealing, name="annealing", low=0.0)
    products = checked_matrix(products, name="products")
    n, classes = products.shape
    labels = checked_labels(labels, n, classes)
    norms = checked_vector(norms, n, name="norms", positive=True)
    centre_norms = checked_vector(centre_norms, classes, name="centre_norms", positive=True)
    rows = l_softmax_rows(
        own(products, labels),
        norms,
        own_of(centre_norms, labels),
        margin=margin,
        annealing=annealing,
        margin_gradient=margin_gradient,
    )
    return assembled(products, labels, rows)


def sphereface_rows(
    target: Tensor, norms: Tensor, *, margin: float, annealing: float, margin_gradient: MarginGradient
) -> Rows:
    """The terms of `sphereface`."""
    phi = _blended(target, margin=margin, annealing=annealing, gradient=margin_gradient)
    return scaled_rows(target, norms, phi)


@export("vultus.train.functional.sphereface")
def sphereface(
    cosine: Tensor,
    labels: Tensor,
    norms: Tensor,
    annealing: float = 0.0,
    *,
    margin: float = 4.0,
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """A-Softmax: logits |x| (lambda cos(theta_y) + psi(theta_y)) / (1 + lambda) of the target, |x| cos(theta_j) of the others.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        norms: (n,) |x|.
        annealing: lambda, see `annealed_lambda`; 0 is the loss itself.
        margin: m, at least 1; need not be whole.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be |x|.

    Returns:
        (n, C).

    Raises:
        BadArgument: a margin below 1, a negative annealing, or an unknown `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Liu et al., SphereFace, CVPR 2017 (arXiv:1704.08063), eq. 7.
    """
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    checked_number(margin, name="margin", low=1.0)
    checked_number(annealing, name="annealing", low=0.0)
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    norms = checked_vector(norms, len(labels), name="norms", positive=True)
    rows = sphereface_rows(
        own(cosine, labels), norms, margin=margin, annealing=annealing, margin_gradient=margin_gradient
    )
    return assembled(cosine, labels, rows)


def sphereface_r_rows(target: Tensor, *, margin: float, scale: float, margin_gradient: MarginGradient) -> Rows:
    """The terms of `sphereface_r`."""
    return scaled_rows(target, scale, _blended(target, margin=margin, annealing=0.0, gradient=margin_gradient))


@export("vultus.train.functional.sphereface_r")
def sphereface_r(
    cosine: Tensor,
    labels: Tensor,
    *,
    margin: float = 1.7,
    scale: float = 30.0,
    margin_gradient: MarginGradient = "detached",
) -> Tensor:
    """Logits s psi(theta_y) of the target and s cos(theta_j) of the others: A-Softmax at a fixed scale, without annealing.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        margin: m, at least 1; need not be whole.
        scale: s.
        margin_gradient: "detached": the derivative of the target's logit by its cosine is taken to be s; or "exact".

    Returns:
        (n, C).

    Raises:
        BadArgument: a margin below 1, or an unknown `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Liu et al., SphereFace revived, TPAMI 2022 (arXiv:2109.05565), the multiplicative margin on the target with hard
    feature normalisation and the detached gradient that it recommends.
    """
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    checked_number(margin, name="margin", low=1.0)
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    rows = sphereface_r_rows(own(cosine, labels), margin=margin, scale=scale, margin_gradient=margin_gradient)
    return assembled(cosine, labels, rows)
