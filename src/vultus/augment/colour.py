"""Colour and brightness: what another camera, lamp or exposure makes of the same face.

All but gamma are linear in the values of a pixel, so that any number of them is one matrix and clips once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from vultus._export import export
from vultus.augment.lookup import looked_up, scaled
from vultus.augment.views import checked, within
from vultus.errors import BadArgument
from vultus.types import UInt8Array

# The luma-chroma axes of ITU-R BT.601 (Y, Cb, Cr), in which a change of hue is a turn of the last two.
_TO_CHROMA = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_FROM_CHROMA = np.linalg.inv(_TO_CHROMA)
# A turn by h is _GREY + cos(h) _ALONG + sin(h) _ACROSS.
_GREY = np.outer(_FROM_CHROMA[:, 0], _TO_CHROMA[0])
_ALONG = _FROM_CHROMA[:, 1:] @ _TO_CHROMA[1:]
_ACROSS = _FROM_CHROMA[:, 1:] @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ _TO_CHROMA[1:]
_SHARES = np.arange(256) / 255.0
_EVEN = (1.0, 1.0, 1.0)
_HIGHEST = 20.0


@export("vultus.augment.adjust")
def adjust(
    images: UInt8Array,
    *,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
    gains: tuple[float, float, float] = _EVEN,
) -> UInt8Array:
    """Several changes of colour at once, each pixel rounded and clipped once.

    In this order: hue, saturation, contrast, brightness, gains. Each alone has a function of its own.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        brightness: factor.
        contrast: factor of the distance from the picture's mean; of a large picture, the mean of some thirty rows or more.
        saturation: factor of the distance from each pixel's luma; 0 takes the colours away.
        hue: turn of the colour circle, in radians.
        gains: a factor for each of red, green and blue.

    Raises:
        BadArgument: pictures or numbers that are none.
    """
    images = checked(images)
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        within(name, value, 0.0, _HIGHEST)
    within("hue", hue, -2 * math.pi, 2 * math.pi)
    one_gain = gains is _EVEN
    if not one_gain:
        if np.shape(gains) != (3,):
            raise BadArgument(f"gains are {gains!r}; expected three factors, for red, green and blue")
        for gain in gains:
            within("a gain", gain, 0.0, _HIGHEST)
        one_gain = gains[0] == gains[1] == gains[2]
    lift = (1 - contrast) * brightness  # of the picture's mean
    if saturation == 1.0 and not hue and one_gain:

        def stretched(picture: UInt8Array) -> UInt8Array:
            added = gains[0] * lift * _mean(picture) if lift else 0.0
            return scaled(picture, gains[0] * contrast * brightness, added)

        return each(images, stretched) if lift else scaled(images, gains[0] * contrast * brightness, 0.0)
    if not (saturation or lift) and contrast == brightness == 1 and one_gain and gains[0] == 1:
        return each(images, _grey)
    mixing = saturation * (_GREY + math.cos(hue) * _ALONG + math.sin(hue) * _ACROSS) + (1 - saturation) * _GREY
    matrix = np.empty((3, 4))
    matrix[:, :3] = contrast * brightness * mixing

    def mixed(picture: UInt8Array) -> UInt8Array:
        matrix[:, 3] = lift * _mean(picture) if lift else 0.0
        out: UInt8Array = cv2.transform(
            picture, matrix if one_gain and gains[0] == 1 else matrix * np.reshape(gains, (3, 1))
        )
        return out

    return each(images, mixed)


def _mean(picture: UInt8Array) -> float:
    """Mean of a picture; of a large one, of some of its rows."""
    red, green, blue, _ = cv2.mean(picture[:: max(1, len(picture) // 32)])
    return (red + green + blue) / 3


def _grey(picture: UInt8Array) -> UInt8Array:
    out: UInt8Array = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return out


@export("vultus.augment.brightness")
def brightness(images: UInt8Array, factor: float) -> UInt8Array:
    """All values times a factor; see `adjust`."""
    return adjust(images, brightness=factor)


@export("vultus.augment.contrast")
def contrast(images: UInt8Array, factor: float) -> UInt8Array:
    """The distance of all values from the picture's mean times a factor; see `adjust`."""
    return adjust(images, contrast=factor)


@export("vultus.augment.saturation")
def saturation(images: UInt8Array, factor: float) -> UInt8Array:
    """Colours stronger or weaker, at the same luma; 0 is grey. See `adjust`."""
    return adjust(images, saturation=factor)


@export("vultus.augment.hue")
def hue(images: UInt8Array, angle: float) -> UInt8Array:
    """Colours turned on the colour circle by an angle in radians, at the same luma; see `adjust`."""
    return adjust(images, hue=angle)


@export("vultus.augment.white_balance")
def white_balance(images: UInt8Array, warmth: float) -> UInt8Array:
    """Light of another colour at about the same brightness: red times exp(warmth), blue times exp(-warmth).

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        warmth: from -1.5 to 1.5; above 0 is the light of a lamp, below 0 that of a blue sky.

    Raises:
        BadArgument: pictures or a number that is none.
    """
    within("warmth", warmth, -1.5, 1.5)
    return adjust(images, gains=(math.exp(warmth), 1.0, math.exp(-warmth)))


@export("vultus.augment.gamma")
def gamma(images: UInt8Array, exponent: float) -> UInt8Array:
    """Values, as shares of white, to a power: above 1 darker in the middle, below 1 lighter; black and white stay.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        exponent: from 0.1 to 10.

    Raises:
        BadArgument: pictures or a number that is none.
    """
    images = checked(images)
    within("exponent", exponent, 0.1, 10.0)
    levels = _SHARES**exponent * 255.0
    return looked_up(images, np.rint(levels).astype(np.uint8))


def each(images: UInt8Array, change: Callable[[UInt8Array], UInt8Array]) -> UInt8Array:
    """A change of single pictures that keeps their size, for one picture or for each of a batch."""
    if images.ndim == 3:
        return change(images)
    changed = np.empty_like(images, order="C")
    for i, picture in enumerate(images):
        changed[i] = change(picture)
    return changed
