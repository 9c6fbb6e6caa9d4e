"""DeepID on a few hundred people: what each patch's network reaches on LFW, and what they reach together.

    .venv/bin/vultus train prepare PHOTOS out/celeba
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.train.deepid --data out/celeba --lfw LFW

One network is trained for each patch by the recipe (recipes/deepid_small.toml), which keeps three people in ten out. PCA and
Joint Bayesian are fitted to those people, and LFW's 6,000 pairs are scored: by the cosine of the features of crop and mirrored
crop, and by Joint Bayesian; by each network alone, and by all features side by side. A run that is there already is not
repeated. Patches, number of components and steps were fixed before the first look at LFW.

Prints a table in Markdown and writes table.md and table.json beside the runs.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vultus
from vultus import evaluate, train
from vultus.train import data as photos
from vultus.train.deepid import Patch, extract, fit_verifier
from vultus.train.export import trained_backbone
from vultus.train.photos import split
from vultus.train.sections import EvaluationSet
from vultus.train.validation import PairSet, pair_set
from vultus.types import BoolArray, Float64Array, IntArray

RECIPES = Path(__file__).parents[2] / "recipes"
PATCHES = ("face/1/rgb", "lower/1/grey", "left-eye/1.25/rgb", "nose/1/rgb")


def trained(
    patch: str, recipe: Path, *, out: Path, data: str, steps: int
) -> tuple[torch.nn.Module, train.Config, float]:
    """The network of one patch, trained now unless it is there, and the processor's seconds that it took here."""
    folder = out / patch.replace("/", "-")
    config = train.Config.load(
        recipe,
        overrides=[
            f"run.folder='{folder}'",
            f"run.steps={steps}",
            "run.progress=false",
            f"data.train='{data}'",
            f'model.options={{patch="{patch}"}}',
            "evaluation.sets=[]",
        ],
    )
    began = time.process_time()
    last = train.run(config, resume=True)
    return trained_backbone(train.open_checkpoint(last.folder), config), config, time.process_time() - began


def cosine(rows: Float64Array, pairs: PairSet) -> Float64Array:
    """Of rows as they are, which no feature of ReLU makes negative."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(np.einsum("nd,nd->n", unit[pairs.pairs.first], unit[pairs.pairs.second]))


def figures(scores: Float64Array, pairs: PairSet) -> tuple[dict[str, Any], BoolArray]:
    """Accuracy over LFW's folds, EER and AUC; and which pairs were decided wrongly."""
    mated, folds = pairs.pairs.mated, np.asarray(pairs.pairs.folds)
    scores = scores.copy()
    lost = np.isin(pairs.pairs.first, list(pairs.failures)) | np.isin(pairs.pairs.second, list(pairs.failures))
    scores[lost] = -np.inf
    found = evaluate.accuracy_by_fold(scores, mated, folds)
    wrong = (scores >= found.thresholds[np.unique(folds, return_inverse=True)[1]]) != mated
    curve = evaluate.roc(scores, mated)
    one, other = subjects(pairs)
    interval = evaluate.bootstrap_subjects(one, other, wrong)
    return {
        "accuracy": found.mean,
        "interval": [1 - interval.high, 1 - interval.low],
        "eer": curve.eer(),
        "auc": curve.auc(),
    }, wrong


def subjects(pairs: PairSet) -> tuple[IntArray, IntArray]:
    """Who is on each side of the pairs."""
    people = np.asarray(pairs.pairs.subjects)
    return people[pairs.pairs.first], people[pairs.pairs.second]


def markdown(rows: list[dict[str, Any]]) -> str:
    """Percent."""
    lines = ["| features | numbers | score | LFW accuracy | 95 % | EER | AUC |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        low, high = (100 * x for x in r["interval"])
        lines.append(
            f"| {r['features']} | {r['numbers']} | {r['score']} | {100 * r['accuracy']:.2f} | {low:.2f} to {high:.2f} | "
            f"{100 * r['eer']:.2f} | {r['auc']:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="photos to train on, as vultus train prepare writes them")
    parser.add_argument("--lfw", required=True, help="folder of LFW, with pairs.txt")
    parser.add_argument("--out", type=Path, default=Path("out/bench/deepid"))
    parser.add_argument("--recipe", type=Path, default=RECIPES / "deepid_small.toml")
    parser.add_argument("--patches", nargs="+", type=lambda name: str(Patch.of(name)), default=list(PATCHES))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--components", type=int, default=60)
    parser.add_argument("--cache", type=Path, help="folder of aligned crops of LFW")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    members = []
    for patch in given.patches:
        network, config, took = trained(patch, given.recipe, out=given.out, data=given.data, steps=given.steps)
        members.append(network)
        print(f"{patch}: {took:.0f} s of CPU", flush=True)
    away = split(photos.open_dataset(given.data), config.data, seed=config.run.seed)[1]
    if away is None:
        raise SystemExit(f"{given.recipe} holds nobody out; set data.hold_out")
    pairs = pair_set(EvaluationSet("lfw", path=given.lfw), cache=given.cache)
    tests = np.stack([pairs.crop(i) for i in range(len(pairs.pairs.files))])
    known = np.stack([away.pixels(i) for i in range(len(away))])
    rows: list[dict[str, Any]] = []
    wrong: dict[str, list[BoolArray]] = {"cosine": [], "Joint Bayesian": []}
    sets = [(patch, extract([m], known), extract([m], tests)) for patch, m in zip(given.patches, members, strict=True)]
    if len(members) > 1:
        sets.append((f"all {len(members)}", np.hstack([s[1] for s in sets]), np.hstack([s[2] for s in sets])))
    for name, held, seen in sets:
        verifier = fit_verifier(held, away.labels, components=given.components)
        first, second = pairs.pairs.first, pairs.pairs.second
        for score, values in (
            ("cosine", cosine(seen, pairs)),
            ("Joint Bayesian", verifier.score_pairs(seen[first], seen[second])),
        ):
            found, errors = figures(values, pairs)
            rows.append({"features": name, "numbers": seen.shape[1], "score": score, **found})
            wrong[score].append(errors)
    shown = markdown(rows)
    one, other = subjects(pairs)
    gains = {}
    if len(members) > 1:
        k = len(members)
        for score, wrongly in wrong.items():
            gain = evaluate.bootstrap_difference(
                np.tile(one, k), np.tile(other, k), np.concatenate(wrongly[:-1]), np.tile(wrongly[-1], k)
            )
            gains[score] = [gain.value, gain.interval.low, gain.interval.high]
            value, low, high = (100 * x for x in gains[score])
            shown += f"\n\n{score}: all {k} above the mean of the {k} by {value:.2f} points ({low:.2f} to {high:.2f})"
    shown += (
        f"\n\n{len(np.unique(away.labels))} people with {len(away)} photos for PCA ({given.components} components) and Joint "
        "Bayesian"
    )
    about = {
        "vultus": vultus.__version__,
        "torch": torch.__version__,
        "recipe": given.recipe.name,
        "steps": given.steps,
    }
    (given.out / "table.json").write_text(
        json.dumps({**about, "rows": rows, "gains": gains}, indent=1), encoding="utf-8"
    )
    (given.out / "table.md").write_text(shown + "\n", encoding="utf-8")
    print(shown)


if __name__ == "__main__":
    main()
