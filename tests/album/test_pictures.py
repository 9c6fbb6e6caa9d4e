"""Small pictures: the right part of the photo, no larger than needed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.album.pictures import FACE, PREVIEW, face_picture, present, preview, put, sweep
from vultus.errors import AlbumError
from vultus.types import UInt8Array


def decoded(content: bytes) -> UInt8Array:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def ramp(height: int, width: int) -> UInt8Array:
    """Red tells the column, green the row."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return pixels


@pytest.mark.parametrize("box", [(300, 200, 400, 320), (0, 0, 80, 100), (900, 500, 1000, 600), (-20, -30, 60, 70)])
def test_a_face_is_in_the_middle_or_the_border_is_near(box: tuple[float, ...]) -> None:
    pixels = ramp(600, 1000)
    picture = decoded(face_picture(pixels, np.array(box, dtype=np.float32)))
    side = max(box[2] - box[0], box[3] - box[1]) * 1.6
    centre = [
        np.clip((box[0] + box[2]) / 2, side / 2, 1000 - side / 2),
        np.clip((box[1] + box[3]) / 2, side / 2, 600 - side / 2),
    ]
    assert picture.shape == (FACE, FACE, 3)
    middle = picture[FACE // 2 - 4 : FACE // 2 + 4, FACE // 2 - 4 : FACE // 2 + 4].mean(axis=(0, 1))
    np.testing.assert_allclose(middle[:2], [255 * centre[0] / 999, 255 * centre[1] / 599], atol=4)


def test_small_things_are_not_blown_up() -> None:
    assert decoded(face_picture(ramp(600, 600), np.array([10, 10, 30, 30], dtype=np.float32))).shape[0] <= 33
    assert decoded(face_picture(ramp(5, 3), np.array([0, 0, 90, 90], dtype=np.float32))).shape == (3, 3, 3)
    assert decoded(preview(ramp(30, 60))).shape == (30, 60, 3)
    assert decoded(preview(ramp(1000, 2000))).shape == (PREVIEW // 2, PREVIEW, 3)


def test_files_are_put_whole_and_swept_by_name(tmp_path: Path) -> None:
    kept, gone = f"faces/ab/{'ab' * 10}-0.jpg", f"faces/cd/{'cd' * 10}-0.jpg"
    for path in (kept, gone):
        put(tmp_path / path, b"picture")
    os.utime(tmp_path / kept, ns=(1, 1))
    put(tmp_path / kept, b"picture")
    assert (tmp_path / kept).stat().st_mtime_ns == 1
    put(tmp_path / kept, b"changed")
    assert (tmp_path / kept).read_bytes() == b"changed"
    (tmp_path / "faces" / "ab" / "notes.jpg").write_bytes(b"somebody's")
    assert present(tmp_path) == {kept, gone}
    sweep(tmp_path, {kept})
    assert {f.name for f in (tmp_path / "faces").rglob("*")} == {"ab", Path(kept).name, "notes.jpg"}
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AlbumError, match="cannot write"):
        put(tmp_path / "file" / "x.jpg", b"")
