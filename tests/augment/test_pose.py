"""Turned heads: the z-buffer against brute force, angles against another fit, and what a turn must leave alone."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.augment.conftest import centre_of, dotted

from vultus import Faces, Recognizer
from vultus.augment.pose import _REACH, HEAD_POINTS, _depth, _origins, _shift, turn, yaw
from vultus.errors import BadArgument
from vultus.quality import pose
from vultus.types import UInt8Array

NOSE = (0.0, 36.0)


def face_at(points: np.ndarray, box: tuple[float, float, float, float] = (0, 0, 0, 0)) -> Faces:
    """One face with (5, 2) landmarks."""
    boxes, landmarks = np.asarray([box], dtype=np.float32), points[None].astype(np.float32)
    return Faces(boxes, landmarks, np.ones(1, dtype=np.float32))


def drawn_by_z_buffer(height: np.ndarray, x: np.ndarray, angle: float) -> dict[int, float]:
    """Which x each millimetre of the turned row shows, every segment of the surface being drawn nearest last."""
    moved = x * math.cos(angle) + height * math.sin(angle)
    towards = height * math.cos(angle) - x * math.sin(angle)
    best: dict[int, tuple[float, float]] = {}
    for i in range(len(x) - 1):
        low, high = sorted((moved[i], moved[i + 1]))
        for target in range(math.ceil(low), math.floor(high) + 1):
            share = (target - moved[i]) / (moved[i + 1] - moved[i]) if moved[i + 1] != moved[i] else 0.0
            z = towards[i] + share * (towards[i + 1] - towards[i])
            if target not in best or z > best[target][0]:
                best[target] = (z, x[i] + share * (x[i + 1] - x[i]))
    return {target: origin for target, (_, origin) in best.items()}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1.0, 1.0))
def test_the_running_maximum_is_a_z_buffer(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.linspace(-_REACH, _REACH, int(2 * _REACH) + 1)
    height = np.convolve(rng.normal(0, 30, len(x) + 40), np.hanning(41) / 20, mode="valid")[: len(x)]
    moved = x * math.cos(angle) + height * math.sin(angle)
    shown = _origins(moved[None], angle)[0]
    expected = drawn_by_z_buffer(height, x, angle)
    inside = [t for t in expected if moved.min() + 1 < t < moved.max() - 1 and abs(t) < _REACH]
    off = [abs(shown[int(t + _REACH)] - expected[t]) for t in inside]
    assert (
        np.mean(np.asarray(off) < 1e-6) > 0.95
    )  # but for the millimetre in which one part comes out from behind another


@pytest.mark.parametrize("degrees", [-50, -30, -10, 10, 30, 50])
def test_landmarks_turn_by_the_angle(degrees: int) -> None:
    frontal = face_at(3.0 * HEAD_POINTS + 200)
    blank = np.zeros((400, 400, 3), dtype=np.uint8)
    _, turned = turn(blank, frontal, math.radians(degrees))
    change = pose(turned.landmarks)[0] - pose(frontal.landmarks)[0]
    assert math.degrees(change[0]) == pytest.approx(degrees, abs=4)
    np.testing.assert_allclose(turned.landmarks[..., 1], frontal.landmarks[..., 1], atol=1e-3)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_pitch_turns_up_and_down_by_the_angle(degrees: int) -> None:
    frontal = face_at(3.0 * HEAD_POINTS + 200)
    blank = np.zeros((500, 400, 3), dtype=np.uint8)
    _, turned = turn(blank, frontal, 0.0, pitch=math.radians(degrees))
    yaws, pitches = ([float(pose(f.landmarks)[i][0]) for f in (frontal, turned)] for i in (0, 1))
    assert math.degrees(pitches[1] - pitches[0]) == pytest.approx(degrees, abs=6)
    assert yaws[1] == pytest.approx(yaws[0], abs=0.02)
    np.testing.assert_allclose(turned.landmarks[..., 0], frontal.landmarks[..., 0], atol=1e-3)
    _, both = turn(blank, frontal, math.radians(20), pitch=math.radians(degrees))
    assert math.degrees(pose(both.landmarks)[0][0]) == pytest.approx(20, abs=5)


@pytest.mark.parametrize(("angle", "pitch"), [(0.5, 0.0), (-0.3, 0.0), (0.0, 0.3), (0.0, -0.3), (0.25, 0.2)])
def test_marks_are_seen_where_the_landmarks_are_said_to_be(angle: float, pitch: float) -> None:
    face = face_at(2.0 * HEAD_POINTS + (200, 180))
    _, said = turn(np.zeros((480, 400, 3), dtype=np.uint8), face, angle, pitch=pitch)

    def seen(picture: UInt8Array) -> UInt8Array:
        return turn(picture, face, angle, pitch=pitch)[0]

    for point, place in zip(dotted(face.landmarks[0], (480, 400)), said.landmarks[0], strict=True):
        assert centre_of(seen(point)) == pytest.approx(tuple(place.tolist()), abs=1)


def test_the_rows_that_are_worked_out_do_not_matter() -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 256, (420, 400, 3), dtype=np.uint8), (0, 0), 3)
    face = face_at(1.6 * HEAD_POINTS + (200, 180))
    near = face_at(1.6 * HEAD_POINTS + (200, 180 - 150))
    whole, _ = turn(noise, face, 0.4)
    part, _ = turn(noise[150:270], near, 0.4)
    assert np.abs(part[5:-5].astype(int) - whole[155:265]).mean() < 0.5


def test_a_detector_sees_the_landmarks_where_they_are_said_to_be(
    recognizer: Recognizer, astronaut: UInt8Array, astronaut_face: Faces
) -> None:
    eyes = np.linalg.norm(astronaut_face.landmarks[0, 1] - astronaut_face.landmarks[0, 0])
    for degrees in (-30, 30):
        turned, face = turn(astronaut, astronaut_face, math.radians(degrees))
        found = recognizer.detect(turned)
        assert len(found) == 1
        away = np.linalg.norm(found.landmarks[0] - face.landmarks[0], axis=1)
        assert away.mean() < 0.15 * eyes


def test_severities_grow(recognizer: Recognizer, astronaut: UInt8Array) -> None:
    known = recognizer.sample(astronaut)
    scores = [
        recognizer.compare(known.template, recognizer.sample(yaw(astronaut, known.face, s)).template)
        for s in range(1, 6)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert scores[-1] < 0.85


def test_no_turn_changes_nothing(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    same, face = turn(astronaut, astronaut_face, 0.0)
    np.testing.assert_array_equal(same, astronaut)
    np.testing.assert_allclose(face.landmarks, astronaut_face.landmarks, atol=1e-3)


def test_only_the_head_and_what_is_near_moves(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    turned, _ = turn(astronaut, astronaut_face, 0.7)
    assert turned.shape == astronaut.shape
    assert turned.dtype == np.uint8
    x0, y0, x1, y1 = (int(v) for v in astronaut_face.boxes[0])
    assert (turned[y0:y1, x0:x1] != astronaut[y0:y1, x0:x1]).mean() > 0.5
    np.testing.assert_array_equal(turned[-20:], astronaut[-20:])
    np.testing.assert_array_equal(turned[:, -20:], astronaut[:, -20:])


def test_a_mirrored_photo_turns_the_other_way(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    last = astronaut.shape[1] - 1
    points = astronaut_face.landmarks[:, [1, 0, 2, 4, 3]].copy()
    points[..., 0] = last - points[..., 0]
    boxes = astronaut_face.boxes[:, [2, 1, 0, 3]].copy()
    boxes[:, [0, 2]] = last - boxes[:, [0, 2]]
    mirrored = Faces(boxes, points, astronaut_face.scores)
    one, _ = turn(astronaut, astronaut_face, 0.5)
    other, _ = turn(np.ascontiguousarray(astronaut[:, ::-1]), mirrored, -0.5)
    assert (np.abs(one.astype(int) - other[:, ::-1]) <= 2).mean() > 0.99


def test_yaw_goes_on_to_the_side_that_the_nose_points_to() -> None:
    points = 3.0 * HEAD_POINTS + 200
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    for side in (-1, 1):
        shifted = points.copy()
        shifted[2, 0] += side * 12
        face = face_at(shifted, (100, 100, 300, 420))
        np.testing.assert_array_equal(yaw(noise, face, 3), turn(noise, face, side * math.radians(30))[0])


def test_a_face_at_the_edge_or_outside_is_no_accident() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for centre in ((0, 0), (79, 59), (40, 30), (-5_000, 30)):
        face = face_at(HEAD_POINTS * 0.3 + np.asarray(centre))
        turned, _ = turn(noise, face, 0.5)
        assert turned.shape == noise.shape
    np.testing.assert_array_equal(turned, noise)


def test_the_surface_is_a_head() -> None:
    x = np.asarray([-31.5, 31.5, 0.0, -25.0, 25.0, 0.0])
    y = np.asarray([0.0, 0.0, 36.0, 66.0, 66.0, 18.0])
    z = _depth(x, y, NOSE)
    assert z[0] == z[1]
    assert z[2] - z[0] == pytest.approx(26, abs=5)  # the tip of the nose before the eyes
    assert z[3] == pytest.approx(z[0], abs=8)
    assert z[0] < z[5] < z[2]
    far = np.asarray([400.0])
    assert _shift(far, np.zeros(1), NOSE, 0.8)[0] == 0


def test_bad_turns_are_refused() -> None:
    blank = np.zeros((50, 50, 3), dtype=np.uint8)
    face = face_at(HEAD_POINTS * 0.2 + 25)
    with pytest.raises(BadArgument, match="0 faces"):
        turn(blank, Faces.none(), 0.1)
    for angle in (2.0, float("nan")):
        with pytest.raises(BadArgument, match="angle"):
            turn(blank, face, angle)
        with pytest.raises(BadArgument, match="pitch"):
            turn(blank, face, 0.0, pitch=angle)
    with pytest.raises(BadArgument, match="coincide"):
        turn(blank, face_at(np.zeros((5, 2))), 0.1)
