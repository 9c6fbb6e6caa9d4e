"""What stands before a face: a mask, glasses, a hand, and plain patches.

The first three are laid over the photo by its landmarks; see `vultus.augment.drawings`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.augment.colour import each
from vultus.augment.drawings import SCALE, drawing
from vultus.augment.pose import HEAD_POINTS
from vultus.augment.views import checked, checked_points, within
from vultus.errors import BadArgument
from vultus.types import Float64Array, FloatArray, UInt8Array

Colour = tuple[int, int, int]
_FIT = np.linalg.pinv(np.hstack([HEAD_POINTS, np.ones((5, 1))]))  # least squares of an affine map from the head


@export("vultus.augment.mask")
def mask(
    images: UInt8Array, landmarks: FloatArray, *, height: float = 1.0, colour: Colour = (150, 190, 214)
) -> UInt8Array:
    """A mask over the lower face.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        landmarks: (5, 2) or (n, 5, 2) in the order of `Faces`.
        height: how high it is worn, in (0, 1]: 1 is on the bridge of the nose, 0.5 under the nose.
        colour: RGB.

    Raises:
        BadArgument: pictures, landmarks, a number or a colour that is none.
    """
    within("height", height, 1e-3, 1.0)
    return _laid_over(images, landmarks, [_Layer("mask", round(float(height), 2), checked_colour(colour))])


@export("vultus.augment.glasses")
def glasses(
    images: UInt8Array, landmarks: FloatArray, *, tint: float = 0.0, rim: float = 3.0, colour: Colour = (38, 34, 32)
) -> UInt8Array:
    """Glasses; with a tint, sunglasses.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        landmarks: (5, 2) or (n, 5, 2) in the order of `Faces`.
        tint: share of the light that the lenses keep back, in [0, 1].
        rim: of the frame, in millimetres of the head, 1 to 10.
        colour: of the frame, RGB.

    Raises:
        BadArgument: pictures, landmarks, a number or a colour that is none.
    """
    within("tint", tint, 0.0, 1.0)
    within("rim", rim, 1.0, 10.0)
    lenses = _Layer("lenses", round(float(tint), 2), (255, 255, 255))
    return _laid_over(images, landmarks, [lenses, _Layer("frame", round(float(rim), 1), checked_colour(colour))])


@export("vultus.augment.hand")
def hand(
    images: UInt8Array, landmarks: FloatArray, *, tip: tuple[float, float], angle: float, colour: Colour | None = None
) -> UInt8Array:
    """A hand before the face.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        landmarks: (5, 2) or (n, 5, 2) in the order of `Faces`.
        tip: where the tip of the middle finger is, in millimetres of the head from the middle between the eyes.
        angle: where the fingers point, in radians: 0 is up, above 0 to the right of the picture.
        colour: RGB; that of the cheeks unless told otherwise.

    Raises:
        BadArgument: pictures, landmarks, a number or a colour that is none.
    """
    within("angle", angle, -2 * math.pi, 2 * math.pi)
    if np.shape(tip) != (2,):
        raise BadArgument(f"tip is {tip!r}; expected x and y in millimetres of the head")
    x, y = (within("tip", v, -1e4, 1e4) for v in tip)
    c, s = math.cos(angle), math.sin(angle)
    layer = _Layer("hand", 1.0, None if colour is None else checked_colour(colour), ((c, -s, x), (s, c, y)))
    return _laid_over(images, landmarks, [layer])


@export("vultus.augment.cover")
def cover(images: UInt8Array, rectangles: npt.ArrayLike, colours: Sequence[Colour]) -> UInt8Array:
    """Rectangles of one colour each.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB; all of a batch are covered alike.
        rectangles: (k, 4) whole pixels x0, y0, x1, y1, the last row and column not covered; parts beyond the picture are
            left out.
        colours: k RGB colours.

    Raises:
        BadArgument: pictures, or rectangles and colours that do not belong together.
    """
    images = checked(images)
    where = np.asarray(rectangles)
    if where.ndim != 2 or where.shape[1] != 4 or len(where) != len(colours) or not np.isfinite(where).all():
        raise BadArgument(
            f"rectangles of shape {where.shape} and {len(colours)} colours; expected (k, 4) and k colours"
        )
    covered = np.array(images, order="C")
    for (x0, y0, x1, y1), colour in zip(np.maximum(where, 0).astype(int).tolist(), colours, strict=True):
        covered[..., y0:y1, x0:x1, :] = checked_colour(colour)
    return covered


def checked_colour(colour: Sequence[int]) -> Colour:
    """The colour, where it is one.

    Raises:
        BadArgument: it is none.
    """
    if np.shape(colour) != (3,):
        raise BadArgument(f"colour is {colour!r}; expected red, green and blue")
    red, green, blue = (round(within("a colour", c, 0, 255)) for c in colour)
    return red, green, blue


# --- laying over ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layer:
    """A drawing, its parameter, its colour (None: that of the cheeks), and where on the head it is put."""

    name: str
    parameter: float
    colour: Colour | None
    place: tuple[tuple[float, float, float], tuple[float, float, float]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def _laid_over(images: UInt8Array, landmarks: FloatArray, layers: list[_Layer]) -> UInt8Array:
    images = checked(images)
    points = checked_points(landmarks, images.shape[:-3])
    if images.ndim == 3:
        return _over(images, points, layers)
    place = iter(points)
    return each(images, lambda picture: _over(picture, next(place), layers))


def _over(picture: UInt8Array, points: FloatArray, layers: list[_Layer]) -> UInt8Array:
    from_head = (_FIT @ points.astype(np.float64)).T
    zoom = math.sqrt(abs(float(from_head[0, 0] * from_head[1, 1] - from_head[0, 1] * from_head[1, 0]))) / SCALE
    if zoom < 1e-4:
        raise BadArgument("the landmarks lie on a line; nothing can be laid over such a face")
    halvings = max(0, min(4, round(math.log2(0.85 / zoom))))  # so that a small face skips no pixels of a drawing
    out = np.array(picture, order="C")
    for layer in layers:
        drawn, origin = drawing(layer.name, layer.parameter, halvings)
        step = 2.0**halvings / SCALE
        shift = step / 2 - 0.5 / SCALE  # of the middle of the first pixel, where drawings were halved
        to_photo = (
            from_head @ _square(layer.place) @ _square(((step, 0, shift - origin[0]), (0, step, shift - origin[1])))
        )
        _blended(out, drawn, to_photo, _cheeks(picture, points) if layer.colour is None else layer.colour)
    return out


def _square(matrix: Sequence[Sequence[float]]) -> Float64Array:
    return np.array([*matrix, (0.0, 0.0, 1.0)])


def _blended(out: UInt8Array, layer: UInt8Array, to_photo: Float64Array, colour: Colour) -> None:
    """Lay a drawing over a picture, which is written to where the drawing is."""
    height, width = out.shape[:2]
    down, across = layer.shape[:2]
    corners = np.array([[0, 0, 1], [across, 0, 1], [0, down, 1], [across, down, 1]]) @ to_photo.T
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width, height)).astype(int).tolist()
    if right <= left or bottom <= top:
        return
    matrix = to_photo.copy()
    matrix[:, 2] -= left, top
    part = out[top:bottom, left:right]
    drawn = cv2.warpAffine(layer, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    coloured = cv2.transform(drawn, np.array([[c / 255, 0] for c in colour]))
    let_through = cv2.transform(drawn, np.array([[0, -1, 255]] * 3))
    part[:] = cv2.add(cv2.multiply(part, let_through, scale=1 / 255), coloured)


def _cheeks(picture: UInt8Array, points: FloatArray) -> Colour:
    """The mean colour between each eye and its corner of the mouth."""
    found = []
    for eye, corner in ((0, 3), (1, 4)):
        x, y = np.rint(0.4 * points[eye] + 0.6 * points[corner]).astype(int)
        part = picture[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].reshape(-1, 3)
        if len(part):
            found.append(part.mean(axis=0))
    mean = np.mean(found, axis=0) if found else np.array([190.0, 150.0, 130.0])
    return int(mean[0]), int(mean[1]), int(mean[2])
