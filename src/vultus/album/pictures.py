"""Small pictures of an album: faces cut out, and whole photos to look at. New JPEG files of pixels, without metadata."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from vultus.album.faces import face_id, photo_id
from vultus.errors import AlbumError
from vultus.types import FloatArray, UInt8Array

FACE, PREVIEW = 160, 800
_AROUND = 0.3
_OURS = re.compile(r"[0-9a-f]{20}(-[0-9]+)?\.jpg|\.partial-.*")


def face_path(sha256: str, number: int) -> str:
    """Where the picture of a face lies in the album; slashes on all systems, as addresses have them."""
    return f"faces/{sha256[:2]}/{face_id(sha256, number)}.jpg"


def preview_path(sha256: str) -> str:
    """Where the picture of a photo lies in the album."""
    return f"photos/{sha256[:2]}/{photo_id(sha256)}.jpg"


def paths_of(sha256: str, faces: int) -> list[str]:
    """All pictures of a photo with this many faces; none where it shows no face."""
    return [preview_path(sha256), *(face_path(sha256, i) for i in range(faces))] if faces else []


def face_picture(pixels: UInt8Array, box: FloatArray) -> bytes:
    """The square around a face, at most `FACE` pixels wide.

    Args:
        pixels: (h, w, 3) RGB.
        box: (4,) x0, y0, x1, y1 in these pixels.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in box)
    side = min(max(x1 - x0, y1 - y0) * (1 + 2 * _AROUND), float(width), float(height))
    left = min(max((x0 + x1 - side) / 2, 0.0), width - side)
    top = min(max((y0 + y1 - side) / 2, 0.0), height - side)
    size = max(1, min(FACE, round(side)))
    # only the part that is needed is handed over: the whole photo would be copied for every face
    start = (int(left), int(top))
    part = Image.fromarray(
        np.ascontiguousarray(pixels[start[1] : int(top + side) + 2, start[0] : int(left + side) + 2])
    )
    at = (left - start[0], top - start[1])
    area = (at[0], at[1], min(at[0] + side, part.width), min(at[1] + side, part.height))
    return _jpeg(part.resize((size, size), Image.Resampling.LANCZOS, box=area, reducing_gap=3.0))


def preview(pixels: UInt8Array) -> bytes:
    """The whole photo, its longer side at most `PREVIEW` pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _jpeg(picture)


def _jpeg(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80, optimize=True)
    return content.getvalue()


def put(target: Path, content: bytes) -> None:
    """Put a file that can be made again into its place, whole or not at all; one with this content stays untouched.

    It is not forced to the disk, which would take longer than making it: whoever relies on it looks whether it is there.

    Raises:
        AlbumError: it cannot be written.
    """
    try:
        if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise AlbumError(f"cannot write {target}: {problem.strerror or problem}") from problem


def present(folder: Path) -> set[str]:
    """The pictures that lie in the album and are not empty, by path."""
    found = set()
    for kind in ("faces", "photos"):
        for path, _, names in os.walk(folder / kind):
            below = Path(path).relative_to(folder).as_posix()
            found |= {f"{below}/{n}" for n in names if _OURS.fullmatch(n) and (Path(path) / n).stat().st_size}
    return found


def sweep(folder: Path, wanted: set[str]) -> None:
    """Remove the album's own pictures but these, and folders that are empty then; files of others stay."""
    for kind in ("faces", "photos"):
        for path, _, names in os.walk(folder / kind, topdown=False):
            here = Path(path)
            below = here.relative_to(folder).as_posix()
            for name in names:
                if _OURS.fullmatch(name) and f"{below}/{name}" not in wanted:
                    (here / name).unlink(missing_ok=True)
            if not any(here.iterdir()):
                here.rmdir()
