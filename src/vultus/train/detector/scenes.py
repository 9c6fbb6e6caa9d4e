"""Pictures with marked faces to train on: from annotations, or drawn."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vultus.align import TEMPLATES
from vultus.detect import Detector
from vultus.errors import BadArgument, DatasetError
from vultus.evaluate import MarkedPhoto, read_marked_photos
from vultus.geometry import apply_affine, box_iou
from vultus.image import read_image
from vultus.train.data.synthetic import draw_face
from vultus.types import BoolArray, FloatArray, UInt8Array

_NAME = re.compile(r"generated:(\d+)(?:@(\d+))?")
_SIDE = 256  # of a drawn scene
_HEAD = np.array([[14.0, 4.0], [98.0, 110.0]])  # the head in a drawing of 112 x 112


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and its faces.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        boxes: (n, 4) float32.
        ignored: (n,) bool.
        landmarks: (n, 5, 2) float32, NaN where they are not known.
    """

    pixels: UInt8Array
    boxes: FloatArray
    ignored: BoolArray
    landmarks: FloatArray


class Scenes(ABC):
    """Pictures by number; the same number gives the same picture."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def __getitem__(self, index: int) -> Scene:
        """The picture of a number from 0."""


class Photos(Scenes):
    """Photos that somebody has marked, kept in memory.

    Args:
        photos: files and boxes.
        teacher: places the landmarks of those faces that it finds; the others stay without.

    Raises:
        DatasetError: no face is marked.
        ImageError, SourceUnavailable: a photo is damaged or gone.
    """

    def __init__(self, photos: Sequence[MarkedPhoto], *, teacher: Detector | None = None) -> None:
        if not any((~p.ignored).any() for p in photos):
            raise DatasetError(f"{len(photos)} photos without a marked face; training needs some")
        self._scenes = [_scene(p, teacher) for p in photos]

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Scene:
        return self._scenes[index]


class Drawn(Scenes):
    """Scenes with drawn faces of 14 to 120 pixels before shapes that are none. Nothing is learned from them about real faces.

    Args:
        count: how many.
        seed: others give other scenes.
    """

    def __init__(self, count: int, *, seed: int = 0) -> None:
        if count < 1:
            raise BadArgument(f"{count} scenes; expected at least 1")
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self._count:
            raise IndexError(index)
        rng = np.random.default_rng((self._seed, index, 7))
        pixels = _backdrop(rng)
        boxes: list[FloatArray] = []
        points: list[FloatArray] = []
        for number in range(int(rng.integers(1, 6))):
            size = 112 / 106 * 14 * (120 / 14) ** rng.random()
            scale = size / 112
            corner = rng.uniform(-0.05 * size, _SIDE - 0.95 * size, size=2)
            to_scene = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
            box = apply_affine(to_scene, _HEAD).reshape(4).astype(np.float32)
            if boxes and box_iou(box[None], np.stack(boxes)).max() > 0.05:
                continue
            face = draw_face(int(rng.integers(1 << 30)), number, seed=self._seed)
            pixels = _pasted(pixels, face, to_scene)
            boxes.append(box)
            points.append(apply_affine(to_scene, TEMPLATES["arcface-112"]).astype(np.float32))
        return Scene(pixels, np.stack(boxes), np.zeros(len(boxes), dtype=np.bool_), np.stack(points))


def open_scenes(name: str, *, teacher: str = "") -> Scenes:
    """From "generated:COUNT" or "generated:COUNT@SEED", or a folder or file that `vultus evaluate detect` takes.

    Args:
        name: of the pictures.
        teacher: detector that places the landmarks of photos; empty for none.

    Raises:
        BadArgument, SourceUnavailable, DatasetError: there is nothing to train on.
    """
    if name.startswith("generated:"):
        found = _NAME.fullmatch(name)
        if not found:
            raise BadArgument(f"{name!r} names no drawn scenes; expected generated:COUNT, perhaps with @SEED")
        return Drawn(int(found[1]), seed=int(found[2] or 0))
    return Photos(read_marked_photos(Path(name)), teacher=Detector(teacher) if teacher else None)


def _scene(photo: MarkedPhoto, teacher: Detector | None) -> Scene:
    pixels = read_image(photo.file)
    landmarks = np.full((len(photo.boxes), 5, 2), np.nan, dtype=np.float32)
    if teacher is not None and len(photo.boxes):
        faces = teacher(pixels, min_face=10)
        if len(faces):
            shared = box_iou(photo.boxes, faces.boxes)
            best = shared.argmax(axis=1)
            found = shared.max(axis=1) >= 0.5
            landmarks[found] = faces.landmarks[best[found]]
    return Scene(pixels, photo.boxes, photo.ignored, landmarks)


def _backdrop(rng: np.random.Generator) -> UInt8Array:
    """Smooth colours, and ellipses, boxes and lines in skin's and other colours that are no faces."""
    coarse = rng.uniform(0, 255, size=(6, 6, 3)).astype(np.float32)
    pixels = np.ascontiguousarray(cv2.resize(coarse, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))
    for _ in range(int(rng.integers(4, 14))):
        colour = tuple(float(v) for v in rng.uniform(0, 255, size=3))
        x, y = (int(v) for v in rng.integers(0, _SIDE, size=2))
        a, b = (int(v) for v in rng.integers(4, 60, size=2))
        kind = rng.integers(3)
        if kind == 0:
            cv2.ellipse(pixels, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(pixels, (x, y), (x + a, y + b), colour, -1)
        else:
            cv2.line(pixels, (x, y), (x + a, y - b), colour, int(rng.integers(1, 8)), cv2.LINE_AA)
    noisy = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * 6
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def _pasted(pixels: UInt8Array, face: UInt8Array, to_scene: np.ndarray) -> UInt8Array:
    """The scene with the head of a drawing on it, cut out along an ellipse."""
    mask = np.zeros(face.shape[:2], dtype=np.float32)
    middle, half = _HEAD.mean(axis=0), (_HEAD[1] - _HEAD[0]) / 2
    cv2.ellipse(mask, (int(middle[0]), int(middle[1])), (int(half[0]), int(half[1])), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    scale = float(to_scene[0, 0])
    if scale < 1:  # averaged before it is sampled
        blur = 0.5 / scale
        face, mask = cv2.GaussianBlur(face, (0, 0), blur), cv2.GaussianBlur(mask, (0, 0), blur)
    size = (pixels.shape[1], pixels.shape[0])
    moved = cv2.warpAffine(face, to_scene, size, flags=cv2.INTER_LINEAR).astype(np.float32)
    share = cv2.warpAffine(mask, to_scene, size, flags=cv2.INTER_LINEAR)[..., None]
    return np.asarray(np.rint(pixels * (1 - share) + moved * share), dtype=np.uint8)
