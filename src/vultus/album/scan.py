"""Which photos are there? Files by path, their names for people to read, and their content's sha256."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vultus.errors import BadArgument
from vultus.evaluate.protocol import PHOTO_SUFFIXES

MARK = "vultus-album.db"
"""The file that makes a folder an album; what lies in an album is not part of any collection."""

DECISIONS = "decisions.json"
"""The file of what people decided, beside it."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A file of the collection.

    Args:
        path: where it lies.
        name: what it is called in the album: its path below the folder that was given.
    """

    path: Path
    name: str


def photo_files(sources: Sequence[str | os.PathLike[str]]) -> list[PhotoFile]:
    """Photos as they were given, and in the place of a folder all photos below it, in the order of their paths.

    Hidden files and folders, links to folders, and albums are passed over. A file that is named twice comes once.

    Raises:
        BadArgument: no photos.
    """
    given = [Path(s) for s in sources]
    found: dict[str, PhotoFile] = {}
    for source in given:
        if source.is_dir():
            top = "" if len(given) == 1 else f"{source.resolve().name}/"
            below = [PhotoFile(f, top + f.relative_to(source).as_posix()) for f in _below(source)]
        else:
            below = [PhotoFile(source, source.name)]
        for file in below:
            found.setdefault(os.path.abspath(file.path), file)  # noqa: PTH100 - links to photos stay what they are
    if not found:
        where = ", ".join(map(repr, map(os.fspath, given))) or "nothing"
        raise BadArgument(f"there are no photos in {where}; expected files of {', '.join(sorted(PHOTO_SUFFIXES))}")
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    files: list[Path] = []
    for path, folders, names in os.walk(folder):
        if MARK in names:
            folders.clear()
            continue
        folders[:] = [f for f in folders if not f.startswith(".")]
        here = Path(path)
        files += [here / n for n in names if not n.startswith(".") and (here / n).suffix.lower() in PHOTO_SUFFIXES]
    return sorted(f for f in files if f.is_file())
