"""DeepFace at reduced size on a few hundred people: what each view's network reaches on LFW, and what they reach together.

    .venv/bin/vultus train prepare PHOTOS out/celeba
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.train.deepface --data out/celeba --lfw LFW

One network is trained for each view by recipes/deepface_small.toml: aligned in 2D, grey and gradient, and aligned in 3D. LFW's
6,000 pairs are scored by the inner product of max-normalised features and by weighted chi-squared, whose weights, like those
of the ensemble, are learned on the nine folds that are not tested (LFW's "unrestricted" setting without outside pairs). A run
or an alignment that is there already is not repeated.

Prints a table in Markdown and writes table.md and table.json beside the runs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import vultus
from vultus import Detector, evaluate, train
from vultus.evaluate.comparison import right_decisions
from vultus.train import data as photos
from vultus.train import deepface
from vultus.train.deepid import extract
from vultus.train.export import trained_backbone
from vultus.train.sections import EvaluationSet
from vultus.train.validation import pair_set
from vultus.types import Float64Array, IntArray, UInt8Array

RECIPE = Path(__file__).parents[2] / "recipes" / "deepface_small.toml"
VIEWS = {"2d": ("rgb", False), "gradient": ("gradient", False), "3d": ("rgb", True)}


def turned(name: str, count: int, pixels: Callable[[int], UInt8Array], out: Path) -> UInt8Array:
    """(n, 112, 112, 3) crops aligned in 3D, made now unless they are there."""
    file = out / f"{name}.npy"
    if not file.is_file():
        detector = Detector(threads=1)
        np.save(file, np.stack([deepface.recut(np.array(pixels(i)), detector) for i in range(count)]))
    crops: UInt8Array = np.load(file, mmap_mode="r")
    return crops


class Crops(photos.Dataset):
    """Crops in an array, with the labels of a data set."""

    def __init__(self, of: photos.Dataset, crops: UInt8Array) -> None:
        super().__init__(of.labels, of.classes, name=of.name)
        self.crops = crops

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        return np.array(self.crops[index])


def trained(
    view: str, *, kind: str, out: Path, data: str, epochs: int, faces: photos.Dataset
) -> tuple[torch.nn.Module, float]:
    """The network of one view, trained now unless it is there, and the processor's seconds that it took here."""
    config = train.Config.load(
        RECIPE,
        overrides=[
            f"run.folder='{out / view}'",
            f"run.epochs={epochs}",
            "run.progress=false",
            f"data.train='{data}'",
            f'model.options.view="{kind}"',
        ],
    )
    began = time.process_time()
    folder = out / view
    if not (folder / "done").is_file():
        folder = train.run(config, dataset=faces).folder
        (folder / "done").touch()
    return trained_backbone(train.open_checkpoint(folder), config), time.process_time() - began


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="photos to train on, as vultus train prepare writes them")
    parser.add_argument("--lfw", required=True, help="folder of LFW, with pairs.txt")
    parser.add_argument("--out", type=Path, default=Path("out/bench/deepface"))
    parser.add_argument("--views", nargs="+", choices=list(VIEWS), default=list(VIEWS))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--cache", type=Path, help="folder of aligned crops of LFW")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    whole = photos.open_dataset(given.data)
    pairs = pair_set(EvaluationSet("lfw", path=given.lfw), cache=given.cache)
    protocol = pairs.pairs
    assert protocol.folds is not None
    folds, mated = protocol.folds, protocol.mated
    lost = np.isin(protocol.first, list(pairs.failures)) | np.isin(protocol.second, list(pairs.failures))
    one, other = protocol.subjects[protocol.first], protocol.subjects[protocol.second]
    rows: list[dict[str, object]] = []
    members: list[Float64Array] = []
    right: dict[str, np.ndarray] = {}
    seconds = 0.0

    def report(name: str, score: str, scores: Float64Array) -> None:
        scores = np.where(lost, scores.min() - 1, scores)
        result, hits = right_decisions(scores, mated, folds)
        curve = evaluate.roc(scores, mated)
        right[f"{name}, {score}"] = hits
        interval = evaluate.bootstrap_subjects(one, other, ~hits)
        rows.append(
            {
                "network": name,
                "score": score,
                "accuracy": result.mean,
                "low": 1 - interval.high,
                "high": 1 - interval.low,
                "eer": curve.eer(),
                "auc": curve.auc(),
            }
        )

    for view in given.views:
        kind, solid = VIEWS[view]
        faces: photos.Dataset = whole
        tests = np.stack([pairs.crop(i) for i in range(len(protocol.files))])
        if solid:
            faces = Crops(whole, turned("train", len(whole), whole.pixels, given.out))
            tests = np.asarray(turned("lfw", len(tests), tests.__getitem__, given.out))
        network, took = trained(view, kind=kind, out=given.out, data=given.data, epochs=given.epochs, faces=faces)
        seconds += took
        print(f"{view}: {took:.0f} s of CPU", flush=True)
        sample = np.random.default_rng(0).choice(len(faces), min(2000, len(faces)), replace=False)
        known = extract([network], np.stack([faces.pixels(int(i)) for i in sample]), mirrored=False)
        largest = torch.from_numpy(known.max(axis=0))
        unit = deepface.max_normalise(torch.from_numpy(extract([network], tests, mirrored=False)), largest)
        a, b = unit[protocol.first], unit[protocol.second]
        report(view, "inner product", (a * b).sum(dim=1).numpy())
        terms = (a - b) ** 2 / (a + b).clamp_min(1e-12)
        scores = by_fold(folds, terms, mated)
        report(view, "weighted chi-squared", tested(folds, scores))
        members.append(scores)
    if len(members) > 1:
        fused = np.stack([fused_of(scores, mated, folds != f) for f, scores in per_fold(folds, members)])
        report(f"all {len(members)}", "weighted chi-squared", tested(folds, fused))
    shown = markdown(rows)
    gain = None
    if len(members) > 1:
        k = len(members)
        alone = np.concatenate([~right[f"{view}, weighted chi-squared"] for view in given.views])
        together = np.tile(~right[f"all {k}, weighted chi-squared"], k)
        found = evaluate.bootstrap_difference(np.tile(one, k), np.tile(other, k), alone, together)
        gain = [found.value, found.interval.low, found.interval.high]
        value, low, high = (100 * x for x in gain)
        shown += f"\n\nall {k} above the mean of the {k} by {value:.2f} points ({low:.2f} to {high:.2f})"
    size = f"{len(whole):,} photos of {len(whole.classes)} people"
    shown += f"\n\n{size}, {given.epochs} epochs; {seconds:.0f} s of CPU for training in this run"
    about = {"vultus": vultus.__version__, "torch": torch.__version__, "recipe": RECIPE.name, "epochs": given.epochs}
    (given.out / "table.json").write_text(json.dumps({**about, "rows": rows, "gain": gain}, indent=1), encoding="utf-8")
    (given.out / "table.md").write_text(shown + "\n", encoding="utf-8")
    print(shown)


def by_fold(folds: IntArray, terms: torch.Tensor, mated: np.ndarray) -> Float64Array:
    """(folds, n) scores of all pairs by weights that were learned without the pairs of a fold."""
    rows = []
    for fold in np.unique(folds):
        kept = torch.from_numpy(folds != fold)
        weight, bias = deepface.fit_weights(terms[kept], torch.from_numpy(mated)[kept], cost=1.0)
        rows.append((bias - terms @ weight).numpy())
    return np.stack(rows)


def per_fold(folds: IntArray, members: list[Float64Array]) -> Iterator[tuple[int, Float64Array]]:
    """Each fold, and the (n, k) scores of all pairs that saw none of its pairs."""
    for i, fold in enumerate(np.unique(folds)):
        yield int(fold), np.stack([m[i] for m in members], axis=1)


def fused_of(scores: Float64Array, mated: np.ndarray, kept: np.ndarray) -> Float64Array:
    """(n,) scores of the ensemble whose weights were learned on some pairs."""
    return deepface.learned_fusion(scores[kept], mated[kept])(scores)


def tested(folds: IntArray, scores: Float64Array) -> Float64Array:
    """(n,) score of each pair by what was learned without its fold."""
    return scores[np.unique(folds, return_inverse=True)[1], np.arange(len(folds))]


def markdown(rows: list[dict[str, object]]) -> str:
    """The table."""
    lines = ["| network | score | accuracy | 95 % interval | EER | AUC |", "| --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        accuracy, low, high, eer = (100 * float(str(r[name])) for name in ("accuracy", "low", "high", "eer"))
        told = f"{accuracy:.2f} % | {low:.2f} to {high:.2f} % | {eer:.2f} % | {float(str(r['auc'])):.4f}"
        lines += [f"| {r['network']} | {r['score']} | {told} |"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
