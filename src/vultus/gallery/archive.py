"""A gallery in one file for backups and moves: a zip of JSON and one array, of which nothing is run when it is read.

Members, all of them needed and no others taken: `gallery.json` (format, model, counts, sha256 of the other two),
`subjects.jsonl` (a subject a line, in the order of enrolment) and `rows.npy` (their vectors, in the order of the lines).
Nothing is unpacked to the disk, so the name of a member is only ever compared.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from vultus.errors import (
    ArchiveRefused,
    GalleryFull,
    GalleryUnavailable,
    ModelMismatch,
    SourceUnavailable,
    VultusError,
)
from vultus.gallery.archive_lines import line_of, subject_of
from vultus.gallery.engine import Changing, Engine, Snapshot
from vultus.types import SearchThreshold

FORMAT, VERSION = "vultus-gallery", 1
MAX_BYTES = 1 << 36
_HEAD, _LINES, _ROWS = "gallery.json", "subjects.jsonl", "rows.npy"
_MOST_HEAD = 1 << 20
_MOST_LINE = 1 << 24
_MOST_RATIO = 200


def export_archive(engine: Engine, path: Path) -> int:
    """Write one snapshot of a gallery; the file comes into being whole or not at all. Returns how many subjects.

    Raises:
        GalleryFull, GalleryUnavailable: the archive cannot be written.
        GalleryError: the gallery cannot be read.
    """
    with _file_errors(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out, engine.reading() as reads:
                with zipfile.ZipFile(out, "w") as archive:
                    subjects = _write_members(archive, reads, engine.model_id)
                out.flush()
                os.fsync(out.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return subjects


def _write_members(archive: zipfile.ZipFile, reads: Snapshot, model_id: str) -> int:
    subjects = rows = 0
    lines_hash, rows_hash = hashlib.sha256(), hashlib.sha256()
    with archive.open(_member(_LINES, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as out:
        for id_, name, created, templates in reads.everything():
            line = line_of(id_, name, created, templates)
            lines_hash.update(line)
            out.write(line)
            subjects += 1
            rows += sum(t.vector is not None for t in templates)
    with archive.open(_member(_ROWS, zipfile.ZIP_STORED), "w", force_zip64=True) as out:
        dimension = reads.dimension() or 0
        head = io.BytesIO()
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
        np.lib.format.write_array_header_1_0(head, shape)
        for content in chain([head.getvalue()], _vectors(reads)):
            rows_hash.update(content)
            out.write(content)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "model_id": model_id,
        "dimension": dimension,
        "subjects": subjects,
        "rows": rows,
        "sha256": {_LINES: lines_hash.hexdigest(), _ROWS: rows_hash.hexdigest()},
        "search_thresholds": [asdict(t) for t in reads.search_thresholds()],
    }
    archive.writestr(_member(_HEAD, zipfile.ZIP_STORED), json.dumps(facts, indent=2, allow_nan=False))
    return subjects


def _vectors(reads: Snapshot) -> Iterator[bytes]:
    for _, _, _, templates in reads.everything():
        yield from (t.vector.astype("<f4").tobytes() for t in templates if t.vector is not None)


def archive_model(path: Path) -> str:
    """The model that the templates of an archive are of.

    Raises:
        ArchiveRefused, SourceUnavailable: it is no archive of a gallery, or cannot be read.
    """
    with _opened(path, MAX_BYTES) as archive:
        return str(_facts(archive)["model_id"])


def import_archive(engine: Engine, path: Path, *, max_bytes: int = MAX_BYTES) -> int:
    """Enrol everything in an archive in one transaction, or nothing. Returns how many subjects.

    Raises:
        ArchiveRefused: it is damaged, unsafe or too large.
        SourceUnavailable: it cannot be read.
        ModelMismatch: it is of another model.
        SubjectExists: a subject is enrolled already.
        GalleryError: the gallery cannot be written.
    """
    with _opened(path, max_bytes) as archive:
        facts = _facts(archive)
        if facts["model_id"] != engine.model_id:
            raise ModelMismatch(
                f"archive {path} holds templates of {facts['model_id']!r}, the gallery those of {engine.model_id!r}"
            )
        return engine.write(lambda writes: _enrol_all(writes, archive, facts))


def _enrol_all(writes: Changing, archive: zipfile.ZipFile, facts: dict[str, Any]) -> int:
    subjects = 0
    with archive.open(_LINES) as lines_file, archive.open(_ROWS) as rows_file:
        lines, rows = _Hashed(lines_file), _Hashed(rows_file)
        take = _rows_of(rows, facts)
        while line := lines.line():
            id_, name, created, templates = subject_of(line, take)
            writes.enrol(id_, templates, name=name, request=None, created=created)
            subjects += 1
        if subjects != facts["subjects"] or rows.read(1):
            raise ArchiveRefused(f"the archive holds {subjects} subjects and other rows than it says; it is damaged")
        for name, member in ((_LINES, lines), (_ROWS, rows)):
            if member.hash.hexdigest() != facts["sha256"][name]:
                raise ArchiveRefused(f"{name} in the archive is not what was written; the archive is damaged")
    for record in facts["search_thresholds"]:
        writes.set_search_threshold(SearchThreshold(**record))
    return subjects


class _Hashed:
    """Reads a member and hashes what it reads."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        content = self._member.read(size)
        self.hash.update(content)
        return content

    def line(self) -> bytes:
        content = self._member.readline(_MOST_LINE)
        if content and not content.endswith(b"\n"):
            raise ArchiveRefused(f"a line of more than {_MOST_LINE:,} bytes, or without its end, in {_LINES}")
        self.hash.update(content)
        return content


def _rows_of(member: _Hashed, facts: dict[str, Any]) -> Callable[[], bytes]:
    """A function that gives the bytes of the next row, checked."""
    try:
        if np.lib.format.read_magic(member) != (1, 0):  # type: ignore[arg-type]
            raise ArchiveRefused(f"{_ROWS} is of another version of NumPy's format; expected 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)  # type: ignore[arg-type]
    except ValueError as problem:
        raise ArchiveRefused(f"{_ROWS} in the archive is refused: {problem}") from problem
    if shape != (facts["rows"], facts["dimension"]) or fortran or dtype != np.dtype("<f4"):
        raise ArchiveRefused(f"{_ROWS} holds {dtype} of shape {shape}; expected float32 rows as {_HEAD} states them")
    size = 4 * shape[1]

    def take() -> bytes:
        row = member.read(size)
        length = float(np.linalg.norm(np.frombuffer(row, dtype="<f4").astype(np.float64))) if len(row) == size else 0.0
        if not abs(length - 1) <= 1e-3:
            raise ArchiveRefused(f"{_ROWS} ends early or holds a row of length {length:.6g}; expected 1")
        return row

    return take


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[zipfile.ZipFile]:
    """An archive whose members are exactly those that are expected, and not too large."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist(), max_bytes)
            yield archive
    except VultusError:
        raise
    except OSError as problem:
        if problem.errno != errno.EINVAL:  # which is what a member at an impossible place gives
            raise SourceUnavailable(f"cannot read the archive {path}: {problem}") from problem
        raise ArchiveRefused(f"{path} is damaged: {problem}") from problem
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError) as problem:
        raise ArchiveRefused(f"{path} is no archive of a gallery, or damaged: {problem}") from problem


def _check_members(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    names = sorted(m.filename for m in members)
    if names != sorted([_HEAD, _LINES, _ROWS]):
        shown = ", ".join(repr(n[:80]) for n in names[:5])
        raise ArchiveRefused(f"an archive with the members {shown}; expected {_HEAD}, {_LINES} and {_ROWS} alone")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise ArchiveRefused(f"{member.filename} in the archive is a link, a device or encrypted; expected a file")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveRefused(f"{member.filename} in the archive is packed in a way that is not read")
        if member.file_size > max(_MOST_RATIO * member.compress_size, 1 << 16):
            raise ArchiveRefused(f"{member.filename} in the archive unpacks to more than {_MOST_RATIO} times its size")
    total = sum(m.file_size for m in members)
    if total > max_bytes:
        raise ArchiveRefused(f"an archive that unpacks to {total:,} bytes; at most {max_bytes:,} were allowed")


def _facts(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The head of an archive, every entry checked."""
    if archive.getinfo(_HEAD).file_size > _MOST_HEAD:
        raise ArchiveRefused(f"{_HEAD} in the archive has more than {_MOST_HEAD:,} bytes")
    try:
        facts = json.loads(archive.read(_HEAD))
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise ArchiveRefused(f"{_HEAD} does not say that this is a {FORMAT}")
        if facts.get("version") != VERSION:
            raise ArchiveRefused(f"an archive of version {facts.get('version')!r}; this vultus reads version {VERSION}")
        kinds = {
            "model_id": str,
            "dimension": int,
            "subjects": int,
            "rows": int,
            "sha256": dict,
            "search_thresholds": list,
        }
        for key, kind in kinds.items():
            if type(facts.get(key)) is not kind:
                raise ArchiveRefused(f"{key} in {_HEAD} is {facts.get(key)!r}; expected {kind.__name__}")
        for record in facts["search_thresholds"]:
            SearchThreshold(**record)
        if facts["sha256"].keys() != {_LINES, _ROWS}:
            raise ArchiveRefused(f"{_HEAD} does not name the sha256 of {_LINES} and {_ROWS}")
    except (ValueError, TypeError, RecursionError) as problem:
        if isinstance(problem, ArchiveRefused):
            raise
        raise ArchiveRefused(f"{_HEAD} in the archive is refused: {problem}") from problem
    return facts


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = compression
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    return info


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        kind = GalleryFull if problem.errno in {errno.ENOSPC, errno.EDQUOT} else GalleryUnavailable
        raise kind(f"the archive {path} cannot be written: {problem}; there is no new file") from problem
