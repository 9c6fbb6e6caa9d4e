"""Softmax with a fixed margin: additive in the cosine, additive in the angle, or both and a factor as well."""

from __future__ import annotations

from torch import Tensor

from vultus._export import export
from vultus.train.functional._batch import (
    assembled,
    checked_choice,
    checked_cosine,
    checked_labels,
    checked_number,
    own,
)
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient, angular
from vultus.train.functional.plain import scaled_rows
from vultus.train.loss import Rows

ARC_FAR = ("linear", "easy", "cosine", "psi")
COMBINED_FAR = ("psi", "cosine")


def cosface_rows(target: Tensor, *, margin: float, scale: float) -> Rows:
    """The terms of `cosface`."""
    return scaled_rows(target, scale, target - checked_number(margin, name="margin"))


def combined_rows(
    target: Tensor,
    *,
    m1: float,
    m2: float,
    m3: float,
    scale: float,
    far: Far,
    margin_gradient: MarginGradient,
) -> Rows:
    """The terms of `arcface` (m1 = 1, m3 = 0) and `combined_margin`."""
    phi = angular(target, factor=m1, margin=m2, far=far, gradient=margin_gradient)
    return scaled_rows(target, scale, phi - m3)


@export("vultus.train.functional.cosface")
def cosface(cosine: Tensor, labels: Tensor, *, margin: float = 0.35, scale: float = 64.0) -> Tensor:
    """Logits s (cos(theta_y) - m) of the target and s cos(theta_j) of the others.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        margin: m; 0.4 is usual where class centres are sampled.
        scale: s; see `cosface_scale` for the least that makes sense.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Wang et al., CosFace, CVPR 2018 (arXiv:1801.09414), the large margin cosine loss.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    return assembled(cosine, labels, cosface_rows(own(cosine, labels), margin=margin, scale=scale))


@export("vultus.train.functional.am_softmax")
def am_softmax(cosine: Tensor, labels: Tensor, *, margin: float = 0.35, scale: float = 30.0) -> Tensor:
    """`cosface` with the scale of the paper that found it at the same time.

    Args and errors are those of `cosface`.

    Wang et al., Additive margin softmax for face verification, 2018 (arXiv:1801.05599), L_AMS.
    """
    return cosface(cosine, labels, margin=margin, scale=scale)


@export("vultus.train.functional.arcface")
def arcface(
    cosine: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    far: Far = "linear",
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """Logits s cos(theta_y + m) of the target and s cos(theta_j) of the others.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        margin: m, radians.
        scale: s.
        far: the target where theta + m > pi and cos(theta + m) would rise again. "linear": cos(theta) - m sin(m), as in
            the authors' code, falling, with a step at pi - m. "easy": the margin acts only where cos(theta) > 0, "easy
            margin" in the authors' code. "cosine": nothing special, as the formula stands. "psi": cos continued so
            that it falls without a step, as in SphereFace.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be s.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `far` or `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Deng et al., ArcFace, CVPR 2019 (arXiv:1801.07698), eq. 3.
    """
    checked_choice(far, ARC_FAR, name="far")
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    rows = combined_rows(
        own(cosine, labels), m1=1.0, m2=margin, m3=0.0, scale=scale, far=far, margin_gradient=margin_gradient
    )
    return assembled(cosine, labels, rows)


@export("vultus.train.functional.combined_margin")
def combined_margin(
    cosine: Tensor,
    labels: Tensor,
    *,
    m1: float = 1.0,
    m2: float = 0.3,
    m3: float = 0.2,
    scale: float = 64.0,
    far: Far = "psi",
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """Logits s (cos(m1 theta_y + m2) - m3) of the target and s cos(theta_j) of the others.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        m1: factor of the angle.
        m2: summand of the angle, radians.
        m3: what is taken from the cosine.
        scale: s.
        far: the target where m1 theta + m2 > pi. "psi": cos continued so that it falls without a step. "cosine": as the
            formula stands, which rises again; the paper does not say.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be s.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `far` or `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Deng et al., ArcFace, CVPR 2019 (arXiv:1801.07698), eq. 4. All three margins act at once; the authors' PyTorch code
    drops m1 and m2 where m3 is set.
    """
    checked_choice(far, COMBINED_FAR, name="far")
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    rows = combined_rows(
        own(cosine, labels), m1=m1, m2=m2, m3=m3, scale=scale, far=far, margin_gradient=margin_gradient
    )
    return assembled(cosine, labels, rows)
