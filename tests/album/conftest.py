"""A collection made of the two portraits that come with other packages, and an album of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from vultus import Recognizer
from vultus.album import make_album
from vultus.types import UInt8Array

HOSTILE = "h\"><script>alert(1)<\u2215script>&amp;'.png"
PHOTOS, FACES = 8, 8


@pytest.fixture(scope="session")
def _collection(astronaut: UInt8Array, hopper: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("collection")
    (root / "trip").mkdir()
    a, h = (Image.fromarray(x).resize((x.shape[1] * 3 // 4, x.shape[0] * 3 // 4)) for x in (astronaut, hopper))
    a.save(root / "a0.png")
    a.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "a1.jpg")
    ImageEnhance.Brightness(a).enhance(0.7).save(root / "trip" / "a2.jpg")
    h.save(root / "h0.jpg")
    h.rotate(8).save(root / "h1.webp")
    h.resize((256, 300)).save(root / HOSTILE)
    both = Image.new("RGB", (a.width + h.width, h.height), "white")
    both.paste(a, (0, 0))
    both.paste(h, (a.width, 0))
    both.save(root / "together.jpg")
    Image.new("RGB", (200, 200), "green").save(root / "meadow.jpg")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    (root / ".hidden.jpg").write_bytes(b"")
    (root / "notes.txt").write_text("no photo")
    return root


@pytest.fixture(scope="session")
def _album(_collection: Path, recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "album"
    make_album([_collection], folder, recognizer)
    return folder


@pytest.fixture
def photos(_collection: Path, tmp_path: Path) -> Path:
    """The collection, to be changed: 8 photos, one of them of nobody and one of two people, and a broken one."""
    return Path(shutil.copytree(_collection, tmp_path / "photos"))


@pytest.fixture
def folder(_album: Path, tmp_path: Path) -> Path:
    """An album of it, made already, to be made again."""
    return Path(shutil.copytree(_album, tmp_path / "album"))


@pytest.fixture
def another(hopper: UInt8Array) -> Image.Image:
    """A photo that the collection does not have."""
    return Image.fromarray(np.ascontiguousarray(hopper[:, ::-1]))
