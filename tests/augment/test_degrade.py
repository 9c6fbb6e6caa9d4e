"""Degradations: each acts, more with each severity, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from vultus import Faces
from vultus.augment import DEGRADATIONS, degrade
from vultus.errors import BadArgument
from vultus.types import UInt8Array

FACTORS = sorted(DEGRADATIONS)


@pytest.fixture(scope="session")
def face() -> Faces:
    """Where the large face stands, so that every severity has room to act."""
    landmarks = np.array([[[228, 194], [308, 195], [267, 240], [229, 268], [302, 270]]], np.float32)
    return Faces(np.array([[183, 120, 353, 333]], np.float32), landmarks, np.ones(1, np.float32))


def psnr(one: UInt8Array, other: UInt8Array) -> float:
    """Of the face, in decibel."""
    error = ((one[120:333, 183:353].astype(float) - other[120:333, 183:353]) ** 2).mean()
    return float(10 * np.log10(255**2 / error))


def test_the_factors_are_these() -> None:
    assert FACTORS == ["blur", "dark", "jpeg", "light", "low_resolution", "occlusion", "rotation", "yaw"]


@pytest.mark.parametrize("factor", FACTORS)
def test_severity_zero_changes_nothing(factor: str, hopper: UInt8Array, face: Faces) -> None:
    assert np.array_equal(degrade(hopper, face, factor, 0), hopper)


@pytest.mark.parametrize("factor", [f for f in FACTORS if f != "rotation"])
def test_each_severity_harms_more(factor: str, hopper: UInt8Array, face: Faces) -> None:
    harmed = [degrade(hopper, face, factor, severity) for severity in range(1, 6)]
    assert all(x.shape == hopper.shape and x.dtype == np.uint8 for x in harmed)
    left = [psnr(hopper, x) for x in harmed]
    assert all(np.diff(left) < 0), left
    assert left[0] < 45


@pytest.mark.parametrize("factor", FACTORS)
def test_the_same_harm_every_time_and_the_photo_stays(factor: str, hopper: UInt8Array, face: Faces) -> None:
    before = hopper.copy()
    assert np.array_equal(degrade(hopper, face, factor, 3), degrade(before, face, factor, 3))
    assert np.array_equal(hopper, before)


@pytest.mark.parametrize("factor", ["blur", "jpeg", "low_resolution"])
def test_severity_is_relative_to_the_face(factor: str, hopper: UInt8Array, face: Faces) -> None:
    small = Faces(
        face.boxes, face.landmarks[:, :1] + (face.landmarks - face.landmarks[:, :1]) / np.float32(4), face.scores
    )
    assert psnr(hopper, degrade(hopper, small, factor, 2)) > psnr(hopper, degrade(hopper, face, factor, 2)) + 1


def test_what_is_too_small_already_is_not_reduced(hopper: UInt8Array, face: Faces) -> None:
    tiny = Faces(face.boxes, face.landmarks / np.float32(20), face.scores)
    assert np.array_equal(degrade(hopper, tiny, "low_resolution", 5), hopper)


def test_occlusion_covers_the_chin_and_nothing_else(hopper: UInt8Array, face: Faces) -> None:
    changed = (degrade(hopper, face, "occlusion", 2) != hopper).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.max() == 332
    assert rows.min() == pytest.approx(333 - 0.3 * 213, abs=2)
    assert (columns.min(), columns.max()) == (183, 352)


@pytest.mark.parametrize(("severity", "degrees"), [(1, 10), (2, 20), (3, 30), (4, 45), (5, 60)])
def test_rotation_turns_about_the_face(severity: int, degrees: float, hopper: UInt8Array, face: Faces) -> None:
    photo = np.zeros_like(hopper)
    photo[223:231, 264:272] = 255  # the middle of the box
    photo[223:231, 344:352] = 255  # and 80 pixels to its right
    turned = degrade(photo, face, "rotation", severity)
    assert turned[226, 267].min() > 200
    x, y = 267 + 80 * np.cos(np.radians(degrees)), 226 - 80 * np.sin(np.radians(degrees))
    assert turned[round(y), round(x)].min() > 200


@pytest.mark.parametrize("severity", [-1, 6, 2.5])
def test_other_severities_are_refused(severity: int, hopper: UInt8Array, face: Faces) -> None:
    with pytest.raises(BadArgument, match="from 0 to 5"):
        degrade(hopper, face, "blur", severity)


def test_other_factors_and_numbers_of_faces_are_refused(hopper: UInt8Array, face: Faces) -> None:
    with pytest.raises(BadArgument, match="no degradation 'fog'; expected one of blur"):
        degrade(hopper, face, "fog", 1)
    for faces in (Faces.none(), face[np.array([0, 0])]):
        with pytest.raises(BadArgument, match=f"{len(faces)} faces"):
            degrade(hopper, faces, "blur", 1)
