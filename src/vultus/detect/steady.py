"""A second look at faces that were found, for exact landmarks.

A detector places landmarks best within a range of sizes, and a first look at a whole photo shows most faces smaller than
that. Each face is looked at again in a window of its own, and optionally in the mirrored window too. The mean of all looks, the
first included, is more exact and steadier than any of them.
"""

from __future__ import annotations

import numpy as np

from vultus.detect.detector import Detector
from vultus.geometry import apply_affine, box_iou
from vultus.image import Photo, warp
from vultus.types import Faces, Float64Array, FloatArray

WINDOW = 448  # side of the window, in pixels
FACE = 224  # longer side of the face in it
_MIRRORED = [1, 0, 2, 4, 3]  # the landmarks of a mirrored face, in the order of `Faces`
_SAME = 0.5


def second_look(detector: Detector, photo: Photo, faces: Faces, *, mirror: bool = False) -> Faces:
    """The same faces with the mean landmarks of the first and a second look; a face not found again keeps its own.

    Args:
        detector: that found them.
        photo: in which they were found.
        faces: n faces.
        mirror: look at the mirrored windows too.
    """
    if not len(faces):
        return faces
    to_window = _windows(faces)
    longest = max(photo.width, photo.height)
    pixels, scale = photo.reduced(round(longest * min(1.0, float(to_window[:, 0, 0].max()))))
    maps = to_window.copy()
    maps[:, :, :2] /= scale
    maps[:, :, 2] += to_window[:, :, :2].sum(axis=2) * (0.5 / scale - 0.5)
    windows = warp(pixels, maps, (WINDOW, WINDOW))
    expected = apply_affine(to_window, faces.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
    total, count = apply_affine(to_window, faces.landmarks), np.ones(len(faces))
    for flipped in (False, True) if mirror else (False,):
        seen = detector.single_look(np.ascontiguousarray(windows[:, :, ::-1]) if flipped else windows)
        for i, found in enumerate(seen):
            landmarks = _same_face(_unmirrored(found) if flipped else found, expected[i])
            if landmarks is not None:
                total[i] += landmarks
                count[i] += 1
    mean = total / count[:, None, None]
    points = (mean - to_window[:, None, :, 2]) / to_window[:, None, :1, 0]
    return Faces(faces.boxes, points.astype(np.float32), faces.scores)


def _windows(faces: Faces) -> Float64Array:
    """(n, 2, 3) maps from the photo to the window of each face: a scale and a shift."""
    maps = np.zeros((len(faces), 2, 3))
    scale = FACE / np.maximum(faces.sizes, 1.0)
    centre = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    maps[:, 0, 0] = maps[:, 1, 1] = scale
    maps[:, :, 2] = (WINDOW - 1) / 2 - centre * scale[:, None]
    return maps


def _unmirrored(faces: Faces) -> Faces:
    boxes, points = faces.boxes.copy(), faces.landmarks[:, _MIRRORED].copy()
    boxes[:, [0, 2]] = WINDOW - 1 - faces.boxes[:, [2, 0]]
    points[..., 0] = WINDOW - 1 - points[..., 0]
    return Faces(boxes, points, faces.scores)


def _same_face(faces: Faces, box: Float64Array) -> FloatArray | None:
    """(5, 2) landmarks of the face that covers the box best, or None."""
    if not len(faces):
        return None
    overlap = box_iou(faces.boxes, box[None].astype(np.float32))[:, 0]
    best = int(overlap.argmax())
    return faces.landmarks[best] if overlap[best] >= _SAME else None
