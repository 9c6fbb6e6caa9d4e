"""DeepFace's alignment: faces turned to the front in three dimensions, in place of a similarity of the plane.

The paper (section 2) finds 67 points and warps each triangle between them. vultus has the five landmarks of its detector:
they give the pose of the mean face, and the surface of that face gives the triangles (`vultus.face3d`).
"""

from __future__ import annotations

import numpy as np

from vultus import face3d
from vultus._export import export
from vultus.align import TEMPLATES
from vultus.detect import Detector
from vultus.errors import BadArgument
from vultus.image import ImageSource, open_photo
from vultus.train.data import Dataset
from vultus.types import Faces, UInt8Array

_SIDE = 112


@export("vultus.train.deepface.align3d")
def align3d(
    source: ImageSource, faces: Faces, *, size: tuple[int, int] = (152, 152), symmetry: float = 1.0
) -> UInt8Array:
    """The faces of a photo, turned to the front.

    Args:
        source: the photo.
        faces: n faces in pixels of that photo.
        size: (height, width) of the crops; the paper's network takes 152 x 152.
        symmetry: 0 to 1: how far a hidden part is filled from the other half of the face.

    Returns:
        (n, height, width, 3) uint8 RGB in the order of the faces.

    Raises:
        ImageError: the photo cannot be read.
        BadArgument: landmarks that coincide, or an option out of range.
    """
    crops = np.zeros((len(faces), *size, 3), dtype=np.uint8)
    if len(faces):
        pixels = open_photo(source).pixels()
        for i, landmarks in enumerate(faces.landmarks):
            crops[i] = face3d.frontal(pixels, landmarks, size=size, symmetry=symmetry).pixels
    return crops


@export("vultus.train.deepface.recut")
def recut(crop: UInt8Array, detector: Detector, *, symmetry: float = 1.0) -> UInt8Array:
    """An aligned face turned to the front, for data sets whose photos are aligned already.

    The detector finds the landmarks in the crop anew; where it finds none the crop is given back as it is.

    Args:
        crop: (112, 112, 3) uint8 RGB.
        detector: of faces with landmarks.
        symmetry: as `align3d` takes it.

    Raises:
        BadArgument: a crop of another shape.
    """
    if crop.shape != (_SIDE, _SIDE, 3) or crop.dtype != np.uint8:
        raise BadArgument(f"the crop is {crop.dtype} of shape {crop.shape}; expected uint8 (112, 112, 3)")
    around = _SIDE // 2
    padded = np.pad(crop, ((around, around), (around, around), (0, 0)))
    faces = detector(padded, min_face=_SIDE / 2)
    if not len(faces):
        return crop
    expected = TEMPLATES["arcface-112"] + around
    away = np.linalg.norm(faces.landmarks - expected, axis=2).mean(axis=1)
    best = int(np.argmin(away))
    if away[best] > _SIDE / 4:
        return crop
    return face3d.frontal(padded, faces.landmarks[best], symmetry=symmetry).pixels


@export("vultus.train.deepface.Aligned3D")
class Aligned3D(Dataset):
    """A data set whose aligned faces are turned to the front, as `recut` does.

    Args:
        dataset: what is turned.
        detector: of faces with landmarks; the default one unless told otherwise.
        symmetry: as `align3d` takes it.
    """

    def __init__(self, dataset: Dataset, detector: Detector | None = None, *, symmetry: float = 1.0) -> None:
        super().__init__(dataset.labels, dataset.classes, name=dataset.name)
        self.dataset = dataset
        self.detector = detector or Detector(threads=1)
        self.symmetry = symmetry

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        return recut(self.dataset.pixels(index), self.detector, symmetry=self.symmetry)
