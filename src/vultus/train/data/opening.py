"""The data set at a path, whatever its form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.data.dataset import Dataset
from vultus.train.data.folder import Folder
from vultus.train.data.recordio import RecordIO
from vultus.train.data.records import Records
from vultus.train.data.shards import MANIFEST, Shards
from vultus.train.data.synthetic import DrawnFaces
from vultus.train.data.tars import Tars
from vultus.train.data.views import Tolerant


@export("vultus.train.data.open_dataset")
def open_dataset(
    path: str | os.PathLike[str], *, damaged: Literal["error", "skip"] = "error", read_ahead: int = 0
) -> Dataset:
    """The data set at a path, in whichever form it is.

    Args:
        path: prepared shards (a folder with manifest.json), webdataset tars (a .tar file or a folder of them), RecordIO (a
            .rec file or a folder with train.rec), a folder `root/<identity>/<photo>` of aligned faces, or
            "generated:IDENTITIESxPHOTOS" for drawn ones.
        damaged: "error" raises where a damaged photo is read; "skip" puts another of the same identity in its place and
            counts it (see `Tolerant`).
        read_ahead: bytes of a large file that the system is told to read at once around each photo, such as 4 << 20 on a
            disk that seeks slowly, for `samplers.Batches` with a window; 0 leaves it to the system.

    Raises:
        SourceUnavailable: nothing can be read there.
        DatasetError: fewer than two identities, or one without a photo.
        ShardCorrupt: a manifest, an index or a file is damaged.
        BadArgument: `damaged` or `read_ahead` is something else.
    """
    if read_ahead < 0:
        raise BadArgument(f"read_ahead is {read_ahead!r}; expected bytes, at least 0")
    if damaged not in ("error", "skip"):
        raise BadArgument(f"damaged is {damaged!r}; expected 'error' or 'skip'")
    dataset = _opened(path)
    if isinstance(dataset, Records):
        dataset.files.ahead = read_ahead
    return Tolerant(dataset) if damaged == "skip" else dataset


def _opened(path: str | os.PathLike[str]) -> Dataset:
    name, where = os.fspath(path), Path(path)
    if name.startswith("generated:"):
        return DrawnFaces.of(name)
    if (where / MANIFEST).exists():
        return Shards(where)
    if where.suffix == ".rec" or (where / "train.rec").exists():
        return RecordIO(where)
    if where.suffix == ".tar" or next(where.glob("*.tar"), None) is not None:
        return Tars(where)
    return Folder(where)
