"""Pictures and the points and boxes in them, which move together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import Float64Array, FloatArray, UInt8Array

# Left and right change places in a mirrored photo: the order of the landmarks of `Faces`.
MIRRORED = (1, 0, 2, 4, 3)
_EYES_OF_HEIGHT = 0.3146  # how far apart the eyes are in an aligned crop, as a share of its height


@export("vultus.augment.Views")
@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """One picture or a batch, with one face in each.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        landmarks: (5, 2) or (n, 5, 2) in the order of `Faces`, in pixels; or None.
        boxes: (4,) or (n, 4) of (x0, y0, x1, y1), in pixels; or None.

    Raises:
        BadArgument: another type of pixels, shapes that do not belong together, or numbers that are not finite.
    """

    images: UInt8Array
    landmarks: FloatArray | None = None
    boxes: FloatArray | None = None

    def __post_init__(self) -> None:
        for name, value in zip(
            ("images", "landmarks", "boxes"), parts(self.images, self.landmarks, self.boxes), strict=True
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """How many pictures a batch holds; 1 for a single one."""
        return len(self.images) if self.images.ndim == 4 else 1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a picture."""
        return self.images.shape[-3], self.images.shape[-2]


def unchecked(images: UInt8Array, landmarks: FloatArray | None, boxes: FloatArray | None) -> Views:
    """Views of what was made here: to look at every number once more would cost a third of a small change."""
    views = _new(Views)
    _set(views, "images", images)
    _set(views, "landmarks", landmarks)
    _set(views, "boxes", boxes)
    return views


_new, _set = object.__new__, object.__setattr__


def parts(
    images: npt.ArrayLike, landmarks: npt.ArrayLike | None, boxes: npt.ArrayLike | None
) -> tuple[UInt8Array, FloatArray | None, FloatArray | None]:
    """What `Views` holds, checked.

    Raises:
        BadArgument: see `Views`.
    """
    pictures = checked(images)
    if landmarks is None and boxes is None:
        return pictures, None, None
    lead = pictures.shape[:-3]
    return pictures, _beside("landmarks", landmarks, lead, (5, 2)), _beside("boxes", boxes, lead, (4,))


def _beside(name: str, value: npt.ArrayLike | None, lead: tuple[int, ...], tail: tuple[int, ...]) -> FloatArray | None:
    if value is None:
        return None
    try:
        array = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as problem:
        raise BadArgument(f"{name} are no array of numbers: {problem}") from problem
    if array.shape == tail and lead:
        array = np.broadcast_to(array, lead + tail)
    if array.shape != lead + tail:
        raise BadArgument(f"{name} have shape {array.shape}; expected {lead + tail} or {tail}")
    if not np.isfinite(array).all():
        raise BadArgument(f"{name} hold NaN or infinity")
    return array


def checked(images: npt.ArrayLike) -> UInt8Array:
    """The pictures themselves, where they are (H, W, 3) or (n, H, W, 3) uint8 with at least one pixel.

    Raises:
        BadArgument: they are not.
    """
    array = np.asarray(images)
    shape = array.shape
    if array.dtype != np.uint8:
        raise BadArgument(f"the pictures have dtype {array.dtype}; expected uint8 RGB")
    if len(shape) not in (3, 4) or shape[-1] != 3:
        raise BadArgument(f"the pictures have shape {shape}; expected (H, W, 3) or (n, H, W, 3)")
    if not (shape[-2] and shape[-3]):
        raise BadArgument(f"the pictures have shape {shape}: no pixels")
    return array


def checked_points(landmarks: npt.ArrayLike | None, lead: tuple[int, ...]) -> FloatArray:
    """(..., 5, 2) landmarks for pictures of that leading shape.

    Raises:
        BadArgument: there are none, or others.
    """
    if landmarks is None:
        raise BadArgument(
            "this change follows the face and needs its landmarks; pass landmarks=, (5, 2) for each picture"
        )
    points = np.asarray(landmarks, dtype=np.float32)
    if points.shape == (5, 2):
        points = np.broadcast_to(points, (*lead, 5, 2))
    if points.shape != (*lead, 5, 2):
        raise BadArgument(f"landmarks have shape {points.shape}; expected {(*lead, 5, 2)}")
    if not np.isfinite(points).all():
        raise BadArgument("landmarks hold NaN or infinity")
    return points


def within(name: str, value: float, low: float, high: float) -> float:
    """The value, where it lies in [low, high].

    Raises:
        BadArgument: it does not, or is no number.
    """
    try:
        inside = low <= value <= high
    except TypeError as problem:
        raise BadArgument(f"{name} is {value!r}; expected a number from {low:g} to {high:g}") from problem
    if not inside:
        raise BadArgument(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)


def eye_distance(landmarks: FloatArray | None, height: int) -> float:
    """How far apart the eyes are, in pixels; without landmarks, as in an aligned crop of that height."""
    if landmarks is None:
        return _EYES_OF_HEIGHT * height
    x, y = (landmarks[1] - landmarks[0]).tolist()
    return max(1.0, float((x * x + y * y) ** 0.5))


def middle(landmarks: FloatArray | None, size: tuple[int, int]) -> Float64Array:
    """(2,) the middle of the face; without landmarks, of the picture."""
    if landmarks is None:
        return np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    return np.asarray(landmarks.mean(axis=0), dtype=np.float64)
