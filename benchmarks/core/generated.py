"""The photos of the benchmarks, made from the two portraits that scikit-image and matplotlib ship."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_SIZE = (640, 480)


def astronaut() -> Pixels:
    """(480, 640, 3) RGB, one face of some 130 pixels."""
    return _resized(skimage.data.astronaut()[:384, :512], _SIZE)


def hopper() -> Pixels:
    """(480, 640, 3) RGB, one face of some 170 pixels."""
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return _resized(pixels[:384, :512], _SIZE)


def portraits(folder: Path, count: int) -> list[Path]:
    """JPEG files of about 640 x 480: both subjects in turn, each shifted, scaled and lit in another way."""
    rng = np.random.default_rng(24)
    paths = []
    for number in range(count):
        photo = (astronaut, hopper)[number % 2]()
        zoom = rng.uniform(0.85, 1.15)
        shift = rng.uniform(-40, 40, size=2)
        centre = np.array(_SIZE) / 2
        move = np.column_stack([np.eye(2) * zoom, centre * (1 - zoom) + shift])
        moved = cv2.warpAffine(photo, move, _SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        lit = np.clip(moved * rng.uniform(0.75, 1.15), 0, 255).astype(np.uint8)
        paths.append(_saved(lit, folder / f"portrait-{number:02}.jpg", quality=90))
    return paths


def large_jpeg(path: Path, *, noise: float) -> Path:
    """A JPEG of 4000 x 3000, quality 88; the more noise, the larger the file.

    The share of decoding that no reduced scale saves, reading the entropy code, grows with the size of the file.
    """
    pixels = _resized(astronaut(), (4000, 3000)).astype(np.float32)
    pixels += np.random.default_rng(12).normal(0, noise, pixels.shape).astype(np.float32)
    return _saved(np.clip(pixels, 0, 255).astype(np.uint8), path, quality=88)


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    resized: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
    return resized


def _saved(pixels: Pixels, path: Path, *, quality: int) -> Path:
    Image.fromarray(pixels).save(path, format="JPEG", quality=quality)
    return path
