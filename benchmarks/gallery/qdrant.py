"""What a search costs Qdrant's engine, exact and by rows in 8 bits, and how many of the best candidates the latter finds.

    python -m benchmarks.gallery.qdrant                                      # 100,000 templates, two minutes, qdrant-edge-py
    python -m benchmarks.gallery.qdrant --templates 1000000                  # 3 GB
    python -m benchmarks.gallery.qdrant --address "qdrant://host:6333/trial" # a gallery on a server of your own

Without an address the engine runs in this process, on one thread, with collections as vultus makes them and the requests
that vultus sends; without HTTP and JSON. With one, a gallery that does not exist yet is filled and searched there. Rows and
probes are those of `benchmarks.gallery.run`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

OVERSAMPLING = (1, 2, 4, 8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--probes", type=int, default=500, help="of strangers, and as many of enrolled people")
    parser.add_argument("--address", help="of a gallery on a server of your own that does not exist yet")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before NumPy and faiss are loaded
    report: dict[str, Any] = {"templates": options.templates, "dimension": options.dimension, "cpus": os.cpu_count()}
    if options.address is None:
        with tempfile.TemporaryDirectory() as folder:
            report["engine"] = engine(options, folder)
    else:
        report["server"] = server(options)
    report["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    report["load_average"] = os.getloadavg()
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def probes_of(options: argparse.Namespace, rows: Any) -> tuple[Any, Any]:
    """Of strangers, and of enrolled people."""
    import numpy as np
    from benchmarks.gallery.scenarios import mated_probes, rows_like_faces

    strangers = rows_like_faces(options.probes, options.dimension, seed=5)
    picked = np.random.default_rng(8).integers(0, len(rows), options.probes)
    return strangers, mated_probes(rows[picked], seed=9)


def engine(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    import importlib.metadata

    import numpy as np
    import qdrant_edge as edge
    from benchmarks.gallery.scenarios import batches

    hnsw = edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000)
    quick = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=0.99, always_ram=True)
    vectors = edge.EdgeVectorParams(
        size=options.dimension, distance=edge.Distance.Dot, hnsw_config=hnsw, quantization_config=quick
    )
    config = edge.EdgeConfig(vectors=vectors, on_disk_payload=True, max_search_threads=1)
    shard = edge.EdgeShard.create(str(Path(folder) / "shard"), config)
    number, parts, began = 0, [], time.perf_counter()
    for batch in batches(options):
        points = [
            edge.Point(number + i, row.tolist(), {"ticket": 1, "subject": number + i, "expires": None, "checksum": 0})
            for i, row in enumerate(batch)
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
        number += len(batch)
        parts.append(batch)
    filled = time.perf_counter() - began
    began = time.perf_counter()
    shard.optimize()
    optimized = time.perf_counter() - began
    rows = np.concatenate(parts)
    strangers, mated = probes_of(options, rows)

    def ask(probe: Any, count: int, oversampling: int | None, above: float | None = None) -> list[Any]:
        quantization = None
        if oversampling is not None:
            quantization = edge.QuantizationSearchParams(ignore=False, rescore=True, oversampling=float(oversampling))
        request = edge.QueryRequest(
            limit=count,
            query=edge.Query.Nearest(probe.tolist()),
            params=edge.SearchParams(exact=oversampling is None, quantization=quantization),
            score_threshold=above,
            with_payload=True,
            with_vector=True,
        )
        return shard.query(request)

    best = {
        name: np.concatenate([(probes[i : i + 50] @ rows.T).argmax(axis=1) for i in range(0, len(probes), 50)])
        for name, probes in (("strangers", strangers), ("mated", mated))
    }
    top = np.sort([(rows[i] @ probe) for i, probe in zip(best["strangers"], strangers, strict=True)])
    threshold = float(np.quantile(top, 0.99))
    both = [probe for pair in zip(strangers, mated, strict=True) for probe in pair]
    turns = iter(range(10**9))

    def turn() -> Any:
        return both[next(turns) % len(both)]

    entrants: dict[str, Callable[[], Any]] = {
        "identify, exact": lambda: ask(turn(), 48, None, threshold),
        "search, exact": lambda: ask(turn(), 48, None),
    }
    for oversampling in OVERSAMPLING:
        entrants[f"identify, 8 bits, oversampling {oversampling}"] = lambda o=oversampling: ask(
            turn(), 48, o, threshold
        )  # type: ignore[misc]
    report: dict[str, Any] = {
        "qdrant-edge-py": importlib.metadata.version("qdrant-edge-py"),
        "points_per_second": round(number / filled),
        "optimized_seconds": round(optimized, 2),
        "threshold": threshold,
        "cpu_of_reading_the_rows_once_ms": 0.0,
        "cpu_as_a_share_of_reading_the_rows_once": {},
        "best_candidate_found": {},
    }
    base, shares = cpu(lambda: rows.max(), entrants)
    report["cpu_of_reading_the_rows_once_ms"] = round(1000 * base, 2)
    report["cpu_as_a_share_of_reading_the_rows_once"] = shares
    for times in (None, *OVERSAMPLING):
        found = {
            name: sum(
                ask(probe, 48, times)[0].id == expected for probe, expected in zip(probes, best[name], strict=True)
            )
            for name, probes in (("strangers", strangers), ("mated", mated))
        }
        name = "exact" if times is None else f"8 bits, oversampling {times}"
        report["best_candidate_found"][name] = {key: f"{value} of {options.probes}" for key, value in found.items()}
    return report


def cpu(base: Callable[[], Any], entrants: dict[str, Callable[[], Any]]) -> tuple[float, dict[str, float]]:
    """CPU seconds of the first, and the shares of the others, medians of rounds in which each has its turn."""
    import numpy as np

    spent: dict[str, list[float]] = {name: [] for name in ("", *entrants)}
    for _ in range(25):
        for name, run in (("", base), *entrants.items()):
            began = time.process_time()
            run()
            spent[name].append(time.process_time() - began)
    ratios = {name: np.median(np.array(spent[name]) / np.array(spent[""])) for name in entrants}
    return float(np.median(spent[""])), {name: round(float(ratio), 2) for name, ratio in ratios.items()}


def server(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    from benchmarks.gallery.scenarios import MODEL, batches

    from vultus import Gallery, Template
    from vultus.gallery import NewSubject

    def templates(rows: Any) -> Iterator[Template]:
        return (Template(row, MODEL) for row in rows)

    report: dict[str, Any] = {}
    with Gallery.open(options.address, model=MODEL, near_duplicate=None) as gallery:
        number, parts, took = 0, [], 0.0
        for batch in batches(options):
            subjects = [NewSubject(f"s{number + i}", [t]) for i, t in enumerate(templates(batch))]
            began = time.perf_counter()
            gallery.enrol_many(subjects)
            took += time.perf_counter() - began
            number += len(batch)
            parts.append(batch)
        report["enrolled_per_second"] = round(number / took)
    strangers, mated = probes_of(options, np.concatenate(parts))
    for times in (None, *OVERSAMPLING):
        mark = "&" if "?" in options.address else "?"
        way = options.address if times is None else f"{options.address}{mark}oversampling={times}"
        with Gallery.open(way, near_duplicate=None) as gallery:
            found = {}
            for name, part in (("strangers", list(templates(strangers))), ("mated", list(templates(mated)))):
                began = time.perf_counter()
                for probe in part:
                    gallery.search(probe, max_rank=1)
                took = (time.perf_counter() - began) / len(part)
                found[name] = {"milliseconds": round(1000 * took, 2), "recall": asdict(gallery.recall(part))}
            report["exact" if times is None else f"8 bits, oversampling {times}"] = found
    return report


if __name__ == "__main__":
    sys.exit(main())
