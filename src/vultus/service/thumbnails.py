"""Small pictures of enrolled faces, where they are kept: re-encoded, in the service's database, gone with their subject."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from vultus.image import Photo
from vultus.service.state import State
from vultus.types import Faces

SIDE = 96
_MARGIN = 0.25


def picture_of(photo: Photo, face: Faces) -> bytes:
    """A JPEG of one face with some of what is around it, no side longer than 96 pixels; nothing of the file remains."""
    x0, y0, x1, y1 = (float(v) for v in face.boxes[0])
    edge = _MARGIN * max(x1 - x0, y1 - y0)
    pixels = photo.pixels()
    left, top = max(0, int(x0 - edge)), max(0, int(y0 - edge))
    cut = pixels[top : max(top + 1, int(y1 + edge)), left : max(left + 1, int(x1 + edge))]
    small = Image.fromarray(np.ascontiguousarray(cut))
    small.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return out.getvalue()


class Thumbnails:
    """The kept pictures."""

    def __init__(self, state: State) -> None:
        self._state = state

    def keep(self, gallery: str, subject: str, picture: bytes) -> None:
        """Keep a subject's picture, in place of the one before."""
        self._state.change("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?)", (gallery, subject, picture))

    def get(self, gallery: str, subject: str) -> bytes | None:
        """The picture of a subject; None where none is kept."""
        row = self._state.row("SELECT picture FROM thumbnails WHERE gallery = ? AND subject = ?", (gallery, subject))
        return None if row is None else bytes(row[0])

    def among(self, gallery: str) -> set[str]:
        """The subjects of a gallery who have one."""
        return {row[0] for row in self._state.rows("SELECT subject FROM thumbnails WHERE gallery = ?", (gallery,))}
