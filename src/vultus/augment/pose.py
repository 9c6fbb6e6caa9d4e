"""A face turned out of the picture's plane: what a photo would show, had the head looked further to one side.

The head is a surface made by formula: an ellipsoid whose front is flattened from brow to chin, with a ridge for the
nose. It is laid over the photo by the five landmarks, turned about an upright axis in the middle of the head, and seen
again from the front without perspective. Seen so, an upright turn moves every point along its own row, which makes the
z-buffer exact and cheap: in each row the surface is drawn from the side that comes forward, and a point is hidden where
one drawn before lies further on. What comes into view was never photographed; it is the nearest skin, hair and
background, stretched. Light and expression stay as they are.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.geometry import apply_affine, fit_similarity
from vultus.types import BoolArray, Faces, Float64Array, FloatArray, UInt8Array

# Millimetres from the middle between the eyes: x to the right of the picture, y down, z to the camera. Proportions of an
# adult head, rounded; only ratios matter, because every face is scaled to them.
_POINTS = np.array([[-31.5, 0.0], [31.5, 0.0], [0.0, 36.0], [-25.0, 66.0], [25.0, 66.0]])
_HALF_WIDTH, _HALF_HEIGHT, _HALF_DEPTH = 86.0, 135.0, 98.0
_CENTRE_Y, _AXIS_Z = 5.0, -90.0
_BRIDGE_Y, _NOSE_BASE_Y, _NOSE_HEIGHT = -6.0, 51.0, 20.0
_REACH = 250.0  # how far from the face the picture is moved
_FADE_BEGIN, _FADE_END = 0.85, 2.0  # of the distance to the outline: between them the turn dies out
_JUMP = 3.0  # millimetres between neighbours: one surface hides another
_STEEPEST = math.radians(60)
_SEVERITIES = (10, 20, 30, 40, 50)


@export("vultus.augment.turn")
def turn(pixels: UInt8Array, face: Faces, angle: float) -> tuple[UInt8Array, Faces]:
    """A photo whose face is turned to a side.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        face: one face in it.
        angle: in radians, from -pi/3 to pi/3, added to what the face is turned already; above 0 the nose moves to the
            right of the picture.

    Returns:
        the photo, and the face in it: landmarks where the surface carries them, hidden ones too, and the box as far
        moved as they are on the whole.

    Raises:
        BadArgument: not exactly one face, landmarks that coincide, or an angle out of range.
    """
    if len(face) != 1:
        raise BadArgument(f"{len(face)} faces; a turn is defined for exactly one")
    if not abs(angle) <= _STEEPEST:
        raise BadArgument(f"angle is {angle!r}; expected radians in [{-_STEEPEST:.4g}, {_STEEPEST:.4g}]")
    to_head = fit_similarity(face.landmarks[0], _POINTS)
    from_head = cv2.invertAffineTransform(to_head)
    points = apply_affine(to_head, face.landmarks[0])
    nose = (float(points[2, 0]), float(points[2, 1]))
    moved = points + np.stack([_shift(points[:, 0], points[:, 1], nose, angle), np.zeros(5)], axis=1)
    landmarks = apply_affine(from_head, moved)
    turned = _render(pixels, to_head, from_head, nose, angle)
    change = (landmarks - face.landmarks[0]).mean(axis=0)
    boxes = face.boxes + np.tile(change, 2).astype(np.float32)
    return turned, Faces(boxes, landmarks[None].astype(np.float32), face.scores)


def yaw(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Turned by a further 10, 20, 30, 40 or 50 degrees to the side that the nose points to already."""
    nose = apply_affine(fit_similarity(face.landmarks[0], _POINTS), face.landmarks[0])[2, 0]
    side = 1.0 if nose >= 0 else -1.0
    return turn(pixels, face, side * math.radians(_SEVERITIES[severity - 1]))[0]


def _render(
    pixels: UInt8Array, to_head: Float64Array, from_head: Float64Array, nose: tuple[float, float], angle: float
) -> UInt8Array:
    """The photo drawn again, each pixel from where the surface that it now shows was before."""
    y, x = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    came = (_origins(x + _shift(x, y, nose, angle), angle) - x).astype(np.float32)
    height, width = pixels.shape[:2]
    corners = apply_affine(from_head, np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]) * _REACH)
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width, height))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height))
    turned = pixels.copy()
    if right <= left or bottom <= top:
        return turned

    def drawn(dx: float, dy: float) -> tuple[UInt8Array, BoolArray]:
        rows, columns = np.mgrid[top:bottom, left:right]
        seen = apply_affine(to_head, np.stack([columns + dx, rows + dy], axis=-1))
        change, edge = _sampled(came, seen + _REACH)
        seen[..., 0] += change
        source = apply_affine(from_head, seen).astype(np.float32)
        return cv2.remap(
            pixels, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        ), edge

    region, edge = drawn(0.0, 0.0)
    if edge.any():
        near = cv2.dilate(edge.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0
        parts = [drawn(dx, dy)[0][near] for dx in (-0.25, 0.25) for dy in (-0.25, 0.25)]
        region[near] = np.rint(np.mean(parts, axis=0)).astype(np.uint8)
    turned[top:bottom, left:right] = region
    return turned


def _sampled(field: FloatArray, where: Float64Array) -> tuple[FloatArray, BoolArray]:
    """Values of a field between its points, by straight lines but for the nearest value where it jumps; and where."""
    x, y = where[..., 0].astype(np.float32), where[..., 1].astype(np.float32)
    near = cv2.remap(field, x, y, cv2.INTER_NEAREST, borderValue=0.0)
    between = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderValue=0.0)
    jump = np.abs(between - near) > _JUMP
    values: FloatArray = np.where(jump, near, between)
    return values, jump


def _origins(targets: Float64Array, angle: float) -> Float64Array:
    """(h, w) x that each point of a grid shows, for the (h, w) x to which each point of that grid moves.

    Turned to the right, points further left lie nearer to the camera. Drawn from left to right, a point shows iff it
    lies further right than all before it.
    """
    if angle < 0:
        return -_origins(-targets[:, ::-1], -angle)[:, ::-1]
    x = np.linspace(-_REACH, _REACH, targets.shape[1])
    ahead = np.maximum.accumulate(targets, axis=1)
    return np.stack([np.interp(x, row, x) for row in ahead])


def _shift(x: Float64Array, y: Float64Array, nose: tuple[float, float], angle: float) -> Float64Array:
    """How far the turn moves points of the head along x; nothing where the head is far."""
    turned = x * (math.cos(angle) - 1.0) + (_depth(x, y, nose) - _AXIS_Z) * math.sin(angle)
    radius = np.sqrt((x / _HALF_WIDTH) ** 2 + (np.abs(y - _CENTRE_Y) / _HALF_HEIGHT) ** 2)
    share = np.clip((_FADE_END - radius) / (_FADE_END - _FADE_BEGIN), 0.0, 1.0)
    return turned * share**2 * (3.0 - 2.0 * share)


def _depth(x: Float64Array, y: Float64Array, nose: tuple[float, float]) -> Float64Array:
    """z of the surface seen at (x, y)."""
    rho = (x / _HALF_WIDTH) ** 2 + (np.abs(y - _CENTRE_Y) / _HALF_HEIGHT) ** 4
    skull = _AXIS_Z + _HALF_DEPTH * np.sqrt(np.maximum(1.0 - rho, 0.0))
    down = (y - _BRIDGE_Y) / (nose[1] - _BRIDGE_Y)
    under = np.clip((_NOSE_BASE_Y - y) / (_NOSE_BASE_Y - nose[1]), 0.0, 1.0)
    rise = np.where(down < 1.0, np.clip(down, 0.0, 1.0) ** 1.3, under * (2 - under))
    width = 8.0 + 6.0 * np.clip(down, 0.0, 1.0)
    ridge = np.exp(-(((x - nose[0] * np.clip(down, 0.0, 1.0)) / width) ** 2))
    return skull + _NOSE_HEIGHT * rise * ridge
