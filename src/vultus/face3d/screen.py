"""What of a face does a camera see? A buffer of the nearest surface, and points held against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.face3d.fit import Pose3D
from vultus.face3d.mesh import Mesh, mean_face
from vultus.face3d.raster import rasterise
from vultus.types import BoolArray, Float64Array

GRAZING = 0.05  # cosine to the line of sight below which a surface's direction is not told from edge-on
_CELL = 1.5  # millimetres of a cell of the buffer
_BEHIND = 4.0  # millimetres behind the nearest surface at which a point is hidden


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """The surface that a camera sees, by cells.

    Args:
        pose: of the head.
        corner: (2,) rotated millimetres of the middle of the first cell.
        nearest: (rows, columns) depth of the nearest surface, minus infinity where there is none.
    """

    pose: Pose3D
    corner: Float64Array
    nearest: Float64Array

    @classmethod
    def of(cls, pose: Pose3D, mesh: Mesh) -> Screen:
        """The screen of a camera before a mesh."""
        rotated = mesh.vertices @ pose.rotation.T
        flat = rotated[:, :2]
        corner = flat.min(axis=0) - 2 * _CELL
        columns, rows = np.ceil((flat.max(axis=0) - corner) / _CELL).astype(int) + 3
        _, _, nearest = rasterise((flat - corner) / _CELL, rotated[:, 2], mesh.triangles, (int(rows), int(columns)))
        return cls(pose, corner, nearest)

    def uncovered(self, points: Float64Array, facing: Float64Array) -> BoolArray:
        """(k,) True where nothing lies clearly before a point; the more clearly, the steeper the surface is there.

        Args:
            points: (k, 3) of the head.
            facing: (k,) cosine of the surface's direction there to the line of sight.
        """
        at = points @ self.pose.rotation.T
        cell = np.rint((at[:, :2] - self.corner) / _CELL).astype(int)
        inside = (cell >= 0).all(axis=1) & (cell[:, 0] < self.nearest.shape[1]) & (cell[:, 1] < self.nearest.shape[0])
        front = np.full(len(points), -np.inf)
        front[inside] = self.nearest[cell[inside, 1], cell[inside, 0]]
        slope = np.sqrt(np.maximum(1.0 - facing**2, 0.0)) / np.maximum(facing, GRAZING)
        found: BoolArray = at[:, 2] >= front - _BEHIND - _CELL * slope
        return found


@export("vultus.face3d.seen")
def seen(pose: Pose3D, points: npt.ArrayLike, normals: npt.ArrayLike, *, mesh: Mesh | None = None) -> BoolArray:
    """Which points of the surface a camera sees.

    Args:
        pose: of the head.
        points: (k, 3) points on the surface, millimetres.
        normals: (k, 3) directions in which the surface faces there.
        mesh: what can hide them; the mean face unless told otherwise.

    Returns:
        (k,) True where the surface faces the camera and no other part of it is in front.
    """
    where, facing = np.asarray(points, dtype=np.float64), np.asarray(normals, dtype=np.float64) @ pose.rotation[2]
    visible: BoolArray = (facing > 0) & Screen.of(pose, mesh or mean_face()).uncovered(where, facing)
    return visible
