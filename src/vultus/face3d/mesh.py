"""A mean face in three dimensions, made by formula: no scan, no licensed model.

The surface is an ellipsoid whose front is flattened from brow to chin, on which a nose, hollows for the eyes, brows, lips
and a chin are raised. Millimetres from the middle between the eyes: x to the right of the picture, y down, z to the
camera. Proportions are those of an adult head, rounded; its eyes, tip of the nose and corners of the mouth lie where the
five-point template of aligned faces has them, so that an aligned frontal face has the pose zero. Only ratios matter,
because every face is scaled to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import Float64Array, IntArray

_HALF_WIDTH, _HALF_HEIGHT, _HALF_DEPTH = 86.0, 135.0, 98.0
_CENTRE_Y, _AXIS_Z = 5.0, -90.0
_TOP, _BOTTOM = -78.0, 122.0  # hairline and below the chin: 200 mm
_JAW = (30.0, 130.0, 0.3)  # y from and to which the width falls by a share
_TIP_Y, _BRIDGE_Y, _NOSE_BASE_Y, _NOSE_HEIGHT = 36.0, -6.0, 51.0, 21.0
_LANDMARKS = ((-31.5, 0.0), (31.5, 0.0), (0.0, _TIP_Y), (-26.0, 72.6), (26.0, 72.6))
# x, y, height, width in x, width in y, of each bump; those off the middle stand on both sides
_BUMPS = (
    (31.5, 0.0, -4.0, 15.0, 9.0),
    (28.0, -19.0, 3.0, 18.0, 8.0),
    (0.0, 69.0, 5.0, 22.0, 9.0),
    (0.0, 108.0, 7.0, 22.0, 14.0),
)


@export("vultus.face3d.Mesh")
@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A surface of triangles with the five landmarks on it.

    Args:
        vertices: (v, 3) millimetres: x to the right of the picture, y down, z to the camera.
        triangles: (t, 3) indices of vertices.
        normals: (v, 3) unit vectors that point out of the head.
        landmarks: (5, 3) in the order of `vultus.Faces`: right eye (left in the picture), left eye, tip of the nose,
            right and left corner of the mouth.
        mirror: (v,) index of the vertex on the other side.
    """

    vertices: Float64Array
    triangles: IntArray
    normals: Float64Array
    landmarks: Float64Array
    mirror: IntArray


@export("vultus.face3d.height")
def height(x: Float64Array, y: Float64Array) -> Float64Array:
    """z of the mean head's front at (x, y), in millimetres; that of its outline where the head ends."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    left = 1.0 - (np.abs(y - _CENTRE_Y) / _HALF_HEIGHT) ** 4 - (x / _half_width(y)) ** 2
    z: Float64Array = _AXIS_Z + _HALF_DEPTH * np.sqrt(np.maximum(left, 0.0)) + _relief(x, y)
    return z


@export("vultus.face3d.mean_face")
def mean_face(*, rows: int = 51, columns: int = 49) -> Mesh:
    """The mean face from hairline to chin and from ear to ear.

    Args:
        rows: of vertices, from top to bottom.
        columns: of vertices around the head; odd, so that one runs down the middle.

    Raises:
        BadArgument: fewer than three rows or columns, or an even number of columns.
    """
    if rows < 3 or columns < 3 or columns % 2 == 0:
        raise BadArgument(f"rows is {rows} and columns {columns}; expected three or more, and an odd number of columns")
    return _made(rows, columns)


@cache
def _made(rows: int, columns: int) -> Mesh:
    around = np.linspace(-math.pi / 2, math.pi / 2, columns)[None]
    around = (around - around[:, ::-1]) / 2  # the same bits on both sides
    y = np.repeat(np.linspace(_TOP, _BOTTOM, rows)[:, None], columns, axis=1)
    ring = np.sqrt(1.0 - (np.abs(y - _CENTRE_Y) / _HALF_HEIGHT) ** 4)
    x = _half_width(y) * ring * np.sin(around)
    z = _AXIS_Z + _HALF_DEPTH * ring * np.cos(around) + _relief(x, y)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    grid = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    half = (np.arange(columns - 1) < columns // 2)[None, :, None]
    falling = np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], axis=2)
    rising = np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], axis=2)
    triangles = np.where(half[..., None], falling, rising).reshape(-1, 3)  # diagonals mirrored too
    place = np.array(_LANDMARKS)
    landmarks = np.concatenate([place, height(place[:, 0], place[:, 1])[:, None]], axis=1)
    mesh = Mesh(vertices, triangles, _normals(vertices, triangles), landmarks, grid[:, ::-1].reshape(-1))
    for array in (mesh.vertices, mesh.triangles, mesh.normals, mesh.landmarks, mesh.mirror):
        array.setflags(write=False)
    return mesh


def _half_width(y: Float64Array) -> Float64Array:
    """Of the head: the jaw narrows below the mouth."""
    down = np.clip((y - _JAW[0]) / (_JAW[1] - _JAW[0]), 0.0, 1.0)
    wide: Float64Array = _HALF_WIDTH * (1.0 - _JAW[2] * down**2 * (3.0 - 2.0 * down))
    return wide


def _relief(x: Float64Array, y: Float64Array) -> Float64Array:
    """What stands out from the ellipsoid: nose, eyes, brows, lips, chin."""
    down = np.clip((y - _BRIDGE_Y) / (_TIP_Y - _BRIDGE_Y), 0.0, 1.0)
    under = np.clip((_NOSE_BASE_Y - y) / (_NOSE_BASE_Y - _TIP_Y), 0.0, 1.0)
    rise = np.where(y < _TIP_Y, down**1.3, under * (2.0 - under))
    relief: Float64Array = _NOSE_HEIGHT * rise * np.exp(-((x / (8.0 + 6.0 * down)) ** 2))
    for px, py, tall, wide, long in _BUMPS:
        for side in (-1.0, 1.0) if px else (1.0,):
            relief = relief + tall * np.exp(-(((x - side * px) / wide) ** 2) - ((y - py) / long) ** 2)
    return relief


def _normals(vertices: Float64Array, triangles: IntArray) -> Float64Array:
    """Directions of the triangles around each vertex, by area, pointing to where most of the head faces."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    flat = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, triangles[:, i], flat)
    if total[:, 2].sum() < 0:
        total = -total
    unit: Float64Array = total / np.linalg.norm(total, axis=1, keepdims=True)
    return unit
