"""Which photos does a run train on, and in which order?"""

from __future__ import annotations

import hashlib

import numpy as np

from vultus.errors import DatasetError
from vultus.train.data import Dataset, InMemory, Subset, samplers
from vultus.train.sections import Data


def split(whole: Dataset, section: Data, *, seed: int) -> tuple[Dataset, Dataset | None]:
    """The photos to train on, and those of the classes held out.

    Which classes are held out depends on their names and the seed, so that it stays when others are added.

    Raises:
        DatasetError: too few classes.
    """
    everyone = list(range(len(whole.classes)))
    count = round(section.hold_out * len(everyone))
    ranked = sorted(everyone, key=lambda i: hashlib.sha256(f"{seed}|{whole.classes[i]}".encode()).digest())
    away = sorted(ranked[:count])
    if section.hold_out and count < 2:
        raise DatasetError(
            f"data.hold_out = {section.hold_out} of {len(everyone)} identities of {whole.name} is {count}; hold out two or more"
        )
    kept = sorted(set(everyone) - set(away))
    if section.classes:
        kept = kept[: section.classes]
    training: Dataset = whole if len(kept) == len(everyone) else Subset(whole, kept)
    if section.in_memory:
        training = InMemory(training)
    return training, Subset(whole, away) if away else None


def digest(dataset: Dataset) -> str:
    """Sixteen hexadecimal digits that stand for the classes' names and the label of each photo."""
    found = hashlib.sha256("\0".join(dataset.classes).encode())
    found.update(np.ascontiguousarray(dataset.labels, dtype="<i8").tobytes())
    return found.hexdigest()[:16]


def order_of(dataset: Dataset, section: Data, *, seed: int, rank: int, size: int) -> samplers.Order:
    """The sampler that a recipe names, for one rank."""
    labels, batch = dataset.labels, section.batch
    if section.sampler == "balanced":
        return samplers.BalancedBatches(labels, batch_size=batch, seed=seed, rank=rank, world_size=size)
    if section.sampler == "pk":
        return samplers.ClassBatches(
            labels, photos=section.photos, batch_size=batch, seed=seed, rank=rank, world_size=size
        )
    return samplers.Batches(labels, batch_size=batch, seed=seed, rank=rank, world_size=size)
