"""From which side is a face seen? The pose of the mean face that puts its landmarks where a photo has them.

The camera is scaled orthographic (weak perspective): a point X of the head is seen at scale * (R X)[:2] + translation.
Five landmarks give ten numbers for its six: four are left over to notice an outlier with. They say nothing of the shape of
the head, so a long nose looks like a head that is bent down; expect some degrees of error of that kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.face3d.mesh import mean_face
from vultus.geometry import apply_affine
from vultus.types import Float64Array

_ROUNDS = 50
_WIDTH, _NOISE = 0.15, 0.04  # how faces differ in width; how far landmarks are off, as a share of their spread
_ENOUGH = 1e-10


@export("vultus.face3d.rotation")
def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Float64Array:
    """(3, 3) rotation of the head: first in the picture's plane (roll), then up or down (pitch), then to a side (yaw).

    Args:
        yaw: radians, above 0 the nose moves to the right of the picture.
        pitch: radians, above 0 the nose moves down.
        roll: radians, above 0 clockwise in the picture.
    """
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    sideways = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    down = np.array([[1.0, 0.0, 0.0], [0.0, cp, sp], [0.0, -sp, cp]])
    around = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    turned: Float64Array = sideways @ down @ around
    return turned


@export("vultus.face3d.Pose3D")
@dataclass(frozen=True, slots=True, eq=False)
class Pose3D:
    """A scaled orthographic camera.

    Args:
        rotation: (3, 3) from the head's axes to the picture's: x right, y down, z to the camera.
        scale: pixels per millimetre of the head, above 0.
        translation: (2,) pixels: where the middle between the eyes is seen.
        residuals: (k,) pixels: how far each landmark lies from where the fit puts it; none where nothing was fitted.

    Raises:
        BadArgument: no rotation, or a scale or translation that is out of range.
    """

    rotation: Float64Array
    scale: float
    translation: Float64Array
    residuals: Float64Array

    def __post_init__(self) -> None:
        turned = np.asarray(self.rotation, dtype=np.float64)
        place = np.asarray(self.translation, dtype=np.float64)
        if turned.shape != (3, 3) or not np.allclose(turned @ turned.T, np.eye(3), atol=1e-6):
            raise BadArgument(f"rotation is {turned.tolist()}; expected an orthonormal (3, 3) matrix")
        if np.linalg.det(turned) < 0:
            raise BadArgument("rotation mirrors the head; expected a determinant of 1")
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise BadArgument(f"scale is {self.scale!r}; expected pixels per millimetre above 0")
        if place.shape != (2,) or not np.isfinite(place).all():
            raise BadArgument(f"translation is {place.tolist()}; expected (x, y) in pixels")
        object.__setattr__(self, "rotation", turned)
        object.__setattr__(self, "translation", place)

    @classmethod
    def of(
        cls, *, scale: float, translation: npt.ArrayLike, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
    ) -> Pose3D:
        """The pose with these angles, as `rotation` takes them."""
        return cls(rotation(yaw, pitch, roll), scale, np.asarray(translation, dtype=np.float64), np.zeros(0))

    @property
    def yaw(self) -> float:
        """Radians, above 0 where the nose points to the right of the picture."""
        return math.atan2(self.rotation[0, 2], self.rotation[2, 2])

    @property
    def pitch(self) -> float:
        """Radians, above 0 where the nose points down."""
        return math.asin(max(-1.0, min(1.0, self.rotation[1, 2])))

    @property
    def roll(self) -> float:
        """Radians, above 0 where the head is turned clockwise in the picture, before yaw and pitch."""
        return math.atan2(self.rotation[1, 0], self.rotation[1, 1])

    def project(self, points: npt.ArrayLike) -> Float64Array:
        """(..., 2) pixels at which (..., 3) points of the head are seen."""
        seen: Float64Array = (
            self.scale * (np.asarray(points, dtype=np.float64) @ self.rotation[:2].T) + self.translation
        )
        return seen

    def depth(self, points: npt.ArrayLike) -> Float64Array:
        """(...) how near to the camera (..., 3) points of the head are, in millimetres; greater is nearer."""
        near: Float64Array = np.asarray(points, dtype=np.float64) @ self.rotation[2]
        return near

    def turned(self, *, yaw: float = 0.0, pitch: float = 0.0) -> Pose3D:
        """The head turned by further angles about its middle, which stays where it is in the picture."""
        centre = np.array([0.0, 30.0, -60.0])
        change = rotation(yaw, pitch) @ self.rotation
        place = self.project(centre) - self.scale * (change[:2] @ centre)
        return Pose3D(change, self.scale, place, np.zeros(0))

    def moved(self, matrix: npt.ArrayLike) -> Pose3D:
        """The pose in another picture, to which a (2, 3) similarity moves the pixels of this one.

        Raises:
            BadArgument: the matrix is no similarity.
        """
        m = np.asarray(matrix, dtype=np.float64)
        if m.shape != (2, 3) or not np.allclose([m[0, 0], m[0, 1]], [m[1, 1], -m[1, 0]], atol=1e-6):
            raise BadArgument(f"matrix is {m.tolist()}; expected a (2, 3) similarity")
        zoom = math.hypot(m[0, 0], m[1, 0])
        turn = np.eye(3)
        turn[:2, :2] = m[:, :2] / zoom
        return Pose3D(
            turn @ self.rotation, self.scale * zoom, apply_affine(m, self.translation[None])[0], self.residuals * zoom
        )


@export("vultus.face3d.fit")
def fit(
    landmarks: npt.ArrayLike,
    *,
    points: npt.ArrayLike | None = None,
    tolerance: float = 0.06,
    width: float | None = None,
) -> Pose3D:
    """The pose of the head whose points are seen at landmarks.

    Starts from the least-squares affine camera (Tomasi and Kanade 1992, section 3.1) and the rotation nearest to it, then
    minimises the distances in the picture by Gauss-Newton steps over rotation, scale and translation. A landmark further
    off than the tolerance counts by its distance and not by its square (Huber 1964). Faces differ in how wide they are for
    their height, and a wide one looks less turned than it is: the width is fitted too, held near the mean face's.

    Args:
        landmarks: (k, 2) pixels, k >= 5 where they are the five of `vultus.Faces`, k >= 4 with `points`.
        points: (k, 3) points of the head in millimetres; the mean face's landmarks unless told otherwise.
        tolerance: as a share of the spread of the points in the picture; infinity gives plain least squares.
        width: standard deviation of the logarithm of a face's width over its height; 0 keeps the points' own. 0.15
            for the mean face unless told otherwise, and 0 with `points`.

    Raises:
        BadArgument: shapes that do not belong together, numbers that are not finite, points in one plane's line, or
            landmarks that coincide.
    """
    seen = np.asarray(landmarks, dtype=np.float64)
    head = mean_face().landmarks if points is None else np.asarray(points, dtype=np.float64)
    if head.ndim != 2 or head.shape[1] != 3 or len(head) < 4 or seen.shape != (len(head), 2):
        raise BadArgument(
            f"landmarks have shape {seen.shape} and points {head.shape}; expected (k, 2) and (k, 3), at least four of each"
        )
    if not (np.isfinite(seen).all() and np.isfinite(head).all()):
        raise BadArgument("landmarks or points hold NaN or infinity")
    if not tolerance > 0:
        raise BadArgument(f"tolerance is {tolerance!r}; expected more than 0")
    looseness = (_WIDTH if points is None else 0.0) if width is None else width
    if not 0 <= looseness <= 1:
        raise BadArgument(f"width is {width!r}; expected a standard deviation from 0 to 1")
    spread = float(np.sqrt(((seen - seen.mean(axis=0)) ** 2).sum(axis=1).mean()))
    if spread < 1e-6:
        raise BadArgument("the landmarks coincide; a pose needs points that differ")
    if np.linalg.matrix_rank(head - head.mean(axis=0), tol=1e-6 * float(np.abs(head).max())) < 3:
        raise BadArgument("the points lie in one plane; a pose from one picture needs depth")
    turned, scale = _start(seen, head)
    weights = np.ones(len(head))
    place = (seen - scale * head @ turned[:2].T).mean(axis=0)
    firm = (_NOISE * spread / looseness) ** 2 if looseness else math.inf
    wide = 0.0
    for _ in range(_ROUNDS):
        turned, scale, place, wide, moved = _step(turned, scale, place, wide, seen, head, weights, firm)
        away = np.linalg.norm(seen - scale * _widened(head, wide) @ turned[:2].T - place, axis=1)
        heavier = np.minimum(1.0, tolerance * spread / np.maximum(away, 1e-12))
        settled = moved < _ENOUGH and float(np.abs(heavier - weights).max()) < 1e-6
        weights = heavier
        if settled:
            break
    if looseness:  # scale and place of the head as it is, so that a face that looks ahead is seen as alignment sees it
        scale, place = _placed(seen, head @ turned[:2].T, weights)
    return Pose3D(turned, scale, place, np.linalg.norm(seen - scale * head @ turned[:2].T - place, axis=1))


def _placed(seen: Float64Array, flat: Float64Array, weights: Float64Array) -> tuple[float, Float64Array]:
    """Scale and translation that bring points nearest to where they are seen."""
    share = weights / weights.sum()
    middle, centre = share @ flat, share @ seen
    away = flat - middle
    scale = max(float((share[:, None] * away * (seen - centre)).sum() / (share[:, None] * away**2).sum()), 1e-9)
    return scale, centre - scale * middle


def _start(seen: Float64Array, head: Float64Array) -> tuple[Float64Array, float]:
    rows = (np.linalg.pinv(head - head.mean(axis=0)) @ (seen - seen.mean(axis=0))).T
    u, size, vt = np.linalg.svd(rows, full_matrices=False)
    two = u @ vt
    return np.stack([two[0], two[1], np.cross(two[0], two[1])]), max(float(size.mean()), 1e-9)


def _step(
    turned: Float64Array,
    scale: float,
    place: Float64Array,
    wide: float,
    seen: Float64Array,
    head: Float64Array,
    weights: Float64Array,
    firm: float,
) -> tuple[Float64Array, float, Float64Array, float, float]:
    """One damped Gauss-Newton step, and how long it was; `firm` is the weight that holds the width at 0."""
    own = _widened(head, wide)
    now = own @ turned.T
    off = (seen - scale * now[:, :2] - place).reshape(-1)
    zero = np.zeros(len(head))
    # d(exp(w) X)/dw = -[X]x, the first two rows
    by_x = np.stack([zero, now[:, 2], -now[:, 1]], axis=1) * scale
    by_y = np.stack([-now[:, 2], zero, now[:, 0]], axis=1) * scale
    slope = np.zeros((len(head), 2, 7))
    slope[:, 0, :3], slope[:, 1, :3] = by_x, by_y
    slope[:, :, 3] = scale * now[:, :2]  # by the logarithm of the scale, which keeps it above 0
    slope[:, 0, 4] = slope[:, 1, 5] = 1.0
    free = math.isfinite(firm)
    if free:
        slope[:, :, 6] = scale * own[:, :1] * turned[:2, 0]
    flat, heavy = slope.reshape(-1, 7), np.repeat(weights, 2)
    normal, pull = flat.T @ (flat * heavy[:, None]), flat.T @ (off * heavy)
    normal[6, 6] += firm if free else 1.0
    pull[6] -= firm * wide if free else 0.0
    normal[np.diag_indices(7)] *= 1.0 + 1e-9
    step: Float64Array = np.asarray(np.linalg.solve(normal, pull), dtype=np.float64)
    step[:4] *= min(1.0, 0.5 / max(float(np.abs(step[:4]).max()), 1e-12))
    change = _turn_by(step[:3])
    u, _, vt = np.linalg.svd(change @ turned)
    moved = float(np.abs(step[[0, 1, 2, 3, 6]]).max())
    return u @ vt, scale * math.exp(step[3]), place + step[4:6], wide + float(step[6]), moved


def _widened(head: Float64Array, wide: float) -> Float64Array:
    return head * np.array([math.exp(wide), 1.0, 1.0]) if wide else head


def _turn_by(vector: Float64Array) -> Float64Array:
    """Rotation about a vector by its length (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-15:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turn: Float64Array = np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross
    return turn
