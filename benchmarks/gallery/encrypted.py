"""What encryption costs: a gallery with a key beside one without.

    python -m benchmarks.gallery.encrypted                        # 100,000 templates, a minute or two
    python -m benchmarks.gallery.encrypted --templates 1000000

Rounds are A B A B, and ratios are medians over rounds. "first answer" is a new process, from opening the gallery to its
first answer: an encrypted one has no index file and reads all rows. "peak" is the resident memory of that process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from benchmarks.core.measure import Entrant, Scenario, measure
from benchmarks.gallery.scenarios import MODEL, rows_like_faces

from vultus import Gallery, Template
from vultus.gallery import NewSubject

WAYS: dict[str, bytes | str | None] = {
    "plain": None,
    "key": bytes(range(32)),
    "passphrase": "some words of a passphrase",
}
_BATCH = 1000
_FIRST = """
import json, resource, sys, time
import numpy as np
from vultus import Gallery, Template
began = time.perf_counter()
path, key, dimension = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
row = np.zeros(dimension, dtype=np.float32); row[0] = 1
with Gallery.open(path, key=bytes(key) if isinstance(key, list) else key, near_duplicate=None) as gallery:
    gallery.identify(Template(row, "benchmark"), threshold=0.6)
    print(json.dumps([time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def changes(folder: Path, dimension: int, rounds: int) -> list[dict[str, Any]]:
    """One durable enrolment, and 1,000 in one transaction."""
    rows = rows_like_faces(_BATCH, dimension, seed=3)
    galleries = {
        name: Gallery.open(folder / f"write-{name}.db", model=MODEL, near_duplicate=None, key=key)
        for name, key in WAYS.items()
    }
    counter = iter(range(10**9))

    def one(gallery: Gallery) -> None:
        gallery.enrol(f"s{next(counter)}", Template(rows[0], MODEL))

    def many(gallery: Gallery) -> None:
        gallery.enrol_many([NewSubject(f"m{next(counter)}", [Template(row, MODEL)]) for row in rows])

    single = tuple(Entrant(name, lambda g=gallery: one(g)) for name, gallery in galleries.items())  # type: ignore[misc]
    together = tuple(Entrant(name, lambda g=gallery: many(g)) for name, gallery in galleries.items())  # type: ignore[misc]
    scenarios = [
        Scenario("enrolment acknowledged", single),
        Scenario("1,000 subjects in one transaction", together, unit="subject", count=_BATCH, share=0.3),
    ]
    results = measure(scenarios, rounds, lambda *_: None)
    for gallery in galleries.values():
        gallery.close()
    return results


def first_answers(folder: Path, templates: int, dimension: int, rounds: int) -> dict[str, Any]:
    """New processes in turn, on galleries whose index was built before."""
    for name, key in WAYS.items():
        with Gallery.open(folder / f"{name}.db", model=MODEL, near_duplicate=None, key=key) as gallery:
            for first in range(0, templates, _BATCH):
                rows = rows_like_faces(min(_BATCH, templates - first), dimension, seed=1 + first)
                gallery.enrol_many([NewSubject(f"s{first + i}", [Template(r, MODEL)]) for i, r in enumerate(rows)])
            gallery.search(Template(rows[0], MODEL), max_rank=1)
    found: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, key in WAYS.items():
            said = json.dumps(list(key) if isinstance(key, bytes) else key)
            command = [sys.executable, "-c", _FIRST, str(folder / f"{name}.db"), said, str(dimension)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout))
    medians = {name: np.median(np.array(times), axis=0) for name, times in found.items()}
    return {name: {"seconds": round(float(s), 3), "peak_mb": round(float(mb))} for name, (s, mb) in medians.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = {
            "templates": options.templates,
            "dimension": options.dimension,
            "changes": changes(folder, options.dimension, options.rounds),
            "first answer": first_answers(folder, options.templates, options.dimension, 5),
            "load_average": os.getloadavg(),
        }
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
