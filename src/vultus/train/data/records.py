"""Photos that lie one after the other in large files, each found by its place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.errors import ImageError, ShardCorrupt
from vultus.train.data.codec import Encoding, decode
from vultus.train.data.dataset import Dataset
from vultus.train.data.files import OpenFiles
from vultus.types import UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where n photos lie.

    Args:
        file: (n,) number of the file.
        offset: (n,) first byte.
        length: (n,) number of bytes.
        crc: (n,) CRC-32 of the bytes, -1 where none was kept; None where none was kept of any.
    """

    file: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    crc: npt.NDArray[np.int64] | None = None


class Records(Dataset):
    """A data set whose photos lie in large files.

    Args:
        paths: of the files.
        places: of the photos in them.
        labels: (n,) class of each photo.
        classes: names of the identities.
        name: how messages call the data set.
        encoding: of the photos; None for pictures that say themselves what they are.
    """

    def __init__(
        self,
        paths: tuple[Path, ...],
        places: Places,
        labels: npt.ArrayLike,
        classes: tuple[str, ...],
        *,
        name: str,
        encoding: Encoding | None = None,
    ) -> None:
        super().__init__(labels, classes, name=name)
        self.places = places
        self.encoding = encoding
        self.files = OpenFiles(paths)

    def content(self, index: int) -> bytes:
        """The bytes of one photo as they are kept.

        Raises:
            ShardCorrupt: the file is shorter than it was, cannot be read, or holds other bytes.
        """
        i = self.place(index)
        where = self.places
        number, length = int(where.file[i]), int(where.length[i])
        content = self.files.read(number, int(where.offset[i]), length)
        if len(content) != length:
            raise ShardCorrupt(
                f"{self.title(i)}: the file ends after {len(content)} of its {length} bytes; copy it again"
            )
        if where.crc is not None and where.crc[i] not in (-1, zlib.crc32(content)):
            raise ShardCorrupt(f"{self.title(i)}: its bytes changed since they were written; copy the file again")
        return content

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        content = self.content(index)
        try:
            return decode(content, self.encoding, name=self.title(index))
        except ImageError as problem:
            raise ShardCorrupt(str(problem)) from problem

    def title(self, index: int) -> str:
        """The file and the number of the photo in it, for messages."""
        i = self.place(index)
        file = self.places.file[i]
        first = int(np.searchsorted(self.places.file, file))
        return f"{self.files.paths[file]}, record {i - first}"
