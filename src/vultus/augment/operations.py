"""The changes that a policy can make, each by one number: what it changes, and how far at a severity from 0 to 5.

Lengths are in distances between the eyes ("eyes"), so that a severity means the same in a portrait and in a crop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vultus.augment import blurring, coding, colour, geometric, lighting, occluding, sensing
from vultus.augment.draws import Draws
from vultus.augment.pose import turn
from vultus.augment.views import eye_distance, middle
from vultus.face3d import fit, mean_face, view
from vultus.types import Faces, Float64Array, FloatArray, UInt8Array

Size: TypeAlias = tuple[int, int]
Map: TypeAlias = Callable[[Size, FloatArray | None, float, Draws], Float64Array]
Change: TypeAlias = Callable[[UInt8Array, FloatArray | None, float, Draws], UInt8Array]
Moved: TypeAlias = tuple[UInt8Array, FloatArray | None, FloatArray | None]
Warp: TypeAlias = Callable[[UInt8Array, FloatArray | None, FloatArray | None, float, Draws], Moved]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one picture. Exactly one of `map`, `change` and `warp` makes it.

    Args:
        amounts: what severities 0 to 5 stand for, in `unit`; between them by straight lines.
        severity: up to which a step draws that is told neither severity nor amount. docs/augmentation.md has the share of
            faces that are still recognised there.
        unit: of the amounts.
        low, high: the amounts that can be asked for.
        needs_landmarks: whether it cannot be made without.
        map: gives the affine map of a move in the plane.
        change: changes the pixels and leaves everything where it is.
        warp: moves pixels, landmarks and box in another way.
    """

    amounts: tuple[float, float, float, float, float, float]
    severity: float
    unit: str
    low: float
    high: float
    needs_landmarks: bool = False
    map: Map | None = None
    change: Change | None = None
    warp: Warp | None = None

    def amount(self, severity: float) -> float:
        """What a severity from 0 to 5 stands for."""
        below = min(4, int(severity))
        share = severity - below
        return self.amounts[below] * (1 - share) + self.amounts[below + 1] * share


# --- moves ------------------------------------------------------------------------------------------------------------


def _mirror(size: Size, points: FloatArray | None, amount: float, draws: Draws) -> Float64Array:
    return geometric.mirror_map(size)


def _rotation(size: Size, points: FloatArray | None, amount: float, draws: Draws) -> Float64Array:
    return geometric.about_map(middle(points, size), draws.sign() * math.radians(amount), 1.0)


def _scale(size: Size, points: FloatArray | None, amount: float, draws: Draws) -> Float64Array:
    return geometric.about_map(middle(points, size), 0.0, math.exp(draws.sign() * amount))


def _shift(size: Size, points: FloatArray | None, amount: float, draws: Draws) -> Float64Array:
    """By whole pixels, so that nothing is interpolated."""
    way, length = draws.uniform(-math.pi, math.pi), amount * eye_distance(points, size[0])
    return np.array(
        [[1.0, 0.0, float(round(length * math.cos(way)))], [0.0, 1.0, float(round(length * math.sin(way)))]]
    )


def _crop(size: Size, points: FloatArray | None, amount: float, draws: Draws) -> Float64Array:
    height, width = (max(1, round(side * (1 - amount))) for side in size)
    left, top = draws.below(size[1] - width + 1) - 0.5, draws.below(size[0] - height + 1) - 0.5
    return geometric.one_window_map((left, top, left + width, top + height), size)


def _patch(size: Size, points: FloatArray | None, amount: float, draws: Draws) -> Float64Array:
    """A square window on the head, 4.8 times the distance between the eyes wide at amount 0, somewhere within it."""
    eyes = eye_distance(points, size[0])
    half, room = 2.4 * (1 - amount) * eyes, 2.0 * amount * eyes
    x, y = middle(points, size).tolist()
    x += draws.uniform(-room, room)
    y += draws.uniform(-room, room) - 0.1 * eyes
    aspect = size[1] / size[0]
    wide, high = half * max(1.0, aspect), half * max(1.0, 1 / aspect)
    return geometric.one_window_map((x - wide, y - high, x + wide, y + high), size)


def _yaw(picture: UInt8Array, points: FloatArray | None, box: FloatArray | None, amount: float, draws: Draws) -> Moved:
    return _turn(picture, points, box, draws.sign() * math.radians(amount), 0.0)


def _pitch(
    picture: UInt8Array, points: FloatArray | None, box: FloatArray | None, amount: float, draws: Draws
) -> Moved:
    return _turn(picture, points, box, 0.0, draws.sign() * math.radians(amount))


def _turn(picture: UInt8Array, points: FloatArray | None, box: FloatArray | None, angle: float, pitch: float) -> Moved:
    boxes = np.zeros((1, 4)) if box is None else box[None]
    face = Faces(boxes, np.asarray(points)[None], np.ones(1))  # type: ignore[arg-type]
    turned, moved = turn(picture, face, angle, pitch=pitch)
    return turned, moved.landmarks[0], None if box is None else moved.boxes[0]


def _pose(picture: UInt8Array, points: FloatArray | None, box: FloatArray | None, amount: float, draws: Draws) -> Moved:
    """The fitted head turned about an axis in the picture's plane: to a side, up, down or between."""
    way = draws.uniform(-math.pi, math.pi)
    angle = math.radians(amount)
    before = fit(np.asarray(points))
    after = before.turned(yaw=angle * math.cos(way), pitch=0.6 * angle * math.sin(way))
    seen = view(picture, before, after, symmetry=1.0, border="reflect")
    moved = after.project(mean_face().landmarks) - before.project(mean_face().landmarks)
    shift = np.tile(moved.mean(axis=0), 2)
    return (
        seen.pixels,
        (np.asarray(points) + moved).astype(np.float32),
        None if box is None else (box + shift).astype(np.float32),
    )


# --- colour and light -------------------------------------------------------------------------------------------------


def _brightness(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.brightness(picture, math.exp(draws.sign() * amount))


def _contrast(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.contrast(picture, math.exp(draws.sign() * amount))


def _saturation(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.saturation(picture, 1 + draws.sign() * amount)


def _hue(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.hue(picture, draws.sign() * math.radians(amount))


def _white_balance(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.white_balance(picture, draws.sign() * amount)


def _grey(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.saturation(picture, 1 - amount)


def _gamma(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return colour.gamma(picture, math.exp(draws.sign() * amount))


def _light(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    azimuth = draws.sign() * draws.uniform(math.radians(40), math.radians(100))
    elevation = draws.uniform(math.radians(-30), math.radians(50))
    return lighting.directional_light(
        picture, np.asarray(points), azimuth=azimuth, elevation=elevation, strength=amount
    )


# --- sharpness, noise and coding --------------------------------------------------------------------------------------


def _blur(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return blurring.gaussian_blur(picture, max(0.1, amount * eye_distance(points, len(picture))))


def _motion_blur(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    length = max(1.0, amount * eye_distance(points, len(picture)))
    return blurring.motion_blur(picture, length, draws.uniform(-math.pi / 2, math.pi / 2))


def _defocus(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return blurring.defocus(picture, amount * eye_distance(points, len(picture)))


def _noise(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return sensing.sensor_noise(picture, draws.bits(), exposure=1 / amount)


def _jpeg(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return coding.jpeg(picture, round(amount), scale=min(1.0, 40 / eye_distance(points, len(picture))))


def _low_resolution(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return coding.low_resolution(picture, min(1.0, amount / eye_distance(points, len(picture))))


# --- what stands before the face --------------------------------------------------------------------------------------

_MASKS = ((150, 190, 214), (236, 238, 240), (44, 46, 52), (178, 206, 190), (120, 60, 70))
_FRAMES = ((38, 34, 32), (92, 60, 40), (150, 150, 155), (70, 20, 24))


def _mask(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return occluding.mask(picture, np.asarray(points), height=amount, colour=draws.one_of(_MASKS))


def _glasses(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    return occluding.glasses(
        picture, np.asarray(points), tint=amount, rim=draws.uniform(2.0, 4.5), colour=draws.one_of(_FRAMES)
    )


def _hand(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    angle = draws.sign() * draws.uniform(math.radians(15), math.radians(85))
    reach = 85 * (amount - 1)  # millimetres beyond the middle of the face
    tip = (reach * math.sin(angle), 42 - 1.15 * reach * math.cos(angle))
    return occluding.hand(picture, np.asarray(points), tip=tip, angle=angle)


def _patches(picture: UInt8Array, points: FloatArray | None, amount: float, draws: Draws) -> UInt8Array:
    """One to three rectangles on the face, which is taken for 2.7 x 3.6 times the distance between the eyes."""
    height, width = picture.shape[:2]
    eyes = eye_distance(points, height)
    wide, high = min(float(width), 2.7 * eyes), min(float(height), 3.6 * eyes)
    x, y = middle(points, (height, width))
    count = 1 + draws.below(3)
    rectangles, colours = [], []
    for _ in range(count):
        aspect = math.exp(draws.uniform(-0.7, 0.7))
        area = amount * wide * high / count
        w, h = min(wide, math.sqrt(area * aspect)), min(high, math.sqrt(area / aspect))
        left = x - wide / 2 + draws.uniform(0, wide - w)
        top = y - high / 2 + draws.uniform(0, high - h)
        rectangles.append([round(left), round(top), round(left + w), round(top + h)])
        colours.append((draws.below(256), draws.below(256), draws.below(256)))
    return occluding.cover(picture, rectangles, colours)


OPERATIONS: dict[str, Operation] = {
    "mirror": Operation((0, 1, 1, 1, 1, 1), 5, "", 0, 1, map=_mirror),
    "rotation": Operation((0, 5, 10, 20, 30, 45), 3, "degrees", 0, 180, map=_rotation),
    "scale": Operation((0, 0.05, 0.1, 0.2, 0.3, 0.45), 3, "log factor", 0, 2, map=_scale),
    "shift": Operation((0, 0.1, 0.2, 0.4, 0.6, 0.8), 3, "eyes", 0, 10, map=_shift),
    "crop": Operation((0, 0.05, 0.1, 0.2, 0.3, 0.4), 3, "of the side", 0, 0.95, map=_crop),
    "patch": Operation((0, 0.15, 0.3, 0.4, 0.5, 0.6), 2, "of the head", 0, 0.9, map=_patch),
    "yaw": Operation((0, 10, 20, 30, 40, 50), 2, "degrees", 0, 60, needs_landmarks=True, warp=_yaw),
    "pitch": Operation((0, 6, 12, 18, 24, 30), 2, "degrees", 0, 45, needs_landmarks=True, warp=_pitch),
    "pose": Operation((0, 10, 20, 30, 40, 50), 2, "degrees", 0, 60, needs_landmarks=True, warp=_pose),
    "brightness": Operation((0, 0.1, 0.2, 0.4, 0.6, 0.9), 3, "log factor", 0, 3, change=_brightness),
    "contrast": Operation((0, 0.1, 0.2, 0.4, 0.6, 0.9), 3, "log factor", 0, 3, change=_contrast),
    "saturation": Operation((0, 0.15, 0.3, 0.5, 0.75, 1), 3, "share", 0, 1, change=_saturation),
    "hue": Operation((0, 5, 10, 20, 35, 60), 3, "degrees", 0, 180, change=_hue),
    "white_balance": Operation((0, 0.05, 0.1, 0.2, 0.3, 0.45), 3, "log gain", 0, 1.5, change=_white_balance),
    "grey": Operation((0, 0.2, 0.4, 0.6, 0.8, 1), 5, "of the colour", 0, 1, change=_grey),
    "gamma": Operation((0, 0.1, 0.2, 0.4, 0.6, 0.9), 3, "log exp.", 0, 2, change=_gamma),
    "light": Operation((0, 0.3, 0.5, 0.65, 0.8, 0.9), 3, "of the light", 0, 1, needs_landmarks=True, change=_light),
    "blur": Operation((0, 0.03, 0.06, 0.1, 0.15, 0.22), 2, "eyes", 0, 2, change=_blur),
    "motion_blur": Operation((0, 0.1, 0.2, 0.35, 0.5, 0.75), 2, "eyes", 0, 5, change=_motion_blur),
    "defocus": Operation((0, 0.06, 0.12, 0.2, 0.3, 0.42), 2, "eyes", 0, 2, change=_defocus),
    "noise": Operation((1, 3, 6, 12, 25, 50), 3, "x less light", 1, 1000, change=_noise),
    "jpeg": Operation((100, 40, 20, 12, 8, 5), 3, "quality", 1, 100, change=_jpeg),
    "low_resolution": Operation((64, 24, 16, 12, 9, 7), 2, "px, eyes", 1, 10_000, change=_low_resolution),
    "mask": Operation((0.01, 0.4, 0.55, 0.75, 0.9, 1), 3, "height", 0.01, 1, needs_landmarks=True, change=_mask),
    "glasses": Operation((0, 0, 0.25, 0.5, 0.75, 1), 2, "tint", 0, 1, needs_landmarks=True, change=_glasses),
    "hand": Operation((0, 0.3, 0.5, 0.7, 0.9, 1.2), 3, "of the way", 0, 3, needs_landmarks=True, change=_hand),
    "patches": Operation((0, 0.05, 0.1, 0.2, 0.3, 0.45), 2, "of the face", 0, 1, change=_patches),
}
