"""The memory of one process that makes a head and takes two whole steps. One result as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from benchmarks.heads import peers

from vultus.train import heads
from vultus.train.nn import ArcFace


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most bytes it ever had there."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("head", choices=["chunked", "chunked-torch-sgd", "dense", "metric-learning", "partial-fc"])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--keep", type=int, default=64 * 2**20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    data = peers.Data.drawn(options.rows, options.dim, options.classes)
    base = resident()
    step: peers.Call
    space = None
    if options.head == "chunked":
        head = peers.fused_head(data, sample_rate=options.rate, keep=options.keep)
        step, space = peers.passes(head, [], data), head.space
    elif options.head == "chunked-torch-sgd":
        outside = heads.Chunked(data.dim, data.classes, ArcFace(), keep=options.keep)
        step, space = peers.steps(outside, [outside.weight], data), outside.space
    elif options.head == "dense":
        dense = heads.Dense(data.dim, data.classes, ArcFace())
        step = peers.steps(dense, [dense.weight], data)
    elif options.head == "metric-learning":
        metric = peers.metric_learning(data)
        step = peers.steps(metric, list(metric.parameters()), data)
    else:
        step = peers.PartialFC(data, options.rate)
    made = resident()
    seconds = []
    for _ in range(2):
        start = time.process_time()
        step()
        seconds.append(round(time.process_time() - start, 3))
    values = 4 * options.dim * options.classes
    result = {
        "head": options.head,
        "classes": options.classes,
        "sample_rate": options.rate,
        "centres_and_momentum_gb": round(2 * values / 1e9, 3),
        "before_gb": round(base / 1e9, 3),
        "made_gb": round(made / 1e9, 3),
        "peak_gb": round(peak() / 1e9, 3),
        "bytes_per_class": round((peak() - base) / options.classes),
        "workspace_mb": None if space is None else round(space.bytes / 1e6, 1),
        "step_cpu_s": seconds,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
