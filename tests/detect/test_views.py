"""Which parts of a photo are looked at: every pixel, and every face whole in some view that is made for its size."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.detect import views
from vultus.detect.views import FIRST, View, coarse_view, fine_views, first_view

sides = st.integers(1, 6_000)
smallest_faces = st.floats(1, 400)
SMALLEST = 32


def spans(tiles: list[View], *, across: bool) -> list[tuple[int, int]]:
    """(start, end) of the tiles along one axis, each once."""
    return sorted({(t.x, t.x + t.width) if across else (t.y, t.y + t.height) for t in tiles})


@given(sides, sides)
def test_the_first_view_shows_the_whole_photo_small_enough(width: int, height: int) -> None:
    for view, longest in ((first_view(width, height), FIRST), (coarse_view(width, height), views._COARSE)):
        assert max(view.width, view.height) <= longest
        assert view.scale <= 1
        assert abs(view.width - width * view.scale) <= max(0.5, 1 - width * view.scale)
        assert abs(view.height - height * view.scale) <= max(0.5, 1 - height * view.scale)
        assert (view.x, view.y, view.inner, view.largest) == (0, 0, (False,) * 4, math.inf)


def test_small_photos_are_not_enlarged_in_the_first_view() -> None:
    assert first_view(100, 60) == View(1.0, 0, 0, 100, 60)
    assert first_view(1280, 960) == View(0.5, 0, 0, 640, 480)
    assert coarse_view(100, 60) == View(1.0, 0, 0, 100, 60)


def levels(tiles: list[View]) -> list[list[View]]:
    """Tiles by scale, the finest first."""
    scales = sorted({t.scale for t in tiles}, reverse=True)
    return [[t for t in tiles if t.scale == s] for s in scales]


@settings(max_examples=200)
@given(sides, sides, smallest_faces)
def test_tiles_of_each_scale_cover_the_photo(width: int, height: int, min_face: float) -> None:
    for tiles in levels(fine_views(width, height, min_face=min_face, smallest=SMALLEST)):
        check_cover(tiles, width, height)


def check_cover(tiles: list[View], width: int, height: int) -> None:
    scale = tiles[0].scale
    full = {True: max(1, round(width * scale)), False: max(1, round(height * scale))}
    rows, columns = spans(tiles, across=False), spans(tiles, across=True)
    assert len(tiles) == len(rows) * len(columns)  # a full grid, so that axes can be looked at one by one
    for across, line in ((True, columns), (False, rows)):
        covered = np.zeros(full[across], bool)
        for start, end in line:
            assert 0 <= start < end <= full[across]
            assert end - start <= views._TILE
            covered[start:end] = True
        assert covered.all()
    for tile in tiles:
        assert tile.scale == scale
        right, bottom = tile.x + tile.width, tile.y + tile.height
        assert tile.inner == (tile.x > 0, tile.y > 0, right < full[True], bottom < full[False])


@settings(max_examples=200)
@given(sides, sides, smallest_faces, st.floats(0, 1), st.floats(0, 1))
def test_every_face_of_its_sizes_is_whole_in_a_tile(
    width: int, height: int, min_face: float, share: float, place: float
) -> None:
    every = levels(fine_views(width, height, min_face=min_face, smallest=SMALLEST))
    for tiles, (across, length) in itertools.product(every, ((True, width), (False, height))):
        full = max(1, round(length * tiles[0].scale))
        size = min(share * tiles[0].largest, full)
        start = place * (full - size)
        whole = [
            1
            for a, b in spans(tiles, across=across)
            # an edge inside the photo belongs to the neighbour, and so does a face that comes within a pixel of it
            if (a == 0 or start > a + 1) and (b == full or start + size < b - 1)
        ]
        assert whole


@settings(max_examples=200)
@given(sides, sides, smallest_faces)
def test_what_is_too_large_for_a_tile_is_large_enough_in_the_next_coarser_view(
    width: int, height: int, min_face: float
) -> None:
    every = levels(fine_views(width, height, min_face=min_face, smallest=SMALLEST))
    scales = [*(tiles[0].scale for tiles in every), first_view(width, height).scale]
    for tiles, scale in zip(every, scales[1:], strict=True):
        assert tiles[0].largest / tiles[0].scale * scale >= SMALLEST


@settings(max_examples=200)
@given(sides, sides, smallest_faces)
def test_the_smallest_face_is_enlarged_to_what_a_look_can_find(width: int, height: int, min_face: float) -> None:
    tiles = fine_views(width, height, min_face=min_face, smallest=SMALLEST)
    scale = tiles[0].scale if tiles else first_view(width, height).scale
    may_enlarge = min(views._LARGEST_SCALE, max(1.0, math.sqrt(views._ENLARGED / (width * height))))
    enough = min(SMALLEST / min_face, may_enlarge)
    assert scale >= enough / (1 if tiles else views._WORTH) - 1e-9


def test_large_faces_need_no_finer_view() -> None:
    assert fine_views(640, 480, min_face=32, smallest=SMALLEST) == []
    assert fine_views(6_400, 4_800, min_face=320, smallest=SMALLEST) == []
    assert len(fine_views(640, 480, min_face=16, smallest=SMALLEST)) >= 1
    assert len(fine_views(6_400, 4_800, min_face=32, smallest=SMALLEST)) > 20


def test_the_work_on_a_large_photo_is_bounded() -> None:
    tiles = fine_views(4_000, 3_000, min_face=16, smallest=SMALLEST)
    assert tiles[0].scale == 1
    assert sum(t.width * t.height for t in tiles) < 2.5 * 4_000 * 3_000
    assert sum(t.width * t.height for t in fine_views(4_000, 3_000, min_face=64, smallest=SMALLEST)) < 6_000_000


@pytest.mark.parametrize(("length", "overlap"), [(1, 0), (959, 100), (960, 100), (961, 100), (961, 480), (5_000, 300)])
def test_neighbouring_tiles_share_what_they_must(length: int, overlap: int) -> None:
    found = views._spans(length, overlap)
    assert found[0][0] == 0
    assert found[-1][1] == length
    for (_, end), (start, _) in pairwise(found):
        assert end - start >= overlap - 1
