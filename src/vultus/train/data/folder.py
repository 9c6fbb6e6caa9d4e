"""A folder of aligned faces: `root/<identity>/<photo>`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import DatasetError, SourceUnavailable
from vultus.train.data.codec import decode
from vultus.train.data.dataset import Dataset
from vultus.types import UInt8Array

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic")


@export("vultus.train.data.Folder")
class Folder(Dataset):
    """Faces of 112 x 112 pixels in one folder for each identity. Identities and photos are in the order of their names.

    Args:
        root: the folder; what begins with a dot, and files that are no pictures by their ending, are left out.

    Raises:
        SourceUnavailable: it cannot be read.
        DatasetError: fewer than two identities, or one without a photo.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        found = list_photos(self.root)
        self.files = tuple(file for files in found.values() for file in files)
        counts = [len(files) for files in found.values()]
        super().__init__(np.repeat(np.arange(len(counts)), counts), tuple(found), name=str(self.root))

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        file = self.classes[self.labels[index]] + os.sep + self.files[index]
        path = self.root / file
        try:
            content = path.read_bytes()
        except OSError as problem:
            raise SourceUnavailable(f"cannot read {str(path)!r}: {problem.strerror or problem}") from problem
        return decode(content, name=str(path))


def list_photos(root: Path) -> dict[str, list[str]]:
    """The photos of each identity: names of sub-folders, and in each the names of its pictures, both sorted.

    Raises:
        SourceUnavailable: a folder cannot be read.
        DatasetError: there is no sub-folder.
    """
    found: dict[str, list[str]] = {}
    try:
        with os.scandir(root) as entries:
            people = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        for name in people:
            with os.scandir(root / name) as entries:
                found[name] = sorted(
                    e.name for e in entries if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")
                )
    except OSError as problem:
        raise SourceUnavailable(f"cannot read {problem.filename!r}: {problem.strerror or problem}") from problem
    if not found:
        raise DatasetError(f"{str(root)!r} has no sub-folders; expected one for each identity, with photos in it")
    return found
