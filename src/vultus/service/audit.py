"""Who did what? Every change and decision is in the log, and on the disk, before it is acknowledged.

A change is written twice: as an intent before it is made, and as an outcome before the caller hears of it. Entries hold no
name, picture, embedding or score. A subject is its id under a keyed hash: whoever has the key can look for the entries of an
id that he knows, and without it, or once it is destroyed, an entry leads to nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vultus.errors import AuditBroken, AuditUnavailable, VultusError
from vultus.service.chain import HEAD, LOG, Head, entries, lines_from_the_end, opened, read_head, sealed

_KEY = "audit.key"


@dataclass(slots=True)
class Entry:
    """What a change or decision adds to its entry while it is made."""

    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, **facts: Any) -> None:
        """Add facts; those that are None are left out."""
        self.facts.update({k: v for k, v in facts.items() if v is not None})


class Audit:
    """The open log of one service; one process writes it, entries that come together share one wait for the disk.

    Raises:
        AuditBroken: the end of the log is not what its head says.
        AuditUnavailable: it cannot be written.
    """

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder = folder
        self._now = now
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mark = os.open(folder / HEAD, os.O_CREAT | os.O_RDWR, 0o600)
            _lock(self._mark, folder)
            self._secret = _secret(folder / _KEY)
            self._head, end = _end(folder)
            self._file = os.open(folder / LOG, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            os.ftruncate(self._file, end)  # a line that was being written when the process died
            self._end = end
            self._save_head()
            _sync_folder(folder)
        except OSError as problem:
            raise AuditUnavailable(f"the audit log in {folder} cannot be written: {problem}") from problem
        self._waiting: queue.SimpleQueue[tuple[dict[str, Any], Future[int]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="vultus-audit", daemon=True)
        self._writer.start()

    @property
    def head(self) -> Head:
        """The last entry on the disk."""
        return self._head

    def subject(self, gallery: str, subject_id: str) -> str:
        """What stands for a subject in the log."""
        text = f"{len(gallery)}:{gallery}{subject_id}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]

    def record(self, **facts: Any) -> int:
        """Write an entry and wait for the disk; its number.

        Raises:
            AuditUnavailable: it could not be written.
        """
        done: Future[int] = Future()
        now = self._now().isoformat(timespec="milliseconds")
        self._waiting.put(({"time": now, **{k: v for k, v in facts.items() if v is not None}}, done))
        return done.result()

    @contextmanager
    def change(self, **facts: Any) -> Iterator[Entry]:
        """Write the intent, let the block make the change, and write the outcome.

        Raises:
            AuditUnavailable: one of them could not be written; then nothing is acknowledged.
        """
        intent = self.record(phase="intent", **facts)
        entry = Entry()
        try:
            yield entry
        except VultusError as problem:
            self.record(phase="outcome", intent=intent, result=problem.code, **{**facts, **entry.facts})
            raise
        except BaseException:
            self.record(phase="outcome", intent=intent, result="internal_error", **{**facts, **entry.facts})
            raise
        self.record(phase="outcome", intent=intent, **{"result": "done", **facts, **entry.facts})

    def page(self, *, before: int | None, limit: int) -> list[dict[str, Any]]:
        """The last entries, the newest first; before a number where one is given."""
        top = self._head.number + 1 if before is None else min(before, self._head.number + 1)
        found: list[dict[str, Any]] = []
        for line in lines_from_the_end(self._folder):
            entry = json.loads(line)
            if entry["seq"] < top:
                found.append(opened(line, entry["seq"], entry["prev"]))
            if len(found) == limit:
                break
        return found

    def close(self) -> None:
        """Write what waits, and close the log."""
        self._waiting.put(None)
        self._writer.join()
        os.close(self._file)
        os.close(self._mark)

    def _write_all(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            items = [item for item in batch if item is not None]
            self._write(items)
            if len(items) < len(batch):
                return

    def _write(self, items: list[tuple[dict[str, Any], Future[int]]]) -> None:
        if not items:
            return
        before, lines, numbers = self._head, [], []
        head = before
        try:
            for facts, _ in items:
                line, digest = sealed(facts, head.number + 1, head.digest)
                head = Head(head.number + 1, digest)
                lines.append(line)
                numbers.append(head.number)
            _write_whole(self._file, b"".join(lines))
            os.fsync(self._file)
            self._head = head
            self._save_head()
            self._end += sum(map(len, lines))
        except Exception as problem:  # noqa: BLE001 - the writer must live, and nobody may wait for ever
            self._head = before
            self._undo()
            for _, done in items:
                done.set_exception(AuditUnavailable(f"the audit log cannot be written: {problem}"))
            return
        for (_, done), number in zip(items, numbers, strict=True):
            done.set_result(number)

    def _undo(self) -> None:
        try:
            os.ftruncate(self._file, self._end)
            self._save_head()
        except OSError:
            pass  # the next entry meets the same fault, and is refused too

    def _save_head(self) -> None:
        os.pwrite(self._mark, self._head.line(), 0)
        os.fsync(self._mark)


def _lock(file: int, folder: Path) -> None:
    """Have the log for this process alone, until the file is closed.

    Raises:
        AuditUnavailable: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise AuditUnavailable(
            f"another process writes the audit log in {folder}: a running service, which has to be asked or stopped first"
        ) from None


def _loose(line: bytes, number: int) -> dict[str, Any]:
    """An entry whose place is not checked, only its own hash."""
    return opened(line, number, json.loads(line)["prev"])


def _write_whole(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _secret(path: Path) -> bytes:
    """The key of the subjects' hashes, made where there is none."""
    if not path.exists():
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(file, secrets.token_bytes(32))
            os.fsync(file)
        finally:
            os.close(file)
        new.rename(path)
    return path.read_bytes()


def _end(folder: Path) -> tuple[Head, int]:
    """The last whole entry of a log and where it ends.

    Raises:
        AuditBroken: the log does not reach its head, or what follows it does not hold together.
    """
    head, last, number, end = read_head(folder), None, 0, 0
    if not (folder / LOG).exists():
        if head.number:
            raise AuditBroken(f"{LOG} is missing, {HEAD} names entry {head.number}; put it back from a backup")
        return head, 0
    for count, line, whole in entries(folder):
        if not whole:
            if count <= head.number:
                raise AuditBroken(f"entry {count} of the audit log is cut short")
            break
        if count >= head.number:
            if last is None and head.number:
                found = opened(line, count, _loose(line, count)["prev"])
                if found["hash"] != head.digest:
                    raise AuditBroken(f"entry {count} of the audit log is not the one that {HEAD} names")
                last = head.digest
            else:
                last = opened(line, count, last or head.digest)["hash"]
        number, end = count, end + len(line)
    if number < head.number:
        raise AuditBroken(f"the audit log ends at entry {number}, {HEAD} names {head.number}: the end was cut off")
    return Head(number, last or head.digest), end


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
