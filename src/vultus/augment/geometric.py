"""Moves in the picture's plane: mirror, turn, size, shift and crop. Landmarks and boxes follow.

Every move is an affine map, so that several in a row are one, and pixels are interpolated once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.augment.views import MIRRORED, Views, middle, within
from vultus.errors import BadArgument
from vultus.geometry import apply_affine
from vultus.types import Float64Array, FloatArray, UInt8Array

Border: TypeAlias = Literal["reflect", "edge", "black"]
BORDERS: dict[str, int] = {
    "reflect": cv2.BORDER_REFLECT_101,
    "edge": cv2.BORDER_REPLICATE,
    "black": cv2.BORDER_CONSTANT,
}
_SHRINKS = 0.6  # below this size pixels would be skipped; the picture is blurred first
_LONGEST = 16_384
_MIRRORED = list(MIRRORED)


@export("vultus.augment.move")
def move(
    views: Views, matrices: npt.ArrayLike, *, size: tuple[int, int] | None = None, border: Border = "reflect"
) -> Views:
    """Pictures, landmarks and boxes moved by affine maps, bilinear.

    Args:
        views: one picture or a batch.
        matrices: (2, 3), or (n, 2, 3) for a batch: maps from (x, y) before to (x, y) after. One that mirrors makes right
            landmarks left ones.
        size: (height, width) of the moved pictures; as before unless told otherwise.
        border: what is shown where nothing was: the picture mirrored at its edge, its last pixels, or black.

    Returns:
        the moved views. A box is the one around the ellipse that the box held before, so that a turned face's box does
        not grow; it may reach beyond the picture.

    Raises:
        BadArgument: matrices that are none or cannot be undone, a size without pixels, or no such border.
    """
    lead = views.images.shape[:-3]
    maps = np.asarray(matrices, dtype=np.float64)
    if maps.shape == (2, 3):
        maps = np.broadcast_to(maps, (*lead, 2, 3))
    if maps.shape != (*lead, 2, 3) or not np.isfinite(maps).all():
        raise BadArgument(f"matrices have shape {maps.shape}; expected finite numbers of shape {(*lead, 2, 3)}")
    if (np.abs(np.linalg.det(maps[..., :2])) < 1e-8).any():
        raise BadArgument("a matrix squeezes the picture to a line; expected one that can be undone")
    height, width = views.size if size is None else size
    if not (1 <= height <= _LONGEST and 1 <= width <= _LONGEST):
        raise BadArgument(f"size is {size!r}; expected (height, width), each from 1 to {_LONGEST}")
    if border not in BORDERS:
        raise BadArgument(f"no border {border!r}; expected one of {', '.join(BORDERS)}")
    if not lead:
        images = warped(views.images, maps, (height, width), border)
    else:
        images = np.empty((*lead, height, width, 3), dtype=np.uint8)
        for i, picture in enumerate(views.images):
            images[i] = warped(picture, maps[i], (height, width), border)
    return Views(images, moved_points(views.landmarks, maps), moved_boxes(views.boxes, maps))


@export("vultus.augment.mirror")
def mirror(views: Views) -> Views:
    """Left and right turned round; the right eye is then the left one."""
    return move(views, mirror_map(views.size))


@export("vultus.augment.rotate")
def rotate(views: Views, angle: float, *, border: Border = "reflect") -> Views:
    """Turned about the middle of the face, or of the picture where there are no landmarks.

    Args:
        views: one picture or a batch.
        angle: in radians; above 0 against the clock as one sees it.
        border: see `move`.

    Raises:
        BadArgument: an angle that is no number, or no such border.
    """
    within("angle", angle, -2 * math.pi, 2 * math.pi)
    return move(views, _about(views, angle, 1.0), border=border)


@export("vultus.augment.rescale")
def rescale(views: Views, factor: float, *, border: Border = "reflect") -> Views:
    """Larger or smaller about the middle of the face, in a picture of the same size.

    Args:
        views: one picture or a batch.
        factor: from 0.1 to 10.
        border: see `move`.

    Raises:
        BadArgument: a factor out of range, or no such border.
    """
    within("factor", factor, 0.1, 10.0)
    return move(views, _about(views, 0.0, factor), border=border)


@export("vultus.augment.shift")
def shift(views: Views, x: float, y: float, *, border: Border = "reflect") -> Views:
    """Moved by pixels to the right and down.

    Args:
        views: one picture or a batch.
        x, y: in pixels; parts of pixels are interpolated.
        border: see `move`.

    Raises:
        BadArgument: a shift that is no number, or no such border.
    """
    within("x", x, -_LONGEST, _LONGEST)
    within("y", y, -_LONGEST, _LONGEST)
    return move(views, np.array([[1.0, 0.0, x], [0.0, 1.0, y]]), border=border)


@export("vultus.augment.crop")
def crop(
    views: Views, window: npt.ArrayLike, *, size: tuple[int, int] | None = None, border: Border = "reflect"
) -> Views:
    """What a window shows, brought to a size.

    Args:
        views: one picture or a batch.
        window: (4,), or (n, 4) for a batch: x0, y0, x1, y1 in pixels, where pixel i reaches from i - 0.5 to i + 0.5. It
            may reach beyond the picture.
        size: (height, width) of the result; that of the picture unless told otherwise.
        border: see `move`.

    Raises:
        BadArgument: a window without area, or no such border.
    """
    where = np.asarray(window, dtype=np.float64)
    if where.shape not in {(4,), (*views.images.shape[:-3], 4)} or not np.isfinite(where).all():
        raise BadArgument(f"the window has shape {where.shape}; expected x0, y0, x1, y1")
    if (where[..., 2:] <= where[..., :2]).any():
        raise BadArgument(f"the window {window!r} has no area; expected x0 < x1 and y0 < y1")
    return move(views, window_map(where, views.size if size is None else size), size=size, border=border)


# --- maps -------------------------------------------------------------------------------------------------------------


def mirror_map(size: tuple[int, int]) -> Float64Array:
    """(2, 3) map that turns left and right round in a picture of that (height, width); not to be written to."""
    return _mirror_map(size[1])


@lru_cache(maxsize=256)
def _mirror_map(width: int) -> Float64Array:
    made = np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])
    made.flags.writeable = False
    return made


def about_map(centre: Float64Array, angle: float, factor: float) -> Float64Array:
    """(2, 3) map that turns by an angle against the clock as one sees it and scales, about a point."""
    c, s = factor * math.cos(angle), factor * math.sin(angle)
    x, y = float(centre[0]), float(centre[1])
    return np.array([[c, s, x - c * x - s * y], [-s, c, y + s * x - c * y]])


def window_map(window: Float64Array, size: tuple[int, int]) -> Float64Array:
    """(..., 2, 3) map from the pixels of a picture to those of what a window shows at a size."""
    maps = np.zeros((*window.shape[:-1], 2, 3))
    for axis, side in ((0, size[1]), (1, size[0])):
        scale = side / (window[..., 2 + axis] - window[..., axis])
        maps[..., axis, axis] = scale
        maps[..., axis, 2] = -scale * window[..., axis] - 0.5
    return maps


def one_window_map(window: tuple[float, float, float, float], size: tuple[int, int]) -> Float64Array:
    """(2, 3) map of one window: the quick form of `window_map`."""
    x0, y0, x1, y1 = window
    across, down = size[1] / (x1 - x0), size[0] / (y1 - y0)
    return np.array([[across, 0.0, -across * x0 - 0.5], [0.0, down, -down * y0 - 0.5]])


def joined(later: Float64Array, earlier: Float64Array) -> Float64Array:
    """(2, 3) the map that does first one and then the other."""
    both = later[:, :2] @ earlier
    both[:, 2] += later[:, 2]
    return both


def _about(views: Views, angle: float, factor: float) -> Float64Array:
    if views.landmarks is None or views.landmarks.ndim == 2:
        return about_map(middle(views.landmarks, views.size), angle, factor)
    return np.array([about_map(middle(points, views.size), angle, factor) for points in views.landmarks])


# --- what is moved ----------------------------------------------------------------------------------------------------


def warped(picture: UInt8Array, matrix: Float64Array, size: tuple[int, int], border: str) -> UInt8Array:
    """One picture by one map."""
    if matrix is _mirror_map(size[1]) and size == picture.shape[:2]:
        return _flipped(picture)
    (a, b, x), (c, d, y) = matrix.tolist()
    if size == picture.shape[:2] and (a, b, x, c, d, y) == (-1.0, 0.0, size[1] - 1.0, 0.0, 1.0, 0.0):
        return _flipped(picture)
    if b == c == 0.0 and a > 0 and d > 0:
        cut = _cut(picture, a, d, x, y, size, border)
        if cut is not None:
            return cut
    zoom = math.sqrt(abs(a * d - b * c))
    if zoom < _SHRINKS:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.5 * math.sqrt(1 / zoom**2 - 1))
    out: UInt8Array = cv2.warpAffine(
        picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=BORDERS[border]
    )
    return out


def _flipped(picture: UInt8Array) -> UInt8Array:
    out: UInt8Array = cv2.flip(picture, 1)
    return out


def _cut(
    picture: UInt8Array, a: float, d: float, x: float, y: float, size: tuple[int, int], border: str
) -> UInt8Array | None:
    """What an upright window shows, where it has whole pixels: cut out and resized, four times as quick as a warp."""
    edges = (-(x + 0.5) / a + 0.5, -(y + 0.5) / d + 0.5, (size[1] - x - 0.5) / a + 0.5, (size[0] - y - 0.5) / d + 0.5)
    left, top, right, bottom = (round(e) for e in edges)
    if max(abs(e - r) for e, r in zip(edges, (left, top, right, bottom), strict=True)) > 1e-6:
        return None
    height, width = picture.shape[:2]
    inside = picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if a == d == 1.0:
        around = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
        if not any(around):
            return inside.copy()
        if not inside.size or max(around) >= min(inside.shape[:2]):
            return None
        moved: UInt8Array = cv2.copyMakeBorder(inside, *around, BORDERS[border])
        return moved
    if inside.shape[:2] != (bottom - top, right - left) or min(a, d) < _SHRINKS:
        return None
    resized: UInt8Array = cv2.resize(inside, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return resized


def follow(
    points: FloatArray | None, box: FloatArray | None, matrix: Float64Array
) -> tuple[FloatArray | None, FloatArray | None]:
    """One picture's (5, 2) landmarks and (4,) box, moved: the quick form of `moved_points` and `moved_boxes`."""
    moved = points
    if points is not None:
        linear = matrix[:, :2]
        moved = (points @ linear.T + matrix[:, 2]).astype(np.float32)
        (a, b), (c, d) = linear.tolist()
        if a * d < b * c:
            moved = moved[_MIRRORED]
    return moved, None if box is None else moved_boxes(box, matrix)


def moved_points(points: FloatArray | None, maps: Float64Array) -> FloatArray | None:
    """(..., 5, 2) landmarks by (..., 2, 3) maps; what was right is left where a map mirrors."""
    if points is None:
        return None
    moved = apply_affine(maps, points)
    mirrored = np.linalg.det(maps[..., :2]) < 0
    return np.where(mirrored[..., None, None], moved[..., _MIRRORED, :], moved).astype(np.float32)


def moved_boxes(boxes: FloatArray | None, maps: Float64Array) -> FloatArray | None:
    """(..., 4) boxes around the ellipses that the boxes held, moved by (..., 2, 3) maps."""
    if boxes is None:
        return None
    low, high = boxes[..., :2].astype(np.float64), boxes[..., 2:].astype(np.float64)
    centre = apply_affine(maps, ((low + high) / 2)[..., None, :])[..., 0, :]
    half = np.sqrt(((maps[..., :2] * ((high - low) / 2)[..., None, :]) ** 2).sum(axis=-1))
    return np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)
