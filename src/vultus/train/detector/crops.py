"""Crops to train a detector on: a random part of a scene, at a random scale, mirrored or not, in other light."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.train.detector.scenes import Scene
from vultus.types import UInt8Array

_MIRRORED = [1, 0, 2, 4, 3]  # landmarks of a mirrored face in the usual order
_SEEN = 0.5  # a face of which less is within the crop is ignored


def crop(
    scene: Scene,
    rng: np.random.Generator,
    *,
    side: int,
    smallest: float,
    faces: tuple[float, float],
    chance: float = 0.85,
) -> Scene:
    """A part of a scene.

    Args:
        scene: what is cut; not written to.
        rng: what is drawn from.
        side: of the crop, in pixels.
        smallest: faces with a shorter side below this, in pixels of the crop, are ignored.
        faces: least and greatest size, in pixels of the crop, of the face that the crop is cut around.
        chance: of choosing a face; otherwise any part is cut, at the scale that a face would have given.
    """
    height, width = scene.pixels.shape[:2]
    sizes = (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1) if len(scene.boxes) else np.zeros(0)
    counted = np.flatnonzero(~scene.ignored & (sizes >= smallest))  # smaller ones would only be blurs, enlarged
    wish = faces[0] * (faces[1] / faces[0]) ** rng.random()
    if len(counted):
        face = int(rng.choice(counted))
        scale = float(np.clip(wish / max(sizes[face], 1.0), 0.25, 4.0))
        middle = (scene.boxes[face, :2] + scene.boxes[face, 2:]) / 2
    else:
        scale, middle = float(rng.uniform(0.5, 2.0)), np.array([width, height]) / 2
    if rng.random() > chance:
        middle = rng.uniform((0, 0), (width, height))
    corner = middle * scale - rng.uniform(0.1, 0.9, size=2) * side
    to_crop = np.array([[scale, 0, -corner[0]], [0, scale, -corner[1]]])
    mirror = rng.random() < 0.5
    if mirror:
        to_crop[0] = [-scale, 0, side + corner[0]]
    source = scene.pixels
    if scale < 0.7:  # averaged before it is sampled
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        source = cv2.resize(source, small, interpolation=cv2.INTER_AREA)
        to_image = to_crop.copy()
        to_image[:, 0] *= width / small[0]
        to_image[:, 1] *= height / small[1]
    else:
        to_image = to_crop
    grey = float(rng.uniform(0, 255))
    pixels = cv2.warpAffine(source, to_image, (side, side), flags=cv2.INTER_LINEAR, borderValue=(grey, grey, grey))
    boxes = scene.boxes.reshape(-1, 2, 2) @ to_crop[:, :2].T + to_crop[:, 2]
    landmarks = scene.landmarks @ to_crop[:, :2].T + to_crop[:, 2]
    if mirror:
        boxes[..., 0] = boxes[:, ::-1, 0]
        landmarks = landmarks[:, _MIRRORED]
    whole = boxes.reshape(-1, 4)
    clipped = np.clip(whole, 0, side)
    area, seen = _areas(whole), _areas(clipped)
    kept = seen > 0.05 * area
    short = (whole[:, 2:] - whole[:, :2]).min(axis=1) if len(whole) else np.zeros(0)
    ignored = scene.ignored | (seen < _SEEN * area) | (short < smallest)
    return Scene(
        _lit(np.ascontiguousarray(pixels), rng),
        clipped[kept].astype(np.float32),
        ignored[kept],
        landmarks[kept].astype(np.float32),
    )


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    area: np.ndarray = sides.prod(axis=1)
    return area


def _lit(pixels: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Other brightness, contrast and tint; sometimes without colours."""
    gain, tint, shift = rng.uniform(0.7, 1.35), rng.uniform(0.92, 1.08, size=3), rng.uniform(-25, 25)
    if rng.random() < 0.1:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    levels = np.arange(256)[:, None] * (gain * tint) + shift
    table = np.clip(np.rint((levels - 128) * rng.uniform(0.75, 1.25) + 128), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table[:, None]))
