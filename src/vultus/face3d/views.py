"""A photo of a face seen from another side.

Each pixel of the new view shows a point of the mean face's surface; its colour is taken from where the photo shows that
point. What the photo hides is filled from the other half of the face where that is wanted and seen, and with the nearest
skin, stretched, otherwise. Beyond the face the picture follows and settles, so that hair and background stay joined to it.
Light and expression stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.face3d.fit import Pose3D, fit
from vultus.face3d.mesh import Mesh, mean_face
from vultus.face3d.raster import rasterise
from vultus.face3d.screen import GRAZING, Screen
from vultus.geometry import apply_affine, fit_similarity
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray, UInt8Array

# The mean face as the five-point template of aligned faces has it, in a crop of 112 x 112 pixels.
_SIDE, _SCALE, _PLACE = 112.0, 35.24 / 63.0, (55.96, 51.62)
_STRETCH = (0.15, 0.5)  # photo's over view's foreshortening: from hidden to trusted
_HIDDEN = 0.3  # below this share the colour comes from the nearest point that is seen
_SEAM = 10.0  # millimetres from the outline in which the other half of the face is blended in
_SOFT = 7.0  # millimetres over which stretched skin is softened
_FLIP = np.array([-1.0, 1.0, 1.0])
_FADE = 55.0  # millimetres beyond the face in which the picture settles
_BORDERS = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


@export("vultus.face3d.View")
@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a view shows.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        face: (h, w) bool, True where the surface of the face is.
        shown: (h, w) float32, how far the photo itself shows that surface: 0 where it was filled in; 0 beyond the face.
        pose: of the face in the view.
    """

    pixels: UInt8Array
    face: BoolArray
    shown: FloatArray
    pose: Pose3D


@export("vultus.face3d.canonical")
def canonical(size: tuple[int, int] = (112, 112), *, yaw: float = 0.0, pitch: float = 0.0, zoom: float = 1.0) -> Pose3D:
    """The pose of an aligned face, looking at the camera unless told otherwise.

    Args:
        size: (height, width) of the crop; the face keeps its share of the height.
        yaw, pitch: radians, as `rotation` takes them.
        zoom: above 1 the face is larger about the middle of the crop.

    Raises:
        BadArgument: a size or zoom that is not above 0.
    """
    if min(size) < 1 or not zoom > 0:
        raise BadArgument(f"size is {size} and zoom {zoom!r}; expected sides of at least 1 pixel and a zoom above 0")
    ratio = size[0] / _SIDE * zoom
    middle = (np.array([size[1], size[0]]) - 1) / 2
    place = middle + (np.array(_PLACE) - (_SIDE - 1) / 2) * ratio
    return Pose3D.of(scale=_SCALE * ratio, translation=place).turned(yaw=yaw, pitch=pitch)


@export("vultus.face3d.view")
def view(
    pixels: UInt8Array,
    source: Pose3D,
    target: Pose3D,
    *,
    size: tuple[int, int] | None = None,
    symmetry: float = 0.0,
    border: Literal["black", "reflect"] = "black",
    mesh: Mesh | None = None,
) -> View:
    """The face of a photo from another side.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        source: pose of the face in the photo.
        target: pose in the view.
        size: (height, width) of the view; that of the photo unless told otherwise.
        symmetry: 0 to 1: how far a hidden part is filled from the other half of the face, where that is seen.
        border: what is shown where the photo ends: black, or the photo mirrored at its edge.
        mesh: the surface; the mean face unless told otherwise.

    Raises:
        BadArgument: no such picture, size, border or share.
    """
    picture = np.asarray(pixels)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise BadArgument(f"pixels are {picture.dtype} of shape {picture.shape}; expected uint8 (H, W, 3)")
    shape = picture.shape[:2] if size is None else size
    if min(shape) < 1 or not 0 <= symmetry <= 1 or border not in _BORDERS:
        raise BadArgument(
            f"size is {shape}, symmetry {symmetry!r} and border {border!r}; expected sides of at least 1 pixel, a share from 0 "
            f"to 1 and one of {', '.join(_BORDERS)}"
        )
    made = mesh or mean_face()
    owner, share, _ = rasterise(target.project(made.vertices), target.depth(made.vertices), made.triangles, shape)
    face = owner >= 0
    corners = made.triangles[owner[face]]
    points = (made.vertices[corners] * share[face][..., None]).sum(axis=1)
    normals = (made.normals[corners] * share[face][..., None]).sum(axis=1)
    photo, zoom = _reduced(picture, source.scale / target.scale)
    shown, spare = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    screen = Screen.of(source, made)
    shown[face] = _trust(screen, target, points, normals)
    shown = np.minimum(shown, _mean_on(face, shown))
    where = _followed(face, shown, source.project(points), source, target, made)
    colours = _sampled(photo, where, zoom, border)
    if symmetry and (shown[face] < 1).any():
        spare[face] = _trust(screen, _mirrored(target), points * _FLIP, normals * _FLIP)
        depth = cv2.distanceTransform(np.pad(face, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
        spare = np.minimum(spare, _mean_on(face, spare)) * np.clip(depth / (_SEAM * target.scale), 0, 1)
        spare = spare * (1 - shown) * symmetry * face
        other = np.zeros((*shape, 2), dtype=np.float32)
        other[face] = source.project(points * _FLIP)
        colours = colours + (_sampled(photo, other, zoom, border) - colours) * spare[..., None]
    softened = cv2.GaussianBlur(colours, (0, 0), max(_SOFT * target.scale, 0.5))
    lost = np.where(face, np.clip(1.0 - (shown + spare) / 0.5, 0, 1), 0)[..., None]
    colours = colours + (softened - colours) * lost
    return View(np.clip(np.rint(colours), 0, 255).astype(np.uint8), face, shown, target)


@export("vultus.face3d.frontal")
def frontal(
    pixels: UInt8Array,
    landmarks: npt.ArrayLike,
    *,
    size: tuple[int, int] = (112, 112),
    zoom: float = 1.0,
    symmetry: float = 1.0,
) -> View:
    """The face turned to look at the camera, where an aligned face is.

    The head is fitted to the landmarks and seen from the front. How the landmarks of this face differ from the mean face's
    is kept, as in DeepFace (Taigman et al. 2014, section 2.2): the fit moves the whole head and bends nothing.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) of the face, in the order of `vultus.Faces`.
        size: (height, width) of the view.
        zoom: as `canonical` takes it.
        symmetry: as `view` takes it.

    Raises:
        BadArgument: as `fit`, `canonical` and `view` raise it.
    """
    return view(pixels, fit(landmarks), canonical(size, zoom=zoom), size=size, symmetry=symmetry)


def _followed(
    face: BoolArray, shown: FloatArray, origins: Float64Array, source: Pose3D, target: Pose3D, mesh: Mesh
) -> FloatArray:
    """(h, w, 2) pixel of the photo that each pixel of the view shows.

    On the face it is the surface's, and where that is hidden the nearest one that is not. Beyond the face it is a
    similarity's, to which the change at the nearest point of the face dies out.
    """
    plain = fit_similarity(target.project(mesh.landmarks), source.project(mesh.landmarks))
    rows, columns = np.indices(face.shape)
    base = apply_affine(plain, np.stack([columns, rows], axis=-1).astype(np.float64))
    known = face & (shown > _HIDDEN)
    if not known.any():
        return base.astype(np.float32)
    change = np.zeros_like(base)
    change[face] = origins - base[face]
    lost = face & ~known
    if lost.any():
        place = (base + change)[_nearest(known)]
        near = cv2.GaussianBlur(np.where(known[..., None], base + change, place), (0, 0), max(2.0 * target.scale, 0.5))
        change[lost] = near[lost] - base[lost]
    away = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    fade = np.clip(1.0 - away / (_FADE * target.scale), 0.0, 1.0)
    beyond = change[_nearest(face)] * (fade**2 * (3.0 - 2.0 * fade))[..., None]
    smooth = cv2.GaussianBlur(beyond, (0, 0), max(4.0 * target.scale, 0.5))
    settled = np.clip(away / (12.0 * target.scale), 0.0, 1.0)[..., None]
    change = np.where(face[..., None], change, beyond + (smooth - beyond) * settled)
    return (base + change).astype(np.float32)


def _nearest(mask: BoolArray) -> tuple[IntArray, IntArray]:
    """(h, w) row and column of the nearest pixel of a mask."""
    _, label = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(label.max()) + 1, dtype=np.intp)
    owner[label[mask]] = np.flatnonzero(mask)
    row, column = np.divmod(owner[label], mask.shape[1])
    return row, column


def _trust(screen: Screen, target: Pose3D, points: Float64Array, normals: Float64Array) -> FloatArray:
    """(k,) 0 to 1: how far the photo shows points of the surface that the view shows."""
    facing = normals @ screen.pose.rotation[2]
    ratio = (facing + GRAZING) / np.maximum(normals @ target.rotation[2] + GRAZING, 1e-3)
    low, high = _STRETCH
    share = np.clip((ratio - low) / (high - low), 0.0, 1.0)
    trusted: FloatArray = (share**2 * (3.0 - 2.0 * share) * screen.uncovered(points, facing)).astype(np.float32)
    return trusted


def _mean_on(face: BoolArray, values: FloatArray) -> FloatArray:
    """(h, w) mean of the values on the face among the nine pixels around each."""
    mean: FloatArray = cv2.blur(values, (3, 3)) / np.maximum(cv2.blur(face.astype(np.float32), (3, 3)), 1e-3)
    return mean


def _mirrored(pose: Pose3D) -> Pose3D:
    """The camera that sees the other half of a head as this one sees the first."""
    flip = np.diag(_FLIP)
    return Pose3D(flip @ pose.rotation @ flip, pose.scale, pose.translation, np.zeros(0))


def _reduced(pixels: UInt8Array, shrink: float) -> tuple[UInt8Array, tuple[float, float]]:
    """The photo, made smaller where the view would skip pixels, and by how much along x and y."""
    if shrink <= 1.5:
        return np.ascontiguousarray(pixels), (1.0, 1.0)
    height, width = (max(1, round(side / shrink)) for side in pixels.shape[:2])
    small: UInt8Array = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return small, (width / pixels.shape[1], height / pixels.shape[0])


def _sampled(photo: UInt8Array, where: FloatArray, zoom: tuple[float, float], border: str) -> FloatArray:
    """(h, w, 3) float32 colours at pixels of the photo before it was made smaller."""
    x, y = where[..., 0], where[..., 1]
    if zoom != (1.0, 1.0):
        x, y = (x + 0.5) * zoom[0] - 0.5, (y + 0.5) * zoom[1] - 0.5
    colours = cv2.remap(
        photo, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=_BORDERS[border], borderValue=0
    )
    found: FloatArray = colours.astype(np.float32)
    return found
