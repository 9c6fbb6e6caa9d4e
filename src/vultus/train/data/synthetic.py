"""Drawn faces: identities to try a recipe with, where no photos are at hand.

An identity is the geometry and the colours of a drawing: shape of the head, hair, eyes, brows, nose and mouth. A photo of
it differs by what an identity is not: light and its direction, expression, background, a small shift, turn and scale, and
noise. Nothing is learned from them about real faces.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, DatasetError
from vultus.train.data.codec import encode
from vultus.train.data.dataset import SIDE, Dataset
from vultus.types import Float64Array, UInt8Array

_NAME = re.compile(r"generated:(\d+)x(\d+)(?:@(\d+))?")
_FINE = 4  # fractional bits of the coordinates that are drawn with


@export("vultus.train.data.DrawnFaces")
class DrawnFaces(Dataset):
    """Drawn faces as a data set. The same arguments give the same pictures, everywhere.

    Args:
        identities: how many.
        photos: of each.
        seed: others give other identities and photos.
    """

    def __init__(self, identities: int = 8, photos: int = 10, *, seed: int = 0) -> None:
        if photos < 1:
            raise DatasetError(f"{photos} photos of each identity; expected at least 1")
        self.seed = seed
        self.photos = photos
        labels = np.repeat(np.arange(identities), photos)
        super().__init__(labels, tuple(f"drawn-{i:04d}" for i in range(identities)), name="drawn faces")

    @classmethod
    def of(cls, name: str) -> DrawnFaces:
        """From "generated:IDENTITIESxPHOTOS" or "generated:IDENTITIESxPHOTOS@SEED".

        Raises:
            BadArgument: another form.
        """
        found = _NAME.fullmatch(name)
        if not found:
            raise BadArgument(
                f"{name!r} names no drawn faces; expected generated:IDENTITIESxPHOTOS, perhaps with @SEED"
            )
        return cls(int(found[1]), int(found[2]), seed=int(found[3] or 0))

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        return draw_face(int(self.labels[index]), index % self.photos, seed=self.seed)


@export("vultus.train.data.draw_face")
def draw_face(identity: int, photo: int, *, seed: int = 0) -> UInt8Array:
    """(112, 112, 3) uint8 RGB drawing of one photo of an identity.

    Args:
        identity: number of the identity.
        photo: number of the photo of it.
        seed: others give other identities.
    """
    who = np.random.default_rng((seed, identity))
    chance = np.random.default_rng((seed, identity, photo, 1))
    drawn = _draw(who, chance)
    angle, zoom = chance.uniform(-6, 6), chance.uniform(0.95, 1.05)
    view = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, zoom)
    view[:, 2] += chance.uniform(-3, 3, size=2)
    moved = cv2.warpAffine(drawn, view, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    slope = np.linspace(-1, 1, SIDE)
    toward = chance.uniform(-0.25, 0.25, size=2)
    light = chance.uniform(0.75, 1.2) + toward[0] * slope[:, None] + toward[1] * slope[None, :]
    noisy = moved * light[:, :, None] + chance.standard_normal(moved.shape, dtype=np.float32) * chance.uniform(2, 8)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


@export("vultus.train.data.write_faces")
def write_faces(root: str | Path, *, identities: int = 8, photos: int = 10, seed: int = 0) -> None:
    """Drawn faces as a folder of PNG files, `root/<identity>/<photo>.png`.

    Args:
        root: folder, made where it is missing.
        identities: how many.
        photos: of each.
        seed: others give other identities.
    """
    faces = DrawnFaces(identities, photos, seed=seed)
    for i in range(len(faces)):
        target = Path(root) / faces.classes[faces.labels[i]] / f"{i % photos:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(faces.pixels(i), "png"))


def _draw(who: np.random.Generator, chance: np.random.Generator) -> UInt8Array:
    """The face from the front, in an even light: `who` gives what stays, `chance` what changes from photo to photo."""
    skin = np.array([230, 185, 150]) * who.uniform(0.35, 1.0) + who.uniform(-15, 15, size=3)
    hair, iris, lips = (
        who.uniform(10, 170, size=3),
        who.uniform(20, 200, size=3),
        who.uniform((120, 30, 30), (220, 120, 120)),
    )
    width, height = who.uniform(30, 44), who.uniform(42, 54)
    apart, eye_y = who.uniform(13, 21), who.uniform(47, 56)
    eye, lid = who.uniform(4.5, 8.5), who.uniform(0.45, 0.95)
    brow_y, brow_tilt, brow = who.uniform(8, 14), who.uniform(-4, 4), who.integers(1, 5)
    nose, nose_width = who.uniform(14, 24), who.uniform(3, 9)
    mouth_y, mouth = who.uniform(88, 95), who.uniform(9, 20)
    fringe, beard = who.uniform(4, 24), who.uniform() < 0.3
    smile, open_, gaze = chance.uniform(-3, 5), chance.uniform(1.5, 6), chance.uniform(-2, 2)

    canvas = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    canvas[:] = chance.uniform(0, 255, size=3)
    middle = SIDE / 2
    _ellipse(canvas, middle, 58, width + 6, height + 6, hair)
    _ellipse(canvas, middle, 62, width, height, skin)
    _ellipse(canvas, middle, 62 - height, width, fringe, hair)
    if beard:
        _ellipse(canvas, middle, mouth_y + 6, width * 0.7, 15, 0.6 * skin + 0.4 * hair)
    for side in (-1, 1):
        x = middle + side * apart
        _ellipse(canvas, x, eye_y, eye * 1.3, eye * lid, np.full(3, 240.0))
        _ellipse(canvas, x + gaze, eye_y, eye * lid * 0.8, eye * lid * 0.8, iris)
        _ellipse(canvas, x + gaze, eye_y, eye * lid * 0.35, eye * lid * 0.35, np.full(3, 15.0))
        inner, outer = (x - side * eye, eye_y - brow_y + brow_tilt), (x + side * eye * 1.4, eye_y - brow_y - brow_tilt)
        _line(canvas, inner, outer, hair * 0.7, int(brow))
    _line(canvas, (middle, eye_y + 4), (middle, eye_y + nose), skin * 0.75, 2)
    _ellipse(canvas, middle, eye_y + nose, nose_width, 3, skin * 0.7)
    _ellipse(canvas, middle, mouth_y, mouth, open_ + 1.5, lips)
    _ellipse(canvas, middle, mouth_y - smile, mouth * 0.8, open_ * 0.8, 0.5 * lips)
    return canvas


def _ellipse(canvas: UInt8Array, x: float, y: float, a: float, b: float, colour: Float64Array) -> None:
    centre, axes = _fine(x, y), _fine(max(a, 0.5), max(b, 0.5))
    cv2.ellipse(canvas, centre, axes, 0, 0, 360, _colour(colour), -1, cv2.LINE_AA, _FINE)


def _line(
    canvas: UInt8Array, start: tuple[float, float], end: tuple[float, float], colour: Float64Array, thickness: int
) -> None:
    cv2.line(canvas, _fine(*start), _fine(*end), _colour(colour), thickness, cv2.LINE_AA, _FINE)


def _fine(x: float, y: float) -> tuple[int, int]:
    return round(x * (1 << _FINE)), round(y * (1 << _FINE))


def _colour(colour: Float64Array) -> tuple[float, float, float]:
    r, g, b = np.clip(colour, 0, 255)
    return float(r), float(g), float(b)
