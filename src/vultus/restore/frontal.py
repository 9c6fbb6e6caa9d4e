"""A turned face seen from the front: the crop of a face whose head is turned, as if it looked at the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vultus import face3d
from vultus._export import export
from vultus.align import TEMPLATES, align
from vultus.augment.views import within
from vultus.geometry import apply_affine, fit_similarity
from vultus.image import Photo
from vultus.types import Faces, UInt8Array

# The view is made from a crop that shows this much more on each side than the embedder's: what is beside a turned face.
_MARGIN = 0.5


@export("vultus.restore.Frontal")
@dataclass(frozen=True, slots=True, kw_only=True)
class Frontal:
    """Frontalisation by the mean face of `vultus.face3d`: fit, turn, fill what is hidden from the other half where it is seen.

    Faces that are turned less than `from_yaw`, or more than `to_yaw`, keep their crop.

    Args:
        from_yaw: radians from which a face is turned to the front.
        to_yaw: radians beyond which too little of a face is seen to turn it.
        symmetry: 0 to 1, how far a hidden part is taken from the other half of the face.
        share: 0 to 1, how far the face is turned back; 0.5 halves its yaw and pitch.

    Raises:
        BadArgument: a number out of range.
    """

    from_yaw: float = math.radians(20)
    to_yaw: float = math.radians(60)
    symmetry: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        within("from_yaw", self.from_yaw, 0.0, math.pi / 2)
        within("to_yaw", self.to_yaw, self.from_yaw, math.pi / 2)
        within("symmetry", self.symmetry, 0.0, 1.0)
        within("share", self.share, 0.0, 1.0)

    @property
    def name(self) -> str:
        """What a system's identity calls it."""
        low, high = round(math.degrees(self.from_yaw)), round(math.degrees(self.to_yaw))
        return f"frontal/1/{low}-{high}/{self.symmetry:g}/{self.share:g}"

    def __call__(self, photo: Photo, faces: Faces, crops: UInt8Array, /) -> UInt8Array:
        """Crops of the faces, those turned as told from the front.

        Args:
            photo: that shows the faces.
            faces: n of it.
            crops: (n, h, w, 3) aligned, in the order of the faces.

        Returns:
            (n, h, w, 3) uint8 RGB; the crops themselves where none is changed.
        """
        poses = [face3d.fit(points) for points in faces.landmarks]
        turned = [i for i, pose in enumerate(poses) if self.from_yaw <= abs(pose.yaw) <= self.to_yaw]
        if not turned:
            return crops
        made = crops.copy()
        height, width = crops.shape[1:3]
        for i in turned:
            made[i] = self._turned(photo, faces[[i]], (height, width))
        return made

    def _turned(self, photo: Photo, face: Faces, size: tuple[int, int]) -> UInt8Array:
        template = TEMPLATES["arcface-112"] * (np.array([size[1], size[0]]) / 112)
        beside = np.array([round(_MARGIN * size[1]), round(_MARGIN * size[0])])
        wide = align(photo, face, size=size, margin=_MARGIN)[0]
        pose = face3d.fit(apply_affine(fit_similarity(face.landmarks[0], template + beside), face.landmarks[0]))
        rest = 1 - self.share
        view = face3d.canonical(size, yaw=rest * pose.yaw, pitch=rest * pose.pitch)
        view = view.moved(fit_similarity(view.project(face3d.mean_face().landmarks), template))  # as alignment has it
        return face3d.view(wide, pose, view, size=size, symmetry=self.symmetry, border="reflect").pixels
