"""Files that are there as a whole or not at all, and bytes read from the middle of one."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vultus.errors import DatasetError, ShardCorrupt

_MOST_OPEN = 256
_MOST_ASKED = 4096


@contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """A file that takes its place under its name, flushed to the disk, once everything was written to it.

    Raises:
        DatasetError: it cannot be written; what stood there before is as it was.
    """
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        try:
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as problem:
        raise DatasetError(
            f"cannot write {str(target)!r}: {problem.strerror or problem}; nothing was changed"
        ) from problem


def folder(path: Path) -> Path:
    """The folder, made where it is missing.

    Raises:
        DatasetError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DatasetError(f"cannot make the folder {str(path)!r}: {problem.strerror or problem}") from problem
    return path


def write(target: Path, content: bytes) -> None:
    """A whole file at once; see `replaced`."""
    with replaced(target) as file:
        file.write(content)


def sha256(path: Path) -> str:
    """Of a file's content.

    Raises:
        ShardCorrupt: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise ShardCorrupt(f"cannot read {str(path)!r}: {problem.strerror or problem}") from problem


class OpenFiles:
    """Files that are opened when first read from, by each process for itself, and by all its threads together.

    Args:
        paths: of the files.
        ahead: bytes that the system is told to read at once around each place; 0 for none.
    """

    def __init__(self, paths: tuple[Path, ...], *, ahead: int = 0) -> None:
        self.paths = paths
        self.ahead = ahead
        self._open: dict[int, int] = {}
        self._asked: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Bytes from the middle of a file; fewer where it ends before.

        Raises:
            ShardCorrupt: it cannot be read.
        """
        if self._process != os.getpid():  # a lock that a thread of the parent held would stay locked in a fork
            self._lock, self._process = threading.Lock(), os.getpid()
        try:
            with self._lock:
                handle = self._opened(number)
                if self.ahead:
                    self._ask(number, handle, offset // self.ahead)
                return os.pread(handle, length, offset)
        except OSError as problem:
            raise ShardCorrupt(
                f"cannot read {str(self.paths[number])!r} at {offset}: {problem.strerror or problem}"
            ) from problem

    def close(self) -> None:
        """Close what is open; reading opens it again."""
        while self._open:
            os.close(self._open.popitem()[1])
        self._asked.clear()

    def _opened(self, number: int) -> int:
        """The handle of a file; where too many are open, those opened first are closed."""
        if number not in self._open:
            while len(self._open) >= _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[number] = os.open(self.paths[number], os.O_RDONLY)
        return self._open[number]

    def _ask(self, number: int, handle: int, region: int) -> None:
        """Tell the system to read a region of a file at once, unless that was done lately."""
        if (number, region) in self._asked:
            return
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked.add((number, region))
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, region * self.ahead, self.ahead, os.POSIX_FADV_WILLNEED)

    def __reduce__(self) -> tuple[Callable[..., OpenFiles], tuple[tuple[Path, ...], int]]:
        return _closed, (self.paths, self.ahead)

    def __del__(self) -> None:
        self.close()


def _closed(paths: tuple[Path, ...], ahead: int) -> OpenFiles:
    return OpenFiles(paths, ahead=ahead)
