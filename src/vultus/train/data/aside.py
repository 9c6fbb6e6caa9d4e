"""What was found out about a large file, kept beside it, so that it is found out once."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from vultus.errors import DatasetError, SourceUnavailable
from vultus.train.data.files import write

_VERSION = 1

Table = dict[str, npt.NDArray[Any]]


def remembered(file: Path, columns: Sequence[str], find: Callable[[Path, int], Table]) -> Table:
    """The table about a file: the one kept in `<file>.vultus.npz` if the file is as it was then, else found out and kept.

    Where the folder cannot be written to, it is found out each time.

    Args:
        file: the large file.
        columns: names of the table's columns.
        find: makes the table of a file with so many bytes.

    Raises:
        SourceUnavailable: the file is not there.
    """
    try:
        status = file.stat()
    except OSError as problem:
        raise SourceUnavailable(f"cannot read {str(file)!r}: {problem.strerror or problem}") from problem
    beside = file.with_name(f"{file.name}.vultus.npz")
    stamp = np.array([_VERSION, status.st_size, status.st_mtime_ns])
    try:
        with np.load(beside, allow_pickle=False) as kept:
            if np.array_equal(kept["stamp"], stamp):
                return {name: kept[name] for name in columns}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    table = find(file, status.st_size)
    content = io.BytesIO()
    np.savez(content, **cast("dict[str, Any]", {"stamp": stamp, **table}))
    with contextlib.suppress(DatasetError):
        write(beside, content.getvalue())
    return table
