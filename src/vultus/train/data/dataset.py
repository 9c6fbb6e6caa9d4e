"""What every data set is: labels that are known at once, photos that are read one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from vultus._export import export
from vultus.errors import DatasetError
from vultus.types import UInt8Array

SIDE = 112

Labels = npt.NDArray[np.int64]


@export("vultus.train.data.Dataset")
class Dataset(TorchDataset[tuple[Tensor, int]], ABC):
    """Aligned faces of n photos and who they show. Works with `torch.utils.data.DataLoader` and can be pickled.

    `dataset[i]` is a uint8 RGB tensor of shape (3, 112, 112) and the label.

    Args:
        labels: (n,) int64, the index in `classes` of each photo.
        classes: names of the identities; each has at least one photo.
        name: how messages call the data set.

    Raises:
        DatasetError: fewer than two classes, a class without a photo, or labels out of range.
    """

    def __init__(self, labels: npt.ArrayLike, classes: tuple[str, ...], *, name: str) -> None:
        self.labels: Labels = np.array(labels, dtype=np.int64)
        self.labels.flags.writeable = False
        self.classes = classes
        self.name = name
        if len(classes) < 2:
            raise DatasetError(f"{name} has {len(classes)} identities; training tells at least two apart")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(classes):
            raise DatasetError(
                f"{name} has labels from {self.labels.min()} to {self.labels.max()}; expected 0 to {len(classes) - 1}"
            )
        empty = np.flatnonzero(np.bincount(self.labels, minlength=len(classes)) == 0)
        if len(empty):
            shown = ", ".join(repr(classes[i]) for i in empty[:5])
            raise DatasetError(
                f"{name}: {len(empty)} of {len(classes)} identities have no photo: {shown}; remove them, because a class "
                "that is never seen is learned wrongly"
            )

    @abstractmethod
    def pixels(self, index: int) -> UInt8Array:
        """(112, 112, 3) uint8 RGB of one photo; belongs to the caller.

        Args:
            index: from 0 to n - 1.

        Raises:
            ImageError, SourceUnavailable, ShardCorrupt: the photo is damaged or gone.
        """

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        i = self.place(index)
        return to_tensor(self.pixels(i)), int(self.labels[i])

    def place(self, index: int) -> int:
        """An index as a plain number from 0 to n - 1.

        Raises:
            IndexError: it lies outside; this ends a plain loop over the data set.
        """
        i = int(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"photo {i} of {len(self)} in {self.name}")
        return i % len(self)


@export("vultus.train.data.to_tensor")
def to_tensor(pixels: UInt8Array) -> Tensor:
    """(h, w, 3) uint8 array as a (3, h, w) uint8 tensor of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


@export("vultus.train.data.to_input")
def to_input(images: Tensor) -> Tensor:
    """(n, 3, h, w) uint8 RGB as the float32 in [-1, 1] that backbones take: (x - 127.5) / 127.5."""
    return images.to(torch.float32).sub_(127.5).div_(127.5)
