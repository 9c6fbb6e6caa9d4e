"""MXNet RecordIO (.rec with .idx) as insightface packs its sets, read without mxnet.

A record is one or more parts: the magic number, a word whose upper 3 bits say where in a record the part stands (0 alone,
1 first, 2 middle, 3 last) and whose lower 29 bits give its length, the bytes, zeros up to a multiple of 4. Parts are joined
with the magic number between them, for that is what they were cut at. A photo's record begins with flag (uint32), label
(float32), id and id2 (uint64), then `flag` further labels (float32), of which the first counts, then the picture.

Record 0 may hold no photo but two labels: the photos have the keys from 1 to below the first, and the keys from there to
below the second are of records that hold the photos' ranges. Without it every record is a photo.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import ShardCorrupt
from vultus.train.data.aside import Table, remembered
from vultus.train.data.files import OpenFiles
from vultus.train.data.records import Places, Records

_MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<IfQQ")
_PEEK = 8 + _HEADER.size + 8  # a part's head, a photo's header and two labels
_ALONE, _FIRST, _MIDDLE, _LAST = range(4)
_COLUMNS = ("offset", "length", "label", "key")


@export("vultus.train.data.RecordIO")
class RecordIO(Records):
    """Photos of a .rec file. Opening reads the head of every record once; what it finds is kept in a file beside it.

    Args:
        path: the .rec file, or the folder with train.rec. Keys come from the .idx file beside it; where there is none,
            records are counted from 0.

    Raises:
        SourceUnavailable: the file is not there.
        ShardCorrupt: it is damaged or cut off; names the record.
        DatasetError: fewer than two identities.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        file = given / "train.rec" if given.is_dir() else given
        table = remembered(file, _COLUMNS, _scanned)
        labels, numbers = np.unique(table["label"], return_inverse=True)
        places = Places(np.zeros(len(numbers), dtype=np.int32), table["offset"], table["length"])
        names = tuple(str(int(label)) for label in labels)
        super().__init__((file,), places, numbers, names, name=str(file))
        self.keys = table["key"]

    def content(self, index: int) -> bytes:
        """See `Records`."""
        return _picture(joined(super().content(index), self.title(index)), self.title(index))

    def title(self, index: int) -> str:
        """The file and the key of the photo's record, for messages."""
        return f"{self.files.paths[0]}, record {self.keys[self.place(index)]}"


def joined(raw: bytes, name: str) -> bytes:
    """The bytes of a record from its parts.

    Args:
        raw: the parts with their heads and padding.
        name: how messages call the record.

    Raises:
        ShardCorrupt: the parts are not those of one record.
    """
    parts: list[bytes] = []
    start, last = 0, False
    while start < len(raw):
        kind, length = _head(raw[start : start + 8], name)
        stop = start + 8 + length
        if stop > len(raw) or last or (kind in (_ALONE, _FIRST)) != (start == 0):
            raise ShardCorrupt(f"{name}: its parts do not fit together; copy the file again")
        parts.append(raw[start + 8 : stop])
        start, last = stop + -length % 4, kind in (_ALONE, _LAST)
    if not last:
        raise ShardCorrupt(f"{name}: its last part is missing; copy the file again")
    return _MAGIC.join(parts)


def _picture(record: bytes, name: str) -> bytes:
    if len(record) < _HEADER.size:
        raise ShardCorrupt(f"{name}: {len(record)} bytes are too few for the header of a photo")
    flag = _HEADER.unpack_from(record)[0]
    return record[_HEADER.size + 4 * flag :]


def _head(head: bytes, name: str) -> tuple[int, int]:
    """Kind and length of a part."""
    if len(head) < 8 or head[:4] != _MAGIC:
        raise ShardCorrupt(f"{name}: no record begins here; copy the file again, or make its .idx anew")
    word = int.from_bytes(head[4:8], "little")
    return word >> 29, word & ((1 << 29) - 1)


def _scanned(file: Path, size: int) -> Table:
    """Offset, length and label of each photo, by reading the head of every record."""
    source = OpenFiles((file,))
    known = _keys(file)
    rows: dict[int, tuple[int, int, float, int]] = {}
    ranges: tuple[float, float] | None = None
    todo = iter(known.items()) if known is not None else None
    key, offset = next(todo, (0, size)) if todo else (0, 0)
    while offset < size:
        name = f"{file}, record {key}"
        peek = source.read(0, offset, _PEEK)
        kind, length = _head(peek, name)
        stop = _end(source, offset, kind, length, size, name)
        if length < _HEADER.size:
            raise ShardCorrupt(f"{name}: {length} bytes are too few for the header of a photo")
        flag, label = _HEADER.unpack_from(peek, 8)[:2]
        extra = struct.unpack_from("<2f", peek.ljust(_PEEK, b"\0"), 8 + _HEADER.size)
        if flag and key == 0:
            ranges = extra
        rows[key] = (offset, stop - offset, extra[0] if flag else label, key)
        key, offset = next(todo, (0, size)) if todo else (key + 1, stop)
    photos = [k for k in rows if ranges is None or 1 <= k < ranges[0]]
    if ranges is not None and len(photos) != int(ranges[0]) - 1:
        raise ShardCorrupt(f"{file} holds {len(photos)} of the {int(ranges[0]) - 1} photos that its record 0 tells of")
    found = np.array([rows[k] for k in photos], dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(found).all():
        raise ShardCorrupt(f"{file} has labels that are no numbers")
    return {name: found[:, i].astype(np.int64) for i, name in enumerate(_COLUMNS)}


def _end(source: OpenFiles, offset: int, kind: int, length: int, size: int, name: str) -> int:
    """Where the record ends that begins at an offset, all its parts and padding included."""
    if kind not in (_ALONE, _FIRST):
        raise ShardCorrupt(f"{name}: begins in the middle of a record; make the .idx file anew")
    stop = offset + 8 + length
    while kind not in (_ALONE, _LAST):
        stop += -stop % 4
        kind, length = _head(source.read(0, stop, 8), name)
        stop += 8 + length
    if stop > size:
        raise ShardCorrupt(f"{name}: the file ends before the record does; copy it again")
    return min(stop + -stop % 4, size)


def _keys(file: Path) -> dict[int, int] | None:
    """Offset by key, in the order of the .idx file; None where there is none."""
    path = file.with_suffix(".idx")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        keys = {int(key): int(offset) for key, offset in (line.split("\t") for line in lines if line.strip())}
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise ShardCorrupt(f"{str(path)!r} is no index of records: {problem}") from problem
    return keys
