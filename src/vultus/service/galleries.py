"""The galleries of the service: names are data in a table, and lead to files that the service itself names."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vultus.errors import GalleryExists, GalleryMissing, ModelMismatch
from vultus.gallery import Gallery
from vultus.gallery.keys import Key
from vultus.recognizer import Recognizer
from vultus.service.state import State

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A gallery as it stands in the table."""

    name: str
    file: str
    created: datetime


class Galleries:
    """Galleries in one folder, each opened once and kept open.

    Args:
        folder: of the files.
        state: has the table of names.
        key: that all of them are encrypted with; None for plain files.
    """

    def __init__(self, folder: Path, state: State, key: Key | None) -> None:
        self._folder, self._state, self._key = folder, state, key
        self._guard = threading.Lock()
        self._open: dict[str, Gallery] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def listed(self) -> list[Listed]:
        """All galleries by name."""
        rows = self._state.rows("SELECT name, file, created FROM galleries ORDER BY name")
        return [Listed(n, f, datetime.fromtimestamp(c, UTC)) for n, f, c in rows]

    def listing(self, name: str) -> Listed:
        """One gallery.

        Raises:
            GalleryMissing: there is none of this name.
        """
        row = self._state.row("SELECT file, created FROM galleries WHERE name = ?", (name,))
        if row is None or not _NAME.fullmatch(name):
            raise GalleryMissing("there is no gallery of this name")
        return Listed(name, row[0], datetime.fromtimestamp(row[1], UTC))

    def create(self, name: str, recognizer: Recognizer) -> Listed:
        """Make an empty gallery.

        Raises:
            GalleryExists: the name is taken.
            GalleryError: it could not be made.
        """
        with self._guard:
            if self._state.row("SELECT 1 FROM galleries WHERE name = ?", (name,)) is not None:
                raise GalleryExists(f"there is a gallery {name!r} already; choose another name")
            file = f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.db"
            _wipe(self._folder, file)  # of one whose making was interrupted
            opened = self._opened(file, recognizer)
            self._state.change("INSERT INTO galleries VALUES (?, ?, ?)", (name, file, int(time.time())))
            self._open[name] = opened
        return self.listing(name)

    def already(self, name: str) -> Gallery | None:
        """The gallery of a name, where it is open."""
        return self._open.get(name)

    def get(self, name: str, recognizer: Recognizer) -> Gallery:
        """The open gallery of a name.

        Raises:
            GalleryMissing: there is none.
            ModelMismatch: it is of another model.
            GalleryError: it cannot be opened.
        """
        with self._guard:
            if name not in self._open:
                self._open[name] = self._opened(self.listing(name).file, recognizer, exists=True)
            return self._open[name]

    @contextmanager
    def of_any_model(self, name: str, recognizer: Recognizer) -> Iterator[Gallery]:
        """The gallery of a name; one of another model, which can be listed and removed, only while the block lasts.

        Raises:
            GalleryMissing: there is none.
            GalleryError: it cannot be opened.
        """
        other: Gallery | None = None
        try:
            found = self.get(name, recognizer)
        except ModelMismatch:
            found = other = Gallery.open(self._folder / self.listing(name).file, read_only=True, key=self._key)
        try:
            yield found
        finally:
            if other is not None:
                other.close()

    def delete(self, name: str) -> None:
        """Remove a gallery; its files are overwritten before they go.

        Raises:
            GalleryMissing: there is none.
        """
        with self._guard:
            listed = self.listing(name)
            opened = self._open.pop(name, None)
            if opened is not None:
                opened.close()
            self._state.change("DELETE FROM galleries WHERE name = ?", (name,))
            _wipe(self._folder, listed.file)

    def close(self) -> None:
        """Close all."""
        with self._guard:
            for opened in self._open.values():
                opened.close()
            self._open.clear()

    def _opened(self, file: str, recognizer: Recognizer, *, exists: bool = False) -> Gallery:
        path = self._folder / file
        if exists and not path.exists():
            raise GalleryMissing(f"the file {file} is missing; put it back from a backup")
        known = recognizer.calibration
        return Gallery.open(
            path,
            model=recognizer.model_id,
            thresholds=known.thresholds if known else (),
            searches=known.searches if known else (),
            key=self._key,
        )

    def _sweep(self) -> None:
        """Remove files of galleries whose making or removal was interrupted."""
        known = {listed.file for listed in self.listed()}
        for path in self._folder.glob("*.db"):
            if path.name not in known:
                _wipe(self._folder, path.name)


def _wipe(folder: Path, file: str) -> None:
    """Overwrite and remove a gallery's file and those beside it."""
    stem = file.removesuffix(".db")
    for path in sorted(folder.glob(f"{stem}*")):
        with suppress(OSError):
            size = path.stat().st_size
            with path.open("r+b", buffering=0) as out:
                for start in range(0, size, 1 << 20):
                    out.write(bytes(min(1 << 20, size - start)))
                os.fsync(out.fileno())
            path.unlink()
