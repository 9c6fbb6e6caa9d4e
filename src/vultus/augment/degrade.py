"""Controlled degradations of a photo: one factor at a time, in severities from 1 to 5; 0 leaves the photo as it is.

Each takes the face to be recognised, so that a severity means the same in a portrait and in a group photo. All are
deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vultus._export import export
from vultus.augment import coding
from vultus.augment.blurring import gaussian_blur
from vultus.augment.geometric import about_map, warped
from vultus.augment.lighting import directional_light
from vultus.augment.occluding import cover
from vultus.augment.pose import yaw
from vultus.augment.sensing import sensor_noise
from vultus.errors import BadArgument
from vultus.types import Faces, UInt8Array

Degradation = Callable[[UInt8Array, Faces, int], UInt8Array]


def blur(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Gaussian blur; sigma in shares of the distance between the eyes: 0.03, 0.06, 0.1, 0.15, 0.22."""
    return gaussian_blur(pixels, max((0.03, 0.06, 0.1, 0.15, 0.22)[severity - 1] * _eyes(face), 0.1))


def low_resolution(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Scaled down so that the eyes are 24, 16, 12, 9 or 7 pixels apart, and up again."""
    return coding.low_resolution(pixels, min(1.0, (24, 16, 12, 9, 7)[severity - 1] / _eyes(face)))


def jpeg(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """JPEG of quality 40, 20, 12, 8 or 5, at a scale at which the eyes are 40 pixels apart."""
    return coding.jpeg(pixels, (40, 20, 12, 8, 5)[severity - 1], scale=min(1.0, 40 / _eyes(face)))


def dark(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Light reduced to a share of 0.35, 0.2, 0.12, 0.07 or 0.04, with the noise of a sensor (Poisson, 8 electrons read)."""
    return sensor_noise(pixels, severity, exposure=(0.35, 0.2, 0.12, 0.07, 0.04)[severity - 1], gain=1.0)


def light(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """A lamp 60 degrees to the left gives 40, 60, 75, 90 or 100 percent of the light."""
    share = (0.4, 0.6, 0.75, 0.9, 1.0)[severity - 1]
    return directional_light(pixels, face.landmarks[0], azimuth=-math.pi / 3, strength=share)


def occlusion(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """A grey bar that rises from the chin over 20, 30, 40, 50 or 60 percent of the face's height, as a mask does."""
    share = (0.2, 0.3, 0.4, 0.5, 0.6)[severity - 1]
    x0, y0, x1, y1 = (round(float(v)) for v in face.boxes[0])
    return cover(pixels, [[x0, round(y1 - share * (y1 - y0)), x1, y1]], [(118, 122, 128)])


def rotation(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Turned in the picture's plane about the face by 10, 20, 30, 45 or 60 degrees."""
    angle = math.radians((10, 20, 30, 45, 60)[severity - 1])
    middle = (face.boxes[0, :2] + face.boxes[0, 2:]).astype(np.float64) / 2
    return warped(pixels, about_map(middle, angle, 1.0), (pixels.shape[0], pixels.shape[1]), "reflect")


def _eyes(face: Faces) -> float:
    return max(1.0, float(np.linalg.norm(face.landmarks[0, 1] - face.landmarks[0, 0])))


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "low_resolution": low_resolution,
    "jpeg": jpeg,
    "dark": dark,
    "light": light,
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
