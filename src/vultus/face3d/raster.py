"""Which triangle is seen at which pixel? A z-buffer over all triangles at once."""

from __future__ import annotations

import numpy as np

from vultus.types import Float64Array, IntArray

_AT_ONCE = 4_000_000  # pixels of bounding boxes looked at together


def rasterise(
    points: Float64Array, depth: Float64Array, triangles: IntArray, size: tuple[int, int]
) -> tuple[IntArray, Float64Array, Float64Array]:
    """The nearest triangle at the centre of each pixel.

    Args:
        points: (v, 2) pixels, the centre of the first being (0, 0).
        depth: (v,), greater is nearer.
        triangles: (t, 3) vertices; either side is seen.
        size: (height, width).

    Returns:
        (height, width) triangle, -1 where there is none; (height, width, 3) shares of its three vertices; (height, width)
        depth, minus infinity where there is none.
    """
    height, width = size
    corners = points[triangles]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c) - 1e-9), 0).astype(np.int64)
    high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c) + 1e-9), [width - 1, height - 1]).astype(np.int64)
    sides = high - low + 1
    area = _cross(b - a, c - a)
    wanted = np.flatnonzero((sides[:, 0] > 0) & (sides[:, 1] > 0) & (np.abs(area) > 1e-12))
    found: list[tuple[IntArray, IntArray, Float64Array]] = []
    span = 2 ** np.ceil(np.log2(np.maximum(sides[wanted, 0], sides[wanted, 1]))).astype(np.int64)
    for side in np.unique(span):
        members = wanted[span == side]
        step = max(1, _AT_ONCE // int(side) ** 2)
        for begin in range(0, len(members), step):
            part = members[begin : begin + step]
            found.append(_covered(part, corners[part], area[part], low[part], high[part], int(side), width))
    nearest = np.full(height * width, -1, dtype=np.intp)
    shares = np.zeros((height * width, 3))
    buffer = np.full(height * width, -np.inf)
    if found:
        pixel, owner = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
        share = np.concatenate([f[2] for f in found])
        near = np.einsum("ij,ij->i", share, depth[triangles[owner]])
        order = np.lexsort((owner, -near, pixel))  # by pixel, the nearest first; a tie goes to the first triangle
        hit, first = np.unique(pixel[order], return_index=True)
        best = order[first]
        nearest[hit], shares[hit], buffer[hit] = owner[best], share[best], near[best]
    return nearest.reshape(size), shares.reshape(*size, 3), buffer.reshape(size)


def _covered(
    owner: IntArray,
    corners: Float64Array,
    area: Float64Array,
    low: IntArray,
    high: IntArray,
    side: int,
    width: int,
) -> tuple[IntArray, IntArray, Float64Array]:
    """The pixels in each triangle of a group: (pixel, triangle, shares)."""
    steps = np.arange(side)
    x = low[:, 0, None, None] + steps[None, None, :]
    y = low[:, 1, None, None] + steps[None, :, None]
    inside = (x <= high[:, 0, None, None]) & (y <= high[:, 1, None, None])
    which, row, column = np.nonzero(inside)
    at = np.stack([low[which, 0] + column, low[which, 1] + row], axis=1).astype(np.float64)
    a, b, c = (corners[which, i] for i in range(3))
    first, second = _cross(b - at, c - at) / area[which], _cross(c - at, a - at) / area[which]
    share = np.stack([first, second, 1.0 - first - second], axis=1)
    kept = (first >= -1e-9) & (second >= -1e-9) & (share[:, 2] >= -1e-9)
    pixel = at[kept, 1].astype(np.intp) * width + at[kept, 0].astype(np.intp)
    return pixel, owner[which[kept]], share[kept]


def _cross(one: Float64Array, other: Float64Array) -> Float64Array:
    found: Float64Array = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return found
