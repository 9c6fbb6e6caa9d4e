"""Quality measures move with what they are named after."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus import Faces, Quality, Recognizer, measure_quality
from vultus.errors import BadArgument
from vultus.quality import _HEAD, pose
from vultus.types import Float64Array, FloatArray, UInt8Array


@pytest.fixture(scope="session")
def crop(recognizer: Recognizer, astronaut: UInt8Array, astronaut_face: Faces) -> UInt8Array:
    return recognizer.align(astronaut, astronaut_face)


def repeated(face: Faces, n: int) -> Faces:
    return face[np.zeros(n, dtype=int)]


def falls(values: FloatArray) -> bool:
    return bool((np.diff(values) < 0).all())


def test_sharpness_falls_with_blur(crop: UInt8Array, astronaut_face: Faces) -> None:
    blurred = [crop[0], *(cv2.GaussianBlur(crop[0], (0, 0), sigma) for sigma in (0.8, 1.3, 2, 3, 5))]
    quality = measure_quality(np.stack(blurred), repeated(astronaut_face, 6))
    assert falls(quality.sharpness)
    assert quality.sharpness[0] > 0.8
    assert quality.sharpness[-1] < 0.35
    assert falls(quality.overall[2:])
    assert quality.overall[0] == quality.overall.max()


def test_exposure_and_range_fall_with_light(crop: UInt8Array, astronaut_face: Faces) -> None:
    dimmed = np.stack([(crop[0] * share).astype(np.uint8) for share in (1, 0.7, 0.5, 0.3, 0.1)])
    quality = measure_quality(dimmed, repeated(astronaut_face, 5))
    assert falls(quality.exposure)
    assert falls(quality.dynamic_range)
    assert quality.overall[-1] < quality.overall[0]
    assert np.allclose(quality.exposure / quality.exposure[0], [1, 0.7, 0.5, 0.3, 0.1], atol=0.01)


def test_exposure_of_plain_crops_is_their_luminance(astronaut_face: Faces) -> None:
    plain = np.stack([np.full((112, 112, 3), v, np.uint8) for v in (0, 51, 255)])
    quality = measure_quality(plain, repeated(astronaut_face, 3))
    assert np.allclose(quality.exposure, [0, 0.2, 1])
    assert not quality.dynamic_range.any()
    assert not quality.sharpness.any()


def test_luminance_weighs_the_channels_as_rgb(astronaut_face: Faces) -> None:
    colours = np.zeros((3, 112, 112, 3), np.uint8)
    for i in range(3):
        colours[i, ..., i] = 255
    assert np.allclose(measure_quality(colours, repeated(astronaut_face, 3)).exposure, [0.299, 0.587, 0.114])


def test_inter_eye_distance_is_in_pixels_of_the_photo(crop: UInt8Array, astronaut_face: Faces) -> None:
    eyes = astronaut_face.landmarks[0, :2].astype(np.float64)
    quality = measure_quality(np.repeat(crop, 2, axis=0), Faces(*(_twice(astronaut_face))))
    assert quality.inter_eye_distance.tolist() == pytest.approx(
        [np.hypot(*(eyes[1] - eyes[0])), 3 * np.hypot(*(eyes[1] - eyes[0]))], rel=1e-5
    )


def _twice(face: Faces) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A face, and the same one three times as large."""
    return (
        np.concatenate([face.boxes, 3 * face.boxes]),
        np.concatenate([face.landmarks, 3 * face.landmarks]),
        np.concatenate([face.scores, face.scores]),
    )


def test_measures_are_in_range_and_have_names(crop: UInt8Array, astronaut_face: Faces) -> None:
    noise = np.random.default_rng(0).integers(0, 256, crop.shape, np.uint8)
    quality = measure_quality(np.concatenate([crop, noise, crop * 0, crop * 0 + 255]), repeated(astronaut_face, 4))
    assert isinstance(quality, Quality)
    assert len(quality) == 4
    for i in range(4):
        row = quality.row(i)
        assert list(row) == [
            "sharpness", "exposure", "dynamic_range", "inter_eye_distance", "yaw", "pitch", "roll", "overall",
        ]  # fmt: skip
        assert all(0 <= row[k] <= 1 for k in ("sharpness", "exposure", "dynamic_range", "overall"))
    assert quality.overall[0] > 0.9
    assert (quality.overall[2:] < 0.01).all()


def test_no_faces_have_no_quality() -> None:
    quality = measure_quality(np.zeros((0, 112, 112, 3), np.uint8), Faces.none())
    assert len(quality) == 0
    assert quality.yaw.shape == (0,)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 112, 112, 3)),
        np.zeros((2, 112, 112, 3), np.uint8),
        np.zeros((112, 112, 3), np.uint8),
        np.zeros((1, 112, 112), np.uint8),
        np.zeros((1, 112, 112, 4), np.uint8),
        np.zeros((1, 1, 1, 3), np.uint8),
    ],
)
def test_other_crops_are_refused(crops: UInt8Array, astronaut_face: Faces) -> None:
    with pytest.raises(BadArgument, match=r"expected uint8 \(1, h, w, 3\)"):
        measure_quality(crops, astronaut_face)


# --- pose -------------------------------------------------------------------------------------------------------------


def rotation(yaw: float, pitch: float, roll: float) -> Float64Array:
    """Head turned by yaw about the vertical, then by pitch about the horizontal, then by roll in the picture."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_vertical = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_horizontal = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    in_picture = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: Float64Array = in_picture @ about_horizontal @ about_vertical
    return turned


def seen(turn: Float64Array, *, scale: float = 2.0) -> FloatArray:
    """(1, 5, 2) landmarks of the average head, turned and seen from far away."""
    landmarks: FloatArray = (scale * (_HEAD @ turn.T)[None, :, :2] + [200, 300]).astype(np.float32)
    return landmarks


angles = st.floats(-1.0, 1.0)


@given(angles, angles, st.floats(0.5, 20))
def test_the_direction_of_the_head_is_recovered(yaw: float, pitch: float, scale: float) -> None:
    turn = rotation(yaw, pitch, 0)
    found = pose(seen(turn, scale=scale))
    nose = turn[:, 2]  # where the head's forward axis points: right, down, towards the camera
    assert found[0][0] == pytest.approx(np.arctan2(nose[0], nose[2]), abs=2e-4)
    assert found[1][0] == pytest.approx(np.arctan2(nose[1], np.hypot(nose[0], nose[2])), abs=2e-4)


@pytest.mark.parametrize("angle", [-0.7, -0.2, 0.0, 0.3, 0.9])
def test_each_angle_alone_is_recovered(angle: float) -> None:
    for which in range(3):
        turn = [0.0, 0.0, 0.0]
        turn[which] = angle
        found = [float(a[0]) for a in pose(seen(rotation(*turn)))]
        assert found == pytest.approx(turn, abs=2e-4)


@given(angles, angles, angles)
def test_the_mirrored_pose_turns_the_other_way(yaw: float, pitch: float, roll: float) -> None:
    landmarks = seen(rotation(yaw, pitch, roll))
    mirrored = landmarks[:, [1, 0, 2, 4, 3]] * np.array([-1, 1], np.float32)
    one, other = (np.array(pose(x))[:, 0] for x in (landmarks, mirrored))
    assert np.allclose(other, one * [-1, 1, -1], atol=1e-3)


def test_the_signs_are_those_of_the_docstring() -> None:
    front = seen(np.eye(3))
    right, down = front.copy(), front.copy()
    right[0, 2, 0] += 20
    down[0, 2, 1] += 20
    assert pose(right)[0][0] > 0.1
    assert pose(down)[1][0] > 0.1
    clockwise = seen(rotation(0, 0, 0.3))
    assert clockwise[0, 1, 1] > clockwise[0, 0, 1]  # the eye on the right of the picture is lower
    assert pose(clockwise)[2][0] == pytest.approx(0.3, abs=1e-4)


def test_many_poses_are_those_of_each() -> None:
    several = np.concatenate([seen(rotation(*a)) for a in np.random.default_rng(1).uniform(-0.8, 0.8, (6, 3))])
    assert np.allclose(np.array(pose(several)), np.concatenate([pose(x[None]) for x in several], axis=1), atol=1e-9)
