"""Which parts of a photo to look at, and at which scale, so that faces of every wanted size are found.

One pass of a small detector finds faces within a range of sizes. The first view shows the whole photo with its longer
side at most `FIRST`. A finer one, in overlapping tiles, finds faces that are too small in the first; a coarser one finds
faces that fill the photo, and is looked at only where the first gives reason to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST = 640
_TILE = 960
_WHOLE = 400  # faces up to this size are whole in one of the overlapping tiles
_STEP = 6.0  # between two finer scales
_COARSE = 256
_WORTH = 1.25  # a finer scale pays only if it is larger than the first by this factor
_ENLARGED = 4_000_000  # small faces are enlarged as long as the photo does not come to more pixels than this
_LARGEST_SCALE = 2.0


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of the scaled photo.

    Args:
        scale: pixels of the view over pixels of the photo.
        x, y, width, height: in scaled pixels.
        inner: (left, top, right, bottom): whether that edge cuts the photo, so that a face at it belongs to a neighbour.
        largest: size of faces, in scaled pixels, up to which this view answers for them.
    """

    scale: float
    x: int
    y: int
    width: int
    height: int
    inner: tuple[bool, bool, bool, bool] = (False, False, False, False)
    largest: float = math.inf


def first_view(width: int, height: int) -> View:
    """The whole photo, its longer side at most `FIRST`."""
    return _whole(width, height, min(1.0, FIRST / max(width, height)))


def coarse_view(width: int, height: int) -> View:
    """The whole photo, small, for faces that fill it."""
    return _whole(width, height, min(1.0, _COARSE / max(width, height)))


def fine_views(width: int, height: int, *, min_face: float, smallest: int) -> list[View]:
    """Tiles in which faces of `min_face` pixels become `smallest` pixels, if the first view does not do that already.

    A large photo is not enlarged: there the smallest faces are looked for at the photo's own scale.

    Args:
        width, height: of the photo.
        min_face: the smallest face wanted, in pixels of the photo.
        smallest: size from which one pass of the detector finds faces reliably, in pixels of its input.
    """
    first = first_view(width, height).scale
    limit = min(_LARGEST_SCALE, max(1.0, math.sqrt(_ENLARGED / (width * height))))
    fine = min(smallest / min_face, limit)
    if fine <= first * _WORTH:
        return []
    enough = 1.5 * smallest / first  # whatever is larger than this in the photo is large enough in the first view
    views = _tiles(width, height, fine, largest=min(enough * fine, _WHOLE))
    while fine * enough > _WHOLE:
        fine = max(fine / _STEP, first)
        views += _tiles(width, height, fine, largest=min(enough * fine, _WHOLE))
    return views


def _tiles(width: int, height: int, scale: float, *, largest: float) -> list[View]:
    """The scaled photo in tiles that overlap by more than the largest face they answer for."""
    overlap = min(math.ceil(largest * 1.2), _TILE // 2)
    w, h = _scaled(width, scale), _scaled(height, scale)
    return [
        View(scale, x0, y0, x1 - x0, y1 - y0, (x0 > 0, y0 > 0, x1 < w, y1 < h), largest)
        for y0, y1 in _spans(h, overlap)
        for x0, x1 in _spans(w, overlap)
    ]


def _whole(width: int, height: int, scale: float) -> View:
    return View(scale, 0, 0, _scaled(width, scale), _scaled(height, scale))


def _scaled(length: int, scale: float) -> int:
    return max(1, round(length * scale))


def _spans(length: int, overlap: int) -> list[tuple[int, int]]:
    """Spans of at most a tile that cover a length, neighbours sharing at least `overlap`."""
    count = max(1, math.ceil((length - overlap) / (_TILE - overlap)))
    size = math.ceil((length + (count - 1) * overlap) / count)
    starts = [round(i * (length - size) / (count - 1)) if count > 1 else 0 for i in range(count)]
    return [(s, min(length, s + size)) for s in starts]
