"""Prepared shards: aligned faces in a few large files, with an index, a CRC for each photo and a manifest for the whole.

    manifest.json       what the photos are, how they were aligned, the identities, and the sha256 of each file below
    shard-00000.bin     encoded photos, one directly after the other
    shard-00000.npy     for each photo: offset, length, CRC-32, label
    ...

The manifest is written last: a folder without one is no data set.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.align import ALIGNMENT
from vultus.errors import ShardCorrupt
from vultus.tables import from_table
from vultus.train.data.codec import Encoding
from vultus.train.data.files import folder, replaced, sha256, write
from vultus.train.data.records import Places, Records

MANIFEST = "manifest.json"
_FORMAT = "vultus-faces/1"
_INDEX = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc", "<u4"), ("label", "<i4")])


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of photos.

    Args:
        name: of its two files, without their endings.
        photos: how many.
        bytes: of the photos together.
        sha256: of the photos' file.
        index: sha256 of the index.
    """

    name: str
    photos: int
    bytes: int
    sha256: str
    index: str


@export("vultus.train.data.ShardManifest")
@dataclass(frozen=True, slots=True)
class ShardManifest:
    """What a folder of prepared shards says of itself.

    Args:
        format: name and version of the format.
        encoding: of the photos.
        photos: how many there are.
        classes: names of the identities, in the order of the labels.
        shards: the files.
        template: landmark template that the faces are aligned to.
        alignment: version of the alignment.
        model: detector and embedder that prepared them; empty where the photos came aligned.
        plan: fingerprint of the source, the model and the options.
    """

    format: str
    encoding: Encoding
    photos: int
    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    template: str = "arcface-112"
    alignment: int = ALIGNMENT
    model: str = ""
    plan: str = ""

    @classmethod
    def load(cls, root: Path) -> ShardManifest:
        """Read the manifest of a folder.

        Raises:
            ShardCorrupt: it is missing, damaged, or of another format.
        """
        path = root / MANIFEST
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise ShardCorrupt(f"cannot read {str(path)!r}: {problem}") from problem
        named = table.get("format") if isinstance(table, dict) else None
        if named != _FORMAT:
            raise ShardCorrupt(f"{str(path)!r} has the format {named!r}; expected {_FORMAT!r}, or a newer vultus")
        return from_table(cls, table, where=str(path), error=ShardCorrupt)


@export("vultus.train.data.Shards")
class Shards(Records):
    """Prepared shards as a data set.

    Args:
        root: their folder.

    Raises:
        ShardCorrupt: the manifest or an index is missing or damaged, or a file is not as long as the manifest says.
        DatasetError: fewer than two identities, or one without a photo.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.manifest = manifest = ShardManifest.load(self.root)
        tables = [_index(self.root, shard) for shard in manifest.shards]
        index = np.concatenate(tables) if tables else np.zeros(0, dtype=_INDEX)
        if len(index) != manifest.photos:
            raise ShardCorrupt(f"{str(self.root)!r} holds {len(index)} photos; its manifest says {manifest.photos}")
        places = Places(
            np.repeat(np.arange(len(tables), dtype=np.int32), [len(t) for t in tables]),
            index["offset"].astype(np.int64),
            index["length"].astype(np.int64),
            index["crc"].astype(np.int64),
        )
        paths = tuple(self.root / f"{shard.name}.bin" for shard in manifest.shards)
        super().__init__(
            paths, places, index["label"], manifest.classes, name=str(self.root), encoding=manifest.encoding
        )


@export("vultus.train.data.verify_shards")
def verify_shards(root: str | os.PathLike[str], *, progress: Callable[[int], None] | None = None) -> ShardManifest:
    """Read every byte of prepared shards and compare it with the manifest.

    Args:
        root: their folder.
        progress: called with the number of bytes read, after each file.

    Raises:
        ShardCorrupt: names the first file that differs.
    """
    manifest = ShardManifest.load(Path(root))
    for shard in manifest.shards:
        _index(Path(root), shard)
        path = Path(root) / f"{shard.name}.bin"
        found = sha256(path)
        if found != shard.sha256:
            raise ShardCorrupt(
                f"{str(path)!r} has sha256 {found}; its manifest says {shard.sha256}: copy the file again"
            )
        if progress is not None:
            progress(shard.bytes)
    return manifest


def write_shards(
    root: Path,
    photos: Iterable[tuple[bytes, int]],
    classes: tuple[str, ...],
    *,
    encoding: Encoding,
    shard_photos: int = 10_000,
    model: str = "",
    plan: str = "",
) -> ShardManifest:
    """Write a data set of prepared shards; the manifest last.

    Args:
        root: the folder, made where it is missing.
        photos: content, in the encoding, and label of each.
        classes: names of the identities.
        encoding: of the photos.
        shard_photos: how many go into one file.
        model, plan: see `ShardManifest`.

    Raises:
        DatasetError: something cannot be written.
    """
    folder(root)
    remaining = iter(photos)
    shards: list[Shard] = []
    while True:
        shard = _write_shard(root, f"shard-{len(shards):05d}", islice(remaining, shard_photos))
        if not shard.photos:
            break
        shards.append(shard)
    manifest = ShardManifest(
        _FORMAT, encoding, sum(s.photos for s in shards), classes, tuple(shards), model=model, plan=plan
    )
    table: dict[str, Any] = dataclasses.asdict(manifest)
    write(root / MANIFEST, json.dumps(table, indent=1).encode())
    return manifest


def _write_shard(root: Path, name: str, photos: Iterator[tuple[bytes, int]]) -> Shard:
    rows: list[tuple[int, int, int, int]] = []
    offset = 0
    first = next(photos, None)
    if first is None:
        return Shard(name, 0, 0, "", "")
    path = root / f"{name}.bin"
    with replaced(path) as file:
        content, label = first
        while True:
            file.write(content)
            rows.append((offset, len(content), zlib.crc32(content), label))
            offset += len(content)
            following = next(photos, None)
            if following is None:
                break
            content, label = following
    table = io.BytesIO()
    np.save(table, np.array(rows, dtype=_INDEX), allow_pickle=False)
    write(root / f"{name}.npy", table.getvalue())
    return Shard(name, len(rows), offset, sha256(path), sha256(root / f"{name}.npy"))


def _index(root: Path, shard: Shard) -> npt.NDArray[np.void]:
    """The checked index of a shard, whose photos' file is as long as it should be."""
    if Path(shard.name).name != shard.name:
        raise ShardCorrupt(f"{str(root / MANIFEST)!r} names the shard {shard.name!r}, which is no name of a file")
    path, photos = root / f"{shard.name}.npy", root / f"{shard.name}.bin"
    found = sha256(path)
    if found != shard.index:
        raise ShardCorrupt(f"{str(path)!r} has sha256 {found}; its manifest says {shard.index}: copy the file again")
    try:
        table: npt.NDArray[np.void] = np.load(path, allow_pickle=False)
        size = photos.stat().st_size
    except (OSError, ValueError) as problem:
        raise ShardCorrupt(f"cannot read the shard {str(root / shard.name)!r}: {problem}") from problem
    if table.dtype != _INDEX or table.shape != (shard.photos,):
        raise ShardCorrupt(f"{str(path)!r} is no index of {shard.photos} photos")
    if size != shard.bytes:
        raise ShardCorrupt(f"{str(photos)!r} has {size} bytes; its manifest says {shard.bytes}: copy the file again")
    return table
