"""What is minimised: the head's loss, and losses on the features of the batch that a recipe adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from vultus.errors import BadRecipe
from vultus.train import nn as losses
from vultus.train.heads.batch import checked_batch
from vultus.train.heads.ranks import Ranks
from vultus.train.sections import Added


class Headless(nn.Module):
    """No class centres: the features' own losses are all there is. Looks like a head and gives 0.

    Args:
        dim: length of a feature.
        classes: of the data set; labels lie below it.
    """

    sharded = False

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.dim = dim
        self.classes = classes
        self.start = self.stop = 0
        self.loss = nn.Module()

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d; checks the batch as every head does."""
        checked_batch(features, labels, dim=self.dim, classes=self.classes, ranks=Ranks())
        return features.new_zeros(())

    def rows_state(self) -> dict[str, Tensor]:
        """Nothing by class."""
        return {}

    def load_rows(self, read: Callable[[str, int, int], Tensor]) -> None:
        """Nothing by class."""
        del read


def build_added(sections: Iterable[Added], *, classes: int, dim: int) -> nn.ModuleList:
    """The added losses of a recipe.

    Raises:
        BadRecipe: no such loss or option, or one that needs a head.
    """
    found = nn.ModuleList()
    for section in sections:
        loss = losses.build(section.name, classes=classes, dim=dim, **section.options)
        if not isinstance(loss, losses.BatchLoss):
            raise BadRecipe(
                f"added: {section.name!r} needs a head; name it under [loss], and add losses on features such as 'triplet'"
            )
        found.append(loss)
    return found


def objective(
    head: nn.Module, added: nn.ModuleList, shares: Iterable[float], features: Tensor, labels: Tensor
) -> Tensor:
    """0-d loss over the batch of all ranks. Called by all ranks, with as many rows on each.

    A head whose classes lie on every rank, and the added losses, are given everybody's features: each rank computes the same
    number, and what a loss knows of the batch does not depend on the number of ranks. The gradient that reaches the features
    of a rank is multiplied by the number of ranks, so that the mean that DDP takes of the backbone's gradients is right.
    """
    everybody, theirs = features, labels
    if dist.is_initialized() and (len(added) or not head.sharded):
        everybody, theirs = _Gather.apply(features), _gathered(labels)  # type: ignore[no-untyped-call]
    total: Tensor = head(features, labels) if head.sharded else head(everybody, theirs)
    for loss, share in zip(added, shares, strict=True):
        total = total + share * loss(everybody, theirs)
    return total


def _gathered(labels: Tensor) -> Tensor:
    parts = [torch.empty_like(labels) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, labels.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor) -> Tensor:
        del ctx
        parts = [
            torch.empty_like(features, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())
        ]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        # every rank computes the same loss of everybody's features: its own rows' share is whole, and DDP averages
        del ctx
        size, rank = dist.get_world_size(), dist.get_rank()
        each = len(gradient) // size
        return gradient[rank * each : (rank + 1) * each] * size
