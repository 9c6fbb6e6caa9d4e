"""kill -9 of a running service amid enrolments and deletions: nothing acknowledged is lost, nothing deleted is back.

    python -m tests.service.kill_harness --cycles 500 --threads 4 --folder /dev/shm

Each cycle starts the service in a new process, lets clients enrol and delete with real requests, kills the process after a
random number of answers, and starts the next on the same folder. Then every subject's history is compared with what the
service says, and the audit log is read whole. Processes are forked from one that has imported
everything, which saves most of a start.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import uvicorn
from PIL import Image

from vultus.service import Settings, create_app, verify_log
from vultus.service.keys import SCOPES, Keys
from vultus.service.server import config_of
from vultus.service.state import State

Known = Literal["there", "gone", "open"]


def serve(folder: str, listener: socket.socket) -> None:
    """The killed process: a service on a socket that outlives it."""
    settings = Settings(data=folder, threads=1, decoders=1, requests_per_second=0, attempts=0, queue=64)
    asyncio.run(uvicorn.Server(config_of(create_app(settings), settings)).serve([listener]))


@dataclass(slots=True)
class Found:
    """What a run saw.

    Args:
        cycles: kills.
        acknowledged: operations that were answered.
        under_way: operations that were cut off by a kill.
        lost: acknowledged enrolments that were not there afterwards.
        back: acknowledged deletions whose subject was there afterwards.
        other: further violations.
    """

    cycles: int = 0
    acknowledged: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    lost: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """How many in all."""
        return len(self.lost) + len(self.back) + len(self.other)


class Client(threading.Thread):
    """Enrols and deletes subjects of its own until the service is gone."""

    def __init__(self, number: int, url: str, key: str, picture: bytes, known: dict[str, Known], found: Found) -> None:
        super().__init__(daemon=True)
        self._url, self._key, self._picture, self._known, self._found = url, key, picture, known, found
        self._number = number

    def run(self) -> None:
        """Work."""
        chance = random.Random(f"{self._number} {time.time()}")
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            with httpx.Client(base_url=self._url, headers=headers, timeout=20) as client:
                while True:
                    self._step(client, chance)
        except httpx.TransportError:
            self._found.under_way += 1

    def _step(self, client: httpx.Client, chance: random.Random) -> None:
        mine = [s for s, k in list(self._known.items()) if k == "there" and s.startswith(f"{self._number}-")]
        if mine and chance.random() < 0.4:
            subject = chance.choice(mine)
            self._known[subject] = "open"
            answer = client.delete(f"/v1/galleries/g/subjects/{subject}")
            expected, after, kind = 200, "gone", "delete"
        else:
            subject = f"{self._number}-{len(self._known)}-{chance.randrange(10**9)}"
            self._known[subject] = "open"
            answer = client.post(
                "/v1/galleries/g/subjects",
                files={"image": self._picture},
                data={"subject_id": subject},
                headers={"Idempotency-Key": subject},
            )
            expected, after, kind = 201, "there", "enrol"
        if answer.status_code != expected:
            if answer.status_code != 503:
                self._found.other.append(f"{kind} of {subject}: {answer.status_code} {answer.text[:200]}")
            return
        self._known[subject] = "there" if after == "there" else "gone"
        self._found.acknowledged[kind] += 1


def run(*, cycles: int, threads: int, folder: Path, most: int = 12, picture: bytes) -> Found:
    """So many kills.

    Args:
        cycles: how many.
        threads: clients at once.
        folder: where the data folder is made.
        most: answers before a kill, at most; a random number of them is waited for.
        picture: file with one face.
    """
    data = Path(tempfile.mkdtemp(dir=folder))
    state = State(data, None)
    _, key = Keys(state).create("harness", SCOPES)
    state.close()
    found, known = Found(), {}  # type: tuple[Found, dict[str, Known]]
    chance = random.Random(1)
    fork = multiprocessing.get_context("fork")
    try:
        for cycle in range(cycles + 1):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listener.bind(("127.0.0.1", 0))
            listener.listen(64)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            process = fork.Process(target=serve, args=(str(data), listener))
            process.start()
            listener.close()
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                ready(client)
                if cycle == 0:
                    client.post("/v1/galleries", json={"name": "g"}).raise_for_status()
                compare(client, known, found)
            if cycle == cycles:
                process.terminate()
                process.join()
                break
            workers = [Client(n, url, key, picture, known, found) for n in range(threads)]
            for worker in workers:
                worker.start()
            wait_for(found, sum(found.acknowledged.values()) + chance.randint(0, most))
            time.sleep(chance.uniform(0, 0.08))
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            for worker in workers:
                worker.join()
            found.cycles += 1
        whole = verify_log(data / "audit")
        if not whole.ok:
            found.other.append(f"audit: {whole.problem}")
        unexplained(data, found)
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return found


def ready(client: httpx.Client) -> None:
    """Wait until the service takes requests."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise TimeoutError("the service did not become ready")


def wait_for(found: Found, answers: int) -> None:
    """Wait for so many answers, or half a minute."""
    until = time.monotonic() + 30
    while sum(found.acknowledged.values()) < answers and time.monotonic() < until:
        time.sleep(0.002)


def compare(client: httpx.Client, known: dict[str, Known], found: Found) -> None:
    """What the service has, beside what was acknowledged; what was under way may be either way."""
    there: set[str] = set()
    after: str | None = ""
    while after is not None:
        page = client.get("/v1/galleries/g/subjects", params={"after": after, "limit": 1000}).json()
        there |= {s["subject_id"] for s in page["subjects"]}
        after = page["next"]
    for subject, state in known.items():
        if state == "there" and subject not in there:
            found.lost.append(subject)
        if state == "gone" and subject in there:
            found.back.append(subject)
        if state == "open":
            known[subject] = "there" if subject in there else "gone"
    found.other += [f"nobody asked for {s}" for s in there - known.keys()]


def unexplained(data: Path, found: Found) -> None:
    """Each acknowledged change must have its intent and its outcome in the log."""
    lines = (data / "audit" / "audit.jsonl").read_bytes().splitlines()
    done: Counter[str] = Counter()
    intents: set[int] = set()
    for line in lines:
        entry = json.loads(line)
        if entry.get("phase") == "intent":
            intents.add(entry["seq"])
        elif entry.get("phase") == "outcome":
            if entry["intent"] not in intents:
                found.other.append(f"outcome {entry['seq']} without its intent")
            if entry["result"] == "done":
                done[entry["action"]] += 1
    for action, kind in (("subject.enrol", "enrol"), ("subject.delete", "delete")):
        if done[action] < found.acknowledged[kind]:
            found.other.append(f"{found.acknowledged[kind]} acknowledged, {done[action]} in the log: {kind}")


def portrait() -> bytes:
    """A file with one face."""
    import skimage.data

    out = io.BytesIO()
    Image.fromarray(np.asarray(skimage.data.astronaut())[30:230, 120:320]).save(out, "JPEG")
    return out.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--most", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    chosen = parser.parse_args(arguments)
    found = run(
        cycles=chosen.cycles,
        threads=chosen.threads,
        folder=chosen.folder,
        most=chosen.most,
        picture=portrait(),
    )
    record = {
        "cycles": found.cycles,
        "acknowledged": dict(found.acknowledged),
        "under_way": found.under_way,
        "lost": found.lost[:5],
        "back": found.back[:5],
        "other": found.other[:5],
        "violations": found.violations,
    }
    print(json.dumps(record, indent=2))
    return 1 if found.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
