"""The photos and faces of a collection, held as arrays, under identifiers that stay the same between runs."""

from __future__ import annotations

from dataclasses import dataclass

from vultus.types import FloatArray, IntArray

_DIGITS = 20


def photo_id(sha256: str) -> str:
    """The start of the content's sha256: 80 bits, short enough to be read and typed."""
    return sha256[:_DIGITS]


def face_id(sha256: str, number: int) -> str:
    """The identifier of the face with this number in the photo with this content."""
    return f"{photo_id(sha256)}-{number}"


@dataclass(frozen=True, slots=True)
class AlbumPhoto:
    """A photo: one content, wherever it lies.

    Args:
        sha256: of the content.
        files: the paths of all files with this content, as they were given.
        name: the first of them as the album calls it.
    """

    sha256: str
    files: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class PhotoFailed:
    """A photo that could not be read.

    Args:
        file: its path, as it was given.
        name: as the album calls it.
        code: of the error.
        message: what came and what was expected.
    """

    file: str
    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class AlbumFaces:
    """n faces, in the order of their photos.

    Args:
        ids: (n,) identifiers.
        photos: (n,) the place of each face's photo among the photos.
        boxes: (n, 4) float32 (x0, y0, x1, y1) in shares of the photo's width and height.
        quality: (n,) float32 overall quality in [0, 1].
        rows: (n, d) float32 unit rows.
    """

    ids: tuple[str, ...]
    photos: IntArray
    boxes: FloatArray
    quality: FloatArray
    rows: FloatArray

    def __len__(self) -> int:
        return len(self.ids)
