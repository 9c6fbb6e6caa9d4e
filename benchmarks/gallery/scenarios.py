"""What is measured, and on which rows."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from benchmarks.core.measure import Entrant, Scenario, measure, quartiles
from benchmarks.gallery import peers as others

from vultus import Gallery, Template
from vultus.gallery import NewSubject
from vultus.types import FloatArray

MODEL = "benchmark"
_BATCH = 1000


def rows_like_faces(count: int, dimension: int, seed: int) -> FloatArray:
    """Unit rows with a common mean and a variance that falls from direction to direction."""
    common = np.random.default_rng(0).standard_normal(dimension)
    common *= 0.3 / np.linalg.norm(common)
    spread = 0.995 ** np.arange(dimension)
    spread *= 0.95 / np.linalg.norm(spread)
    rows = (np.random.default_rng(seed).standard_normal((count, dimension)) * spread + common).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def batches(options: argparse.Namespace) -> Iterator[FloatArray]:
    for first in range(0, options.templates, _BATCH):
        yield rows_like_faces(min(_BATCH, options.templates - first), options.dimension, seed=1 + first)


def mated_probes(rows: FloatArray, seed: int) -> FloatArray:
    """A probe for each row, which scores 0.66 with it on average, spread by 0.1."""
    generator = np.random.default_rng(seed)
    scores = np.clip(0.66 + 0.1 * generator.standard_normal(len(rows)), 0, 1)[:, None]
    other = rows_like_faces(len(rows), rows.shape[1], seed)
    other -= np.einsum("ij,ij->i", other, rows)[:, None] * rows
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return (scores * rows + np.sqrt(1 - scores**2) * other).astype(np.float32)


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    wanted = options.only or ["write", "open", "search"]
    report: dict[str, Any] = {"setting": _setting(options)}
    if "write" in wanted:
        report["write"] = write(options)
    path = folder / f"{options.templates}x{options.dimension}.db"
    if {"open", "search"} & set(wanted):
        report["filled"] = fill(path, options)
    if "open" in wanted:
        report["open"] = start(path, options)
    if "search" in wanted:
        report["search"] = search(path, options)
    report["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    report["load_average"] = os.getloadavg()
    return report


def _setting(options: argparse.Namespace) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("vultus", "numpy", "apsw-sqlite3mc", "faiss-cpu")}
    git = shutil.which("git")
    commit = (
        subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout if git else ""
    )
    return {
        "templates": options.templates,
        "dimension": options.dimension,
        "threads": options.threads,
        "cpu": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "commit": commit.strip(),
        "versions": {**versions, "sqlite": apsw.sqlite_lib_version()},
    }


def opened(path: Path, options: argparse.Namespace, *, compress: bool = True) -> Gallery:
    compress_from = options.compress_from if compress else None
    return Gallery.open(path, model=MODEL, near_duplicate=None, compress_from=compress_from)


def fill(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Enrol all rows, a subject each, and build the index; what is there already is used."""
    began, enrolled = time.perf_counter(), 0.0
    with opened(path, options) as gallery:
        if not len(gallery):
            for number, rows in enumerate(batches(options)):
                subjects = [NewSubject(f"s{number * _BATCH + i}", [Template(row, MODEL)]) for i, row in enumerate(rows)]
                start_ = time.perf_counter()
                gallery.enrol_many(subjects)
                enrolled += time.perf_counter() - start_
        whole = time.perf_counter() - began
        built = time.perf_counter()
        gallery.search(Template(rows_like_faces(1, options.dimension, seed=0)[0], MODEL), max_rank=1)
        built = time.perf_counter() - built
    return {
        "enrolled_per_second": round(options.templates / enrolled) if enrolled else None,
        "seconds": round(whole, 2),
        "first_search_that_builds_the_index_seconds": round(built, 2),
    }


def write(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One durable change at a time, and many together, beside what SQLite itself takes for that."""
    row = rows_like_faces(_BATCH, options.dimension, seed=3)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bare = apsw.Connection(str(Path(folder) / "bare.db"))
        for pragma, value in (("page_size", 16_384), ("journal_mode", "wal"), ("synchronous", "full")):
            bare.pragma(pragma, value)
        bare.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, vector BLOB)")
        gallery = Gallery.open(Path(folder) / "g.db", model=MODEL, near_duplicate=None)
        counter = iter(range(10**9))

        def bare_many() -> None:
            with bare:
                bare.executemany("INSERT INTO t (vector) VALUES (?)", ((r.tobytes(),) for r in row))

        def enrol_many() -> None:
            gallery.enrol_many([NewSubject(f"m{next(counter)}", [Template(r, MODEL)]) for r in row])

        def delete() -> None:
            name = f"d{next(counter)}"
            gallery.enrol(name, Template(row[0], MODEL))
            gallery.delete(name)

        single = (
            Entrant("SQLite, one row", lambda: bare.execute("INSERT INTO t (vector) VALUES (?)", (row[0].tobytes(),))),
            Entrant("enrol", lambda: gallery.enrol(f"s{next(counter)}", Template(row[0], MODEL))),
            Entrant("enrol and delete, erased", delete),
        )
        together = (Entrant("SQLite, 1,000 rows", bare_many), Entrant("enrol_many", enrol_many))
        scenarios = [
            Scenario("single change acknowledged", single),
            Scenario("1,000 subjects", together, unit="subject", count=_BATCH),
        ]
        results = measure(scenarios, max(10, options.rounds), _announce)
        gallery.close()
        bare.close()
    return results


_FIRST = """
import sys, time
import numpy as np
from vultus import Gallery, Template
began = time.perf_counter()
path, dimension, compress_from = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
row = np.zeros(dimension, dtype=np.float32); row[0] = 1
with Gallery.open(path, near_duplicate=None, compress_from=compress_from) as gallery:
    gallery.identify(Template(row, "benchmark"), threshold=0.6)
    print(time.perf_counter() - began)
"""


def start(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A new process: from opening the gallery to its first answer."""
    seconds = []
    for _ in range(5):
        command = [sys.executable, "-c", _FIRST, str(path), str(options.dimension), str(options.compress_from)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    return {"first_answer_seconds": quartiles(np.array(seconds))}


def search(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Time of a search as a share of reading the rows once, and whether all decisions are those of an exact scan."""
    quick = opened(path, options)
    strangers = rows_like_faces(max(300, options.probes), options.dimension, seed=5)
    best = [quick.search(Template(row, MODEL), max_rank=1)[0].score for row in strangers]
    threshold = float(np.quantile(best, 0.99))
    rows = None if options.no_exact else np.concatenate(list(batches(options)))
    picked = np.random.default_rng(8).integers(0, options.templates, options.probes)
    own = np.concatenate([_row(options, int(i)) for i in picked]) if rows is None else rows[picked]
    probes = np.concatenate([strangers[: options.probes], mated_probes(own, seed=9)])
    result: dict[str, Any] = {"threshold": threshold, "decisions": decisions(quick, rows, probes, threshold)}
    turn = iter(range(10**9))

    def ask(gallery: Gallery) -> None:
        gallery.identify(Template(probes[next(turn) % len(probes)], MODEL), threshold=threshold)

    entrants = []
    if rows is not None:
        everything = rows
        exact = opened(path, options, compress=False)
        entrants.append(Entrant("reading the rows once", lambda: everything.max()))
        entrants.append(Entrant("identify, exact", lambda: ask(exact)))
    entrants.append(Entrant("identify, compressed", lambda: ask(quick)))
    none: list[others.Peer] = []
    with others.peers(rows) if options.peers and rows is not None else nullcontext(none) as made:
        entrants += others.entrants(made, lambda: probes[next(turn) % len(probes)])
        result["time"] = measure([Scenario("one search", tuple(entrants))], options.rounds, _announce)
        if rows is not None and made:
            half = {"strangers": probes[: options.probes], "mated": probes[options.probes :]}
            result["peers"] = others.recall(made, rows, half)
    quick.close()
    return result


def _row(options: argparse.Namespace, place: int) -> FloatArray:
    first = place // _BATCH * _BATCH
    batch = rows_like_faces(min(_BATCH, options.templates - first), options.dimension, seed=1 + first)
    return batch[place - first : place - first + 1]


def decisions(gallery: Gallery, rows: FloatArray | None, probes: FloatArray, threshold: float) -> dict[str, Any]:
    """The answers for strangers and for enrolled people (each half of the probes), beside those of a matrix product."""
    found = [gallery.identify(Template(p, MODEL), threshold=threshold, max_rank=1) for p in probes]
    half = len(probes) // 2
    result: dict[str, Any] = {
        "strangers": half,
        "strangers_named": sum(len(f) > 0 for f in found[:half]),
        "enrolled": len(probes) - half,
        "enrolled_named": sum(len(f) > 0 for f in found[half:]),
    }
    if rows is not None:
        different = 0
        for first in range(0, len(probes), 16):
            scores = probes[first : first + 16] @ rows.T
            for i, place in enumerate(scores.argmax(axis=1)):
                score = float(rows[place].astype(np.float64) @ probes[first + i].astype(np.float64))
                expected = f"s{place}" if score >= threshold else None
                answer = found[first + i]
                different += expected != (answer[0].subject_id if answer else None)
        result["decisions_that_differ_from_exact"] = different
    return result


def _announce(text: str) -> None:
    print(text, file=sys.stderr)
