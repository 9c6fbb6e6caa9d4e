"""Controlled degradations of a photo: one factor at a time, in severities from 1 to 5; 0 leaves the photo as it is.

Each takes the face to be recognised, so that a severity means the same in a portrait and in a group photo. All are
deterministic.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from vultus._export import export
from vultus.augment.pose import yaw
from vultus.errors import BadArgument
from vultus.types import Faces, UInt8Array

Degradation = Callable[[UInt8Array, Faces, int], UInt8Array]


def blur(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Gaussian blur; sigma in shares of the distance between the eyes: 0.03, 0.06, 0.1, 0.15, 0.22."""
    sigma = (0.03, 0.06, 0.1, 0.15, 0.22)[severity - 1] * _eyes(face)
    blurred: UInt8Array = cv2.GaussianBlur(pixels, (0, 0), max(sigma, 0.1))
    return blurred


def low_resolution(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Scaled down so that the eyes are 24, 16, 12, 9 or 7 pixels apart, and up again."""
    factor = (24, 16, 12, 9, 7)[severity - 1] / _eyes(face)
    if factor >= 1:
        return pixels
    height, width = pixels.shape[:2]
    small = cv2.resize(
        pixels, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
    )
    restored: UInt8Array = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return restored


def jpeg(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """JPEG of quality 40, 20, 12, 8 or 5, at a scale at which the eyes are 40 pixels apart."""
    quality = (40, 20, 12, 8, 5)[severity - 1]
    height, width = pixels.shape[:2]
    factor = min(1.0, 40 / _eyes(face))
    small = cv2.resize(
        pixels, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
    )
    _, coded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    damaged = cv2.resize(cv2.imdecode(coded, cv2.IMREAD_COLOR), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(damaged[..., ::-1])


def dark(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Light reduced to a share of 0.35, 0.2, 0.12, 0.07 or 0.04, with the noise of a sensor (Poisson, 8 electrons read)."""
    share = (0.35, 0.2, 0.12, 0.07, 0.04)[severity - 1]
    rng = np.random.default_rng(severity)
    electrons = (pixels / 255.0) ** 2.2 * 4000 * share
    seen = electrons + rng.standard_normal(pixels.shape) * np.sqrt(electrons + 64)
    signal = np.clip(seen / 4000, 0, 1) ** (1 / 2.2) * 255
    return np.asarray(np.rint(signal), dtype=np.uint8)


def occlusion(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """A grey bar that rises from the chin over 20, 30, 40, 50 or 60 percent of the face's height, as a mask does."""
    share = (0.2, 0.3, 0.4, 0.5, 0.6)[severity - 1]
    x0, y0, x1, y1 = (round(float(v)) for v in face.boxes[0])
    covered = pixels.copy()
    top = round(y1 - share * (y1 - y0))
    covered[max(0, top) : max(0, y1), max(0, x0) : max(0, x1)] = (118, 122, 128)
    return covered


def rotation(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Turned in the picture's plane about the face by 10, 20, 30, 45 or 60 degrees."""
    angle = (10, 20, 30, 45, 60)[severity - 1]
    x, y = (float(v) for v in (face.boxes[0, :2] + face.boxes[0, 2:]) / 2)
    turn = cv2.getRotationMatrix2D((x, y), angle, 1.0)
    height, width = pixels.shape[:2]
    turned: UInt8Array = cv2.warpAffine(
        pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return turned


def _eyes(face: Faces) -> float:
    return max(1.0, float(np.linalg.norm(face.landmarks[0, 1] - face.landmarks[0, 0])))


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "low_resolution": low_resolution,
    "jpeg": jpeg,
    "dark": dark,
    "occlusion": occlusion,
    "rotation": rotation,
    "yaw": yaw,
}


@export("vultus.augment.degrade")
def degrade(pixels: UInt8Array, face: Faces, factor: str, severity: int) -> UInt8Array:
    """A photo harmed by one factor.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        face: one face in it.
        factor: one of `DEGRADATIONS`.
        severity: 0 (unchanged) to 5.

    Raises:
        BadArgument: no such factor or severity, or not exactly one face.
    """
    if factor not in DEGRADATIONS:
        raise BadArgument(f"no degradation {factor!r}; expected one of {', '.join(DEGRADATIONS)}")
    if severity not in range(6):
        raise BadArgument(f"severity is {severity!r}; expected a whole number from 0 to 5")
    if len(face) != 1:
        raise BadArgument(f"{len(face)} faces; a severity is defined for exactly one")
    return DEGRADATIONS[factor](pixels, face, severity) if severity else pixels
