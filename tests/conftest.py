"""Photos, the default system and the cache folder that the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus import Faces, Recognizer
from vultus.types import UInt8Array


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache of prepared weights for the run, all workers and child processes, instead of the user's own."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "vultus-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VULTUS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def recognizer(cache: Path) -> Recognizer:
    """The default system on one thread."""
    return Recognizer.load(threads=1)


@pytest.fixture(scope="session")
def astronaut() -> UInt8Array:
    """(512, 512, 3) portrait of Eileen Collins; read-only, so that code which writes to its argument fails."""
    import skimage.data

    return read_only(np.asarray(skimage.data.astronaut()))


@pytest.fixture(scope="session")
def hopper() -> UInt8Array:
    """(600, 512, 3) portrait of Grace Hopper, read-only."""
    import matplotlib.cbook

    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as picture:
        return read_only(np.asarray(picture.convert("RGB")))


@pytest.fixture(scope="session")
def astronaut_face(recognizer: Recognizer, astronaut: UInt8Array) -> Faces:
    """The one face of the portrait, as the default detector sees it."""
    faces = recognizer.detect(astronaut)
    assert len(faces) == 1
    return faces


def read_only(pixels: UInt8Array) -> UInt8Array:
    pixels = pixels.copy()
    pixels.flags.writeable = False
    return pixels
