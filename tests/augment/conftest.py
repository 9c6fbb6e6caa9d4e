"""Pictures with marks whose places can be measured, and a face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from vultus.types import FloatArray, UInt8Array

POINTS = np.array([[126.4, 101.2], [181.0, 98.7], [155.3, 134.6], [133.8, 166.1], [178.9, 164.4]], dtype=np.float32)
BOX = np.array([100.0, 60.0, 208.0, 196.0], dtype=np.float32)


@pytest.fixture
def points() -> FloatArray:
    """(5, 2) landmarks of a face in a picture of 300 x 260."""
    return POINTS.copy()


@pytest.fixture
def face() -> UInt8Array:
    """(300, 260, 3) smooth picture with a face-like drawing; read-only."""
    rng = np.random.default_rng(3)
    picture = cv2.resize(rng.integers(60, 200, (12, 10, 3), dtype=np.uint8), (260, 300), interpolation=cv2.INTER_CUBIC)
    cv2.ellipse(picture, (154, 130), (54, 68), 0, 0, 360, (205, 160, 140), -1, cv2.LINE_AA)
    for x, y in POINTS:
        cv2.circle(picture, (round(float(x)), round(float(y))), 5, (70, 40, 40), -1, cv2.LINE_AA)
    drawn: UInt8Array = np.asarray(picture, dtype=np.uint8)
    drawn.flags.writeable = False
    return drawn


def wrong(value: object) -> Any:
    """A value of a type that the checker would refuse, as a user may pass it."""
    return value


def dotted(points: FloatArray, size: tuple[int, int] = (300, 260), radius: float = 3.0) -> list[UInt8Array]:
    """One black picture for each point, with a white dot there, drawn to a sixteenth of a pixel."""
    pictures = []
    for x, y in points:
        picture = np.zeros((*size, 3), dtype=np.uint8)
        cv2.circle(
            picture, (round(float(x) * 16), round(float(y) * 16)), round(radius * 16), (255,) * 3, -1, cv2.LINE_AA, 4
        )
        pictures.append(picture)
    return pictures


def centre_of(picture: UInt8Array) -> tuple[float, float]:
    """Where the light of a picture is."""
    weight = picture[..., 1].astype(np.float64)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


def found_after(change: Callable[[UInt8Array], UInt8Array], points: FloatArray) -> FloatArray:
    """Where a change puts each of some points: seen in the picture, not calculated."""
    return np.array([centre_of(change(picture)) for picture in dotted(points)], dtype=np.float32)
