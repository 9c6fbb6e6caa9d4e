"""All cross-subject pairs against the bare matrix product: time as a ratio within one run, and memory.

    python benchmarks/evaluate/all_pairs.py [--rows 4281] [--keep 100000] [--rounds 15] [--out FILE]

Exit code 1 if the ratio is over 1.5 or the extra memory over 500 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.evaluate import all_pairs_tail

RATIO, MEMORY = 1.5, 500.0


def rows_like_faces(count: int, dimension: int) -> npt.NDArray[np.float32]:
    """Unit rows with a mean in common, so that scores have a tail."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, dimension)) + 0.35 * rng.standard_normal(dimension)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4281)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--keep", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = rows_like_faces(given.rows, given.dimension)
    all_pairs_tail(rows[:200], keep=10)
    before = peak_megabytes()
    tail = all_pairs_tail(rows, keep=given.keep)
    memory = peak_megabytes() - before
    rows @ rows.T
    walls: dict[str, list[float]] = {"matrix product": [], "all pairs": []}
    ratios = []
    for _ in range(given.rounds):
        start = time.perf_counter()
        rows @ rows.T
        middle = time.perf_counter()
        all_pairs_tail(rows, keep=given.keep)
        end = time.perf_counter()
        walls["matrix product"].append(middle - start)
        walls["all pairs"].append(end - middle)
        ratios.append((end - middle) / (middle - start))
    ratio = statistics.median(ratios)
    record = {
        "rows": given.rows,
        "dimension": given.dimension,
        "pairs": tail.comparisons,
        "kept": given.keep,
        "wall_ms": {name: round(1e3 * statistics.median(w), 2) for name, w in walls.items()},
        "ratio": round(ratio, 3),
        "ratio_quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4)[::2]],
        "extra_memory_mb": round(memory, 1),
        "met": ratio <= RATIO and memory <= MEMORY,
    }
    print(json.dumps(record, indent=2))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if record["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
