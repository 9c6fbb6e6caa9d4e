"""A face turned out of the picture's plane: what a photo would show, had the head looked further to one side.

The head is a surface made by formula: an ellipsoid whose front is flattened from brow to chin, with a ridge for the
nose. It is laid over the photo by the five landmarks, turned about an axis in the middle of the head, upright (yaw) or
level (pitch), and seen again from the front without perspective. Seen so, a turn moves every point along its own row or
column, which makes the z-buffer exact and cheap: in each the surface is drawn from the side that comes forward, and a
point is hidden where one drawn before lies further on. What comes into view was never photographed; it is the nearest
skin, hair and background, stretched. Light and expression stay as they are.
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
HEAD_POINTS = np.array([[-31.5, 0.0], [31.5, 0.0], [0.0, 36.0], [-25.0, 66.0], [25.0, 66.0]])
_HALF_WIDTH, _HALF_HEIGHT, _HALF_DEPTH = 86.0, 135.0, 98.0
_CENTRE_Y, _AXIS_Z = 5.0, -90.0
_BRIDGE_Y, _NOSE_BASE_Y, _NOSE_HEIGHT = -6.0, 51.0, 20.0
_REACH = 250.0  # how far from the face the picture is moved
_STEP = 2.0  # between the points at which the movement is worked out
_FADE_BEGIN, _FADE_END = 0.85, 2.0  # of the distance to the outline: between them the turn dies out
_JUMP = 3.0  # millimetres between neighbours: one surface hides another
_STEEPEST = math.radians(60)
_SEVERITIES = (10, 20, 30, 40, 50)


@export("vultus.augment.turn")
def turn(pixels: UInt8Array, face: Faces, angle: float, *, pitch: float = 0.0) -> tuple[UInt8Array, Faces]:
    """A photo whose face is turned to a side, up or down.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        face: one face in it.
        angle: in radians, from -pi/3 to pi/3, added to what the face is turned already; above 0 the nose moves to the
            right of the picture.
        pitch: the same, above 0 downwards, as in `vultus.face3d`; done before the turn to the side.

    Returns:
        the photo, and the face in it: landmarks where the surface carries them, hidden ones too, and the box as far
        moved as they are on the whole.

    Raises:
        BadArgument: not exactly one face, landmarks that coincide, or an angle out of range.
    """
    if len(face) != 1:
        raise BadArgument(f"{len(face)} faces; a turn is defined for exactly one")
    for name, value in (("angle", angle), ("pitch", pitch)):
        if not abs(value) <= _STEEPEST:
            raise BadArgument(f"{name} is {value!r}; expected radians in [{-_STEEPEST:.4g}, {_STEEPEST:.4g}]")
    if pitch:
        pixels, face = _turned(pixels, face, pitch, axis=1)
    return _turned(pixels, face, angle, axis=0)


def yaw(pixels: UInt8Array, face: Faces, severity: int) -> UInt8Array:
    """Turned by a further 10, 20, 30, 40 or 50 degrees to the side that the nose points to already."""
    nose = apply_affine(fit_similarity(face.landmarks[0], HEAD_POINTS), face.landmarks[0])[2, 0]
    side = 1.0 if nose >= 0 else -1.0
    return turn(pixels, face, side * math.radians(_SEVERITIES[severity - 1]))[0]


def _turned(pixels: UInt8Array, face: Faces, angle: float, *, axis: int) -> tuple[UInt8Array, Faces]:
    """Turned by an angle that carries the nose towards higher x (axis 0) or y (axis 1)."""
    to_head = fit_similarity(face.landmarks[0], HEAD_POINTS)
    from_head = cv2.invertAffineTransform(to_head)
    points = apply_affine(to_head, face.landmarks[0])
    nose = (float(points[2, 0]), float(points[2, 1]))
    points[:, axis] += _shift(points[:, 0], points[:, 1], nose, angle, axis)
    landmarks = apply_affine(from_head, points)
    turned = _render(pixels, to_head, from_head, nose, angle, axis)
    change = (landmarks - face.landmarks[0]).mean(axis=0)
    boxes = face.boxes + np.tile(change, 2).astype(np.float32)
    return turned, Faces(boxes, landmarks[None].astype(np.float32), face.scores)


def _render(
    pixels: UInt8Array,
    to_head: Float64Array,
    from_head: Float64Array,
    nose: tuple[float, float],
    angle: float,
    axis: int,
) -> UInt8Array:
    """The photo drawn again, each pixel from where the surface that it now shows was before."""
    height, width = pixels.shape[:2]
    corners = apply_affine(from_head, np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]) * _REACH)
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width, height))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height))
    turned = pixels.copy()
    if right <= left or bottom <= top:
        return turned
    seen = apply_affine(to_head, np.array([[left, top], [right, top], [left, bottom], [right, bottom]]))
    across = seen[:, 1 - axis]
    came, begin = _came(nose, angle, axis, float(across.min()), float(across.max()))
    offset = np.array([_REACH, -begin] if axis == 0 else [-begin, _REACH])

    def drawn(points: Float64Array) -> tuple[UInt8Array, BoolArray]:
        at = apply_affine(to_head, points)
        change, edge = _sampled(came, (at + offset) / _STEP)
        at[..., axis] += change
        source = apply_affine(from_head, at).astype(np.float32)
        shown: UInt8Array = cv2.remap(
            pixels, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        return shown, edge

    rows, columns = np.mgrid[top:bottom, left:right]
    where = np.stack([columns, rows], axis=-1).astype(np.float64)
    region, edge = drawn(where)
    if edge.any():
        near = cv2.dilate(edge.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0
        points = where[near][None]
        parts = [drawn(np.add(points, (dx, dy)))[0][0] for dx in (-0.25, 0.25) for dy in (-0.25, 0.25)]
        region[near] = np.rint(np.mean(parts, axis=0)).astype(np.uint8)
    turned[top:bottom, left:right] = region
    return turned


def _came(nose: tuple[float, float], angle: float, axis: int, low: float, high: float) -> tuple[FloatArray, float]:
    """How much further along the axis what a point now shows was before, on a grid; and where the grid begins across it.

    Args:
        nose: tip of the nose.
        angle: of the turn.
        axis: 0 for a turn along x, 1 for one along y.
        low, high: what is wanted across the axis.
    """
    first, last = (math.floor(max(-_REACH, min(_REACH, v)) / _STEP) for v in (low, high))
    across = np.arange(first, last + 2) * _STEP
    along = np.linspace(-_REACH, _REACH, round(2 * _REACH / _STEP) + 1)
    if axis == 0:
        x, y = np.meshgrid(along, across)
        return (_origins(x + _shift(x, y, nose, angle, 0), angle) - x).astype(np.float32), float(across[0])
    y, x = np.meshgrid(along, across)
    return np.ascontiguousarray((_origins(y + _shift(x, y, nose, angle, 1), angle) - y).T, dtype=np.float32), float(
        across[0]
    )


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


def _shift(x: Float64Array, y: Float64Array, nose: tuple[float, float], angle: float, axis: int = 0) -> Float64Array:
    """How far the turn moves points of the head along an axis; nothing where the head is far."""
    along = x if axis == 0 else y - _CENTRE_Y
    turned = along * (math.cos(angle) - 1.0) + (_depth(x, y, nose) - _AXIS_Z) * math.sin(angle)
    radius = np.sqrt((x / _HALF_WIDTH) ** 2 + (np.abs(y - _CENTRE_Y) / _HALF_HEIGHT) ** 2)
    share = np.clip((_FADE_END - radius) / (_FADE_END - _FADE_BEGIN), 0.0, 1.0)
    return turned * share**2 * (3.0 - 2.0 * share)


def _depth(x: Float64Array, y: Float64Array, nose: tuple[float, float]) -> Float64Array:
    """z of the surface seen at (x, y)."""
    rho = (x / _HALF_WIDTH) ** 2 + (np.abs(y - _CENTRE_Y) / _HALF_HEIGHT) ** 4
    skull = _AXIS_Z + _HALF_DEPTH * np.sqrt(np.maximum(1.0 - rho, 0.0))
    return skull + ridge(x, y, nose)


def ridge(x: Float64Array, y: Float64Array, nose: tuple[float, float]) -> Float64Array:
    """How far the nose stands out at (x, y), for the place of its tip, in millimetres of the head."""
    down = (y - _BRIDGE_Y) / (nose[1] - _BRIDGE_Y)
    under = np.clip((_NOSE_BASE_Y - y) / (_NOSE_BASE_Y - nose[1]), 0.0, 1.0)
    rise = np.where(down < 1.0, np.clip(down, 0.0, 1.0) ** 1.3, under * (2 - under))
    width = 8.0 + 6.0 * np.clip(down, 0.0, 1.0)
    across = np.exp(-(((x - nose[0] * np.clip(down, 0.0, 1.0)) / width) ** 2))
    height: Float64Array = _NOSE_HEIGHT * rise * across
    return height
