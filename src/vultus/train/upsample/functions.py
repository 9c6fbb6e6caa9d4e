"""Upsampling as functions, and the starts of their weights that give no checkerboard."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vultus._export import export
from vultus.errors import BadArgument


@export("vultus.train.upsample.nearest")
def nearest(x: Tensor, *, scale: int = 2) -> Tensor:
    """Each value repeated in a square of side `scale`.

    Args:
        x: (n, c, h, w).
        scale: whole number of at least 1.

    Returns:
        (n, c, scale * h, scale * w).

    Raises:
        BadArgument: another shape, or a scale out of range.
    """
    checked_maps(x, scale)
    return functional.interpolate(x, scale_factor=float(scale), mode="nearest")


@export("vultus.train.upsample.bilinear")
def bilinear(x: Tensor, *, scale: int = 2, align_corners: bool = False) -> Tensor:
    """Weighted means of the four nearest values.

    Args:
        x: (n, c, h, w).
        scale: whole number of at least 1.
        align_corners: the centres of the corner values stay in the corners. Otherwise a value is an area of its own, which
            is what photos are.

    Returns:
        (n, c, scale * h, scale * w).

    Raises:
        BadArgument: another shape, or a scale out of range.
    """
    checked_maps(x, scale)
    return functional.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=align_corners)


@export("vultus.train.upsample.pixel_shuffle")
def pixel_shuffle(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, scale: int = 2) -> Tensor:
    """A convolution to scale^2 maps for each output, whose values then take turns in rows and columns.

    Args:
        x: (n, i, h, w).
        weight: (o * scale^2, i, k, k), k odd. The maps of one output follow each other.
        bias: (o * scale^2,), or None.
        scale: whole number of at least 1.

    Returns:
        (n, o, scale * h, scale * w).

    Raises:
        BadArgument: shapes that do not fit, or a scale out of range.

    Shi et al., Real-time single image super-resolution, CVPR 2016 (arXiv:1609.05158), eq. 4.
    """
    checked_maps(x, scale)
    if weight.ndim != 4 or weight.shape[1] != x.shape[1] or weight.shape[0] % scale**2 or weight.shape[2] % 2 == 0:
        raise BadArgument(
            f"weight is of shape {tuple(weight.shape)}; expected (o * {scale**2}, {x.shape[1]}, k, k) with an odd k"
        )
    return functional.pixel_shuffle(functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2), scale)


@export("vultus.train.upsample.pool")
def pool(x: Tensor, *, scale: int = 2) -> tuple[Tensor, Tensor]:
    """The maximum of each square of side `scale`, and where it was.

    Args:
        x: (n, c, h, w); h and w multiples of `scale`.
        scale: whole number of at least 1.

    Returns:
        maxima (n, c, h / scale, w / scale), and of the same shape int64 places row * w + column, for `unpool`.

    Raises:
        BadArgument: another shape, or a scale out of range.
    """
    checked_maps(x, scale)
    if x.shape[2] % scale or x.shape[3] % scale:
        raise BadArgument(f"x is of shape {tuple(x.shape)}; height and width must be multiples of {scale}")
    maxima, indices = functional.max_pool2d(x, scale, return_indices=True)
    return maxima, indices


@export("vultus.train.upsample.unpool")
def unpool(x: Tensor, indices: Tensor, *, scale: int = 2) -> Tensor:
    """Each value where the maximum was, and zero elsewhere.

    Args:
        x: (n, c, h, w).
        indices: (n, c, h, w) places that `pool` gave.
        scale: the one of `pool`.

    Returns:
        (n, c, scale * h, scale * w).

    Raises:
        BadArgument: shapes that do not fit, or a scale out of range.

    Zeiler and Fergus, ECCV 2014; Badrinarayanan et al., SegNet, PAMI 2017 (arXiv:1511.00561).
    """
    checked_maps(x, scale)
    if indices.shape != x.shape or indices.dtype != torch.int64:
        raise BadArgument(
            f"indices are {indices.dtype} of shape {tuple(indices.shape)}; expected int64 of shape {tuple(x.shape)}"
        )
    n, c, h, w = x.shape
    empty = x.new_zeros((n, c, h * w * scale**2))
    return empty.scatter(2, indices.flatten(2), x.flatten(2)).reshape(n, c, h * scale, w * scale)


@export("vultus.train.upsample.transposed")
def transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, scale: int = 2) -> Tensor:
    """The adjoint of a convolution with this weight and stride `scale`, padded so that the size is an exact multiple.

    Args:
        x: (n, i, h, w).
        weight: (i, o, k, k) with k >= scale: that of the convolution from o to i maps.
        bias: (o,), or None.
        scale: whole number of at least 1.

    Returns:
        (n, o, scale * h, scale * w).

    Raises:
        BadArgument: shapes that do not fit, or a scale out of range.

    Long, Shelhamer and Darrell, Fully convolutional networks, CVPR 2015 (arXiv:1411.4038), section 3.3.
    """
    checked_maps(x, scale)
    if weight.ndim != 4 or weight.shape[0] != x.shape[1] or weight.shape[2] < scale:
        raise BadArgument(
            f"weight is of shape {tuple(weight.shape)}; expected ({x.shape[1]}, o, k, k) with k at least {scale}"
        )
    over = weight.shape[2] - scale
    y = functional.conv_transpose2d(x, weight, bias, stride=scale, padding=over // 2)
    return y[:, :, over % 2 :, over % 2 :]


# --- starts -----------------------------------------------------------------------------------------------------------


@export("vultus.train.upsample.icnr")
def icnr(weight: Tensor, *, scale: int = 2) -> Tensor:
    """A weight for `pixel_shuffle` that equals `nearest` and a convolution: all maps of an output are its first one.

    Args:
        weight: (o * scale^2, i, k, k), drawn as usual.
        scale: whole number of at least 1.

    Returns:
        a new weight of the same shape.

    Raises:
        BadArgument: the first axis is no multiple of scale^2.

    Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017 (arXiv:1707.02937), section 3.2.
    """
    if scale < 1 or weight.shape[0] % scale**2:
        raise BadArgument(f"weight is of shape {tuple(weight.shape)}; the first axis must be a multiple of {scale}^2")
    return weight[:: scale**2].repeat_interleave(scale**2, dim=0)


@export("vultus.train.upsample.bilinear_start")
def bilinear_start(weight: Tensor, *, scale: int = 2) -> Tensor:
    """A weight for `transposed` that mixes maps as the middle of the given one does, and interpolates between cells.

    With k = 2 * scale - scale % 2 this is bilinear interpolation (FCN, section 4.3) except at the border; with other k the
    weights of each position in a cell have one sum as well.

    Args:
        weight: (i, o, k, k), drawn as usual.
        scale: whole number of at least 1, at most k.

    Returns:
        a new weight of the same shape.

    Raises:
        BadArgument: the kernel is smaller than the scale.
    """
    side = weight.shape[-1]
    if not 1 <= scale <= side:
        raise BadArgument(f"scale is {scale} for a kernel of {side}; expected 1 to {side}")
    place = torch.arange(side, dtype=torch.float64)
    line = (1 - (place - (side - 1) / 2).abs() / scale).clamp(min=0)
    for phase in range(scale):
        total = line[phase::scale].sum()
        line[phase::scale] = line[phase::scale] / total if total > 0 else 1 / len(line[phase::scale])
    kernel = torch.outer(line, line).to(weight)
    return weight[:, :, side // 2, side // 2, None, None] * side * kernel


def checked_maps(x: Tensor, scale: int) -> None:
    """Refuse what is no batch of maps, and a scale below 1."""
    if x.ndim != 4 or not x.is_floating_point():
        raise BadArgument(f"the maps are {x.dtype} of shape {tuple(x.shape)}; expected floating numbers (n, c, h, w)")
    if scale < 1:
        raise BadArgument(f"scale is {scale!r}; expected a whole number of at least 1")
