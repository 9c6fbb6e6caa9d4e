"""The mean face: symmetric, closed under its own formula, shaped like a head."""

from __future__ import annotations

import numpy as np
import pytest

from vultus import face3d
from vultus.errors import BadArgument


def test_it_is_symmetric() -> None:
    mesh = face3d.mean_face()
    np.testing.assert_allclose(mesh.vertices[mesh.mirror], mesh.vertices * [-1, 1, 1], atol=1e-12)
    np.testing.assert_allclose(mesh.normals[mesh.mirror], mesh.normals * [-1, 1, 1], atol=1e-12)
    both = {frozenset(t) for t in mesh.triangles.tolist()}
    assert {frozenset(t) for t in mesh.mirror[mesh.triangles].tolist()} == both
    assert len(both) == len(mesh.triangles) == 2 * 50 * 48


def test_vertices_lie_on_the_surface() -> None:
    mesh = face3d.mean_face()
    front = mesh.vertices[np.abs(mesh.vertices[:, 0]) < 70]
    np.testing.assert_allclose(face3d.height(front[:, 0], front[:, 1]), front[:, 2], atol=1e-9)
    np.testing.assert_allclose(face3d.height(mesh.landmarks[:, 0], mesh.landmarks[:, 1]), mesh.landmarks[:, 2])


def test_normals_are_those_of_the_height() -> None:
    mesh, h = face3d.mean_face(rows=201, columns=201), 1e-4
    pick = (np.abs(mesh.vertices[:, 0]) < 50) & (np.abs(mesh.vertices[:, 1] - 20) < 80)
    x, y = mesh.vertices[pick, 0], mesh.vertices[pick, 1]
    slope_x = (face3d.height(x + h, y) - face3d.height(x - h, y)) / (2 * h)
    slope_y = (face3d.height(x, y + h) - face3d.height(x, y - h)) / (2 * h)
    expected = np.stack([-slope_x, -slope_y, np.ones_like(x)], axis=1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert ((mesh.normals[pick] * expected).sum(axis=1) > 0.98).mean() > 0.99


def test_it_is_a_head() -> None:
    eyes, tip, mouth = (face3d.mean_face().landmarks[i, 2] for i in (0, 2, 3))
    assert 25 < tip - eyes < 38
    assert abs(mouth - eyes) < 8
    size = np.ptp(face3d.mean_face().vertices, axis=0)
    assert 140 < size[0] < 175
    assert size[1] == pytest.approx(200)
    cheek, chin = face3d.height(np.array([60.0, 0.0]), np.array([30.0, 112.0]))
    assert cheek < eyes
    assert chin < tip


def test_density_is_chosen() -> None:
    assert face3d.mean_face(rows=5, columns=7).vertices.shape == (35, 3)
    assert face3d.mean_face() is face3d.mean_face()
    for rows, columns in ((2, 49), (51, 48), (51, 1)):
        with pytest.raises(BadArgument, match="columns"):
            face3d.mean_face(rows=rows, columns=columns)
    with pytest.raises(ValueError, match="read-only"):
        face3d.mean_face().vertices[0] = 0
