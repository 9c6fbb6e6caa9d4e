"""Blur: of a lens (defocus), of a movement, and the plain Gaussian."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.augment.colour import each
from vultus.augment.views import checked, within
from vultus.types import FloatArray, UInt8Array

_WIDEST = 500.0


@export("vultus.augment.gaussian_blur")
def gaussian_blur(images: UInt8Array, sigma: float) -> UInt8Array:
    """Blurred by a Gaussian.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        sigma: in pixels, at least 0.1.

    Raises:
        BadArgument: pictures or a number that is none.
    """
    images = checked(images)
    within("sigma", sigma, 0.1, _WIDEST)

    kernel = _bell(round(float(sigma), 3))

    def blurred(picture: UInt8Array) -> UInt8Array:
        out: UInt8Array = cv2.sepFilter2D(picture, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        return out

    return each(images, blurred)


@export("vultus.augment.defocus")
def defocus(images: UInt8Array, radius: float) -> UInt8Array:
    """Blurred as a lens that is out of focus does: every point becomes a disk.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        radius: of the disk, in pixels.

    Raises:
        BadArgument: pictures or a number that is none.
    """
    within("radius", radius, 0.0, _WIDEST)
    return _filtered(checked(images), _disk(round(float(radius), 3)))


@export("vultus.augment.motion_blur")
def motion_blur(images: UInt8Array, length: float, angle: float) -> UInt8Array:
    """Blurred along a line, as a movement during the exposure does.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        length: of the line, in pixels.
        angle: of the line, in radians; 0 is along the rows, pi / 2 along the columns.

    Raises:
        BadArgument: pictures or a number that is none.
    """
    within("length", length, 0.0, _WIDEST)
    within("angle", angle, -2 * math.pi, 2 * math.pi)
    return _filtered(checked(images), _line(float(length), float(angle)))


def _filtered(images: UInt8Array, kernel: FloatArray) -> UInt8Array:
    if kernel.size == 1:
        return images.copy()

    def filtered(picture: UInt8Array) -> UInt8Array:
        out: UInt8Array = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        return out

    return each(images, filtered)


@lru_cache(maxsize=64)
def _disk(radius: float) -> FloatArray:
    """Share of each pixel that a disk covers, to within a sixteenth of a pixel, summing to 1."""
    reach = math.ceil(radius - 0.5) if radius > 0.5 else 0
    parts = (np.arange(-reach * 16 - 8, reach * 16 + 8) + 0.5) / 16
    inside = (parts[:, None] ** 2 + parts**2 <= max(radius, 0.5) ** 2).astype(np.float32)
    side = 2 * reach + 1
    return _normed(inside.reshape(side, 16, side, 16).mean(axis=(1, 3)))


def _line(length: float, angle: float) -> FloatArray:
    """A line one pixel wide, its ends shares of pixels, summing to 1. One pixel for each step: each costs time."""
    c, s = math.cos(angle), math.sin(angle)
    half = max(0.0, length * max(abs(c), abs(s)) - 1) / 2  # a line of one pixel blurs nothing
    reach = math.floor(half + 0.95)
    steps = np.arange(-reach, reach + 1)
    minor = np.rint(steps * (s / c if abs(c) >= abs(s) else c / s)).astype(int) + reach
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    rows, columns = (minor, steps + reach) if abs(c) >= abs(s) else (steps + reach, minor)
    kernel[rows, columns] = np.clip(half + 1 - np.abs(steps), 0.0, 1.0)
    return _normed(kernel)


@lru_cache(maxsize=64)
def _bell(sigma: float) -> FloatArray:
    """(k,) a Gaussian, cut off at three standard deviations."""
    reach = max(1, round(3 * sigma))
    return _normed(np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2))


def _normed(kernel: npt.NDArray[np.floating]) -> FloatArray:
    normed: FloatArray = (kernel / kernel.sum()).astype(np.float32)
    normed.flags.writeable = False
    return normed
