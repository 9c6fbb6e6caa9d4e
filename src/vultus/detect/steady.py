"""Landmarks averaged with those found on the mirrored photo."""

from __future__ import annotations

import numpy as np

from vultus.detect.detector import Detector
from vultus.geometry import box_iou
from vultus.image import Photo
from vultus.types import Faces

_SIDES = [1, 0, 2, 4, 3]  # the landmarks of a mirrored face, in the order of `Faces`


def mirrored(faces: Faces, width: int) -> Faces:
    """The same faces in the mirrored photo; pixel i becomes pixel width - 1 - i."""
    boxes, points = faces.boxes.copy(), faces.landmarks[:, _SIDES].copy()
    boxes[:, [0, 2]] = width - 1 - faces.boxes[:, [2, 0]]
    points[..., 0] = width - 1 - points[..., 0]
    return Faces(boxes, points, faces.scores)


def steadied(detector: Detector, photo: Photo, faces: Faces, *, min_face: float) -> Faces:
    """The faces with landmarks that are the mean of those found on the photo and on its mirror image.

    A face that is not found on the mirrored photo keeps its landmarks.
    """
    if not len(faces):
        return faces
    others = mirrored(detector(photo.mirrored(), min_face=min_face, score=0.3), photo.width)
    if not len(others):
        return faces
    overlap = box_iou(faces.boxes, others.boxes)
    partner = overlap.argmax(axis=1)
    found = overlap[np.arange(len(faces)), partner] > 0.5
    points = faces.landmarks.copy()
    points[found] = (points[found] + others.landmarks[partner[found]]) / 2
    return Faces(faces.boxes, points, faces.scores)
