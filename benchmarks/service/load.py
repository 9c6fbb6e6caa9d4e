"""How much the service takes: open-loop arrivals from a process of their own, below capacity and at twice of it.

    python -m benchmarks.service.load --seconds 600
    python -m benchmarks.service.load --seconds 15          # shows within a minute or two that everything works

The model-only rate is that of `Recognizer.sample` on pictures in memory, decoding included, on as many threads as the service
has, measured before and after the service. Requests are identifications of a gallery of 100 subjects, with photos of mixed
sizes. They are sent at times drawn beforehand (Poisson), whether or not the answers before have come, so that a slow service
is not spared; latency counts from the time at which a request was due.

- steady: 0.75 of the model-only rate. Every answer must be 200.
- overload: twice the model-only rate. Goodput is the rate of 200s over that capacity; what is refused must be 503 or 429.
- recovery: 0.5 of it, at once after. The time until requests get 200 again, for good.
- memory: resident bytes of the service and its decoders, after the first tenth of the run and at its end.

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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from benchmarks.service.serving import Served, environment, portraits, served

from vultus import Recognizer

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


def sender(url: str, key: str, pictures: list[bytes], rate: float, seconds: float, seed: int, out: object) -> None:
    """The other process: sends requests when they are due."""
    chance = np.random.default_rng(seed)
    due = np.cumsum(chance.exponential(1 / rate, int(rate * seconds * 1.5) + 10))
    due = due[due < seconds]
    took, status = np.zeros(len(due)), np.zeros(len(due), int)

    async def one(client: httpx.AsyncClient, began: float, number: int) -> None:
        picture = pictures[number % len(pictures)]
        try:
            answer = await client.post("/v1/galleries/load/identify", files={"image": picture})
            status[number] = answer.status_code
        except httpx.HTTPError:
            status[number] = 0
        took[number] = time.perf_counter() - began - due[number]

    async def every() -> None:
        limits = httpx.Limits(max_connections=500, max_keepalive_connections=200)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as client:
            began = time.perf_counter()
            tasks = []
            for number, at in enumerate(due):
                if (wait := at - (time.perf_counter() - began)) > 0:
                    await asyncio.sleep(wait)
                tasks.append(asyncio.create_task(one(client, began, number)))
            await asyncio.gather(*tasks)

    asyncio.run(every())
    out.send((due, took, status, time.process_time()))  # type: ignore[attr-defined]


def phase(service: Served, pictures: list[bytes], rate: float, seconds: float, seed: int) -> Sent:
    """Send at a rate for a time, from a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    args = (service.url, service.key, pictures, rate, seconds, seed, there)
    process = spawn.Process(target=sender, args=args)
    process.start()
    found = Sent(*here.recv())
    process.join()
    return found


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
        phase(service, pictures, 0.5 * alone, min(10.0, short), 0)  # warm-up
        memory = Memory(service)
        memory.start()
        steady = phase(service, pictures, chosen.share * alone, chosen.seconds, 1)
        after = phase(service, pictures, 2 * alone, short, 2)
        again = phase(service, pictures, 0.5 * alone, short, 3)
        memory.stop.set()
        memory.join()
    afterwards = model_only(pictures, chosen.threads, min(10.0, short))
    capacity = (alone + afterwards) / 2
    first = statistics.median(memory.seen[: max(1, len(memory.seen) // 10)])
    last = statistics.median(memory.seen[-max(1, len(memory.seen) // 10) :])
    record = {
        "model_only_per_second": [round(alone, 2), round(afterwards, 2)],
        "threads": chosen.threads,
        "requests": len(steady.due) + len(after.due) + len(again.due),
        "steady": told(steady, chosen.share * alone),
        "steady_share_of_model_only": round(float((steady.status == 200).sum()) / float(steady.due[-1]) / capacity, 3),
        "overload": told(after, 2 * alone),
        "overload_goodput": round(float((after.status == 200).sum()) / float(after.due[-1]) / capacity, 3),
        "recovery_seconds": round(recovery(again), 2),
        "resident_megabytes": [round(first / 2**20, 1), round(last / 2**20, 1)],
        "resident_growth": round(last / first - 1, 4),
        "environment": where | {"load_after": round(os.getloadavg()[0], 2)},
    }
    print(json.dumps(record, indent=2))
    return 0 if set(steady.status.tolist()) == {200} else 1


if __name__ == "__main__":
    raise SystemExit(main())
