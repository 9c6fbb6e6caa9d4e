"""Which file has a given sha256? Photos are found again by their content, wherever they lie now."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vultus._export import export
from vultus.errors import SourceUnavailable
from vultus.weights.lookup import file_sha256


@export("vultus.gallery.photos_by_sha256")
def photos_by_sha256(
    folders: Sequence[str | os.PathLike[str]], *, progress: Callable[[int], None] | None = None
) -> dict[str, Path]:
    """All files in folders and below, by the sha256 of their content; of equal ones the first by path.

    Args:
        folders: where to look. Links to folders are not followed; what cannot be read is left out.
        progress: is called with 1 after each file.

    Raises:
        SourceUnavailable: one of them is no folder.
    """
    found: dict[str, Path] = {}
    for file in photo_files(folders):
        try:
            found.setdefault(file_sha256(file), file)
        except OSError:
            continue
        finally:
            if progress is not None:
                progress(1)
    return found


def photo_files(folders: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files in folders and below, in the order of their paths."""
    for folder in folders:
        if not Path(folder).is_dir():
            raise SourceUnavailable(f"{folder} is no folder; name folders with the photos of the gallery")
    return [
        Path(path) / name
        for folder in folders
        for path, names in sorted((path, sorted(names)) for path, _, names in os.walk(folder))
        for name in names
        if (Path(path) / name).is_file()
    ]
