"""From a data set and an order of photos to batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.data.dataset import Dataset
from vultus.train.data.samplers import Order


@export("vultus.train.data.loader")
def loader(
    dataset: Dataset, batches: Order, *, workers: int = 0, ahead: int = 2
) -> DataLoader[tuple[Tensor, int, int]]:
    """Batches of one rank: (n, 3, 112, 112) uint8 images, (n,) int64 labels and the (n,) numbers of the photos.

    Each iteration goes from where the sampler stands to the end of its epoch. The batches are the same with any number of
    workers, and reading them draws nothing from torch's random state.

    Args:
        dataset: the photos.
        batches: which of them make up which batch.
        workers: processes that read and change photos; 0 does it in this one. They stay for the next epoch.
        ahead: batches that each worker makes before they are asked for.

    Raises:
        BadArgument: numbers out of range.
    """
    if workers < 0 or ahead < 1:
        raise BadArgument(f"workers is {workers} and ahead {ahead}; expected at least 0 and at least 1")
    return DataLoader(
        _Numbered(dataset),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_stacked,
        worker_init_fn=_alone if workers else None,
        persistent_workers=workers > 0,
        prefetch_factor=ahead if workers else None,
        generator=torch.Generator().manual_seed(0),
    )


class _Numbered(TorchDataset[tuple[Tensor, int, int]]):
    """A data set whose photos tell their numbers."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return *self.dataset[index], index


def _stacked(samples: Sequence[tuple[Tensor, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    images, labels, numbers = zip(*samples, strict=True)
    return torch.stack(images), torch.tensor(labels), torch.tensor(numbers)


def _alone(worker: int) -> None:
    """Workers share the cores with training: each does with one thread."""
    del worker
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
