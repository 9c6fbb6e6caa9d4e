"""The audit log's form: one JSON line an entry, each with the hash of the one before, and a head that says where it ends."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus._export import export
from vultus.errors import AuditBroken, AuditUnavailable

LOG, HEAD = "audit.jsonl", "audit.head"
START = "0" * 64
_LONGEST = 1 << 16
_PORTION = 1 << 16


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a log: its number, from 1, and its hash."""

    number: int
    digest: str

    def line(self) -> bytes:
        """As it stands in the head file, always of one length."""
        return f"{self.number:020d} {self.digest}\n".encode("ascii")


@export("vultus.service.AuditCheck")
@dataclass(frozen=True, slots=True)
class AuditCheck:
    """What reading a whole audit log found.

    Args:
        entries: how many entries hold together, from the first on.
        head: hash of the last of them; keep it elsewhere to notice that a whole log was written anew.
        problem: what is wrong, in words; None where nothing is.
    """

    entries: int
    head: str
    problem: str | None

    @property
    def ok(self) -> bool:
        """Whether the log is whole."""
        return self.problem is None


def sealed(facts: dict[str, Any], number: int, before: str) -> tuple[bytes, str]:
    """The line of an entry, and its hash, which covers the number and the hash before."""
    body = {"seq": number, "prev": before, **facts}
    digest = hashlib.sha256(_canonical(body)).hexdigest()
    return _canonical({**body, "hash": digest}) + b"\n", digest


def opened(line: bytes, number: int, before: str) -> dict[str, Any]:
    """The entry of a line that must be this one.

    Raises:
        AuditBroken: it is not.
    """
    try:
        entry = json.loads(line)
        stated = entry.pop("hash")
        written = _canonical({**entry, "hash": stated}) + b"\n"
        fits = hashlib.sha256(_canonical(entry)).hexdigest() == stated and written == line
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise AuditBroken(f"entry {number} cannot be read: it was edited or cut") from None
    if not fits:
        raise AuditBroken(f"entry {number} does not have its hash: it was edited")
    if entry["seq"] != number or entry["prev"] != before:
        raise AuditBroken(f"entry {number} does not follow the one before: entries were dropped, moved or put in")
    return {**entry, "hash": stated}


def entries(folder: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number, line, whether it is whole) of a log, in their order."""
    with (folder / LOG).open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST):
            number += 1
            yield number, line, line.endswith(b"\n")


def lines_from_the_end(folder: Path) -> Iterator[bytes]:
    """The whole lines of a log, the last first, read in portions from the end."""
    with (folder / LOG).open("rb") as file:
        at, rest = file.seek(0, os.SEEK_END), b""
        while at:
            start = max(0, at - _PORTION)
            file.seek(start)
            parts = (file.read(at - start) + rest).split(b"\n")
            at, rest = start, parts[0]
            # what stands after the last line break is a line that is being written
            for part in reversed(parts[1:-1]):
                yield part + b"\n"
            rest = rest + b"\n" if len(parts) > 1 else rest
        if rest.endswith(b"\n"):
            yield rest


def read_head(folder: Path) -> Head:
    """What the head file says; number 0 where there is none.

    Raises:
        AuditBroken: it is no head.
    """
    try:
        written = (folder / HEAD).read_bytes()
        if not written and not _begun(folder):  # made a moment ago
            return Head(0, START)
        number, digest = written.decode("ascii").split()
        head = Head(int(number), digest)
    except FileNotFoundError:
        if _begun(folder):
            raise AuditBroken(f"{HEAD} is missing; put it back from a backup") from None
        return Head(0, START)
    except (ValueError, OSError) as problem:
        raise AuditBroken(f"{HEAD} cannot be read; put it back from a backup") from problem
    if head.line() != written:
        raise AuditBroken(f"{HEAD} is not as it was written")
    return head


def _begun(folder: Path) -> bool:
    """Whether the log has entries."""
    return (folder / LOG).exists() and (folder / LOG).stat().st_size > 0


@export("vultus.service.verify_log")
def verify_log(folder: str | os.PathLike[str], *, expected: str | None = None) -> AuditCheck:
    """Read a whole audit log: is every entry as it was written, and is none missing?

    The last line may be unfinished where the service was killed in the middle of writing it; it was never acknowledged.

    Args:
        folder: with the log and its head.
        expected: hash of an entry that was noted elsewhere, which must be there.

    Raises:
        AuditUnavailable: there is no log, or it cannot be read.
    """
    where, last, number, seen = Path(folder), START, 0, expected is None
    if not (where / LOG).exists() and not (where / HEAD).exists():
        raise AuditUnavailable(f"there is no audit log in {where}; expected {LOG} and {HEAD}")
    try:
        head = read_head(where)
        if not (where / LOG).exists() and head.number:
            raise AuditBroken(f"{LOG} is missing")
        for count, line, whole in entries(where):
            if not whole:
                if count <= head.number:
                    raise AuditBroken(f"entry {count} is cut short")
                break
            last, number = opened(line, count, last)["hash"], count
            seen = seen or last == expected
            if count == head.number and last != head.digest:
                raise AuditBroken(f"entry {count} is not the one that {HEAD} names")
        if number < head.number:
            raise AuditBroken(f"the log ends at entry {number}, {HEAD} names {head.number}: the end was cut off")
        if not seen:
            raise AuditBroken("the hash that was noted elsewhere is in no entry: the log was written anew")
    except AuditBroken as problem:
        return AuditCheck(number, last, str(problem))
    except OSError as problem:
        raise AuditUnavailable(f"cannot read the audit log in {where}: {problem}") from problem
    return AuditCheck(number, last, None)


def _canonical(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
