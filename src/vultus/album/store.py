"""What an album knows of its photos: faces, rows and groups, in one SQLite file that survives a kill at any moment.

A face is there only together with all faces of its photo and after its pictures. The file is not part of the pages: it
holds templates and paths, so it is readable by its owner alone.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from vultus.album.faces import AlbumFaces, face_id
from vultus.album.scan import DECISIONS, MARK
from vultus.errors import AlbumBusy, AlbumError, ModelMismatch
from vultus.gallery.cluster import Groups
from vultus.types import FloatArray

FORMAT = 1
_APPLICATION = 0x56414C42
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 TEXT NOT NULL)
  WITHOUT ROWID;
CREATE TABLE photos (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE faces (sha256 TEXT NOT NULL, number INTEGER NOT NULL, box BLOB NOT NULL, quality REAL NOT NULL,
  row BLOB NOT NULL, label INTEGER NOT NULL DEFAULT -1, confidence REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (sha256, number)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one look at a photo found: n faces.

    Args:
        sha256: of the photo's content.
        boxes: (n, 4) float32 in shares of width and height.
        quality: (n,) float32.
        rows: (n, d) float32 unit rows.
    """

    sha256: str
    boxes: FloatArray
    quality: FloatArray
    rows: FloatArray


class Store:
    """The file of one album, held by one process at a time. Use it in a `with` block, from one thread."""

    def __init__(self, folder: Path, *, model_id: str, dimension: int, min_face: float | None, default: float) -> None:
        """Open the album in a folder, or begin one in a folder that is empty or not there.

        Args:
            folder: of the album.
            model_id, dimension: of the recognizer.
            min_face: smallest face in pixels; None for what the album was begun with.
            default: smallest face of a new album.

        Raises:
            AlbumError: the folder is no album and not empty, or the file is damaged, newer, or cannot be written.
            AlbumBusy: another process has it.
            ModelMismatch: it was begun with another recognizer or smallest face.
        """
        self._path = folder / MARK
        self._dimension = dimension
        with self._told():
            _prepare_folder(folder)
            self._db = sqlite3.connect(self._path, timeout=0.5, isolation_level=None)
        try:
            with self._told():
                self._open(model_id, default if min_face is None else min_face)
            self._check(model_id, min_face)
        except BaseException:
            self._db.close()
            raise

    def _open(self, model_id: str, min_face: float) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("BEGIN EXCLUSIVE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if version == 0 and not tables:
            for statement in _SCHEMA.split(";")[:-1]:
                self._db.execute(statement)
            facts = {"model_id": model_id, "min_face": repr(float(min_face)), "album": secrets.token_hex(8)}
            for name, value in facts.items():
                self._set(name, value)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
        elif application != _APPLICATION:
            raise AlbumError(f"{self._path} is no album's file; choose another folder for the album")
        elif version > FORMAT:
            raise AlbumError(f"{self._path} has format {version}, and this vultus reads {FORMAT}; use a newer vultus")
        self._db.execute("COMMIT")

    def _check(self, model_id: str, min_face: float | None) -> None:
        known = self.fact("model_id")
        if known != model_id:
            raise ModelMismatch(
                f"the album was begun with {known!r} and this is {model_id!r}; use the same model and options, or another "
                "folder for the album"
            )
        if min_face is not None and min_face != self.min_face:
            raise ModelMismatch(
                f"the album was begun with faces of {self.min_face:g} pixels and more, not {min_face:g}; leave the option "
                "out, or use another folder for the album"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the file system and of SQLite as the album's own."""
        try:
            yield
        except sqlite3.Error as problem:
            if "locked" in str(problem):
                raise AlbumBusy(
                    f"another process is working on the album of {self._path}; wait for its end"
                ) from problem
            raise AlbumError(
                f"cannot use {self._path}: {problem}. If it is damaged, remove it: the album is made anew, and what you "
                "decided stays in decisions.json"
            ) from problem
        except OSError as problem:
            raise AlbumError(f"cannot use {self._path}: {problem.strerror or problem}") from problem

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    # --- facts ----------------------------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """What the album was begun with, or what the last grouping gave."""
        with self._told():
            row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def min_face(self) -> float:
        """The smallest face that is looked for, in pixels."""
        return float(self.fact("min_face") or 0)

    # --- files and photos -----------------------------------------------------------------------------------------------

    def sha256_of(self, path: str) -> tuple[int, int, str] | None:
        """Size, time of change in nanoseconds and sha256 of a file when it was last read; None if it never was."""
        with self._told():
            found = self._db.execute(
                "SELECT size, changed, sha256 FROM files WHERE path = ?", (os.fsencode(path),)
            ).fetchone()
        return None if found is None else (int(found[0]), int(found[1]), str(found[2]))

    def keep_files(self, files: Iterable[tuple[str, int, int, str]]) -> None:
        """Remember paths with size, time of change and sha256."""
        with self._changing():
            self._db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", ((os.fsencode(p), s, c, h) for p, s, c, h in files)
            )

    def counts(self) -> dict[str, int]:
        """How many faces each known photo has."""
        with self._told():
            rows = self._db.execute(
                "SELECT photos.sha256, count(number) FROM photos LEFT JOIN faces USING (sha256) GROUP BY photos.sha256"
            ).fetchall()
        return {str(digest): int(n) for digest, n in rows}

    def keep(self, looks: Sequence[Look]) -> None:
        """Keep photos with their faces, all or none; durable when it returns."""
        with self._changing():
            for look in looks:
                self._db.execute("INSERT OR REPLACE INTO photos VALUES (?)", (look.sha256,))
                self._db.executemany(
                    "INSERT INTO faces (sha256, number, box, quality, row) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET box = excluded.box, quality = excluded.quality, row = excluded.row",
                    (
                        (look.sha256, i, look.boxes[i].tobytes(), float(look.quality[i]), look.rows[i].tobytes())
                        for i in range(len(look.rows))
                    ),
                )

    def drop_others(self, digests: Iterable[str]) -> None:
        """Forget all photos but these."""
        with self._changing():
            self._db.execute("CREATE TEMP TABLE kept (sha256 TEXT PRIMARY KEY) WITHOUT ROWID")
            self._db.executemany("INSERT INTO kept VALUES (?)", ((d,) for d in set(digests)))
            for table in ("files", "photos", "faces"):
                self._db.execute(f"DELETE FROM {table} WHERE sha256 NOT IN (SELECT sha256 FROM kept)")  # noqa: S608
            self._db.execute("DROP TABLE kept")

    # --- faces and groups -----------------------------------------------------------------------------------------------

    def faces(self, digests: Sequence[str] | None = None) -> tuple[AlbumFaces, Groups | None]:
        """The faces of these photos, or of all, and the groups that they were put into last, if ever.

        Raises:
            AlbumError: rows of another length than the model's.
        """
        with self._told():
            table: dict[str, list[tuple[int, bytes, float, bytes, int, float]]] = {}
            for digest, *face in self._db.execute(
                "SELECT sha256, number, box, quality, row, label, confidence FROM faces ORDER BY sha256, number"
            ):
                table.setdefault(digest, []).append(tuple(face))
        order = sorted(table) if digests is None else digests
        found = [(place, digest, *face) for place, digest in enumerate(order) for face in table.get(digest, ())]
        n = len(found)
        if any(len(f[5]) != 4 * self._dimension or len(f[3]) != 16 for f in found):
            raise AlbumError(
                f"{self._path} is damaged: rows have another length; remove it, and the album is made anew"
            )
        faces = AlbumFaces(
            tuple(face_id(f[1], f[2]) for f in found),
            np.array([f[0] for f in found], dtype=np.intp),
            np.frombuffer(b"".join(f[3] for f in found), dtype=np.float32).reshape(n, 4),
            np.array([f[4] for f in found], dtype=np.float32),
            np.frombuffer(b"".join(f[5] for f in found), dtype=np.float32).reshape(n, self._dimension),
        )
        method, threshold, start = (self.fact(name) for name in ("method", "threshold", "next_label"))
        if method is None or threshold is None or start is None:
            return faces, None
        labels = np.array([f[6] for f in found], dtype=np.int64)
        confidences = np.array([f[7] for f in found], dtype=np.float32)
        return faces, Groups(labels, confidences, method, float(threshold), int(start))

    def keep_groups(self, digests: Sequence[str], faces: AlbumFaces, groups: Groups) -> None:
        """Keep the groups of faces that `faces` gave for these photos."""
        numbers = [int(face.rpartition("-")[2]) for face in faces.ids]
        places = zip(groups.labels.tolist(), groups.confidences.tolist(), faces.photos.tolist(), numbers, strict=True)
        with self._changing():
            self._db.execute("UPDATE faces SET label = -1, confidence = 0")
            self._db.executemany(
                "UPDATE faces SET label = ?, confidence = ? WHERE sha256 = ? AND number = ?",
                ((label, sure, digests[photo], number) for label, sure, photo, number in places),
            )
            facts = {"method": groups.method, "threshold": repr(groups.threshold), "next_label": str(groups.next_label)}
            for name, value in facts.items():
                self._set(name, value)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction."""
        with self._told():
            self._db.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _prepare_folder(folder: Path) -> None:
    """Make the folder, and in it the file, which nobody else can read.

    Raises:
        AlbumError: there is a folder with other things in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MARK).exists():
        others = [entry.name for entry in folder.iterdir()]
        if others and DECISIONS not in others:
            raise AlbumError(
                f"{folder} holds {others[0]!r} and is no album; name an empty folder, or one that does not exist yet"
            )
        os.close(os.open(folder / MARK, os.O_CREAT | os.O_RDWR, 0o600))
