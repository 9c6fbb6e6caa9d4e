"""The logit of a row's own class as a function of the angle to its centre, and its slope."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vultus._export import export
from vultus.analyze.boundaries.numeric import frozen
from vultus.errors import BadArgument
from vultus.train.loss import Loss
from vultus.types import Float64Array


@export("vultus.analyze.boundaries.target_curve")
def target_curve(loss: Loss, angles: npt.ArrayLike, *, norm: float = 1.0) -> Float64Array:
    """(n,) phi: the target's logit at these angles from its centre, of length 1, without scale and offset.

    cos(t) for a plain softmax, cos(t) - m for CosFace, cos(t + m) for ArcFace, psi(t) for A-Softmax.

    Args:
        loss: any. A copy in evaluation mode is asked, so that its state stays.
        angles: (n,) radians in [0, pi].
        norm: length of the feature, for losses that look at it.

    Raises:
        BadArgument: angles out of range.
    """
    with torch.no_grad():
        return _phi(loss, _cosines(angles), norm).numpy()


@export("vultus.analyze.boundaries.slope_curve")
def slope_curve(loss: Loss, angles: npt.ArrayLike, *, norm: float = 1.0) -> Float64Array:
    """(n,) d phi / d cos(t): by how much the loss multiplies the gradient that reaches the target's cosine.

    Exact it is m1 sin(m1 t + m2) / sin(t); with `margin_gradient="detached"` it is 1. Arguments and errors are those of
    `target_curve`.
    """
    cosines = _cosines(angles).requires_grad_()
    (slope,) = torch.autograd.grad(_phi(loss, cosines, norm).sum(), cosines)
    result: Float64Array = slope.numpy()
    return result


def _cosines(angles: npt.ArrayLike) -> Tensor:
    t = np.asarray(angles, dtype=np.float64)
    if t.ndim != 1 or not ((t >= 0) & (t <= np.pi)).all():
        raise BadArgument(f"angles of shape {t.shape}; expected (n,) numbers from 0 to pi")
    return torch.tensor(np.cos(t))


def _phi(loss: Loss, cosines: Tensor, norm: float) -> Tensor:
    ones = torch.ones_like(cosines)
    rows = frozen(loss).rows(cosines, norm * ones, ones, torch.zeros(len(cosines), dtype=torch.int64))
    return (rows.target - rows.offset) / rows.scale
