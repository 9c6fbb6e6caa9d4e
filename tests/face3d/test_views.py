"""Views: the z-buffer against brute force, what is hidden against a sphere, photos turned, and the options."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus import Faces, Recognizer, face3d
from vultus.align import align
from vultus.errors import BadArgument
from vultus.face3d import Mesh, Pose3D
from vultus.face3d.raster import rasterise
from vultus.types import UInt8Array

HEAD = face3d.mean_face().landmarks


def nearest_by_hand(points: np.ndarray, depth: np.ndarray, triangles: np.ndarray, at: tuple[int, int]) -> float:
    """Depth of the nearest triangle at (x, y), by solving for its shares one triangle at a time."""
    best = -np.inf
    for t in triangles:
        system = np.vstack([points[t].T, np.ones(3)])
        if abs(np.linalg.det(system)) < 1e-9:
            continue
        share = np.linalg.solve(system, [*at, 1.0])
        if (share >= -1e-9).all():
            best = max(best, float(share @ depth[t]))
    return best


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_buffer_holds_the_nearest_triangle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, depth = rng.uniform(-5, 20, (12, 2)), rng.normal(size=12)
    triangles = np.array([rng.choice(12, 3, replace=False) for _ in range(8)])
    owner, share, buffer = rasterise(points, depth, triangles, (9, 14))
    for y in range(9):
        for x in range(14):
            expected = nearest_by_hand(points, depth, triangles, (x, y))
            assert buffer[y, x] == (pytest.approx(expected, abs=1e-6) if np.isfinite(expected) else expected)
    hit = owner >= 0
    np.testing.assert_array_equal(hit, np.isfinite(buffer))
    corners = points[triangles[owner[hit]]]
    np.testing.assert_allclose((corners * share[hit][..., None]).sum(axis=1), np.argwhere(hit)[:, ::-1], atol=1e-6)


def sphere(radius: float = 60.0) -> Mesh:
    """A ball of triangles, in the axes of the head."""
    rows, columns = 41, 80
    polar = np.linspace(0.01, math.pi - 0.01, rows)[:, None]
    round_ = np.linspace(0, 2 * math.pi, columns, endpoint=False)[None]
    unit = np.stack([np.sin(polar) * np.sin(round_), np.cos(polar) + 0 * round_, np.sin(polar) * np.cos(round_)], -1)
    grid = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(grid, -1, axis=1)
    a, b, c, d = grid[:-1], right[:-1], grid[1:], right[1:]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).reshape(-1, 3)
    normals = unit.reshape(-1, 3)
    return Mesh(radius * normals, triangles, normals, HEAD, np.arange(len(normals)))


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.9, 0.0), (-0.4, 0.6)])
def test_half_a_ball_is_seen(yaw: float, pitch: float) -> None:
    ball, camera = sphere(), Pose3D.of(scale=1, translation=(0, 0), yaw=yaw, pitch=pitch)
    facing = ball.normals @ camera.rotation[2]
    visible = face3d.seen(camera, ball.vertices, ball.normals, mesh=ball)
    np.testing.assert_array_equal(visible, facing > 0)


def test_the_nose_hides_the_cheek_behind_it() -> None:
    mesh = face3d.mean_face()
    cheek = np.flatnonzero((np.abs(mesh.vertices[:, 0] + 16) < 5) & (np.abs(mesh.vertices[:, 1] - 36) < 5))
    for yaw, expected in ((0.0, True), (-0.95, False), (0.95, True)):
        camera = Pose3D.of(scale=1, translation=(0, 0), yaw=yaw)
        # the nose points to the side of this cheek at yaw < 0 and covers it
        assert face3d.seen(camera, mesh.vertices[cheek], mesh.normals[cheek]).all() == expected


def test_the_same_pose_changes_nothing(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    pose = face3d.fit(astronaut_face.landmarks[0])
    same = face3d.view(astronaut, pose, pose)
    np.testing.assert_array_equal(same.pixels, astronaut)
    assert same.shown[same.face].min() == 1
    assert same.shown[~same.face].max() == 0


def test_a_frontal_view_without_a_turn_is_the_aligned_face(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    plain = align(astronaut, astronaut_face)[0].astype(float)
    front = face3d.frontal(astronaut, astronaut_face.landmarks[0])
    assert front.pixels.shape == (112, 112, 3)
    assert front.face[40:100, 30:82].all()
    assert np.corrcoef(plain[40:100, 30:82].ravel(), front.pixels[40:100, 30:82].ravel())[0, 1] > 0.85


def test_there_and_back(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    pose = face3d.fit(astronaut_face.landmarks[0])
    for yaw, pitch in ((0.35, 0.0), (-0.35, 0.0), (0.0, 0.25), (0.2, -0.2)):
        away = face3d.view(astronaut, pose, pose.turned(yaw=yaw, pitch=pitch), border="reflect")
        back = face3d.view(away.pixels, away.pose, pose, border="reflect")
        sure = back.face & (back.shown > 0.95)
        assert sure.sum() > 0.5 * back.face.sum()
        off = back.pixels[sure].astype(float) - astronaut[sure]
        assert 10 * np.log10(255**2 / (off**2).mean()) > 24


@pytest.mark.parametrize(("yaw", "pitch"), [(-0.5, 0.0), (0.3, -0.25)])
def test_drawn_marks_go_where_the_pose_says(yaw: float, pitch: float) -> None:
    before = Pose3D.of(scale=1.0, translation=(110, 90))
    after = before.turned(yaw=yaw, pitch=pitch)
    rows, columns = np.mgrid[:220, :220]
    found = 0
    for point in HEAD:
        x, y = before.project(point)
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
        marked = np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)
        moved = face3d.view(marked, before, after).pixels[..., 0].astype(float)
        moved *= moved > 100
        if moved.any():
            found += 1
        else:
            continue
        centre = (moved * columns).sum() / moved.sum(), (moved * rows).sum() / moved.sum()
        assert np.linalg.norm(after.project(point) - centre) < 1.5
    assert found >= 4


def test_a_mirrored_photo_is_seen_mirrored(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    points = astronaut_face.landmarks[0].astype(np.float64)
    mirrored = points[[1, 0, 2, 4, 3]]
    mirrored[:, 0] = astronaut.shape[1] - 1 - mirrored[:, 0]
    one = face3d.fit(points)
    other = face3d.fit(mirrored)
    assert (other.yaw, other.pitch, other.roll) == pytest.approx((-one.yaw, one.pitch, -one.roll), abs=1e-6)
    right = face3d.view(astronaut, one, one.turned(yaw=0.4), symmetry=0.5)
    left = face3d.view(np.ascontiguousarray(astronaut[:, ::-1]), other, other.turned(yaw=-0.4), symmetry=0.5)
    assert (np.abs(left.pixels[:, ::-1].astype(int) - right.pixels) <= 2).mean() > 0.99


def test_a_hidden_half_is_filled_from_the_other() -> None:
    """A face whose halves differ in colour: only the near one is photographed."""
    profile = face3d.canonical(yaw=math.radians(60))
    photo = np.zeros((112, 112, 3), dtype=np.uint8)
    photo[...] = (200, 40, 40)
    hidden = face3d.view(photo // 2, profile, face3d.canonical())
    assert 0.2 < (hidden.shown[hidden.face] < 0.1).mean() < 0.6
    photo[..., 1] = 2 * np.arange(112)
    none, half, full = (
        face3d.view(photo, profile, face3d.canonical(), symmetry=s).pixels.astype(int) for s in (0.0, 0.5, 1.0)
    )
    lost = np.flatnonzero((hidden.shown[60] < 0.05) & hidden.face[60])
    lost = lost[(lost > 72) & (lost < 90)]
    assert len(lost) > 5
    np.testing.assert_allclose(full[60, lost], full[60, 111 - lost], atol=14)
    assert np.abs(none[60, lost, 1] - full[60, lost, 1]).mean() > 10
    np.testing.assert_allclose(half[60, lost], (none[60, lost] + full[60, lost]) / 2, atol=12)


def test_frontal_views_are_recognised_and_look_at_the_camera(
    recognizer: Recognizer, astronaut: UInt8Array, astronaut_face: Faces
) -> None:
    known = recognizer.embed(align(astronaut, astronaut_face))[0]
    pose = face3d.fit(astronaut_face.landmarks[0])
    scores = []
    for degrees in (-40, 40):
        away = face3d.view(astronaut, pose, pose.turned(yaw=math.radians(degrees)), border="reflect")
        front = face3d.view(away.pixels, away.pose, face3d.canonical((224, 224)), size=(224, 224), symmetry=1.0)
        found = recognizer.detect(front.pixels)
        assert len(found) == 1
        assert abs(math.degrees(face3d.fit(found.landmarks[0]).yaw)) < 15
        scores.append(float(recognizer.embed(align(front.pixels, found))[0] @ known))
    assert min(scores) > 0.6


def test_size_zoom_and_border_act(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    points = astronaut_face.landmarks[0]
    near = face3d.frontal(astronaut, points, size=(100, 80), zoom=1.3)
    far = face3d.frontal(astronaut, points, size=(100, 80), zoom=0.7)
    assert near.pixels.shape == (100, 80, 3)
    assert near.face.sum() > 2 * far.face.sum()
    pose = face3d.fit(points)
    aside = pose.moved([[1, 0, 300], [0, 1, 0]])
    black = face3d.view(astronaut, pose, aside)
    reflected = face3d.view(astronaut, pose, aside, border="reflect")
    assert not black.pixels[300, :200].any()
    assert reflected.pixels[300, :200].any()
    coarse = face3d.view(astronaut, pose, pose.turned(yaw=0.5), mesh=face3d.mean_face(rows=5, columns=5))
    fine = face3d.view(astronaut, pose, pose.turned(yaw=0.5))
    assert (coarse.pixels != fine.pixels).any()


def test_a_large_photo_is_averaged_first() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1120, 1120, 3), dtype=np.uint8)
    small = face3d.view(noise, face3d.canonical((1120, 1120)), face3d.canonical(), size=(112, 112))
    assert small.pixels[40:90, 40:70].std() < 15


def test_faces_beyond_the_picture_are_no_accident(astronaut: UInt8Array) -> None:
    away = Pose3D.of(scale=0.5, translation=(-4000, 40))
    outside = face3d.view(astronaut, away, away)
    np.testing.assert_array_equal(outside.pixels, astronaut)
    assert not outside.face.any()
    assert not face3d.view(astronaut, away, face3d.canonical(), size=(112, 112)).pixels.any()


def test_bad_views_are_refused(astronaut: UInt8Array) -> None:
    pose = face3d.canonical()
    with pytest.raises(BadArgument, match="uint8"):
        face3d.view(astronaut.astype(np.float32), pose, pose)
    for options in ({"size": (0, 5)}, {"symmetry": 1.5}, {"border": "pink"}):
        with pytest.raises(BadArgument, match="symmetry"):
            face3d.view(astronaut, pose, pose, **options)
    with pytest.raises(BadArgument, match="zoom"):
        face3d.canonical(zoom=0)
