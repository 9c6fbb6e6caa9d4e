"""One step of a head on one gloo rank and on two, in turn, with one thread for each process.

Started by run.py once as a parent; it starts the ranks itself. The two ranks have half the rows and half the classes each.
One result as JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from benchmarks.core.measure import quartiles
from benchmarks.heads import peers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128, help="of all ranks together")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank is not None:
        work(options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        shared = [sys.executable, "-m", "benchmarks.heads.ranks", "--store", str(Path(folder) / "store")]
        sizes = [f"--{name}={getattr(options, name)}" for name in ("rows", "dim", "classes", "rounds")]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        other = subprocess.Popen([*shared, *sizes, "--rank", "1"], env=environment, stdout=subprocess.DEVNULL)
        first = subprocess.run([*shared, *sizes, "--rank", "0"], env=environment, check=True, stdout=subprocess.PIPE)
        if other.wait():
            raise SystemExit("rank 1 failed; its own message stands above")
    print(first.stdout.decode().strip())
    return 0


def work(options: argparse.Namespace) -> None:
    """Rank 0 takes a step alone while rank 1 waits, then both take one together; and again."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo", init_method=f"file://{options.store}", rank=options.rank, world_size=2)
    whole = peers.Data.drawn(options.rows, options.dim, options.classes)
    half = slice(0, options.rows // 2) if options.rank == 0 else slice(options.rows // 2, None)
    part = peers.Data(whole.features.detach()[half].clone().requires_grad_(), whole.labels[half], options.classes)
    together = peers.fused(part, sharded=True)
    alone = peers.fused(whole, sharded=True, group=dist.new_group([0])) if options.rank == 0 else None
    dist.new_group([0]) if options.rank else None  # every rank takes part in making a group
    wall, cpu = np.zeros((2, 2, options.rounds + 2))
    for turn in range(options.rounds + 2):
        if alone is not None:
            start, used = time.perf_counter(), time.process_time()
            alone()
            wall[0, turn], cpu[0, turn] = time.perf_counter() - start, time.process_time() - used
        dist.barrier()
        start, used = time.perf_counter(), time.process_time()
        together()
        cpu[1, turn] = time.process_time() - used
        dist.barrier()
        wall[1, turn] = time.perf_counter() - start
    slower = torch.from_numpy(cpu[1].copy())
    dist.all_reduce(slower, op=dist.ReduceOp.MAX)
    cpu[1] = slower.numpy()
    one, two = wall[:, 2:]
    result = {
        "classes": options.classes,
        "rows": options.rows,
        "one_process_s": round(float(np.median(one)), 4),
        "two_processes_s": round(float(np.median(two)), 4),
        "efficiency": quartiles(one / (2 * two)),
        "efficiency_of_the_fastest_rounds": round(float(one.min() / (2 * two.min())), 3),
        # of the rank that needs more; waiting for a busy core is left out, and waiting for the other rank
        "efficiency_by_cpu_time": quartiles(cpu[0, 2:] / (2 * cpu[1, 2:])),
        "rounds": options.rounds,
    }
    if options.rank == 0:
        print(json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
