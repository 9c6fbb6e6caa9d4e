"""Margin losses against softmax on a few hundred people: what each reaches on LFW, over several seeds.

    .venv/bin/vultus train prepare PHOTOS out/celeba
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.train.losses --data out/celeba --lfw LFW

Each loss is trained with the same recipe (recipes/celeba_small.toml) and each seed, one run after the other, seed by seed. A
run that is there already is not repeated, and one that was interrupted goes on, so the command may be stopped and given again.
The network of the last step is measured, never the best of several. Prints a table in Markdown and writes table.md and
table.json beside the runs.

The settings of the losses were chosen before the runs: scale 32 in place of 64 and margins smaller than the papers', because
there are 299 people in place of some ten thousand. No loss was tuned on LFW against another.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vultus
from vultus import evaluate, train
from vultus.train.distributed import World
from vultus.train.export import trained_backbone
from vultus.train.sections import EvaluationSet
from vultus.train.validation import PairSet, measure, pair_set

RECIPE = Path(__file__).parents[2] / "recipes" / "celeba_small.toml"
BASE = "softmax"
LOSSES: dict[str, dict[str, float]] = {
    "softmax": {},
    "NormFace": {"scale": 32.0},
    "CosFace": {"scale": 32.0, "margin": 0.2},
    "ArcFace": {"scale": 32.0, "margin": 0.3},
    "AdaFace": {"scale": 32.0, "margin": 0.3},
}


def config_of(loss: str, seed: int, *, folder: Path, data: str, epochs: int, policy: str | None = None) -> train.Config:
    """The recipe with one loss, one seed, and another policy of augmentation where there is one."""
    table = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    table["loss"] = {"name": loss.lower(), "options": LOSSES[loss]}
    table["run"] |= {"folder": str(folder), "seed": seed, "epochs": epochs, "progress": False}
    table["data"] |= {"train": data}
    table["export"] |= {"name": f"small-{loss.lower()}"}
    if policy is not None:
        table["augment"] = {"policy": policy}
    return train.Config.of(table, where=RECIPE.name)


def one(loss: str, seed: int, *, out: Path, data: str, epochs: int, pairs: PairSet) -> dict[str, Any]:
    """What a run gives on LFW; trained now unless its result is there."""
    folder = out / f"{loss.lower()}-{seed}"
    config = config_of(loss, seed, folder=folder, data=data, epochs=epochs)
    kept = folder / "lfw.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if found["recipe"] == config.digest():
            return found
        raise SystemExit(f"{folder} holds a run of another recipe; move it away or use another --out")
    resumed = (folder / "checkpoints" / "last.json").is_file()
    cpu, wall = time.process_time(), time.perf_counter()
    result = train.run(config, resume=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    backbone = trained_backbone(train.open_checkpoint(folder), config)
    figures, extraction = measure(backbone, pairs, world=World())
    scores = extraction.scores(pairs.pairs.first, pairs.pairs.second)
    folds = evaluate.accuracy_by_fold(scores, pairs.pairs.mated, np.asarray(pairs.pairs.folds))
    found = {
        "loss": loss,
        "seed": seed,
        "recipe": config.digest(),
        "steps": result.steps,
        "training_loss": result.loss,
        "accuracy": figures.accuracy,
        "eer": figures.eer,
        "auc": figures.auc,
        "folds": [float(x) for x in folds.accuracies],
        # of a resumed run only the last sitting is known
        "cpu_seconds": None if resumed else round(cpu, 1),
        "wall_seconds": None if resumed else round(wall, 1),
    }
    draft = kept.with_suffix(".part")
    draft.write_text(json.dumps(found), encoding="utf-8")
    draft.replace(kept)
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % interval by Student's t."""
    from scipy.stats import t

    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return float(x.mean()), math.nan
    return float(x.mean()), float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a loss: means with intervals, and how far it is above softmax."""
    held = {(r["loss"], r["seed"]): r for r in runs}
    rows = []
    for loss in LOSSES:
        seeds = sorted(s for name, s in held if name == loss)
        if not seeds:
            continue
        shared = [s for s in seeds if (BASE, s) in held]
        by_seed = [held[loss, s]["accuracy"] - held[BASE, s]["accuracy"] for s in shared]
        by_fold = [
            np.mean([held[loss, s]["folds"][k] - held[BASE, s]["folds"][k] for s in shared])
            for k in range(10)
            if shared
        ]
        times = [held[loss, s]["cpu_seconds"] for s in seeds if held[loss, s]["cpu_seconds"] is not None]
        rows.append(
            {
                "loss": loss,
                "options": LOSSES[loss],
                "seeds": seeds,
                "accuracies": [held[loss, s]["accuracy"] for s in seeds],
                "accuracy": interval([held[loss, s]["accuracy"] for s in seeds]),
                "above_by_seed": interval(by_seed) if by_seed and loss != BASE else None,
                "above_by_fold": interval(by_fold) if by_fold and loss != BASE else None,
                "eer": interval([held[loss, s]["eer"] for s in seeds]),
                "cpu_seconds": float(np.median(times)) if times else None,
            }
        )
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table; percent and percentage points."""

    def shown(pair: tuple[float, float] | None, sign: str = "") -> str:
        if pair is None:
            return ""
        half = "" if math.isnan(pair[1]) else f" ± {100 * pair[1]:.2f}"
        return f"{100 * pair[0]:{sign}.2f}{half}"

    lines = [
        "| loss | LFW accuracy, each seed | mean | above softmax, over seeds | over folds | EER | CPU s a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        options = ", ".join(f"{key} {value:g}" for key, value in row["options"].items())
        cells = [
            row["loss"] + (f" ({options})" if options else ""),
            " / ".join(f"{100 * a:.2f}" for a in row["accuracies"]),
            shown(row["accuracy"]),
            shown(row["above_by_seed"], "+"),
            shown(row["above_by_fold"], "+"),
            shown(row["eer"]),
            "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(out: Path, runs: Sequence[dict[str, Any]]) -> str:
    """table.md and table.json of the runs so far."""
    rows = summary(runs)
    shown = markdown(rows)
    about = {
        "vultus": vultus.__version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "intervals": "95 %, Student's t: over seeds, and over LFW's ten folds after the mean over seeds",
    }
    (out / "table.json").write_text(json.dumps({**about, "rows": rows, "runs": list(runs)}, indent=1), encoding="utf-8")
    (out / "table.md").write_text(shown + "\n", encoding="utf-8")
    return shown


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="photos to train on, as vultus train prepare writes them")
    parser.add_argument("--lfw", required=True, help="folder of LFW, with pairs.txt")
    parser.add_argument("--out", type=Path, default=Path("out/bench/losses"))
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cache", type=Path, help="folder of aligned crops of LFW")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pairs = pair_set(EvaluationSet("lfw", path=given.lfw), cache=given.cache)
    runs: list[dict[str, Any]] = []
    for seed in given.seeds:
        for loss in given.losses:
            found = one(loss, seed, out=given.out, data=given.data, epochs=given.epochs, pairs=pairs)
            runs.append(found)
            print(f"{loss} {seed}: {found['accuracy']:.4f}, {found['cpu_seconds']} s of CPU", flush=True)
            write(given.out, runs)
    print(write(given.out, runs))


if __name__ == "__main__":
    main()
