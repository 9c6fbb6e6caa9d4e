"""What can be laid over a face, drawn by formula: a mask, glasses and a hand.

Millimetres of a head, from the middle between the eyes, or of a hand, from the tip of its middle finger; x to the right and
y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vultus.types import Float64Array, UInt8Array

SCALE = 2  # pixels of a drawing to a millimetre
_REACH = 200  # millimetres from the middle that are drawn
_TIP = -160  # where the tip of the middle finger is in the drawing of a hand, so that there is room for the arm
_SIDE = 2 * _REACH * SCALE + 1
_SHIFT = 4  # bits of a pixel that outlines are drawn at


def _pixels(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    at = (np.asarray(points, dtype=np.float64) + _REACH) * SCALE * (1 << _SHIFT)
    return np.rint(at).astype(np.int32)


def _blank() -> UInt8Array:
    return np.zeros((_SIDE, _SIDE), dtype=np.uint8)


def _layer(brightness: UInt8Array, covered: UInt8Array) -> UInt8Array:
    """(h, w, 2) brightness times cover, and cover."""
    layer: UInt8Array = cv2.merge([cv2.multiply(brightness, covered, scale=1 / 255), covered])
    return layer


def _polygon(points: npt.ArrayLike) -> UInt8Array:
    drawn = _blank()
    cv2.fillPoly(drawn, [_pixels(points)], 255, cv2.LINE_AA, _SHIFT)
    return drawn


def _strokes(lines: Sequence[npt.ArrayLike], width: float) -> UInt8Array:
    drawn = _blank()
    thickness = max(1, round(width * SCALE))
    for line in lines:
        cv2.polylines(drawn, [_pixels(line)], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    return drawn


def _jaw(y: Float64Array) -> Float64Array:
    """Half of the width of a head at a height."""
    return 73.0 * np.sqrt(np.clip(1 - (np.maximum(y - 10.0, 0.0) / 112.0) ** 2.6, 0.0, 1.0))


def _mask(height: float) -> UInt8Array:
    top, chin = 118.0 - height * 102.0, 122.0
    drop = min(22.0, (chin - top) * 0.4)
    share = np.linspace(0, 1, 25)
    edge_x = share * float(_jaw(np.array(top + drop)))
    upper = np.stack([edge_x, top + drop * share**1.6], axis=1)
    down = np.linspace(top + drop, chin, 30)
    side = np.stack([_jaw(down), down], axis=1)
    half = np.vstack([upper, side[1:]])
    covered = _polygon(np.vstack([half, half[::-1] * [-1, 1]]))
    loops: list[list[tuple[float, float]]] = []
    if height > 0.55:
        for s in (-1, 1):
            loops += [
                [(s * edge_x[-1] * 0.98, top + drop + 3), (s * 82, max(0.0, top - 8))],
                [(s * float(_jaw(np.array(84.0))) * 0.98, 84), (s * 82, 40)],
            ]
    covered = np.maximum(covered, _strokes(loops, 2.0)) if loops else covered
    x = (np.arange(_SIDE) / SCALE - _REACH)[None, :]
    round_ = np.clip(1.0 - 0.42 * np.abs(x / 78.0) ** 2.2, 0.45, 1.0)
    brightness = np.repeat(np.rint(255 * round_), _SIDE, axis=0).astype(np.uint8)
    folds = []
    for y in np.arange(top + 26, 104, 15):
        across = np.linspace(-0.93, 0.93, 30) * float(_jaw(np.array(y)))
        folds.append(np.stack([across, y - 5 * (across / 70.0) ** 2], axis=1))
    seam = np.stack(
        [np.concatenate([-edge_x[::-1], edge_x]), np.concatenate([upper[::-1, 1], upper[:, 1]]) + 4], axis=1
    )
    lines = cv2.GaussianBlur(_strokes([*folds, seam], 1.5), (0, 0), 1.6)
    brightness = cv2.multiply(brightness, 255 - cv2.multiply(lines, 0.45), scale=1 / 255)
    return _layer(brightness, cv2.GaussianBlur(covered, (0, 0), 0.8))


def _lens(sign: int) -> Float64Array:
    """Outline of a lens: a superellipse that hangs a little outward."""
    t = np.linspace(0, 2 * math.pi, 73)[:-1]
    c, s = np.cos(t), np.sin(t)
    x = np.sign(c) * np.abs(c) ** 0.75 * 26
    y = np.sign(s) * np.abs(s) ** 0.8 * 20
    return np.stack([sign * (32.5 + x + 0.05 * y * np.sign(x)), 5 + y], axis=1)


def _lenses(tint: float) -> UInt8Array:
    glass = np.maximum(_polygon(_lens(1)), _polygon(_lens(-1)))
    y = np.clip((np.arange(_SIDE) / SCALE - _REACH + 15) / 40, 0, 1)[:, None]
    brightness = np.repeat(np.rint(20 + 40 * y), _SIDE, axis=1).astype(np.uint8)
    streaks = _strokes([[(s * 32 - 14, 16), (s * 32 + 2, -8)] for s in (1, -1)], 5.0)
    streaks = cv2.multiply(cv2.GaussianBlur(streaks, (0, 0), 4), glass, scale=1 / 255)
    shine = streaks.astype(np.float32) / 255 * 0.30
    covered = glass.astype(np.float32) / 255 * tint
    both = np.maximum(covered, shine)
    light = np.where(both > 0, (covered * brightness + shine * 255) / np.maximum(covered + shine, 1e-6), 0)
    return _layer(np.rint(light).astype(np.uint8), np.rint(both * 255).astype(np.uint8))


def _frame(rim: float) -> UInt8Array:
    rings = [np.vstack([_lens(s), _lens(s)[:1]]) for s in (1, -1)]
    across = np.linspace(-7.5, 7.5, 12)
    bridge = np.stack([across, -1 - 4 * (1 - (across / 7.5) ** 2)], axis=1)
    temples = [[(s * 58, -3), (s * 80, -6)] for s in (1, -1)]
    covered = _strokes([*rings, bridge, *temples], rim)
    light = _strokes([np.asarray(line) - (0.3, 0.5) for line in [*rings, bridge, *temples]], max(0.5, rim * 0.35))
    brightness = cv2.add(np.full_like(covered, 200), cv2.multiply(cv2.GaussianBlur(light, (0, 0), 1.0), 0.22))
    return _layer(brightness, cv2.GaussianBlur(covered, (0, 0), 0.7))


# Fingers from root to tip and their width, in millimetres from the tip of the middle finger, y down.
_FINGERS = (
    ([(-22, 92), (-24, 52), (-25, 14)], 17.5),
    ([(-2, 90), (-1, 46), (0, 8)], 18.5),
    ([(17, 92), (21, 52), (24, 16)], 17.0),
    ([(34, 100), (42, 68), (48, 38)], 14.5),
    ([(-26, 150), (-52, 118), (-66, 84)], 20.0),
)
_PALM = [(-34, 96), (-24, 86), (36, 90), (44, 106), (42, 150), (32, 178), (28, 420), (-26, 420), (-30, 178), (-38, 140)]


def _hand(parameter: float) -> UInt8Array:
    """(h, w, 2) a hand whose fingers point up, as much brighter as the parameter says."""
    palm = _polygon(np.add(_PALM, (0, _TIP)))
    palm = cv2.GaussianBlur(palm, (0, 0), 6)
    palm = np.where(palm > 127, 255, 0).astype(np.uint8)
    covered = cv2.GaussianBlur(palm, (0, 0), 0.8)
    light = cv2.GaussianBlur(palm, (0, 0), 9).astype(np.float32) / 255
    brightness = np.clip(0.55 + 0.42 * np.clip(2 * light - 0.9, 0, 1), 0, 1)
    for points, width in _FINGERS:
        line = np.add(points, (0, _TIP))
        shape = cv2.GaussianBlur(_strokes([line], width), (0, 0), 0.8)
        across = np.zeros((_SIDE, _SIDE), dtype=np.float32)
        for share in (1.0, 0.85, 0.7, 0.55, 0.4, 0.25):
            across += _strokes([line], width * share).astype(np.float32) / (6 * 255)
        across = cv2.GaussianBlur(across, (0, 0), 1.5)
        own = 0.50 + 0.48 * np.sqrt(np.clip(across * 1.4, 0, 1))
        root = np.clip((96.0 + _TIP - (np.arange(_SIDE) / SCALE - _REACH)) / 22.0, 0, 1)[:, None].astype(np.float32)
        weight = shape.astype(np.float32) / 255 * (root if points[0][1] < 110 else 1.0)
        brightness = brightness * (1 - weight) + own * weight
        covered = np.maximum(covered, shape)
    return _layer(np.rint(255 * np.clip(brightness * parameter, 0, 1)).astype(np.uint8), covered)


DRAWINGS: dict[str, Callable[[float], UInt8Array]] = {"mask": _mask, "lenses": _lenses, "frame": _frame, "hand": _hand}


@lru_cache(maxsize=128)
def drawing(name: str, parameter: float, halvings: int) -> tuple[UInt8Array, tuple[float, float]]:
    """One of `DRAWINGS`, made smaller, without what is empty.

    Args:
        name: which.
        parameter: its parameter.
        halvings: how often its size is halved.

    Returns:
        (h, w, 2) uint8, brightness times cover, and cover; and how far its corner lies left of and above the point that the
        drawing is made about. Both are kept for the next time.
    """
    if halvings:
        made, origin = drawing(name, parameter, halvings - 1)
        down, across = (2 * math.ceil(side / 2) for side in made.shape[:2])
        even = cv2.copyMakeBorder(
            made, 0, down - made.shape[0], 0, across - made.shape[1], cv2.BORDER_CONSTANT, value=0
        )
        made = cv2.resize(even, (across // 2, down // 2), interpolation=cv2.INTER_AREA)
    else:
        whole = DRAWINGS[name](parameter)
        rows, columns = (np.flatnonzero(whole[..., 1].max(axis=axis)) for axis in (1, 0))
        made = np.ascontiguousarray(whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        above = _REACH + (_TIP if name == "hand" else 0)
        origin = (_REACH - float(columns[0]) / SCALE, above - float(rows[0]) / SCALE)
    made.flags.writeable = False
    return made, origin
