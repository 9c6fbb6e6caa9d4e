"""Pairs to learn restoration from: an aligned face as it is, and the same face harmed and aligned again."""

from __future__ import annotations

import math

import cv2
import numpy as np

from vultus.align import TEMPLATES, align
from vultus.augment import DEGRADATIONS, degrade, directional_light, turn
from vultus.errors import BadArgument
from vultus.types import Faces, UInt8Array

# The face as the alignment puts it, so that a severity means the same as in a photo.
_FACE = Faces(
    np.array([[14, 4, 98, 110]], dtype=np.float32),
    TEMPLATES["arcface-112"].astype(np.float32)[None],
    np.ones(1, dtype=np.float32),
)
_STEEPEST = 50.0  # degrees
_MARGIN = 40  # what lies around a crop is mirrored, so that a turned face is not cut out before black


def harmed(
    pixels: UInt8Array,
    rng: np.random.Generator,
    *,
    factors: tuple[str, ...],
    untouched: float,
    twice: float,
    jitter: float,
) -> UInt8Array:
    """A harmed copy of an aligned face.

    Args:
        pixels: (112, 112, 3) uint8 RGB; not written to.
        rng: what is drawn from.
        factors: of `vultus.augment.degrade`, one of which is drawn with a severity from 1 to 5.
        untouched: chance that the face stays as it is but for the jitter, so that good photos are learned to be left alone.
        twice: chance of a second factor on top.
        jitter: how unsurely the landmarks are found, in pixels: shift at the most, and as much at the edge by turn and scale.

    Raises:
        BadArgument: no such factor.
    """
    for factor in factors:
        if factor not in DEGRADATIONS:
            raise BadArgument(f"no degradation {factor!r}; expected some of {', '.join(DEGRADATIONS)}")
    if rng.random() >= untouched:
        count = 2 if len(factors) > 1 and rng.random() < twice else 1
        chosen = rng.choice(len(factors), size=count, replace=False)
        # a turn moves the landmarks, so it comes first; what the camera does comes last
        for factor in sorted((factors[i] for i in chosen), key=_moment):
            pixels = _one(pixels, factor, rng)
    return _unsure(pixels, rng, jitter) if jitter else pixels


def _moment(factor: str) -> int:
    return {"yaw": 0, "rotation": 0, "light": 1, "occlusion": 2, "dark": 3}.get(factor, 4)


def _one(pixels: UInt8Array, factor: str, rng: np.random.Generator) -> UInt8Array:
    severity = int(rng.integers(1, 6, size=2).max())  # the worst is what there is most to learn from
    if factor == "yaw":
        angle = math.radians(rng.uniform(5, _STEEPEST)) * (1 if rng.random() < 0.5 else -1)
        wide = np.pad(pixels, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="reflect")
        turned, face = turn(wide, Faces(_FACE.boxes + _MARGIN, _FACE.landmarks + _MARGIN, _FACE.scores), angle)
        again: UInt8Array = align(turned, face)[0]
        return again
    if factor == "occlusion" and rng.random() < 0.5:  # things before a face have any colour and lie anywhere
        return _covered(pixels, rng)
    if factor == "light" and rng.random() < 0.7:  # lamps stand on either side, above and below
        azimuth, elevation = math.radians(rng.uniform(-80, 80)), math.radians(rng.uniform(-40, 60))
        landmarks = _FACE.landmarks[0]
        return directional_light(
            pixels, landmarks, azimuth=azimuth, elevation=elevation, strength=float(rng.uniform(0.4, 1.0))
        )
    return degrade(np.ascontiguousarray(pixels), _FACE, factor, severity)


def _covered(pixels: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    side = pixels.shape[0]
    height, width = (int(v) for v in rng.integers(side // 6, side * 2 // 3, size=2))
    if rng.random() < 0.5:  # from the chin upwards, as a scarf or a mask does
        top, left, width = side - int(rng.integers(side // 5, side * 2 // 3)), 0, side
        height = side - top
    else:
        top, left = int(rng.integers(0, side - height)), int(rng.integers(0, side - width))
    covered = pixels.copy()
    colour = rng.uniform(0, 255, size=3) + rng.standard_normal((height, width, 3)) * rng.uniform(0, 12)
    covered[top : top + height, left : left + width] = np.clip(np.rint(colour), 0, 255)
    return covered


def _unsure(pixels: UInt8Array, rng: np.random.Generator, jitter: float) -> UInt8Array:
    side = pixels.shape[0]
    shift = rng.uniform(-jitter, jitter, size=2)
    angle, zoom = rng.uniform(-1, 1, size=2) * jitter / (side / 2)
    view = cv2.getRotationMatrix2D((side / 2 - 0.5, side / 2 - 0.5), math.degrees(angle), 1 + zoom)
    view[:, 2] += shift
    moved = cv2.warpAffine(pixels, view, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)
