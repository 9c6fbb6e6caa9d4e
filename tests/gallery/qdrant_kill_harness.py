"""A gallery on Qdrant whose clients and whose server are killed in the middle of their work.

Two processes enrol and delete subjects of two templates each, and say so after each answer. In every cycle one of them, or
the server, is killed without warning; then it is checked that everything acknowledged holds, that no deletion is undone,
that no subject is there by half, and at the end that the gallery is sound. The server is Qdrant's engine behind the
server's interface (`tests.gallery.qdrant_server`).

    python -m tests.gallery.qdrant_kill_harness --cycles 200
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from vultus import Template
from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.qdrant import turns

MODEL = "m"
_ROOT = Path(__file__).parents[2]
_HELD = 2.0


def template(number: int) -> Template:
    row = np.random.default_rng(number).standard_normal(16)
    return Template((row / np.linalg.norm(row)).astype(np.float32), MODEL)


class Process:
    """A process that is killed and started again; every line that it prints is handed on."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT)

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    def wait(self) -> None:
        assert self._process.stdout is not None
        self._process.wait()
        self._process.stdout.close()


class Client:
    """A process that changes the gallery, and what it has said so far."""

    def __init__(self, address: str, name: str, known: dict[str, bool | None]) -> None:
        self._known = known
        self._process = Process("tests.gallery.qdrant_kill_harness", "--client", name, "--address", address)
        self.answers = 0
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def kill(self) -> None:
        self._process.kill()
        self._thread.join()
        self._process.wait()

    def _listen(self) -> None:
        while line := self._process.line():
            what, _, subject = line.partition(" ")
            self._known[subject] = {"enrolled": True, "deleting": None, "deleted": False}[what]
            self.answers += what != "deleting"


def client(address: str, name: str) -> None:
    """Enrol, and delete every third, for ever."""
    turns._SECONDS_HELD = _HELD
    number = 0
    with Gallery.open(address, near_duplicate=None, busy_seconds=30) as gallery:
        while True:
            subject = f"{name}-{number}"
            number += 1
            try:
                gallery.enrol(subject, [template(number), template(number + 100_000)])
                print(f"enrolled {subject}", flush=True)
                if number % 3 == 0:
                    print(f"deleting {subject}", flush=True)
                    gallery.delete(subject)
                    print(f"deleted {subject}", flush=True)
            except VultusError:  # the server is down; what was not acknowledged may or may not be there
                time.sleep(0.05)


def run(cycles: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill in every cycle; what was found wrong, and how much was acknowledged."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"qdrant://127.0.0.1:{port}/killed?timeout=20"
    known: dict[str, bool | None] = {}
    wrong: list[str] = []
    chance = random.Random(seed)
    server = started(folder, port)
    clients: dict[str, Client] = {}
    try:
        with Gallery.open(address, model=MODEL, near_duplicate=None, busy_seconds=30) as gallery:
            gallery.enrol("first", template(0))
            for cycle in range(cycles):
                for letter in "ab":
                    if letter not in clients:
                        clients[letter] = Client(address, f"{letter}{cycle}", known)
                wanted = {letter: c.answers + chance.randint(1, 6) for letter, c in clients.items()}
                deadline = time.monotonic() + 60
                while any(c.answers < wanted[letter] for letter, c in clients.items()) and time.monotonic() < deadline:
                    time.sleep(0.002)
                time.sleep(chance.random() * 0.03)
                victim = "server" if cycle % 2 else chance.choice("ab")
                if victim == "server":
                    server.kill()
                    server.wait()
                    server = started(folder, port)
                else:
                    clients.pop(victim).kill()
                wrong += [f"cycle {cycle}, {victim} killed: {words}" for words in check(gallery, known)]
            for one in clients.values():
                one.kill()
            clients = {}
            gallery.enrol("last", template(1))  # which clears what was left
            wrong += check(gallery, known)
            wrong += gallery.verify_integrity().problems
    finally:
        for one in clients.values():
            one.kill()
        server.kill()
        server.wait()
    counts = [sum(value is expected for value in known.values()) for expected in (True, False)]
    return {"cycles": cycles, "enrolled": counts[0], "deleted": counts[1], "wrong": wrong}


def started(folder: Path, port: int) -> Process:
    server = Process("tests.gallery.qdrant_server", str(folder), str(port))
    assert server.line() == "serving"
    return server


def check(gallery: Gallery, known: dict[str, bool | None]) -> list[str]:
    """What is not as it was acknowledged before, while clients go on."""
    before = dict(known)
    found = {s.subject_id: s.templates for s in gallery.subjects()}
    after = dict(known)
    wrong = [f"{s} is lost" for s, there in before.items() if there and s not in found and after[s] is True]
    wrong += [f"{s} is back" for s, there in before.items() if there is False and s in found]
    wrong += [f"{s} has {n} templates" for s, n in found.items() if n != 2 and s not in ("first", "last")]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is not None:
        client(options.address, options.client)
    with tempfile.TemporaryDirectory() as folder:
        report = run(options.cycles, options.seed, Path(folder))
    print(json.dumps(report))
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
