"""Heads against one another in one process: forward and backward, and whole steps. One result as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys

import torch
from benchmarks.core.measure import Entrant, Scenario, measure
from benchmarks.heads import peers

from vultus.train import heads
from vultus.train.nn import ArcFace


def scenarios(rows: int, dim: int, classes: int) -> list[Scenario]:
    """vultus stands first in each, so that a ratio says how many times as long another one takes."""
    data = peers.Data.drawn(rows, dim, classes)

    kept = heads.Chunked(dim, classes, ArcFace())
    again = heads.Chunked(dim, classes, ArcFace(), keep=0)
    dense = heads.Dense(dim, classes, ArcFace())
    plain = peers.Plain(dim, classes)
    metric = peers.metric_learning(data)
    cross, cross_weight = peers.linear_cross_entropy(data)
    forward_backward = Scenario(
        "forward and backward",
        (
            Entrant("Chunked", peers.passes(kept, [kept.weight], data)),
            Entrant("Chunked, nothing kept", peers.passes(again, [again.weight], data)),
            Entrant("Dense", peers.passes(dense, [dense.weight], data)),
            Entrant("ten lines of autograd", peers.passes(plain, [plain.weight], data)),
            Entrant("pytorch-metric-learning", peers.passes(metric, list(metric.parameters()), data)),
            Entrant("linear_cross_entropy (no margin)", peers.passes(cross, cross_weight, data)),
        ),
    )
    whole = Scenario(
        "step with SGD, all classes",
        (
            Entrant("Chunked, fused", peers.fused(data)),
            Entrant("Chunked, fused, nothing kept", peers.fused(data, keep=0)),
            Entrant("Dense", peers.steps(dense, [dense.weight], data)),
            Entrant("ten lines of autograd", peers.steps(plain, [plain.weight], data)),
            Entrant("pytorch-metric-learning", peers.steps(metric, list(metric.parameters()), data)),
            Entrant("PartialFC scheme", peers.PartialFC(data, 1.0)),
        ),
    )
    sampled = Scenario(
        "step with SGD, a tenth of the classes",
        (
            Entrant("Chunked, fused, lazy decay", peers.fused(data, sample_rate=0.1)),
            Entrant("Chunked, fused, full decay", peers.fused(data, sample_rate=0.1, decay="full")),
            Entrant("PartialFC scheme", peers.PartialFC(data, 0.1)),
            Entrant("Dense, all classes", peers.steps(dense, [dense.weight], data)),
            Entrant("pytorch-metric-learning, all classes", peers.steps(metric, list(metric.parameters()), data)),
        ),
    )
    return [forward_backward, whole, sampled]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    chosen = scenarios(options.rows, options.dim, options.classes)
    results = measure(chosen, options.rounds, lambda name: print(name, file=sys.stderr, flush=True))
    print(json.dumps({"threads": options.threads, "classes": options.classes, "scenarios": results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
