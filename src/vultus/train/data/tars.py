"""Tar files in the layout of webdataset: neighbouring members of one name with different endings are one photo.

    000000.webp   the picture: jpg, jpeg, png or webp
    000000.json   {"label": 3, "identity": "ada", "crc32": 123456}; or 000000.cls with the label as text

The tars are never unpacked. Where each picture lies in them is found out once, by going from header to header, and kept
in a file beside each tar; after that photos are read in any order, as from other data sets. For disks that are slow at
that, `samplers.Batches` with a window reads neighbours together.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import DatasetError, ShardCorrupt, SourceUnavailable
from vultus.train.data.aside import Table, remembered
from vultus.train.data.codec import SUFFIX, Encoding, encode
from vultus.train.data.dataset import Dataset
from vultus.train.data.files import folder, replaced
from vultus.train.data.records import Places, Records

_PICTURES = ("jpg", "jpeg", "png", "webp")
_SMALL = 65_536
_BLOCK = tarfile.BLOCKSIZE
_COLUMNS: dict[str, type[np.generic]] = {
    "offset": np.int64,
    "length": np.int64,
    "crc": np.int64,
    "label": np.int64,
    "identity": np.str_,
}


@export("vultus.train.data.Tars")
class Tars(Records):
    """Photos in tar files.

    Args:
        path: one .tar file, or a folder of them, taken in the order of their names.

    Raises:
        SourceUnavailable: nothing is there.
        ShardCorrupt: a tar is damaged or cut off, or a photo in it has no usable label; names the file.
        DatasetError: fewer than two identities.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        files = tuple(sorted(given.glob("*.tar"))) if given.is_dir() else (given,)
        if not files:
            raise SourceUnavailable(f"{str(given)!r} holds no .tar file")
        tables = [remembered(file, tuple(_COLUMNS), _table) for file in files]
        column = {name: np.concatenate([t[name] for t in tables]) for name in _COLUMNS}
        names, numbers = _identities(column["label"], column["identity"], str(given))
        places = Places(
            np.repeat(np.arange(len(files), dtype=np.int32), [len(t["label"]) for t in tables]),
            column["offset"],
            column["length"],
            column["crc"],
        )
        super().__init__(files, places, numbers, names, name=str(given))


@export("vultus.train.data.write_tars")
def write_tars(
    dataset: Dataset,
    root: str | os.PathLike[str],
    *,
    encoding: Encoding = "webp",
    photos: int = 10_000,
    order: Iterable[int] | None = None,
) -> list[Path]:
    """Write a data set as tar files that webdataset and `Tars` read.

    Args:
        dataset: the photos.
        root: folder for `shard-000000.tar` and so on, made where it is missing.
        encoding: of the pictures; not "raw", which webdataset cannot read.
        photos: in one tar.
        order: of the photos, for example random for readers that go through tars from front to back; as they are in the
            data set unless told otherwise.

    Returns:
        the files.

    Raises:
        DatasetError: something cannot be written, or the encoding is "raw".
    """
    if encoding == "raw":
        raise DatasetError(
            "tars hold pictures that say themselves what they are; use 'webp', 'png' or 'jpeg', not 'raw'"
        )
    target = folder(Path(root))
    remaining = iter(range(len(dataset)) if order is None else order)
    files: list[Path] = []
    done = 0
    while batch := list(islice(remaining, photos)):
        path = target / f"shard-{len(files):06d}.tar"
        with replaced(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for i in batch:
                for suffix, content in _members(dataset, i, encoding):
                    member = tarfile.TarInfo(f"{done:09d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                done += 1
        files.append(path)
    return files


def _members(dataset: Dataset, index: int, encoding: Encoding) -> Iterator[tuple[str, bytes]]:
    if isinstance(dataset, Records) and dataset.encoding == encoding:
        content = dataset.content(index)
    else:
        content = encode(dataset.pixels(index), encoding)
    label = int(dataset.labels[index])
    about = {"label": label, "identity": dataset.classes[label], "crc32": zlib.crc32(content)}
    yield SUFFIX[encoding], content
    yield "json", json.dumps(about).encode()


def _identities(
    labels: npt.NDArray[np.int64], identities: npt.NDArray[np.str_], where: str
) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
    """Names and numbers of the identities: by label where there are labels, else by name."""
    if (labels >= 0).all():
        known, first, numbers = np.unique(labels, return_index=True, return_inverse=True)
        names = tuple(str(identities[i]) or str(label) for label, i in zip(known, first, strict=True))
        return names, numbers
    if (labels < 0).all():
        names_found, numbers = np.unique(identities, return_inverse=True)
        return tuple(str(n) for n in names_found), numbers
    raise ShardCorrupt(f"{where}: some photos have labels and others only names of identities; write the tars alike")


def _table(file: Path, size: int) -> Table:
    rows = list(_scanned(file, size))
    return {name: np.array([row[i] for row in rows], dtype=kind) for i, (name, kind) in enumerate(_COLUMNS.items())}


def _scanned(file: Path, size: int) -> Iterator[tuple[int, int, int, int, str]]:
    """Offset, length, CRC-32 or -1, label or -1, and identity of each photo in a tar."""
    key = ""
    parts: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(file, mode="r:") as tar:
            for member in tar:
                if not member.isreg() or member.issparse():
                    continue
                if member.offset_data + member.size > size:
                    raise ShardCorrupt(f"{str(file)!r} is cut off in {member.name!r}; copy it again")
                stem, _, suffix = member.name.rpartition("/")[2].partition(".")
                stem = member.name.rpartition("/")[0] + "/" + stem
                if stem != key and parts:
                    yield _photo(file, tar, key, parts)
                    parts = {}
                key = stem
                parts[suffix.lower()] = member
            if parts:
                yield _photo(file, tar, key, parts)
            with file.open("rb") as end:
                end.seek(tar.offset)
                if end.read(_BLOCK) != bytes(_BLOCK):
                    raise ShardCorrupt(f"{str(file)!r} has no end mark: it is cut off; copy it again")
    except (tarfile.TarError, OSError) as problem:
        raise ShardCorrupt(f"{str(file)!r} cannot be read as a plain tar: {problem}") from problem


def _photo(
    file: Path, tar: tarfile.TarFile, key: str, parts: dict[str, tarfile.TarInfo]
) -> tuple[int, int, int, int, str]:
    pictures = [parts[s] for s in _PICTURES if s in parts]
    about = parts.get("json") or parts.get("cls")
    if len(pictures) != 1 or about is None or about.size > _SMALL:
        raise ShardCorrupt(
            f"{str(file)!r}: {key!r} has the members {', '.join(sorted(parts))}; expected one picture "
            f"({', '.join(_PICTURES)}) and its label (json or cls)"
        )
    reader = tar.extractfile(about)
    text = reader.read() if reader is not None else b""
    try:
        said = json.loads(text)
        table = said if isinstance(said, dict) else {"label": said}
        label, crc, identity = (table.get(k, d) for k, d in (("label", -1), ("crc32", -1), ("identity", "")))
        if (
            type(label) is not int
            or type(crc) is not int
            or not isinstance(identity, str)
            or (label < 0 and not identity)
        ):
            raise ValueError(f"it says {text[:80]!r}")
    except ValueError as problem:
        raise ShardCorrupt(f"{str(file)!r}: the label of {key!r} cannot be read: {problem}") from problem
    return pictures[0].offset_data, pictures[0].size, crc, label, identity
