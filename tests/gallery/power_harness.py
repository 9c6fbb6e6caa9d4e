"""Loss of power at every moment: is everything that was acknowledged still there?

A run of enrolments, additions and deletions is traced down to single writes and syncs. Then power is cut after each
event of the trace. What was synced is kept; of what was not, nothing, everything, or a random choice of 512-byte
sectors in any order has reached the disk. Each time the gallery is opened, and must show exactly the acknowledged
operations, with or without the one that was under way.

    python -m tests.gallery.power_harness --traces 200                     # must lose nothing
    python -m tests.gallery.power_harness --traces 20 --encrypted          # nor this
    python -m tests.gallery.power_harness --traces 5 --durability normal   # the control, which must lose something
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tests.gallery.gallery_vfs import ENCRYPTING, Trace, watched

from vultus.errors import VultusError
from vultus.gallery.records import NewTemplate
from vultus.gallery.store import Store

SECTOR = 512
State = dict[str, list[bytes]]


def vector(number: int) -> bytes:
    row = np.random.default_rng(number).standard_normal(16)
    return (row / np.linalg.norm(row)).astype("<f4").tobytes()


def traced(
    folder: Path, operations: int, generator: random.Random, durability: str, key: bytes | None
) -> tuple[Trace, list[State]]:
    """The trace of a run, in which ("ack", n) says that n operations were acknowledged, and the state after each."""
    trace, states = Trace(), [State()]
    with watched("power", trace=trace) as name:
        vfs = name if key is None else ENCRYPTING + name
        store = Store.open(folder / "g.db", model="m", key=key, vfs=vfs, durability=durability)  # type: ignore[arg-type]
        trace.add("ack", 0)
        for n in range(1, operations + 1):
            state = {k: list(v) for k, v in states[-1].items()}
            subject = f"s{generator.randrange(6)}"
            new = [vector(1000 * n + i) for i in range(generator.choice([1, 1, 2, 40]))]
            made = [NewTemplate(v) for v in new]
            if subject not in state:
                store.write(lambda w, s=subject, m=made: w.enrol(s, m, name=None, request=None))  # type: ignore[misc]
                state[subject] = new
            elif generator.random() < 0.5:
                store.write(lambda w, s=subject, m=made: w.add(s, m, request=None))  # type: ignore[misc]
                state[subject] += new
            else:
                store.write(lambda w, s=subject: w.delete(s))  # type: ignore[misc]
                del state[subject]
                store.erase()
            states.append(state)
            trace.add("ack", n)
        store.close()
    return trace, states


class Disk:
    """Files with what is surely on the disk, and what may be.

    A deletion may not have reached the directory until that is synced, which SQLite does on Unix when it first syncs a
    log or journal that it has made.
    """

    def __init__(self) -> None:
        self.synced: dict[str, bytes] = {}
        self.pending: dict[str, list[tuple[Any, ...]]] = {}
        self.deleted: dict[str, bytes] = {}
        self.new: set[str] = set()

    def apply(self, event: tuple[Any, ...]) -> None:
        kind, name, *details = event
        if kind == "sync":
            content = bytearray(self.synced.get(name, b""))
            for change in self.pending.pop(name, []):
                _change(content, change)
            self.synced[name] = bytes(content)
            if name in self.new:
                self.new.remove(name)
                self.deleted.clear()
        elif kind == "delete":
            self.pending.pop(name, None)
            self.deleted[name] = self.synced.pop(name, b"")
        else:
            self.deleted.pop(name, None)
            if name not in self.synced:
                self.synced[name] = b""
                if name != "g.db":
                    self.new.add(name)
            self.pending.setdefault(name, []).append((kind, *details))

    def written(self, folder: Path, how: str, generator: random.Random) -> None:
        """Write the files as a cut of the power may have left them."""
        for name, synced in self.synced.items():
            content = bytearray(synced)
            for change in self.pending.get(name, []) if how != "synced" else []:
                if how == "all":
                    _change(content, change)
                else:
                    for part in _sectors(change):
                        if generator.random() < 0.5:
                            _change(content, part)
            (folder / name).write_bytes(content)
        if how == "synced":  # a deletion that did not reach the directory either
            for name, content_ in self.deleted.items():
                (folder / name).write_bytes(content_)


def _change(content: bytearray, change: tuple[Any, ...]) -> None:
    if change[0] == "truncate":
        del content[change[1] :]
        return
    _, offset, data = change
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _sectors(change: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    if change[0] == "truncate":
        return [change]
    _, offset, data = change
    cuts = sorted({0, len(data), *range(SECTOR - offset % SECTOR, len(data), SECTOR)})
    return [("write", offset + a, data[a:b]) for a, b in pairwise(cuts)]


def found_in(folder: Path, key: bytes | None) -> State:
    store = Store.open(folder / "g.db", key=key)
    try:
        with store.reading() as reads:
            problems = reads.structure()
            if problems:
                raise AssertionError(f"integrity: {problems}")
            return {
                id_: [t.vector.tobytes() for t in templates if t.vector is not None]
                for id_, _, _, templates in reads.everything()
            }
    finally:
        store.close()


def replay(
    trace: Trace, states: list[State], generator: random.Random, every: int, where: str | None, key: bytes | None
) -> dict[str, int]:
    """Cut the power after every event (or every n-th) and compare."""
    counts = {"cuts": 0, "lost": 0, "unreadable": 0}
    disk, acknowledged = Disk(), -1
    for number, event in enumerate(trace.events):
        if event[0] == "ack":
            acknowledged = event[1]
        else:
            disk.apply(event)
        if acknowledged < 0 or number % every:
            continue
        for how in ("synced", "all", "some"):
            with tempfile.TemporaryDirectory(dir=where) as folder:
                disk.written(Path(folder), how, generator)
                counts["cuts"] += 1
                try:
                    found = found_in(Path(folder), key)
                except (VultusError, AssertionError):
                    counts["unreadable"] += 1
                    continue
            if found not in (states[acknowledged], states[min(acknowledged + 1, len(states) - 1)]):
                counts["lost"] += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=1)
    parser.add_argument("--operations", type=int, default=12)
    parser.add_argument("--durability", choices=["full", "normal"], default="full")
    parser.add_argument("--every", type=int, default=1, help="cut after every n-th event only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encrypted", action="store_true", help="a gallery with a key")
    parser.add_argument(
        "--folder", help="where to work; a file system in memory is quickest, and syncs are traced all the same"
    )
    options = parser.parse_args()
    where = options.folder
    key = os.urandom(32) if options.encrypted else None
    total = {"traces": 0, "events": 0, "operations": 0, "cuts": 0, "lost": 0, "unreadable": 0}
    for seed in range(options.seed, options.seed + options.traces):
        generator = random.Random(seed)
        with tempfile.TemporaryDirectory(dir=where) as folder:
            trace, states = traced(Path(folder), options.operations, generator, options.durability, key)
        counts = replay(trace, states, generator, options.every, where, key)
        total["traces"] += 1
        total["events"] += len(trace.events)
        total["operations"] += options.operations
        for name, value in counts.items():
            total[name] += value
    print(json.dumps(total))
    failed = bool(total["lost"] or total["unreadable"])
    return int(failed if options.durability == "full" else not failed)


if __name__ == "__main__":
    sys.exit(main())
