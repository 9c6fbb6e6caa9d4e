"""Many clients at once: is there one order of all operations that explains every answer?

Processes with several threads each enrol, delete and identify the same few subjects, and note when each operation began
and ended, and what it answered. Each subject is then a switch that is on or off, and its history is checked for an order
in which every operation takes effect between its beginning and its end: linearizability, by following all orders that are
still possible. A subject that is found after its deletion was acknowledged has no such order.

    python -m tests.gallery.concurrent_harness --operations 100000
    python -m tests.gallery.concurrent_harness --operations 20000 --address "postgresql://host/database?gallery=trial"
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from vultus import Template
from vultus.errors import SubjectExists, SubjectUnknown
from vultus.gallery import Gallery
from vultus.gallery.index import Index
from vultus.gallery.local import LocalEngine
from vultus.gallery.opening import is_served
from vultus.gallery.store import Store


@dataclass(frozen=True)
class Operation:
    """One operation on one subject: what was asked, what came back, and when."""

    subject: int
    kind: str
    done: bool
    began: int
    ended: int


def template(number: int) -> Template:
    row = np.random.default_rng(number).standard_normal(16)
    return Template((row / np.linalg.norm(row)).astype(np.float32), "m")


def opened(place: str) -> Gallery:
    """A gallery whose index goes into a file and is erased there with every deletion, or one on a server."""
    if is_served(place):
        return Gallery.open(place, model="m", busy_seconds=60)
    store = Store.open(place, model="m", busy_seconds=60)
    index = Index(store, worth_a_file=4, compress_from=None)
    return Gallery(
        LocalEngine(store, index), thresholds=(), searches=(), by="max", near_duplicate=None, clock=time.time
    )


def client(gallery: Gallery, seed: int, operations: int, subjects: int) -> list[Operation]:
    generator = random.Random(seed)
    history = []
    for _ in range(operations):
        subject = generator.randrange(subjects)
        kind = generator.choice(["enrol", "delete", "identify", "identify", "identify", "identify"])
        began = time.monotonic_ns()
        done = True
        try:
            if kind == "enrol":
                gallery.enrol(f"s{subject}", template(subject))
            elif kind == "delete":
                gallery.delete(f"s{subject}")
            else:
                done = bool(gallery.identify(template(subject), threshold=0.999, max_rank=1))
        except (SubjectExists, SubjectUnknown):
            done = False
        history.append(Operation(subject, kind, done, began, time.monotonic_ns()))
    return history


def process(place: str, seed: int, threads: int, operations: int, subjects: int) -> list[Operation]:
    """All clients of one process."""
    gallery = opened(place)
    found: list[list[Operation]] = []
    work = [
        threading.Thread(target=lambda s=s: found.append(client(gallery, s, operations, subjects)))
        for s in range(seed, seed + threads)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    gallery.close()
    if len(found) != threads:
        raise RuntimeError("a client failed")
    return [operation for history in found for operation in history]


def answer(state: bool, kind: str) -> tuple[bool, bool]:
    """What an operation answers, and the state after it."""
    if kind == "enrol":
        return not state, True
    if kind == "delete":
        return state, False
    return state, state


def explained(history: list[Operation]) -> bool:
    """Whether some order of the operations, each between its beginning and its end, gives all their answers."""
    moments = sorted(
        [(op.began, 0, i) for i, op in enumerate(history)] + [(op.ended, 1, i) for i, op in enumerate(history)]
    )
    open_: set[int] = set()
    configurations: set[tuple[bool, frozenset[int]]] = {(False, frozenset())}  # the state, and who has had effect
    for _, ends, i in moments:
        if not ends:
            open_.add(i)
            continue
        after: set[tuple[bool, frozenset[int]]] = set()
        for state, effective in configurations:
            if i in effective:
                after.add((state, effective - {i}))
                continue
            waiting = [j for j in open_ if j not in effective and j != i]
            for size in range(len(waiting) + 1):
                for order in permutations(waiting, size):
                    now = state
                    for j in (*order, i):
                        given, now = answer(now, history[j].kind)
                        if given != history[j].done:
                            break
                    else:
                        after.add((now, effective | frozenset(order)))
        open_.remove(i)
        configurations = after
        if not configurations:
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--operations", type=int, default=2000, help="of all clients together")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work")
    parser.add_argument("--address", help="of a gallery on a server that does not exist yet, in place of a file")
    options = parser.parse_args()
    each = options.operations // (options.processes * options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = options.address or str(Path(folder) / "g.db")
        opened(place).close()
        with multiprocessing.get_context("fork").Pool(options.processes) as pool:
            jobs = [
                (place, options.seed + 1000 * p, options.threads, each, options.subjects)
                for p in range(options.processes)
            ]
            history = [operation for part in pool.starmap(process, jobs) for operation in part]
    by_subject = [[op for op in history if op.subject == s] for s in range(options.subjects)]
    violations = [f"s{s}" for s, part in enumerate(by_subject) if not explained(part)]
    kinds = {f"{kind} {done}": 0 for kind in ("enrol", "delete", "identify") for done in (True, False)}
    for op in history:
        kinds[f"{op.kind} {op.done}"] += 1
    print(json.dumps({"operations": len(history), "answers": kinds, "violations": violations}))
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
