"""Plane geometry of faces: similarity transforms, boxes, and non-maximum suppression. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import Float64Array, FloatArray, IntArray


@export("vultus.fit_similarity")
def fit_similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> Float64Array:
    """Least-squares similarity transform (rotation, one scale, shift; no reflection) from points to points.

    In the plane the solution of Umeyama (1991, eq. 40-42) is a complex number: with points as x + iy about their
    means, the rotation and scale are sum(conj(s) t) / sum(|s|^2). The Umeyama reflection case cannot arise, because a
    complex factor never reflects.

    Args:
        source: (..., k, 2) points, k >= 2.
        target: (k, 2), or of the same shape as `source`.

    Returns:
        (..., 2, 3) matrices M with target ~ M[:, :2] @ source + M[:, 2].

    Raises:
        BadArgument: shapes that do not match, numbers that are not finite, or source points that coincide.
    """
    src, dst = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if src.ndim < 2 or src.shape[-1] != 2 or src.shape[-2] < 2 or src.shape[-2:] != dst.shape[-2:]:
        raise BadArgument(f"cannot fit points of shape {src.shape} to {dst.shape}; expected (..., k, 2) with k >= 2")
    if not (np.isfinite(src).all() and np.isfinite(dst).all()):
        raise BadArgument("points hold NaN or infinity")
    src_mean, dst_mean = src.mean(axis=-2, keepdims=True), dst.mean(axis=-2, keepdims=True)
    s = (src - src_mean) @ np.array([1.0, 1.0j])
    t = (dst - dst_mean) @ np.array([1.0, 1.0j])
    spread = (np.abs(s) ** 2).sum(axis=-1)
    if (spread <= 1e-12 * np.maximum(1.0, np.abs(src_mean).max())).any():
        raise BadArgument("the source points coincide; a similarity transform needs two that differ")
    factor = (np.conj(s) * t).sum(axis=-1) / spread
    matrix = np.empty((*factor.shape, 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = factor.real
    matrix[..., 1, 0] = factor.imag
    matrix[..., 0, 1] = -factor.imag
    matrix[..., 2] = dst_mean[..., 0, :] - (matrix[..., :2] @ src_mean[..., 0, :, None])[..., 0]
    return matrix


def apply_affine(matrix: npt.ArrayLike, points: npt.ArrayLike) -> Float64Array:
    """Move (..., k, 2) points by (..., 2, 3) matrices."""
    m, p = np.asarray(matrix, dtype=np.float64), np.asarray(points, dtype=np.float64)
    moved: Float64Array = p @ np.swapaxes(m[..., :2], -1, -2) + m[..., None, :, 2]
    return moved


def box_area(boxes: FloatArray) -> FloatArray:
    """(n,) area of (n, 4) boxes; a box turned inside out has none."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    area: FloatArray = sides[..., 0] * sides[..., 1]
    return area


def box_iou(one: FloatArray, other: FloatArray) -> FloatArray:
    """(n, m) intersection over union of (n, 4) and (m, 4) boxes."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=-1)
    union = box_area(one)[:, None] + box_area(other)[None] - overlap
    iou: FloatArray = (overlap / np.maximum(union, np.finfo(np.float32).tiny)).astype(np.float32)
    return iou


def nms(boxes: FloatArray, scores: FloatArray, *, iou: float = 0.3) -> IntArray:
    """Greedy non-maximum suppression.

    Args:
        boxes: (n, 4) of (x0, y0, x1, y1).
        scores: (n,).
        iou: a box is dropped where it overlaps a kept one of a higher score by more than this.

    Returns:
        indices of the kept boxes, best first; ties keep the order given.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) < 2:
        return order
    x0, y0, x1, y1 = boxes[order].T
    area = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    kept: list[int] = []
    left = np.arange(len(order))
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        width = np.minimum(x1[rest], x1[best]) - np.maximum(x0[rest], x0[best])
        height = np.minimum(y1[rest], y1[best]) - np.maximum(y0[rest], y0[best])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = np.maximum(area[rest] + area[best] - shared, np.finfo(np.float32).tiny)
        left = rest[shared <= iou * union]
    return order[kept]
