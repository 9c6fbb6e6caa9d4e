"""How well does a network verify pairs while it is trained?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vultus import evaluate
from vultus._export import export
from vultus.errors import BadRecipe, TooFewComparisons
from vultus.evaluate import Extraction, Pairs, People
from vultus.image import read_image
from vultus.train.crops import crops_of
from vultus.train.data import Dataset, to_input
from vultus.train.distributed import World
from vultus.train.sections import EvaluationSet
from vultus.types import IntArray, UInt8Array

_FOLDS = 10


@export("vultus.train.Figures")
@dataclass(frozen=True, slots=True)
class Figures:
    """What a network reached on one set of pairs.

    Args:
        name: of the set.
        accuracy: mean over folds, thresholds from the other folds; None where there are no folds.
        eer: equal error rate; pairs without a face count as not matching.
        auc: area under the ROC curve.
        pairs: how many.
        failures: photos without a face.
    """

    name: str
    accuracy: float | None
    eer: float
    auc: float
    pairs: int
    failures: int

    @property
    def merit(self) -> float:
        """What "best" means: the accuracy, or where there is none 1 - EER."""
        return self.accuracy if self.accuracy is not None else 1 - self.eer

    def plain(self) -> dict[str, Any]:
        """Values for logs and checkpoints."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """Pairs whose photos were cut out already.

    Args:
        name: of the set.
        pairs: the protocol.
        crop: gives the (112, 112, 3) crop of a file by its index.
        failures: files without a crop.
    """

    name: str
    pairs: Pairs
    crop: Callable[[int], UInt8Array]
    failures: dict[int, str] = field(default_factory=dict)


def pair_set(
    section: EvaluationSet,
    *,
    held_out: Dataset | None = None,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> PairSet:
    """The pairs and crops that a recipe's evaluation set names.

    Args:
        section: of the recipe.
        held_out: photos of the classes that are kept out of training.
        cache: folder of aligned crops.
        progress: called with the number of photos cut out, each time some are.

    Raises:
        SourceUnavailable, BadArgument: no such data, or it is damaged.
        BadRecipe: nothing is held out.
    """
    path = section.path or ""
    if section.kind == "held-out":
        if held_out is None:
            raise BadRecipe("an evaluation set of the kind 'held-out' needs data.hold_out above 0")
        return PairSet(section.label, held_out_pairs(held_out), held_out.pixels)
    if section.kind == "bin":
        packed = evaluate.read_bin(path)
        return PairSet(section.label, packed.pairs, lambda i: read_image(packed.photos[i]))
    if section.kind == "lfw":
        pairs = evaluate.read_lfw(path)
    elif section.kind == "csv":
        pairs = evaluate.read_pairs_csv(path)
    else:
        pairs = evaluate.read_pair_list(path, photos=section.photos)
    crops, failures = crops_of(
        pairs.files, policy="central" if section.kind == "lfw" else "largest", cache=cache, progress=progress
    )
    return PairSet(section.label, pairs, crops.__getitem__, failures)


def people_of(dataset: Dataset) -> People:
    """A data set as people; the files are names only."""
    order = np.argsort(dataset.labels, kind="stable")
    files = tuple(f"{dataset.name}#{i}" for i in order)
    return People(dataset.name, dataset.classes, files, dataset.labels[order].astype(np.intp))


def held_out_pairs(dataset: Dataset, *, seed: int = 0) -> Pairs:
    """Pairs of a data set in folds of different people, as LFW's are.

    Every mated pair of at most ten photos a person, and as many non-mated ones within each fold. Files keep the order of the
    data set.

    Raises:
        TooFewComparisons: fewer than four people, or too few photos for two folds.
    """
    people, rng = people_of(dataset), np.random.default_rng(seed)
    classes = len(dataset.classes)
    folds = min(_FOLDS, classes // 2)
    if folds < 2:
        raise TooFewComparisons(f"{dataset.name} holds out {classes} identities; pairs in folds need four or more")
    home = rng.permutation(classes) % folds
    order = np.argsort(dataset.labels, kind="stable")
    one, other = (order[side] for side in people.mated_pairs(most=10))
    if not len(one):
        raise TooFewComparisons(f"nobody whom {dataset.name} holds out has two photos")
    first, second, mated, fold = [one], [other], [np.ones(len(one), dtype=np.bool_)], [home[dataset.labels[one]]]
    for k in range(folds):
        own = np.flatnonzero(home[dataset.labels] == k)
        wanted = int((fold[0] == k).sum())
        a, b = _strangers(own, dataset.labels, wanted, rng)
        first.append(a)
        second.append(b)
        mated.append(np.zeros(len(a), dtype=np.bool_))
        fold.append(np.full(len(a), k))
    pairs = Pairs(
        name=f"{dataset.name}, held out",
        files=tuple(f"{dataset.name}#{i}" for i in range(len(dataset))),
        first=np.concatenate(first).astype(np.intp),
        second=np.concatenate(second).astype(np.intp),
        mated=np.concatenate(mated),
        subjects=dataset.labels.astype(np.intp),
        folds=np.concatenate(fold).astype(np.intp),
    )
    kinds = (
        {(int(f), bool(m)) for f, m in zip(pairs.folds, pairs.mated, strict=True)} if pairs.folds is not None else ()
    )
    if len(kinds) < 2 * folds:
        used = [k for k in range(folds) if (k, True) in kinds and (k, False) in kinds]
        if len(used) < 2:
            raise TooFewComparisons(f"{dataset.name} holds out too few photos for pairs of both kinds in two folds")
        return _only(pairs, used)
    return pairs


def _only(pairs: Pairs, folds: Sequence[int]) -> Pairs:
    keep = np.isin(np.asarray(pairs.folds), folds)
    return replace(
        pairs,
        first=pairs.first[keep],
        second=pairs.second[keep],
        mated=pairs.mated[keep],
        folds=np.asarray(pairs.folds)[keep],
    )


def _strangers(own: IntArray, labels: IntArray, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Up to `count` different pairs of two people among some photos."""
    if len(own) < 2 or not count:
        return own[:0], own[:0]
    one, other = own[rng.integers(0, len(own), 4 * count)], own[rng.integers(0, len(own), 4 * count)]
    apart = labels[one] != labels[other]
    pairs = np.sort(np.stack([one[apart], other[apart]]), axis=0)
    _, once = np.unique(pairs, axis=1, return_index=True)
    chosen = np.sort(once)[:count]
    return pairs[0, chosen], pairs[1, chosen]


@torch.no_grad()
def measure(
    backbone: nn.Module, pairs: PairSet, *, world: World, batch: int = 64, mirror: bool = False
) -> tuple[Figures, Extraction]:
    """The figures of a network, in evaluation mode, on a set of pairs; each rank embeds its share. Called by all ranks.

    Args:
        backbone: (n, 3, 112, 112) in [-1, 1] to (n, d); its mode is put back afterwards.
        pairs: what to verify.
        world: the ranks.
        batch: crops at once.
        mirror: sum each feature's direction with that of the mirrored crop.
    """
    count = len(pairs.pairs.files)
    good = [i for i in range(count) if i not in pairs.failures]
    mine = good[world.rank :: world.size]
    modes = {name: module.training for name, module in backbone.named_modules()}
    backbone.eval()
    kind = next((p for p in backbone.parameters()), torch.zeros(())).dtype
    rows: Tensor | None = None
    try:
        for begin in range(0, len(mine), batch):
            part = mine[begin : begin + batch]
            pixels = np.stack([pairs.crop(i) for i in part]).transpose(0, 3, 1, 2)
            images = to_input(torch.from_numpy(np.ascontiguousarray(pixels))).to(world.device, kind)
            features = _unit(backbone(images))
            if mirror:
                features = _unit(features + _unit(backbone(images.flip(3))))
            if rows is None:
                rows = torch.zeros(count, features.shape[1], dtype=torch.float32)
            rows[part] = features.float().cpu()
    finally:
        for name, module in backbone.named_modules():
            module.training = modes[name]
    width = world.most([0 if rows is None else rows.shape[1]])[0]
    total = world.sum(torch.zeros(count, width) if rows is None else rows)
    extraction = Extraction(
        pairs.pairs.files, total.numpy(), np.full(count, np.nan, dtype=np.float32), dict(pairs.failures), "in training"
    )
    return figures_of(pairs.name, pairs.pairs, extraction), extraction


def figures_of(name: str, pairs: Pairs, extraction: Extraction) -> Figures:
    """Accuracy over folds, EER and AUC."""
    scores = extraction.scores(pairs.first, pairs.second)
    curve = evaluate.roc(scores, pairs.mated)
    accuracy = None
    if pairs.folds is not None:
        accuracy = evaluate.accuracy_by_fold(scores, pairs.mated, pairs.folds).mean
    return Figures(name, accuracy, curve.eer(), curve.auc(), len(pairs), len(extraction.failures))


def _unit(features: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / length.clamp_min(1e-12)
