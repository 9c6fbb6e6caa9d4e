"""Alignment: each face brought to canonical coordinates by a similarity transform of its landmarks."""

from __future__ import annotations

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.geometry import fit_similarity
from vultus.image import ImageSource, open_photo, warp
from vultus.types import Faces, Float64Array, UInt8Array

ALIGNMENT = 2  # part of a model's identity: a changed alignment makes other embeddings

# Where the landmarks of `Faces` belong in a crop of 112 x 112 pixels; the five-point template that ArcFace (Deng et al.
# 2019) and most models after it are trained with.
TEMPLATES: dict[str, Float64Array] = {
    "arcface-112": np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
}
_TEMPLATE_SIDE = 112


@export("vultus.align.align")
def align(
    source: ImageSource,
    faces: Faces,
    *,
    template: str = "arcface-112",
    size: tuple[int, int] = (112, 112),
    margin: float = 0.0,
) -> UInt8Array:
    """Crops in which the landmarks lie where the embedder expects them.

    The transform is the least-squares similarity of Umeyama (1991). Where a face is larger than the crop, its pixels are
    averaged before they are sampled.

    Args:
        source: the photo: a path, bytes, a file object, a PIL image, an array or a Photo.
        faces: n faces in pixels of that photo.
        template: name of the landmark template.
        size: (height, width) of the crops; the template is scaled to it.
        margin: how much more is shown on every side, as a share of the size; the face keeps its size in pixels.

    Returns:
        (n, height, width, 3) uint8 RGB in the order of the faces, larger by the margin where there is one.

    Raises:
        ImageError: the photo cannot be read.
        BadArgument: there is no such template, landmarks coincide, or the margin is below 0 or above 4.
    """
    if template not in TEMPLATES:
        raise BadArgument(f"no landmark template {template!r}; expected one of {', '.join(TEMPLATES)}")
    if not 0 <= margin <= 4:
        raise BadArgument(f"margin is {margin!r}; expected a share from 0 to 4")
    more = (round(margin * size[0]), round(margin * size[1]))
    shown = (size[0] + 2 * more[0], size[1] + 2 * more[1])
    if not len(faces):
        return np.zeros((0, *shown, 3), dtype=np.uint8)
    target = TEMPLATES[template] * (np.array([size[1], size[0]]) / _TEMPLATE_SIDE) + (more[1], more[0])
    matrices = fit_similarity(faces.landmarks, target)
    photo = open_photo(source)
    zoom = float(np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2])).max()))
    pixels, scale = photo.reduced(round(max(photo.width, photo.height) * min(1.0, 1.3 * zoom)))
    return warp(pixels, _in_reduced(matrices, scale), shown)


def _in_reduced(matrices: Float64Array, scale: float) -> Float64Array:
    """Maps from the photo's pixels as maps from pixels of a reduced decode; pixel i covers i - 0.5 to i + 0.5 in both."""
    moved = matrices / [[[scale, scale, 1.0]]]
    moved[:, :, 2] += matrices[:, :, :2].sum(axis=2) * (0.5 / scale - 0.5)
    return moved
