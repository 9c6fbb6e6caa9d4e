"""Other views of a data set: a part of its identities, kept in memory, or read with tolerance for damage."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from vultus._export import export
from vultus.errors import BadArgument, ImageError, ShardCorrupt, SourceUnavailable
from vultus.train.data.dataset import SIDE, Dataset
from vultus.types import IntArray, UInt8Array


@export("vultus.train.data.Subset")
class Subset(Dataset):
    """Some identities of a data set, labelled anew from 0 in the order of their old labels.

    Args:
        dataset: where they come from.
        classes: labels of the identities; others are left out.

    Raises:
        BadArgument: a label that the data set does not have, or one twice.
        DatasetError: fewer than two identities.
    """

    def __init__(self, dataset: Dataset, classes: Iterable[int]) -> None:
        chosen = np.array(list(classes), dtype=np.int64)
        kept = np.unique(chosen)
        if len(kept) != len(chosen) or (len(kept) and not 0 <= kept[0] <= kept[-1] < len(dataset.classes)):
            raise BadArgument(f"classes must be different labels from 0 to {len(dataset.classes) - 1}")
        new = np.full(len(dataset.classes), -1, dtype=np.int64)
        new[kept] = np.arange(len(kept))
        self.dataset = dataset
        self.members: IntArray = np.flatnonzero(new[dataset.labels] >= 0)
        names = tuple(dataset.classes[i] for i in kept)
        super().__init__(new[dataset.labels[self.members]], names, name=dataset.name)

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        return self.dataset.pixels(int(self.members[index]))


@export("vultus.train.data.InMemory")
class InMemory(Dataset):
    """A data set decoded once: 37,632 bytes a photo, which forked workers of a loader share.

    Args:
        dataset: what is read, whole, at once.

    Raises:
        ImageError, SourceUnavailable, ShardCorrupt: a photo is damaged or gone.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset.labels, dataset.classes, name=dataset.name)
        self._photos: UInt8Array = np.empty((len(dataset), SIDE, SIDE, 3), dtype=np.uint8)
        for i in range(len(dataset)):
            self._photos[i] = dataset.pixels(i)

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        photo: UInt8Array = self._photos[index].copy()
        return photo


@export("vultus.train.data.Tolerant")
class Tolerant(Dataset):
    """A data set in which a damaged photo is replaced by the next whole one of its identity, and counted.

    Which photo stands in for which follows from the data alone, so all ranks and workers agree on it.

    Args:
        dataset: what is read.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset.labels, dataset.classes, name=dataset.name)
        self.dataset = dataset
        self._order = np.argsort(dataset.labels, kind="stable")
        self._starts = np.searchsorted(dataset.labels[self._order], np.arange(len(dataset.classes) + 1))
        self._rank = np.empty_like(self._order)
        self._rank[self._order] = np.arange(len(self._order))
        self._damaged = torch.zeros(len(dataset), dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def damaged(self) -> IntArray:
        """Photos found damaged so far, here and in the workers of a loader."""
        found: IntArray = np.flatnonzero(self._damaged.numpy())
        return found

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`.

        Raises:
            ShardCorrupt: every photo of the identity is damaged.
        """
        label = int(self.labels[index])
        start, stop = self._starts[label], self._starts[label + 1]
        turn = self._rank[index] - start
        members = self._order[start:stop]
        problem: Exception | None = None
        for candidate in np.roll(members, -turn).tolist():
            try:
                return self.dataset.pixels(candidate)
            except (ImageError, SourceUnavailable, ShardCorrupt) as damage:
                self._damaged[candidate] = 1
                problem = damage
        raise ShardCorrupt(f"every photo of {self.classes[label]!r} is damaged; the last: {problem}") from problem
