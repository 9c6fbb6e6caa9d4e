"""Layers before or behind the class centres: centred features, and the maximum over several centres of a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_matrix


@export("vultus.train.nn.CentredCoordinates", form_of="vultus.train.functional.centred_coordinates")
class CentredCoordinates(nn.Module):
    """The class form of `vultus.train.functional.centred_coordinates`: the last layer of a model, before `ModifiedSoftmax`.

    Holds the running mean and variance of each coordinate, which move in training mode before they are used; the first
    batch sets them. The rate is a choice made here.

    Args:
        dim: d.
        momentum: weight of a batch; see `vultus.train.functional.centred_statistics`.
        epsilon: what is added to the variance before its root is taken.
    """

    mean: Tensor
    variance: Tensor
    begun: Tensor

    def __init__(self, dim: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("begun", torch.tensor(False))

    @property
    def deviation(self) -> Tensor:
        """(d,) standard deviation of each coordinate."""
        return (self.variance + self.epsilon).sqrt()

    def forward(self, features: Tensor) -> Tensor:
        """(n, d)."""
        if self.training:
            features = checked_matrix(features, name="features")
            momentum = self.momentum if bool(self.begun) else 1.0
            mean, variance = functional.centred_statistics(self.mean, self.variance, features, momentum=momentum)
            self.mean.copy_(mean)
            self.variance.copy_(variance)
            self.begun.fill_(True)
        elif torch.compiler.is_compiling():  # a graph cannot ask whether its input is finite
            return (features - self.mean.to(features)) / self.deviation.to(features)
        return functional.centred_coordinates(features, self.mean, self.deviation)


@export("vultus.train.nn.SubcenterMax", form_of="vultus.train.functional.subcenter_max")
class SubcenterMax(nn.Module):
    """The class form of `vultus.train.functional.subcenter_max`."""

    def __init__(self, *, subcenters: int = 3) -> None:
        super().__init__()
        self.subcenters = subcenters

    def forward(self, cosine: Tensor) -> Tensor:
        """(n, C)."""
        return functional.subcenter_max(cosine, subcenters=self.subcenters)
