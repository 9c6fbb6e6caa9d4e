"""How much the service takes: open-loop arrivals from a process of their own, below capacity and at twice of it.

    python -m benchmarks.service.load --seconds 600
    python -m benchmarks.service.load --seconds 15          # shows within a minute or two that everything works

The model-only rate is that of `Recognizer.sample` on pictures in memory, decoding included, on as many threads as the service
has, measured before and after the service. Requests are identifications of a gallery of 100 subjects, with photos of mixed
sizes. They are sent at times drawn beforehand (Poisson), whether or not the answers before have come, so that a slow service
is not spared; latency counts from the time at which a request was due.

- warm-up: half of the model-only rate, then twice of it: as many requests are inside at once as ever will be.
- steady: 0.75 of the model-only rate. Every answer must be 200.
- capacity: 200s a second where half as many requests as the service lets in are sent in a circle, each when one is answered;
  before the overload and after the recovery.
- overload: twice the model-only rate, which is more than twice that capacity. Goodput is the rate of 200s over the capacity,
  and beside it over the model-only rate; what is refused must be 503 or 429.
- recovery: half of the model-only rate, at once after. The time until requests get 200 again, for good.
- memory: resident bytes of the service and its decoders, in the first tenth of the time after warm-up and in the last.

The sender uses cores too. On a machine of few cores that lowers what the service can reach; `sender_cpu` says by how much.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.service.serving import Served, environment, portraits, served

from vultus import Recognizer
from vultus.service import Settings

SIZES = (256, 384, 512, 640, 800)


def model_only(pictures: Sequence[bytes], threads: int, seconds: float) -> float:
    """Faces a second of the library alone, from the pictures' bytes, on so many threads."""
    recognizer = Recognizer.load(threads=1)
    recognizer.sample(pictures[0])
    until = time.perf_counter() + seconds

    def work(number: int) -> int:
        done = 0
        while time.perf_counter() < until:
            recognizer.sample(pictures[(number + done) % len(pictures)])
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(work, range(threads)))
    return total / (time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a phase's requests, in the order in which they were due.

    Args:
        due: seconds from the beginning.
        took: seconds from then to the answer.
        status: of the answer; 0 where there was none.
        cpu: seconds of processor time that sending took.
    """

    due: np.ndarray
    took: np.ndarray
    status: np.ndarray
    cpu: float


class Connections:
    """HTTP/1.1 over plain sockets, one request at a time on each: a client library would cost more than the service's own part.

    Args:
        url: of the service, without TLS.
        key: that requests carry.
    """

    def __init__(self, url: str, key: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port, self._key = int(port), key
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def form(self, path: str, picture: bytes) -> bytes:
        """The bytes of a request with one picture."""
        body = (
            b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n%b\r\n--edge--\r\n'
            % picture
        )
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body

    async def status(self, request: bytes) -> int:
        """Send a request and read its answer to the end.

        Raises:
            OSError, EOFError: there was no whole answer.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection[0].at_eof() and not connection[1].is_closing():
                break
        else:
            connection = await asyncio.open_connection(self._host, self._port)
        reader, writer = connection
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append(connection)
        return int(head.split(maxsplit=2)[1])


def circle(url: str, key: str, pictures: list[bytes], inside: int, seconds: float, out: object) -> None:
    """The other process: keeps so many requests under way, and tells the 200s a second."""
    connections = Connections(url, key)
    requests = [connections.form("/v1/galleries/load/identify", p) for p in pictures]

    async def one(number: int, until: float) -> int:
        good = 0
        while time.perf_counter() < until:
            good += await connections.status(requests[number % len(requests)]) == HTTPStatus.OK
            number += 1
        return good

    async def every() -> float:
        began = time.perf_counter()
        good = await asyncio.gather(*(one(n, began + seconds) for n in range(inside)))
        return sum(good) / (time.perf_counter() - began)

    out.send(asyncio.run(every()))  # type: ignore[attr-defined]


def sender(url: str, key: str, pictures: list[bytes], rate: float, seconds: float, seed: int, out: object) -> None:
    """The other process: sends requests when they are due."""
    chance = np.random.default_rng(seed)
    due = np.cumsum(chance.exponential(1 / rate, int(rate * seconds * 1.5) + 10))
    due = due[due < seconds]
    took, status = np.zeros(len(due)), np.zeros(len(due), int)
    connections = Connections(url, key)
    requests = [connections.form("/v1/galleries/load/identify", p) for p in pictures]

    async def one(began: float, number: int) -> None:
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(30):
                status[number] = await connections.status(requests[number % len(requests)])
        took[number] = time.perf_counter() - began - due[number]

    async def every() -> None:
        began = time.perf_counter()
        tasks = []
        for number, at in enumerate(due):
            if (wait := at - (time.perf_counter() - began)) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(one(began, number)))
        await asyncio.gather(*tasks)

    asyncio.run(every())
    out.send((due, took, status, time.process_time()))  # type: ignore[attr-defined]


def apart(work: Callable[..., None], service: Served, *values: object) -> Any:
    """What a process of its own sends back."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=work, args=(service.url, service.key, *values, there))
    process.start()
    there.close()
    found = here.recv()
    process.join()
    return found


def phase(service: Served, pictures: list[bytes], rate: float, seconds: float, seed: int) -> Sent:
    """Send at a rate for a time, from a process of its own."""
    return Sent(*apart(sender, service, pictures, rate, seconds, seed))


def told(sent: Sent, rate: float) -> dict[str, object]:
    """A phase in numbers."""
    good = sent.status == 200
    refused = np.isin(sent.status, (429, 503))
    span = float(sent.due[-1])
    record: dict[str, object] = {
        "offered_per_second": round(len(sent.due) / span, 2),
        "asked_per_second": round(rate, 2),
        "answered_200_per_second": round(float(good.sum()) / span, 2),
        "statuses": {str(k): v for k, v in Counter(sent.status.tolist()).items()},
        "sender_cpu": round(sent.cpu / span, 2),
    }
    for name, kind in (("200", good), ("refused", refused)):
        if kind.any():
            took = sorted(1000 * sent.took[kind])
            record[f"milliseconds_{name}"] = {
                "median": round(statistics.median(took), 1),
                "p95": round(took[int(0.95 * (len(took) - 1))], 1),
                "p99": round(took[int(0.99 * (len(took) - 1))], 1),
            }
    return record


def recovery(sent: Sent) -> float:
    """Seconds until the last request that was not answered with 200."""
    bad = sent.due[sent.status != 200]
    return float(bad[-1]) if len(bad) else 0.0


class Memory(threading.Thread):
    """Notes resident bytes every half second."""

    def __init__(self, service: Served) -> None:
        super().__init__(daemon=True)
        self.service, self.seen, self.stop = service, list[int](), threading.Event()

    def run(self) -> None:
        """Watch."""
        while not self.stop.wait(0.5):
            self.seen.append(self.service.resident())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of the steady phase")
    parser.add_argument("--overload-seconds", type=float, help="a tenth of it unless given")
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--share", type=float, default=0.75, help="of the model-only rate, offered in the steady phase")
    parser.add_argument("--queue", type=int, help="of the service; its default unless given")
    chosen = parser.parse_args(arguments)
    pictures, where = portraits(SIZES), environment()
    short = chosen.overload_seconds or max(10.0, chosen.seconds / 10)
    alone = model_only(pictures, chosen.threads, min(10.0, short))
    print(f"model only: {alone:.1f} faces/s", file=sys.stderr)
    options = {"threads": chosen.threads} | ({"queue": chosen.queue} if chosen.queue else {})
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), **options) as service:
        with service.client() as client:
            client.post("/v1/galleries", json={"name": "load"}).raise_for_status()
            for number in range(100):
                client.post(
                    "/v1/galleries/load/subjects",
                    files={"image": pictures[number % len(pictures)]},
                    data={"subject_id": f"s{number}"},
                ).raise_for_status()
        for share in (0.5, 2.0):
            phase(service, pictures, share * alone, min(20.0, short), 0)  # warm-up
        memory = Memory(service)
        memory.start()
        steady = phase(service, pictures, chosen.share * alone, chosen.seconds, 1)
        half = (chosen.queue or Settings().queue) // 2
        before = apart(circle, service, pictures, half, short)
        after = phase(service, pictures, 2 * alone, short, 2)
        again = phase(service, pictures, 0.5 * alone, short, 3)
        behind = apart(circle, service, pictures, half, short)
        memory.stop.set()
        memory.join()
    afterwards = model_only(pictures, chosen.threads, min(10.0, short))
    model, capacity = (alone + afterwards) / 2, (before + behind) / 2
    good = float((after.status == HTTPStatus.OK).sum()) / float(after.due[-1])
    first = statistics.median(memory.seen[: max(1, len(memory.seen) // 10)])
    last = statistics.median(memory.seen[-max(1, len(memory.seen) // 10) :])
    record = {
        "model_only_per_second": [round(alone, 2), round(afterwards, 2)],
        "capacity_per_second": [round(before, 2), round(behind, 2)],
        "threads": chosen.threads,
        "requests": len(steady.due) + len(after.due) + len(again.due),
        "steady": told(steady, chosen.share * alone),
        "steady_share_of_model_only": round(
            float((steady.status == HTTPStatus.OK).sum()) / float(steady.due[-1]) / model, 3
        ),
        "overload": told(after, 2 * alone),
        "overload_goodput": round(good / capacity, 3),
        "overload_share_of_model_only": round(good / model, 3),
        "recovery_seconds": round(recovery(again), 2),
        "resident_megabytes": [round(first / 2**20, 1), round(last / 2**20, 1)],
        "resident_growth": round(last / first - 1, 4),
        "environment": where | {"load_after": round(os.getloadavg()[0], 2)},
    }
    print(json.dumps(record, indent=2))
    return 0 if set(steady.status.tolist()) == {200} else 1


if __name__ == "__main__":
    raise SystemExit(main())
