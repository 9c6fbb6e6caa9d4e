"""Other heads for ArcFace, each a callable that does one forward and backward pass, or one whole step with SGD."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vultus.train import heads
from vultus.train.nn import ArcFace

MARGIN, SCALE = 0.5, 64.0
RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What all heads are given.

    Args:
        features: (n, d), needs a gradient.
        labels: (n,).
        classes: number of classes.
    """

    features: Tensor
    labels: Tensor
    classes: int

    @classmethod
    def drawn(cls, rows: int, dim: int, classes: int) -> Data:
        """Random features and labels."""
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(rows, dim, generator=generator).requires_grad_()
        return cls(features, torch.randint(0, classes, (rows,), generator=generator), classes)

    @property
    def dim(self) -> int:
        """Numbers in a feature."""
        return self.features.shape[1]


Call = Callable[[], object]


def passes(head: Callable[[Tensor, Tensor], Tensor], parameters: list[Tensor], data: Data) -> Call:
    """Forward and backward; gradients are dropped first, as zero_grad does by default."""

    def call() -> None:
        for tensor in (data.features, *parameters):
            tensor.grad = None
        torch.autograd.backward(head(data.features, data.labels))

    return call


def steps(head: Callable[[Tensor, Tensor], Tensor], parameters: list[Tensor], data: Data) -> Call:
    """Forward, backward and a step of torch.optim.SGD."""
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)

    def call() -> None:
        data.features.grad = None
        optimizer.zero_grad()
        torch.autograd.backward(head(data.features, data.labels))
        optimizer.step()

    return call


class Plain(nn.Module):
    """ArcFace in ten lines, as tutorials have it."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim) * 0.01)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d loss."""
        cosine = F.linear(F.normalize(features), F.normalize(self.weight))
        own = cosine.gather(1, labels[:, None])
        sine = (1 - own * own).clamp_min(1e-9).sqrt()
        moved = own * math.cos(MARGIN) - sine * math.sin(MARGIN)
        moved = torch.where(own > math.cos(math.pi - MARGIN), moved, own - MARGIN * math.sin(MARGIN))
        return F.cross_entropy(SCALE * cosine.scatter(1, labels[:, None], moved), labels)


def metric_learning(data: Data) -> nn.Module:
    """pytorch-metric-learning's ArcFaceLoss."""
    from pytorch_metric_learning.losses import ArcFaceLoss  # here, so that it is in no other head's memory

    loss: nn.Module = ArcFaceLoss(data.classes, data.dim, margin=math.degrees(MARGIN), scale=SCALE)
    return loss


def linear_cross_entropy(data: Data) -> tuple[Callable[[Tensor, Tensor], Tensor], list[Tensor]]:
    """torch's own chunked head: plain softmax on W x, so neither cosines nor a margin."""
    weight = nn.Parameter(torch.randn(data.classes, data.dim) * 0.01)
    options = torch.nn.LinearCrossEntropyOptions()

    def head(features: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = F.linear_cross_entropy(features, weight, labels, options=options)
        return loss

    return head, [weight]


class PartialFC:
    """One process of the published scheme (An et al. 2022), as its authors' code goes about it, with SGD.

    All positives and the highest of random numbers up to a share of the classes; their rows and momentum are copied out, a
    dense head runs on them, torch.optim.SGD takes a step, and both are copied back.
    """

    def __init__(self, data: Data, rate: float) -> None:
        self._data, self._rate = data, rate
        self.weight = torch.randn(data.classes, data.dim) * 0.01
        self.momentum = torch.zeros_like(self.weight)

    def __call__(self) -> None:
        """One step."""
        data = self._data
        data.features.grad = None
        labels, index = data.labels, None
        if self._rate < 1:
            positive = torch.unique(labels, sorted=True)
            chances = torch.rand(data.classes)
            chances[positive] = 2.0
            index = torch.topk(chances, k=int(self._rate * data.classes))[1].sort()[0]
            labels = torch.searchsorted(index, labels)
        own = nn.Parameter(self.weight if index is None else self.weight[index])
        optimizer = torch.optim.SGD([own], lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
        optimizer.state[own]["momentum_buffer"] = self.momentum if index is None else self.momentum[index]
        logits = F.linear(F.normalize(data.features), F.normalize(own)).clamp(-1, 1)
        rows = torch.arange(len(labels))
        with torch.no_grad():  # the margin is added without a gradient of its own
            logits[rows, labels] = (logits[rows, labels].arccos() + MARGIN).cos()
        torch.autograd.backward(F.cross_entropy(logits * SCALE, labels))
        optimizer.step()
        if index is not None:
            self.weight[index] = own.detach()
            self.momentum[index] = optimizer.state[own]["momentum_buffer"]


def fused_head(
    data: Data, *, sharded: bool = False, group: dist.ProcessGroup | None = None, **options: Any
) -> heads.Chunked | heads.Sharded:
    """A head that moves its own centres."""
    sgd = heads.SGD(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    loss = ArcFace(margin=MARGIN, scale=SCALE)
    if sharded:
        return heads.Sharded(data.dim, data.classes, loss, optimizer=sgd, group=group, **options)
    return heads.Chunked(data.dim, data.classes, loss, optimizer=sgd, **options)


def fused(data: Data, **options: Any) -> Call:
    """A whole step of such a head."""
    return passes(fused_head(data, **options), [], data)
