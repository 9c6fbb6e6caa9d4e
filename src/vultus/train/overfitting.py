"""Can this recipe learn at all? A few identities, learned by heart: the first thing to try where a run does not learn."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from vultus._export import export
from vultus.errors import BadArgument, DatasetError
from vultus.evaluate import Pairs
from vultus.train import loop, photos
from vultus.train.checkpoint import open_checkpoint
from vultus.train.config import Config
from vultus.train.data import Dataset, open_dataset
from vultus.train.distributed import World
from vultus.train.export import trained_backbone
from vultus.train.parts import build_backbone
from vultus.train.sections import Augment, Average, Evaluation, Schedule
from vultus.train.validation import PairSet, measure


@export("vultus.train.Overfit")
@dataclass(frozen=True, slots=True)
class Overfit:
    """What came of learning a few identities by heart.

    Args:
        identities, photos: how many were learned.
        steps: optimiser steps.
        loss: mean over the last steps.
        before, after: area under the ROC curve over all pairs of those photos, with the initial weights and with the
            learned ones; 1 where every mated pair scores higher than every other.
        seconds: spent.
    """

    identities: int
    photos: int
    steps: int
    loss: float
    before: float
    after: float
    seconds: float


@export("vultus.train.overfit")
def overfit(
    config: Config, *, identities: int = 8, steps: int = 100, batch: int = 32, dataset: Dataset | None = None
) -> Overfit:
    """Learn the first identities of a recipe's photos by heart: without augmentation, average, evaluation and clipping.

    Everything else is as the recipe says: backbone, loss, head, optimiser. The rate falls from the recipe's along half a
    cosine wave. Nothing is kept. For one process.

    Args:
        config: the recipe.
        identities: how many to learn.
        steps: optimiser steps.
        batch: photos in a step, or all of the photos where there are fewer.
        dataset: photos in place of those that `config.data.train` names.

    Raises:
        BadArgument: fewer than two identities, or no step.
        DatasetError: the data set has too few identities, or nobody has two photos.
    """
    if identities < 2 or steps < 1:
        raise BadArgument(f"{identities} identities and {steps} steps; expected at least two and one")
    began = time.perf_counter()
    whole = open_dataset(config.data.train) if dataset is None else dataset
    if len(whole.classes) < identities:
        raise DatasetError(f"{whole.name} has {len(whole.classes)} identities; {identities} are to be learned")
    section = replace(config.data, classes=identities, hold_out=0.0, in_memory=True, workers=0, accumulate=1)
    some, _ = photos.split(whole, section, seed=config.run.seed)
    fitting = min(batch, len(some))
    if section.sampler == "pk":
        fitting = max(1, min(fitting // section.photos, identities)) * section.photos
    pairs = PairSet("training", _all_pairs(some), some.pixels)
    with TemporaryDirectory(prefix="vultus-overfit-") as folder:
        small = replace(
            config,
            run=replace(
                config.run, folder=folder, steps=steps, checkpoint_every=steps, tensorboard=False, progress=False
            ),
            data=replace(section, batch=fitting),
            schedule=Schedule(name="cosine"),
            augment=Augment(policy="none"),
            average=Average(),
            evaluation=Evaluation(),
        )
        torch.manual_seed(config.run.seed)
        before, _ = measure(build_backbone(small), pairs, world=World())
        result = loop.run(small, dataset=whole)
        backbone = trained_backbone(open_checkpoint(Path(folder)), small)
    after, _ = measure(backbone, pairs, world=World())
    return Overfit(identities, len(some), result.steps, result.loss, before.auc, after.auc, time.perf_counter() - began)


def _all_pairs(dataset: Dataset) -> Pairs:
    first, second = np.triu_indices(len(dataset), k=1)
    mated = dataset.labels[first] == dataset.labels[second]
    if not mated.any():
        raise DatasetError(f"nobody in {dataset.name} has two photos")
    files = tuple(f"{dataset.name}#{i}" for i in range(len(dataset)))
    return Pairs(dataset.name, files, first, second, mated, dataset.labels.astype(np.intp))
