"""Poses: planted ones come back, scipy's optimiser as the oracle, outliers, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from vultus import face3d
from vultus.align import TEMPLATES
from vultus.errors import BadArgument
from vultus.face3d import Pose3D
from vultus.geometry import fit_similarity
from vultus.quality import pose as quick_pose

HEAD = face3d.mean_face().landmarks
ANGLE = st.floats(-1.2, 1.2)


@settings(max_examples=60, deadline=None)
@given(ANGLE, st.floats(-0.8, 0.8), st.floats(-3.0, 3.0), st.floats(0.05, 20), st.floats(-500, 3000))
def test_a_planted_pose_comes_back(yaw: float, pitch: float, roll: float, scale: float, x: float) -> None:
    planted = Pose3D.of(scale=scale, translation=(x, 40.0), yaw=yaw, pitch=pitch, roll=roll)
    found = face3d.fit(planted.project(HEAD))
    assert (found.yaw, found.pitch, found.roll) == pytest.approx((yaw, pitch, roll), abs=1e-5)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(found.translation, planted.translation, atol=1e-4)
    assert found.residuals.max() < 1e-4 * scale


@pytest.mark.parametrize("seed", range(5))
def test_plain_least_squares_is_what_scipy_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    planted = Pose3D.of(scale=0.6, translation=(50, 60), yaw=rng.uniform(-0.8, 0.8), pitch=rng.uniform(-0.4, 0.4))
    seen = planted.project(HEAD) + rng.normal(0, 1.0, (5, 2))
    found = face3d.fit(seen, tolerance=math.inf, width=0)

    def away(p: np.ndarray) -> np.ndarray:
        turned = face3d.rotation(p[0], p[1], p[2])
        return np.asarray(math.exp(p[3]) * HEAD @ turned[:2].T + p[4:] - seen).reshape(-1)

    best = least_squares(away, [planted.yaw, planted.pitch, 0.0, math.log(0.6), 50, 60], xtol=1e-14, ftol=1e-14)
    assert (found.residuals**2).sum() == pytest.approx(2 * best.cost, rel=1e-6)
    assert (found.yaw, found.pitch, found.roll) == pytest.approx(tuple(best.x[:3]), abs=1e-4)


@pytest.mark.parametrize("wide", [0.8, 1.25])
def test_a_wide_or_narrow_face_is_not_taken_for_a_turned_one(wide: float) -> None:
    planted = Pose3D.of(scale=0.6, translation=(50, 60), yaw=0.6, pitch=0.1)
    seen = planted.project(HEAD * [wide, 1.0, 1.0])
    loose, firm = face3d.fit(seen), face3d.fit(seen, width=0)
    assert abs(loose.yaw - planted.yaw) < 0.5 * abs(firm.yaw - planted.yaw)
    assert abs(loose.yaw - planted.yaw) < math.radians(4)


def test_a_wide_face_that_looks_ahead_is_placed_as_alignment_places_it() -> None:
    seen = Pose3D.of(scale=0.6, translation=(50, 60)).project(HEAD * [1.25, 1.0, 1.0])
    found = face3d.fit(seen)
    plain = fit_similarity(HEAD[:, :2], seen)
    assert found.yaw == pytest.approx(0, abs=1e-6)
    assert found.scale == pytest.approx(plain[0, 0], rel=0.02)


def test_noise_of_a_pixel_costs_few_degrees() -> None:
    rng, off = np.random.default_rng(0), []
    for _ in range(100):
        planted = Pose3D.of(scale=0.56, translation=(56, 52), yaw=rng.uniform(-0.7, 0.7), pitch=rng.uniform(-0.3, 0.3))
        found = face3d.fit(planted.project(HEAD) + rng.normal(0, 1.0, (5, 2)))
        off.append([found.yaw - planted.yaw, found.pitch - planted.pitch])
    assert np.degrees(np.median(np.abs(off), axis=0)).max() < 5


def test_an_outlier_counts_less() -> None:
    rng = np.random.default_rng(3)
    points = face3d.mean_face().vertices[rng.choice(2000, 20, replace=False)]
    planted = Pose3D.of(scale=1.0, translation=(0, 0), yaw=0.4, pitch=-0.2)
    seen = planted.project(points) + rng.normal(0, 0.5, (20, 2))
    seen[0] += [90.0, -70.0]
    robust = face3d.fit(seen, points=points)
    plain = face3d.fit(seen, points=points, tolerance=math.inf)

    def off(found: Pose3D) -> float:
        return float(np.linalg.norm(found.rotation - planted.rotation))

    assert off(robust) < 0.35 * off(plain)
    assert int(np.argmax(robust.residuals)) == 0


def test_an_aligned_face_looks_at_the_camera() -> None:
    found = face3d.fit(TEMPLATES["arcface-112"])
    assert np.degrees([found.yaw, found.pitch, found.roll]) == pytest.approx(0, abs=0.5)
    assert found.residuals.max() < 0.1
    for size in ((112, 112), (152, 152)):
        expected = TEMPLATES["arcface-112"] * (size[0] / 112) + (size[0] / 112 - 1) / 2
        np.testing.assert_allclose(face3d.canonical(size).project(HEAD), expected, atol=0.5)


def test_angles_are_those_of_the_quality_measure() -> None:
    for yaw, pitch in ((0.5, 0.0), (-0.5, 0.2), (0.0, -0.3), (0.0, 0.3)):
        seen = Pose3D.of(scale=1.0, translation=(80, 80), yaw=yaw, pitch=pitch).project(HEAD)
        quick = quick_pose(seen[None].astype(np.float32))
        assert (quick[0][0], quick[1][0]) == pytest.approx((yaw, pitch), abs=0.2)


@settings(max_examples=30, deadline=None)
@given(ANGLE, st.floats(-0.8, 0.8), st.floats(-3, 3))
def test_rotations_are_rotations(yaw: float, pitch: float, roll: float) -> None:
    turned = face3d.rotation(yaw, pitch, roll)
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)
    made = Pose3D(turned, 1.0, np.zeros(2), np.zeros(0))
    assert (made.yaw, made.pitch, made.roll) == pytest.approx((yaw, pitch, roll), abs=1e-9)


def test_signs() -> None:
    tip = np.array([0.0, 0.0, 10.0])
    assert Pose3D.of(scale=1, translation=(0, 0), yaw=0.3).project(tip)[0] > 0
    assert Pose3D.of(scale=1, translation=(0, 0), pitch=0.3).project(tip)[1] > 0
    assert Pose3D.of(scale=1, translation=(0, 0), roll=0.3).project([10.0, 0.0, 0.0])[1] > 0
    assert Pose3D.of(scale=1, translation=(0, 0)).depth(tip) == 10


def test_a_moved_picture_moves_the_pose() -> None:
    planted = Pose3D.of(scale=0.7, translation=(50, 60), yaw=0.4, pitch=0.1)
    matrix = np.array([[1.2, -0.5, 7.0], [0.5, 1.2, -3.0]])
    moved = planted.moved(matrix)
    np.testing.assert_allclose(moved.project(HEAD), planted.project(HEAD) @ matrix[:, :2].T + matrix[:, 2])
    back = planted.turned(yaw=0.3).turned(yaw=-0.3)
    np.testing.assert_allclose(back.project(HEAD), planted.project(HEAD), atol=1e-9)
    with pytest.raises(BadArgument, match="similarity"):
        planted.moved([[1, 0, 0], [0, 2, 0]])


def test_bad_input_is_refused() -> None:
    good = face3d.canonical().project(HEAD)
    with pytest.raises(BadArgument, match="shape"):
        face3d.fit(good[:4])
    with pytest.raises(BadArgument, match="NaN"):
        face3d.fit(np.full((5, 2), np.nan))
    with pytest.raises(BadArgument, match="coincide"):
        face3d.fit(np.ones((5, 2)))
    with pytest.raises(BadArgument, match="plane"):
        face3d.fit(good, points=HEAD * [1, 1, 0])
    with pytest.raises(BadArgument, match="tolerance"):
        face3d.fit(good, tolerance=0.0)
    with pytest.raises(BadArgument, match="orthonormal"):
        Pose3D(2 * np.eye(3), 1.0, np.zeros(2), np.zeros(0))
    with pytest.raises(BadArgument, match="mirrors"):
        Pose3D(np.diag([-1.0, 1, 1]), 1.0, np.zeros(2), np.zeros(0))
    with pytest.raises(BadArgument, match="scale"):
        Pose3D(np.eye(3), 0.0, np.zeros(2), np.zeros(0))
    with pytest.raises(BadArgument, match="translation"):
        Pose3D(np.eye(3), 1.0, np.zeros(3), np.zeros(0))
