"""Virtual file systems for SQLite that watch what reaches the disk, or make it fail at a chosen moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

ENCRYPTING = "multipleciphers-"


@dataclass
class Trace:
    """What was done to files, in order: (kind, file name, ...)."""

    events: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, *event: Any) -> None:
        self.events.append(event)


@dataclass
class Fault:
    """Fails the `at`-th call of the given kinds (from 0), and all later ones too where it is `lasting`."""

    error: type[apsw.Error]
    kinds: tuple[str, ...] = ("write",)
    at: int = -1
    lasting: bool = False
    seen: int = 0
    fired: bool = False

    def check(self, kind: str) -> None:
        if kind not in self.kinds or self.at < 0:
            return
        now = self.seen
        self.seen += 1
        if now == self.at or (self.lasting and now > self.at):
            self.fired = True
            raise self.error(f"injected at call {now} of {', '.join(self.kinds)}")


class _File(apsw.VFSFile):
    """A file of the default VFS that reports each change before it is made, and can be made to fail."""

    def __init__(self, filename: Any, flags: list[int], trace: Trace | None, fault: Fault | None) -> None:
        whole = filename.filename() if isinstance(filename, apsw.URIFilename) else filename
        self._name = Path(whole or "").name  # without one it is scratch space, which no restart reads
        self._trace, self._fault = trace, fault
        super().__init__("", filename, flags)

    def _report(self, kind: str, *details: Any) -> None:
        if self._fault is not None:
            self._fault.check(kind)
        if self._trace is not None and self._name:
            self._trace.add(kind, self._name, *details)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's names
        self._report("write", offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._report("truncate", newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._report("sync")
        super().xSync(flags)


class Watched(apsw.VFS):
    """The default VFS with watched files."""

    def __init__(self, name: str, *, trace: Trace | None = None, fault: Fault | None = None) -> None:
        self._trace, self._fault = trace, fault
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802
        if self._fault is not None:
            self._fault.check("open")
        return _File(name, flags, self._trace, self._fault)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if self._fault is not None:
            self._fault.check("delete")
        if self._trace is not None:
            self._trace.add("delete", Path(filename).name)
        super().xDelete(filename, syncdir)


@contextmanager
def watched(name: str, *, trace: Trace | None = None, fault: Fault | None = None) -> Iterator[str]:
    """Register such a VFS while the block runs; gives its name. With `ENCRYPTING` before it, it is under one that encrypts."""
    vfs = Watched(name, trace=trace, fault=fault)
    try:
        yield name
    finally:
        if ENCRYPTING + name in apsw.vfs_names():  # made at its first use, and good for this one only
            apsw.unregister_vfs(ENCRYPTING + name)
        vfs.unregister()
