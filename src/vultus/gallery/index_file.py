"""The rows of an index in a file beside the store: mapped rather than read, checked, and never the only copy.

A header names the gallery and the operation up to which the file is current. Each row has a checksum of its own, so
that rows can be checked when they are first used, and erased in place when their template is deleted.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vultus.gallery.reads import Batch, Int64Array
from vultus.gallery.rows import BLOCK, GONE
from vultus.types import FloatArray, IntArray

_MAGIC = b"vultusIX"
_VERSION = 1
_ROWS_AT = 4096
_ALIGN = 4096
_CHUNK = 1 << 20
_AROUND = 1 << 16  # what Linux maps around a page that is used
RESIDENT = 2 << 30
UInt32Array = npt.NDArray[np.uint32]
Section = npt.NDArray[Any]


class Damaged(Exception):
    """A row in the file is not what was written; the index is made anew then, and no user sees this."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index is derived from: a gallery, and the last operation that it contains.

    Args:
        identity: of the gallery.
        dimension: numbers in a row.
        revision: of the store.
        token: random number of that operation, which two histories do not share.
    """

    identity: str
    dimension: int
    revision: int
    token: int


class FileBase:
    """Rows in a file, mapped; each block is checked when it is first used.

    Pages that were read count as memory of this process for as long as they are mapped. What may have become more than
    `resident` bytes is let go; the system keeps the pages it can spare, and maps them again when they are used.

    Args:
        mapped: the file.
        rows: (n, d) float32 in it.
        checks: (n,) checksum of each row.
        resident: bytes.
    """

    def __init__(self, mapped: mmap.mmap, rows: FloatArray, checks: UInt32Array, *, resident: int = RESIDENT) -> None:
        self._mapped = mapped
        self._resident = resident
        self._touched = 0
        self._rows = rows
        self._checks = checks
        self._checked = np.zeros(-(-len(rows) // BLOCK), dtype=np.bool_)
        self._all_checked = False

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, start: int, stop: int, subjects: Int64Array) -> FloatArray:
        """Rows [start, stop), with start at the beginning of a block.

        Raises:
            Damaged: a row in use is not what was written, or one that is not in use is neither that nor erased.
        """
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            if not self._checked[block]:
                self._check(block, subjects)
        self._touch(self._rows.itemsize * self._rows.shape[1] * (stop - start))
        return self._rows[start:stop]

    def take(self, places: IntArray, subjects: Int64Array) -> FloatArray:
        """Rows at ascending places.

        Raises:
            Damaged: as for `part`.
        """
        if not self._all_checked:
            blocks = places // BLOCK
            for block in np.unique(blocks[~self._checked[blocks]]).tolist():
                self._check(block, subjects)
        self._touch(_AROUND * len(places))
        return self._rows[places]

    def _touch(self, size: int) -> None:
        """Count bytes that are about to be mapped, and let everything go where they may be too many."""
        if self._rows.nbytes <= self._resident:
            return
        self._touched += size
        if self._touched > self._resident and hasattr(mmap, "MADV_DONTNEED"):
            self._touched = size
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def _check(self, block: int, subjects: Int64Array) -> None:
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        rows = self._rows[part]
        self._touch(rows.nbytes)
        wrong = np.flatnonzero(row_checks(rows) != self._checks[part])
        if len(wrong) and ((subjects[part][wrong] != GONE).any() or rows[wrong].any()):
            raise Damaged(f"rows {part.start + wrong[0]} and others")
        self._checked[block] = True
        self._all_checked = bool(self._checked.all())


@dataclass(frozen=True, slots=True, eq=False)
class IndexFile:
    """An index that was read: the rows, what is known of each, the revision, and further sections by name."""

    base: FileBase
    batch: Batch
    stamp: Stamp
    sections: dict[str, Section]


def row_checks(rows: FloatArray) -> UInt32Array:
    """(n,) checksum of each row: its words times distinct odd numbers, summed modulo 2^32; one wrong word always shows."""
    checks: UInt32Array = np.einsum("ij,j->i", rows.view(np.uint32), _odd(0, rows.shape[1]))
    return checks


def content_check(content: bytes | memoryview) -> int:
    """The same checksum of any content as one long row; it can be corrected where a few bytes change."""
    words = np.frombuffer(bytes(content) + bytes(-len(content) % 4) if len(content) % 4 else content, dtype="<u4")
    total = 0
    for first in range(0, len(words), _CHUNK):
        part = words[first : first + _CHUNK]
        total += int(np.einsum("i,i->", part, _odd(first, len(part))))
    return total % (1 << 32)


def _odd(first: int, count: int) -> UInt32Array:
    numbers: UInt32Array = (
        np.arange(first + 1, first + count + 1, dtype=np.uint32) * np.uint32(2_654_435_761)
    ) | np.uint32(1)
    return numbers


def write_index(
    path: Path,
    stamp: Stamp,
    batches: Iterable[Batch],
    *,
    settled: Callable[[], AbstractContextManager[Int64Array]],
    encode: Callable[[FloatArray], None] | None = None,
    sections: Callable[[], dict[str, Section]] = dict,
) -> None:
    """Write an index file; it comes into being whole, or the old one stays.

    Args:
        path: the file.
        stamp: what the batches are derived from.
        batches: all rows in use, ascending.
        settled: gives the numbers of templates that were deleted meanwhile, and keeps others from being deleted until
            the block ends. Their rows are erased before the file takes its place.
        encode: is given each batch's rows.
        sections: gives further arrays to keep, after the last batch.

    Raises:
        OSError: there is no room, or the folder cannot be written.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w+b") as out:
            out.seek(_ROWS_AT)
            none = np.zeros(0, dtype=np.int64)  # where every template is blank there is no batch
            parts: list[tuple[Int64Array, Int64Array, Int64Array, UInt32Array]] = [
                (none, none, none, none.astype(np.uint32))
            ]
            for batch in batches:
                rows = np.ascontiguousarray(batch.rows, dtype="<f4")
                out.write(rows.data)
                parts.append((batch.numbers, batch.subjects, batch.expires, row_checks(rows)))
                if encode is not None:
                    encode(rows)
            names = ("numbers", "subjects", "expires", "checks")
            arrays = dict(zip(names, (np.concatenate(column) for column in zip(*parts, strict=True)), strict=True))
            _write_rest(out, stamp, arrays | sections())
            with settled() as removed:
                _erase(out, removed)
                out.flush()
                Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_rest(out: IO[bytes], stamp: Stamp, arrays: dict[str, Section]) -> None:
    """The arrays behind the rows, and the header before them."""
    index: dict[str, Any] = {}
    for name, array in arrays.items():
        place = -(-out.tell() // _ALIGN) * _ALIGN
        content = np.ascontiguousarray(array)
        out.seek(place)
        out.write(content.data)
        index[name] = [place, content.dtype.str, list(content.shape), content_check(content.data.cast("B"))]
    _write_header(out, stamp, len(arrays["numbers"]), index)


def _write_header(out: IO[bytes], stamp: Stamp, count: int, sections: dict[str, Any]) -> None:
    facts = [stamp.identity, stamp.dimension, stamp.revision, stamp.token, count]
    header = json.dumps({"facts": facts, "sections": sections}).encode()
    content = _MAGIC + np.array([_VERSION, len(header), zlib.crc32(header)], dtype="<u4").tobytes() + header
    if len(content) > _ROWS_AT:
        raise ValueError(f"a header of {len(content)} bytes; expected at most {_ROWS_AT}")
    out.seek(0)
    out.write(content.ljust(_ROWS_AT, b"\0"))


def read_index(path: Path) -> IndexFile | None:
    """Map an index file; None where there is none, or where anything about it is wrong."""
    try:
        with path.open("rb") as file:
            header = _header(file)
            if header is None:
                return None
            stamp, count, index = header
            arrays = {name: _section(file, entry) for name, entry in index.items()}
            if any(array is None or len(array) != count for array in (arrays.get(n) for n in _NAMES)):
                return None
            if os.fstat(file.fileno()).st_size < _ROWS_AT + 4 * count * stamp.dimension:
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    kept = {name: array for name, array in arrays.items() if array is not None}
    rows: FloatArray = np.frombuffer(mapped, dtype="<f4", count=count * stamp.dimension, offset=_ROWS_AT)
    rows = rows.reshape(count, stamp.dimension)
    batch = Batch(kept["numbers"], kept["subjects"], kept["expires"], rows[:0])
    return IndexFile(FileBase(mapped, rows, kept["checks"]), batch, stamp, kept)


_NAMES = ("numbers", "subjects", "expires", "checks")


def _header(file: IO[bytes]) -> tuple[Stamp, int, dict[str, Any]] | None:
    start = file.read(_ROWS_AT)
    if start[:8] != _MAGIC or len(start) < 20:
        return None
    version, length, check = (int(v) for v in np.frombuffer(start[8:20], dtype="<u4"))
    if version != _VERSION or zlib.crc32(start[20 : 20 + length]) != check:
        return None
    header = json.loads(start[20 : 20 + length])
    *facts, count = header["facts"]
    return Stamp(*facts), count, header["sections"]


def _section(file: IO[bytes], entry: list[Any]) -> Section | None:
    place, kind, shape, check = entry
    dtype = np.dtype(kind)
    file.seek(place)
    content = file.read(int(np.prod(shape)) * dtype.itemsize)
    if content_check(content) != check:
        return None
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def erase_rows(path: Path, numbers: Int64Array) -> bool:
    """Write zeros over the rows of deleted templates, and wait until they are on the disk.

    A file that cannot be understood, or of which much is to be erased, is removed.

    Returns:
        whether no row of these templates is left.
    """
    try:
        with path.open("r+b") as file:
            header = _header(file)
            if header is not None and len(numbers) <= max(64, header[1] // 4):
                if _erase(file, numbers):
                    file.flush()
                    os.fsync(file.fileno())
                return True
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


def _erase(file: IO[bytes], numbers: Int64Array) -> bool:
    """Write zeros over rows that are not zero yet, and over their codes; whether there were any.

    Raises:
        ValueError: the file cannot be understood.
    """
    file.seek(0)
    header = _header(file)
    known = None if header is None else _section(file, header[2]["numbers"])
    if header is None or known is None:
        raise ValueError("no index")
    stamp, count, sections = header
    size = 4 * stamp.dimension
    places = np.searchsorted(known, numbers)
    places = np.unique(places[places < count])
    changed = []
    for place in places[np.isin(known[places], numbers)].tolist():
        file.seek(_ROWS_AT + size * place)
        if any(file.read(size)):
            file.seek(_ROWS_AT + size * place)
            file.write(bytes(size))
            changed.append(place)
    if changed and "codes" in sections:
        _erase_codes(file, sections, changed)
        _write_header(file, stamp, count, sections)
    return bool(changed)


def _erase_codes(file: IO[bytes], sections: dict[str, Any], places: list[int]) -> None:
    """Clear the codes of rows, and correct the checksum of the section that holds them."""
    masks = _section(file, sections["code_masks"])
    if masks is None:
        raise ValueError("no masks")
    entry, size = sections["codes"], masks.shape[1]
    for place in places:
        offset = place // len(masks) * size
        file.seek(entry[0] + offset)
        before = np.frombuffer(file.read(size), dtype=np.uint8)
        after = before & ~masks[place % len(masks)]
        file.seek(entry[0] + offset)
        file.write(after.tobytes())
        difference = after.view("<u4") - before.view("<u4")
        entry[3] = (entry[3] + int(np.einsum("i,i->", difference, _odd(offset // 4, size // 4)))) % (1 << 32)
