"""Grouping of unlabelled faces: every method, the default, and other programs, on the same rows.

    vultus embed data/lfw/*/*.jpg --face central --out lfw.npz
    python -m benchmarks.gallery.clusters lfw.npz                     # two minutes of CPU time
    python -m benchmarks.gallery.clusters lfw.npz --peers             # also infomap, leidenalg, hdbscan ...: ten
    python -m benchmarks.gallery.clusters --synthetic 100000          # made-up faces, for time and memory

The folder of a photo names its subject. Faces that are "unsure" count as groups of one. Three figures for each method:

- *best*: the parameters that are best on these very people, found by trying all; once by pairwise F and once by BCubed F;
- *halves*: people are dealt into two halves; parameters are chosen on one (by the sum of both F) and applied to the other,
  and the other way round; the mean of the two, over several deals;
- the default out of the box, whose threshold comes from the model's manifest and the number of faces: nothing to choose,
  so it is measured on all people and on the same halves. Manifests may have been measured on the same photos, so the halves
  are grouped once more with thresholds that were measured on the strangers of the other half.

Exit code 1 where the default is more than 0.002 below the highest pairwise F or the highest BCubed F of all "best" rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus import Threshold, calibrate, evaluate, load_manifest
from vultus.gallery.cluster import group
from vultus.gallery.cluster.components import components
from vultus.gallery.cluster.constraints import NO_MARKS
from vultus.gallery.cluster.density import density
from vultus.gallery.cluster.graph import Edges, Nodes, similar
from vultus.gallery.cluster.linkage import average, geometric
from vultus.gallery.cluster.whispers import whispers
from vultus.types import FloatArray

THRESHOLDS = tuple(round(float(t), 3) for t in np.arange(0.34, 0.601, 0.005))
WITHIN = 0.002

Labels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pile:
    """Faces to group, and all pairs of them from the lowest threshold on, which are found once for all methods."""

    rows: FloatArray
    subjects: Labels
    nodes: Nodes
    edges: Edges

    @classmethod
    def of(cls, rows: FloatArray, subjects: Labels) -> Pile:
        nodes = Nodes(rows.astype(np.float64), np.ones(len(rows), dtype=np.intp), (NO_MARKS,) * len(rows))
        return cls(rows, subjects, nodes, similar(rows, floor=min(THRESHOLDS), neighbours=len(rows)))


Run = Callable[[Pile, dict[str, Any]], Labels]


@dataclass(frozen=True)
class Entrant:
    """A method and all the parameters that it is tried with."""

    name: str
    run: Run
    grid: tuple[dict[str, Any], ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path, nargs="?", help="NPZ file of `vultus embed`")
    parser.add_argument(
        "--peers", action="store_true", help="also what requirements-clusters.txt lists, where installed"
    )
    parser.add_argument("--deals", type=int, default=3, help="how often people are dealt into halves")
    parser.add_argument("--only", nargs="+", help="these methods only")
    parser.add_argument("--synthetic", type=int, metavar="FACES", help="group that many made-up faces instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if (options.embeddings is None) == (options.synthetic is None):
        parser.error("expected either an NPZ file or --synthetic")
    report = {"setting": setting()}
    report |= synthetic(options) if options.synthetic else measured(options)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    return int(not report.get("ok", True))


def setting() -> dict[str, Any]:
    from vultus import __version__

    return {"vultus": __version__, "numpy": np.__version__, "cores": os.cpu_count(), "machine": platform.machine()}


# --- faces with names -------------------------------------------------------------------------------------------------


def entrants(peers: bool) -> list[Entrant]:
    def ours(method: Callable[..., Labels]) -> Run:
        return lambda pile, p: method(pile.nodes, pile.edges, **p)

    plain = tuple({"threshold": t} for t in THRESHOLDS)
    crowds = tuple(p | {"crowd": c} for p in plain for c in (3, 4))  # 2 makes it components
    found = [Entrant(method.__name__, ours(method), plain) for method in (geometric, average, whispers, components)]
    found.append(Entrant("density", ours(density), crowds))
    if peers:
        from benchmarks.gallery import cluster_peers

        found += [
            Entrant(name, run, grid)
            for name, (package, run, grid) in cluster_peers.PEERS.items()
            if importlib.util.find_spec(package) is not None
        ]
    return found


def measured(options: argparse.Namespace) -> dict[str, Any]:
    with np.load(options.embeddings, allow_pickle=False) as file:
        rows, files, model_id = file["rows"], file["files"], str(file["model_id"])
    subjects = np.unique([Path(str(f)).parent.name for f in files], return_inverse=True)[1]
    everybody = Pile.of(rows, subjects)
    deals = [
        tuple(Pile.of(rows[half], subjects[half]) for half in both)
        for both in halves(subjects, options.deals, options.seed)
    ]
    table = {}
    for entrant in entrants(options.peers):
        if options.only is None or entrant.name in options.only:
            table[entrant.name] = tried(entrant, everybody, deals)
            print(f"{entrant.name:20s} {json.dumps(table[entrant.name])}", file=sys.stderr, flush=True)
    default = out_of_the_box(everybody, deals, model_id)
    top = {kind: max(row[f"best {kind}"][kind] for row in table.values()) for kind in ("pairwise", "bcubed")}
    behind = {kind: round(top[kind] - default["all"][kind], 4) for kind in top}
    return {
        "faces": len(rows),
        "people": int(subjects.max()) + 1,
        "seen_once": int(np.count_nonzero(np.bincount(subjects) == 1)),
        "model_id": model_id,
        "table": table,
        "default": default,
        "highest": top,
        "default_behind": behind,
        "ok": max(behind.values()) <= WITHIN,
    }


def halves(subjects: Labels, deals: int, seed: int) -> Iterable[tuple[Labels, Labels]]:
    """Places of the faces of one half of the people, and of the other."""
    people = int(subjects.max()) + 1
    for deal in range(deals):
        first = np.random.default_rng([seed, deal]).permutation(people) < people // 2
        yield np.flatnonzero(first[subjects]), np.flatnonzero(~first[subjects])


def scores(found: Labels, subjects: Labels) -> dict[str, float]:
    pairs, cubed = evaluate.pairwise(found, subjects), evaluate.bcubed(found, subjects)
    return {"pairwise": round(pairs.f, 4), "bcubed": round(cubed.f, 4)}


def tried(entrant: Entrant, everybody: Pile, deals: list[tuple[Pile, ...]]) -> dict[str, Any]:
    started = time.process_time()
    everything = [(scores(entrant.run(everybody, p), everybody.subjects), p) for p in entrant.grid]
    seconds = (time.process_time() - started) / len(entrant.grid)
    result: dict[str, Any] = {}
    for kind in ("pairwise", "bcubed"):
        found, parameters = max(everything, key=lambda one: (one[0][kind], sum(one[0].values())))
        result[f"best {kind}"] = found | {"with": parameters}
    applied = []
    for both in deals:
        by_half = [[scores(entrant.run(half, p), half.subjects) for p in entrant.grid] for half in both]
        for chosen_on, applied_to in (by_half, by_half[::-1]):
            best = int(np.argmax([sum(s.values()) for s in chosen_on]))
            applied.append(applied_to[best])
    result["halves"] = mean(applied)
    result["cpu_seconds_beside_the_graph"] = round(seconds, 2)
    return result


def out_of_the_box(everybody: Pile, deals: list[tuple[Pile, ...]], model_id: str) -> dict[str, Any]:
    def by_default(pile: Pile, **options: Any) -> dict[str, float]:
        return scores(group(pile.rows, model=model_id, **options).partition(), pile.subjects)

    started = time.process_time()
    groups = group(everybody.rows, model=model_id)
    seconds = time.process_time() - started
    pairs, cubed = (f(groups.partition(), everybody.subjects) for f in (evaluate.pairwise, evaluate.bcubed))
    return {
        "all": scores(groups.partition(), everybody.subjects),
        "precision_recall": {
            "pairwise": [round(pairs.precision, 4), round(pairs.recall, 4)],
            "bcubed": [round(cubed.precision, 4), round(cubed.recall, 4)],
        },
        "threshold": round(groups.threshold, 4),
        "groups": len(groups.ids),
        "unsure": len(groups.unsure),
        "halves": mean([by_default(half) for both in deals for half in both]),
        "halves, measured on the other": mean(
            [
                scores(group(half.rows, thresholds=thresholds_of(other)).partition(), half.subjects)
                for both in deals
                for half, other in (both, both[::-1])
            ]
        ),
        "rates": {rate: by_rate(everybody, model_id, rate) for rate in (0.001, 0.003, 0.01, 0.03, 0.1)},
        "cpu_seconds": round(seconds, 2),
    }


def by_rate(pile: Pile, model_id: str, rate: float) -> dict[str, float]:
    """The default at another rate, and the share of the people seen once who are joined with somebody: what it bounds."""
    groups = group(pile.rows, model=model_id, rate=rate)
    found = scores(groups.partition(), pile.subjects)
    once = np.bincount(pile.subjects)[pile.subjects] == 1
    if once.any():
        placed = groups.labels[once][groups.labels[once] >= 0]
        large = groups.ids[groups.sizes > 1]
        found["seen_once_joined"] = round(float(np.isin(placed, large).sum() / np.count_nonzero(once)), 4)
    return found | {"threshold": round(groups.threshold, 4)}


def thresholds_of(pile: Pile) -> list[Threshold]:
    """Thresholds at false match rates, as a manifest states them, measured on all pairs of strangers."""
    one, other = np.triu_indices(len(pile.rows), 1)
    strangers = pile.subjects[one] != pile.subjects[other]
    non_mated = (pile.rows @ pile.rows.T)[one[strangers], other[strangers]]
    rates = [fmr for fmr in (1e-2, 1e-3, 1e-4, 1e-5) if calibrate.supports(fmr, len(non_mated))]
    values = [calibrate.threshold_at_fmr(non_mated, fmr=fmr) for fmr in rates]
    return [Threshold(v, fmr, len(non_mated), 0.0, 1.0, "here") for v, fmr in zip(values, rates, strict=True)]


def mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {kind: round(float(np.mean([f[kind] for f in found])), 4) for kind in ("pairwise", "bcubed")}


# --- made-up faces ----------------------------------------------------------------------------------------------------


def made_up(faces: int, seed: int, dimension: int = 128) -> tuple[FloatArray, Labels]:
    """About that many unit rows, of a tenth as many people with 1 to 40 photos each, most of them few.

    Photos differ in how much of the person they show. Scores are about those of SFace on LFW: strangers 0.09 on average,
    spread by 0.09; one person 0.67, spread by 0.12.
    """
    generator = np.random.default_rng(seed)
    people = faces // 10
    subjects = np.repeat(np.arange(people), np.ceil(40 * generator.random(people) ** 3).astype(np.intp))
    spread = 0.993 ** np.arange(dimension)
    spread /= np.linalg.norm(spread)
    common = generator.standard_normal(dimension)
    common *= 0.3 / np.linalg.norm(common)

    def drawn(count: int) -> FloatArray:
        rows = (generator.standard_normal((count, dimension), dtype=np.float32) * spread).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    share = np.clip(generator.normal(0.64, 0.16, len(subjects)), 0.1, 0.98).astype(np.float32)[:, None]
    rows = np.sqrt(share) * drawn(people)[subjects] + np.sqrt(1 - share) * drawn(len(subjects))
    rows = (common + np.sqrt(1 - 0.3**2) * rows).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, subjects


def synthetic(options: argparse.Namespace) -> dict[str, Any]:
    rows, subjects = made_up(options.synthetic, options.seed)
    thresholds = thresholds_of_sface()
    wall, cpu = time.perf_counter(), time.process_time()
    groups = group(rows, thresholds=thresholds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    few = np.arange(min(len(rows), 5000))
    one, other = np.triu_indices(len(few), 1)
    pairs = (rows[few] @ rows[few].T)[one, other]
    mated = subjects[one] == subjects[other]
    return {
        "faces": len(rows),
        "people": len(np.unique(subjects)),
        "scores": {
            "strangers": [round(float(x), 3) for x in (pairs[~mated].mean(), pairs[~mated].std())],
            "one person": [round(float(x), 3) for x in (pairs[mated].mean(), pairs[mated].std())],
            "fmr": {f"{t.fmr:g}": float(f"{(pairs[~mated] >= t.value).mean():.2g}") for t in thresholds},
        },
        "threshold": round(groups.threshold, 4),
        "groups": len(groups.ids),
        "unsure": len(groups.unsure),
        **scores(groups.partition(), subjects),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "ok": wall <= 600,
    }


def thresholds_of_sface() -> tuple[Threshold, ...]:
    return load_manifest("sface-2021dec").calibration[0].thresholds


if __name__ == "__main__":
    sys.exit(main())
