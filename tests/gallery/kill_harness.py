"""kill -9 at random moments: is everything that was acknowledged still there, and nothing undone?

Each cycle forks a process that changes a gallery from several threads, and says over a pipe what it starts and what was
acknowledged. It is killed after a random time. Then the gallery is opened, and must show exactly what was acknowledged,
with or without the one change that each thread had under way; and a search must find all that and nobody who was deleted.

    python -m tests.gallery.kill_harness --cycles 10000
    python -m tests.gallery.kill_harness --cycles 1000 --encrypted
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from vultus import Template
from vultus.gallery import Gallery
from vultus.gallery.index import Index
from vultus.gallery.local import LocalEngine
from vultus.gallery.store import Store
from vultus.types import FloatArray

MODEL = "m"
DIMENSION = 8
State = dict[str, list[int]]


def template(number: int) -> Template:
    row = np.random.default_rng(number).standard_normal(DIMENSION)
    return Template((row / np.linalg.norm(row)).astype(np.float32), MODEL)


def opened(path: Path, key: bytes | None) -> Gallery:
    """A gallery that keeps even a few rows in an index file, unless it is encrypted."""
    store = Store.open(path, model=MODEL, key=key)
    index = Index(store, worth_a_file=10, compress_from=None)
    return Gallery(
        LocalEngine(store, index), thresholds=(), searches=(), by="max", near_duplicate=None, clock=time.time
    )


def change(gallery: Gallery, thread: int, state: State, generator: random.Random, pipe: int) -> None:
    """One random change of the subjects of one thread, announced and then acknowledged."""
    known = sorted(state)
    subject = f"{thread}-{generator.randrange(8)}"
    number = generator.randrange(1 << 40)
    kind = "enrol" if subject not in state else generator.choice(["add", "delete", "delete", "merge"])
    other = generator.choice(known) if known else subject
    if kind == "merge" and other == subject:
        kind = "delete"
    say(pipe, ["start", thread, kind, subject, number, other])
    if kind == "enrol":
        gallery.enrol(subject, template(number))
    elif kind == "add":
        gallery.add(subject, template(number))
    elif kind == "delete":
        gallery.delete(subject)
    else:
        gallery.merge(subject, other)
    say(pipe, ["done", thread])
    apply(state, kind, subject, number, other)


def apply(state: State, kind: str, subject: str, number: int, other: str) -> None:
    if kind in ("enrol", "add"):
        state.setdefault(subject, []).append(number)
    elif kind == "delete":
        del state[subject]
    else:
        state[subject] = sorted(state[subject] + state.pop(other))


def say(pipe: int, message: list[object]) -> None:
    os.write(pipe, json.dumps(message).encode() + b"\n")


def child(path: Path, key: bytes | None, states: list[State], seed: int, pipe: int) -> None:
    gallery = opened(path, key)
    say(pipe, ["open"])

    def work(thread: int) -> None:
        generator = random.Random(f"{seed}-{thread}")
        state = {k: list(v) for k, v in states[thread].items()}
        while True:
            change(gallery, thread, state, generator, pipe)
            if generator.random() < 0.2:
                gallery.search(template(seed))

    for thread in range(len(states)):
        threading.Thread(target=work, args=(thread,)).start()


def killed(
    path: Path, key: bytes | None, states: list[State], seed: int, generator: random.Random, longest: float
) -> list[list[object]]:
    """What a process said until it was killed."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            child(path, key, states, seed, writing)
            for thread in threading.enumerate():
                if thread is not threading.current_thread():
                    thread.join()
        finally:
            os._exit(3)
    os.close(writing)
    said = b""
    if generator.random() < 0.9:  # else it may die while it opens the gallery
        said = os.read(reading, 1 << 16)
    time.sleep(generator.random() * longest)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    while part := os.read(reading, 1 << 16):
        said += part
    os.close(reading)
    return [json.loads(line) for line in said.splitlines()]


def settle(states: list[State], said: list[list[object]]) -> tuple[list[list[State]], int]:
    """For each thread the states that are possible, and how many changes were acknowledged."""
    acknowledged, under_way = 0, [None] * len(states)
    for message in said:
        if message[0] == "start":
            under_way[message[1]] = message[2:]  # type: ignore[call-overload]
        elif message[0] == "done":
            apply(states[message[1]], *under_way[message[1]])  # type: ignore[call-overload]
            under_way[message[1]] = None  # type: ignore[call-overload]
            acknowledged += 1
    possible = []
    for state, pending in zip(states, under_way, strict=True):
        possible.append([state])
        if pending is not None:
            after = {k: list(v) for k, v in state.items()}
            apply(after, *pending)
            possible[-1].append(after)
    return possible, acknowledged


def check(path: Path, key: bytes | None, possible: list[list[State]], *, whole: bool) -> tuple[list[State], list[str]]:
    """The states that are there, and what is wrong with them."""
    problems = []
    gallery = opened(path, key)
    found: list[dict[str, list[bytes]]] = [{} for _ in possible]
    for subject in gallery.subjects():
        rows = [t.vector.tobytes() for t in gallery.templates(subject.subject_id) if t.vector is not None]
        found[int(subject.subject_id.partition("-")[0])][subject.subject_id] = sorted(rows)
    states = []
    for thread, choices in enumerate(possible):
        fits = [s for s in choices if {k: sorted(row(n).tobytes() for n in v) for k, v in s.items()} == found[thread]]
        if not fits:
            problems.append(f"thread {thread}: {found[thread].keys()} is none of {choices}")
        states.append(fits[0] if fits else choices[0])
    enrolled = {number: subject for state in states for subject, numbers in state.items() for number in numbers}
    for number in list(enrolled)[:5]:
        best = gallery.identify(template(number), threshold=0.9999, max_rank=1)
        if not best or best[0].subject_id != enrolled[number]:
            problems.append(f"a search finds {best} for {enrolled[number]}")
    gone = {n for choices in possible for s in choices for v in s.values() for n in v} - set(enrolled)
    problems += [
        f"a search finds a template that was deleted: {number}"
        for number in gone
        if gallery.identify(template(number), threshold=0.9999)
    ]
    if whole:
        problems += gallery.verify_integrity().problems
    gallery.close()
    return states, problems


def row(number: int) -> FloatArray:
    return template(number).vector


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--longest", type=float, default=0.1, help="seconds that a process lives at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encrypted", action="store_true", help="a gallery with a key")
    parser.add_argument("--folder", help="where to work")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    acknowledged, pending, problems = 0, 0, []
    key = os.urandom(32) if options.encrypted else None
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "g.db"
        states: list[State] = [{} for _ in range(options.threads)]
        for cycle in range(options.cycles):
            said = killed(path, key, states, options.seed * 1_000_003 + cycle, generator, options.longest)
            possible, done = settle(states, said)
            acknowledged += done
            pending += sum(len(choices) - 1 for choices in possible)
            states, wrong = check(path, key, possible, whole=cycle % 20 == 0)
            problems += [f"cycle {cycle}: {p}" for p in wrong]
    counts = {"cycles": options.cycles, "acknowledged": acknowledged, "under way when killed": pending}
    print(json.dumps({**counts, "problems": problems[:10], "violations": len(problems)}))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
