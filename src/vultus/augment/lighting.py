"""Directional light: a lamp to the side of a head, above or below it.

The head is a bump with the nose of `vultus.augment.pose`, without the outline of a real head: hair and neck are lit as if
they went on from it, and what is far from the face as if it faced the camera. What its normals turn to the lamp grows
brighter, what they turn away grows darker, in linear light; the mean over the face stays. Shadows that one part casts on
another are left out.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from vultus._export import export
from vultus.augment.colour import each
from vultus.augment.pose import HEAD_POINTS, ridge
from vultus.augment.views import checked, checked_points, eye_distance, within
from vultus.types import Float64Array, FloatArray, UInt8Array

_REACH, _STEP = 168, 6  # millimetres: half of the grid that the normals are kept on, and between its points
_WIDE, _HIGH, _DEEP, _CENTRE_Y = 68.0, 92.0, 95.0, 25.0  # of the bump, in millimetres
_GAMMA = 2.2
_COUNT = 2 * _REACH // _STEP + 1
_ONE = 100.0  # value of the map of light that leaves a pixel as it is


@export("vultus.augment.directional_light")
def directional_light(
    images: UInt8Array, landmarks: FloatArray, *, azimuth: float, elevation: float = 0.0, strength: float = 0.5
) -> UInt8Array:
    """A face lit by a lamp in a direction.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        landmarks: (5, 2) or (n, 5, 2) in the order of `Faces`.
        azimuth: of the lamp, in radians; 0 is in front, above 0 to the right of the picture.
        elevation: of the lamp, in radians, above 0 above the face.
        strength: share of the light that comes from the lamp, in [0, 1]; the rest comes from everywhere.

    Raises:
        BadArgument: pictures, landmarks or numbers that are none.
    """
    images = checked(images)
    points = checked_points(landmarks, images.shape[:-3])
    within("azimuth", azimuth, -math.pi, math.pi)
    within("elevation", elevation, -math.pi / 2, math.pi / 2)
    within("strength", strength, 0.0, 1.0)
    if not strength:
        return images.copy()
    levels = _levels(azimuth, elevation, strength)
    if images.ndim == 3:
        return _lit(images, points, levels)
    place = iter(points)
    return each(images, lambda picture: _lit(picture, next(place), levels))


def _levels(azimuth: float, elevation: float, strength: float) -> UInt8Array:
    """(h, w) factors of the values on the grid of the head, `_ONE` standing for 1."""
    normals, face = _normals()
    lamp = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.sin(elevation), math.cos(azimuth) * math.cos(elevation)],
        dtype=np.float32,
    )
    received = np.maximum(normals @ lamp, 0.0)
    light = (1 - strength) + strength / max(float(face @ received), 1e-3) * received
    levels: UInt8Array = cv2.convertScaleAbs(cv2.pow(light, 1 / _GAMMA), alpha=_ONE)
    return levels.reshape(_COUNT, _COUNT)


def _lit(picture: UInt8Array, points: FloatArray, levels: UInt8Array) -> UInt8Array:
    """The map of light is made coarsely, a twelfth of the distance between the eyes apart, and then smoothly resized."""
    height, width = picture.shape[:2]
    step = max(1.0, eye_distance(points, height) / 12)
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    a, b, x, y = (_FIT @ points.reshape(10).astype(np.float64)).tolist()
    across, down = columns / width, rows / height
    x, y = (x - a * _REACH + b * _REACH + 0.5) * across - 0.5, (y - b * _REACH - a * _REACH + 0.5) * down - 0.5
    a, b = a * _STEP, b * _STEP
    to_coarse = np.array([[a * across, -b * across, x], [b * down, a * down, y]])
    coarse = cv2.warpAffine(levels, to_coarse, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    field = cv2.cvtColor(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2RGB)
    lit: UInt8Array = cv2.multiply(picture, field, scale=1 / _ONE)
    return lit


def _fit() -> Float64Array:
    """(4, 10) least squares of a similarity from the head: (a, b, x, y) with points ~ [[a, -b], [b, a]] head + (x, y)."""
    x, y = HEAD_POINTS.T
    one, zero = np.ones(5), np.zeros(5)
    equations = np.stack([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)], axis=1)
    return np.asarray(np.linalg.pinv(equations.reshape(10, 4)), dtype=np.float64)


_FIT = _fit()


@lru_cache(maxsize=1)
def _normals() -> tuple[FloatArray, FloatArray]:
    """(h * w, 3) unit normals of the head on a grid; and (h * w,) weights of the mean over the face."""
    line = np.arange(-_REACH, _REACH + 1, _STEP, dtype=np.float64)
    x, y = np.meshgrid(line, line)
    out = (x / _WIDE) ** 2 + ((y - _CENTRE_Y) / _HIGH) ** 2
    z = _DEEP * np.exp(-out / 2) + cv2.GaussianBlur(ridge(x, y, (0.0, float(HEAD_POINTS[2, 1]))), (0, 0), 0.8)
    dy, dx = np.gradient(z, _STEP)
    normals = np.stack([-dx, -dy, np.ones_like(z)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    share = (out < 1.2).astype(np.float32)
    return normals.reshape(-1, 3).astype(np.float32), (share / share.sum()).reshape(-1)
