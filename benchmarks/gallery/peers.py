"""Other indexes on the same rows: how long they take, and how often they find the candidate that is really the best."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.core.measure import Entrant

from vultus.types import FloatArray


@dataclass(frozen=True)
class Peer:
    """One index, filled: its name, what filling it took, and its best candidate's place for a probe."""

    name: str
    built_seconds: float
    best: Callable[[FloatArray], int]


@contextmanager
def peers(rows: FloatArray) -> Iterator[list[Peer]]:
    """Those that are installed, at their usual settings."""
    with ExitStack() as stack:
        found = []
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        fillers: dict[str, Callable[[], Callable[[FloatArray], int]]] = {
            "faiss flat": lambda: _faiss(rows),
            "usearch (approximate)": lambda: _usearch(rows),
            "hnswlib, ef 64 (approximate)": lambda: _hnswlib(rows),
            "LanceDB without index": lambda: _lancedb(_lance_table(rows, folders[0])),
            "LanceDB, its default index (approximate)": lambda: _lancedb(_indexed(_lance_table(rows, folders[1]))),
        }
        for name, fill in fillers.items():
            print(f"filling {name}", file=sys.stderr)
            began = time.perf_counter()
            try:
                best = fill()
            except ImportError as problem:
                print(f"{problem.name} is not installed", file=sys.stderr)
                continue
            found.append(Peer(name, round(time.perf_counter() - began, 1), best))
        yield found


def _faiss(rows: FloatArray) -> Callable[[FloatArray], int]:
    import faiss

    faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    return lambda probe: int(flat.search(probe[None], 1)[1][0, 0])


def _usearch(rows: FloatArray) -> Callable[[FloatArray], int]:
    graph = importlib.import_module("usearch.index").Index(ndim=rows.shape[1], metric="ip", dtype="f32")
    graph.add(np.arange(len(rows)), rows)
    return lambda probe: int(graph.search(probe, 1, threads=1).keys[0])


def _hnswlib(rows: FloatArray) -> Callable[[FloatArray], int]:
    graph = importlib.import_module("hnswlib").Index(space="ip", dim=rows.shape[1])
    graph.init_index(max_elements=len(rows))
    graph.add_items(rows)
    graph.set_ef(64)  # its default of 10 is less than anybody uses
    return lambda probe: int(graph.knn_query(probe, 1, num_threads=1)[0][0, 0])


def _lance_table(rows: FloatArray, folder: Path) -> Any:
    os.environ.setdefault("LANCE_CPU_THREADS", os.environ["OMP_NUM_THREADS"])
    lancedb, pa = importlib.import_module("lancedb"), importlib.import_module("pyarrow")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    content = pa.table({"place": pa.array(np.arange(len(rows))), "vector": vectors})
    return lancedb.connect(folder).create_table("rows", content)


def _indexed(table: Any) -> Any:
    """With an inverted list and product quantisation, as the package makes them."""
    table.create_index(metric="dot", vector_column_name="vector")
    return table


def _lancedb(table: Any) -> Callable[[FloatArray], int]:
    def best(probe: FloatArray) -> int:
        found = table.search(probe).distance_type("dot").limit(1).select(["place", "_distance"]).to_arrow()
        return int(found["place"][0].as_py())

    return best


def entrants(made: list[Peer], turn: Callable[[], FloatArray]) -> list[Entrant]:
    """To be timed."""
    return [Entrant(peer.name, lambda p=peer: p.best(turn())) for peer in made]  # type: ignore[misc]


def recall(made: list[Peer], rows: FloatArray, sets: dict[str, FloatArray]) -> dict[str, dict[str, Any]]:
    """How often each finds the best candidate, of strangers and of enrolled people."""
    result: dict[str, dict[str, Any]] = {peer.name: {"built_seconds": peer.built_seconds} for peer in made}
    for name, probes in sets.items():
        best = np.concatenate([(probes[i : i + 16] @ rows.T).argmax(axis=1) for i in range(0, len(probes), 16)])
        for peer in made:
            hits = sum(peer.best(probe) == expected for probe, expected in zip(probes, best, strict=True))
            result[peer.name][f"recall_{name}"] = hits / len(probes)
    return result
