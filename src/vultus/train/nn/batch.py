"""Losses on the features of a batch, without class centres of a head: called with (features, labels), they give a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_choice
from vultus.train.functional.pairs import MINING, Mining


@export("vultus.train.nn.BatchLoss")
class BatchLoss(nn.Module):
    """A loss that is added to that of a head: `forward(features, labels)` gives its mean over the rows it is shown.

    Labels are global. Each process of a group may call it with its own rows; losses that hold state must then see the
    rows of all.
    """


@export("vultus.train.nn.Center", form_of="vultus.train.functional.center")
class Center(BatchLoss):
    """The class form of `vultus.train.functional.center`; holds the centres, which move in training mode.

    The centres start at 0, where the authors draw them at random. They move by the rows that the module is shown: in a
    process group gather features and labels first.

    Args:
        classes: C.
        dim: d of the features.
        weight: see the function.
        rate: see `vultus.train.functional.center_update`.
    """

    centres: Tensor

    def __init__(self, classes: int, dim: int, *, weight: float = 0.003, rate: float = 0.5) -> None:
        super().__init__()
        self.weight = weight
        self.rate = rate
        self.register_buffer("centres", torch.zeros(classes, dim))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d, of the centres before they move."""
        loss = functional.center(features, labels, self.centres, weight=self.weight)
        if self.training:
            self.centres.copy_(functional.center_update(self.centres, features, labels, rate=self.rate))
        return loss


@export("vultus.train.nn.Contrastive", form_of="vultus.train.functional.contrastive")
class Contrastive(BatchLoss):
    """The class form of `vultus.train.functional.contrastive`."""

    def __init__(self, *, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d."""
        return functional.contrastive(features, labels, margin=self.margin)


@export("vultus.train.nn.Triplet", form_of="vultus.train.functional.triplet")
class Triplet(BatchLoss):
    """The class form of `vultus.train.functional.triplet`."""

    def __init__(self, *, margin: float = 0.2, mining: Mining = "semi-hard") -> None:
        super().__init__()
        self.margin = margin
        self.mining: Mining = checked_choice(mining, MINING, name="mining")

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d."""
        return functional.triplet(features, labels, margin=self.margin, mining=self.mining)
