"""Moving pixels: resize, pad and warp, without aliasing. Arrays in, arrays out."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vultus.errors import BadArgument
from vultus.types import UInt8Array

# The library would otherwise spread each of these small operations over all cores and steal them from inference.
cv2.setNumThreads(1)


def resize(pixels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Pixels at (height, width): means over areas where they shrink to less than half, bilinear elsewhere."""
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = 2 * height < pixels.shape[0] and 2 * width < pixels.shape[1]
    resized: UInt8Array = cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized


def pad_to(pixels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Pixels in the upper left corner of a black (height, width)."""
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    padded = np.zeros((height, width, *pixels.shape[2:]), dtype=pixels.dtype)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded


def warp(pixels: UInt8Array, matrices: npt.NDArray[np.float64], size: tuple[int, int]) -> UInt8Array:
    """Crops of one picture by affine maps, bilinear, black outside; strong reductions are averaged first.

    Args:
        pixels: (H, W, 3) uint8.
        matrices: (n, 2, 3) maps from (x, y) in the picture to (x, y) in the crop.
        size: (height, width) of each crop.

    Returns:
        (n, height, width, 3) uint8.
    """
    if matrices.ndim != 3 or matrices.shape[1:] != (2, 3):
        raise BadArgument(f"matrices have shape {matrices.shape}; expected (n, 2, 3)")
    height, width = size
    crops = np.zeros((len(matrices), height, width, 3), dtype=np.uint8)
    for crop, matrix in zip(crops, matrices, strict=True):
        source, to_source = _region(pixels, matrix, size)
        # to_source maps picture to source pixels by x -> (x - offset) * scale + (scale - 1) / 2
        scale, offset_x, offset_y = to_source
        shift = (scale - 1) / 2
        inverse = np.array(
            [[1 / scale, 0, offset_x - shift / scale], [0, 1 / scale, offset_y - shift / scale], [0, 0, 1]]
        )
        cv2.warpAffine(source, matrix @ inverse, (width, height), dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def _region(
    pixels: UInt8Array, matrix: npt.NDArray[np.float64], size: tuple[int, int]
) -> tuple[UInt8Array, tuple[float, int, int]]:
    """What a crop is taken from: the picture, or the part it covers scaled down where the map would skip pixels."""
    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    factor = int(0.75 / max(zoom, 1e-6))
    if factor < 2:
        return pixels, (1.0, 0, 0)
    height, width = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    where = corners @ back[:2, :2].T + back[:2, 2]
    low = np.maximum(np.floor(where.min(axis=0)).astype(int) - 2 * factor, 0)
    high = np.minimum(np.ceil(where.max(axis=0)).astype(int) + 2 * factor, pixels.shape[1::-1])
    cells = (high - low) // factor
    if (cells < 1).any():
        return pixels, (1.0, 0, 0)
    high = low + cells * factor
    part = pixels[low[1] : high[1], low[0] : high[0]]
    return resize(np.ascontiguousarray(part), (int(cells[1]), int(cells[0]))), (1.0 / factor, int(low[0]), int(low[1]))
