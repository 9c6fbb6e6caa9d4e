"""The head that others are measured by: all logits at once, and torch's own differentiation."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.train.heads.base import Head
from vultus.train.heads.batch import checked_batch, inverse, unit
from vultus.train.heads.ranks import Ranks
from vultus.train.heads.reductions import softplus
from vultus.train.loss import Loss


@export("vultus.train.heads.Dense")
class Dense(Head):
    """All (n, classes) logits at once, by plain autograd: the definition of what the other heads compute.

    Called with features (n, dim) and labels (n,) it gives the mean loss of the batch, 0-d.

    Args:
        dim: numbers in a feature.
        classes: number of classes, at least 2.
        loss: one of `vultus.train.nn`.
        subcenters: centres for each class, of which the nearest to a feature counts (Deng et al. 2020, "Sub-center ArcFace").
        seed: of the initial centres.
        deviation: standard deviation of the numbers of the initial centres.

    Raises:
        BadArgument: numbers out of range, or no loss that a head can train with.
        BadBatch: when called, see `checked_batch`.
    """

    def __init__(
        self, dim: int, classes: int, loss: Loss, *, subcenters: int = 1, seed: int = 0, deviation: float = 0.01
    ) -> None:
        ranks = Ranks(alone=True)
        super().__init__(dim, classes, loss, subcenters=subcenters, seed=seed, deviation=deviation, ranks=ranks)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d mean loss of (n, dim) features, of any floating-point type, with (n,) labels."""
        self._check_type()
        batch = checked_batch(features, labels, dim=self.dim, classes=self.classes, ranks=self.ranks)
        with torch.autocast(features.device.type, enabled=False):
            return self._mean(batch.features, batch.labels)

    def _mean(self, features: Tensor, labels: Tensor) -> Tensor:
        x, norms = unit(features, self.weight.dtype)
        lengths = torch.linalg.vector_norm(self.weight, dim=1)
        centres = self.weight * inverse(lengths)[:, None] if self.loss.unit_weights else self.weight
        products = x @ centres.T
        own, row = labels[:, None], labels
        if self.subcenters > 1:
            products, nearest = products.view(len(x), -1, self.subcenters).max(dim=2)
            row = labels * self.subcenters + nearest.gather(1, own).squeeze(1)
        rows = self.loss.rows(products.gather(1, own).squeeze(1), norms, lengths[row], labels)
        # what others does to a row's own class is replaced; a product of 0 keeps an infinite slope out of it
        logits = self.loss.others(products.scatter(1, own, 0.0), rows) * rows.scale[:, None] + rows.offset[:, None]
        logits = logits.scatter(1, own, rows.target[:, None])
        if self.bias is not None:
            logits = logits + self.bias
        negatives = self.loss.negatives(x, labels)
        losses = self._softmax(logits, own, negatives)
        if self.loss.reduction == "binary":
            losses = self._binary(logits, own, negatives)
        return (losses + rows.regulariser).mean()

    def _softmax(self, logits: Tensor, own: Tensor, negatives: Tensor | None) -> Tensor:
        every = logits if negatives is None else torch.cat([logits, negatives], dim=1)
        return every.logsumexp(dim=1) - logits.gather(1, own).squeeze(1)

    def _binary(self, logits: Tensor, own: Tensor, negatives: Tensor | None) -> Tensor:
        target = logits.gather(1, own).squeeze(1)
        others = softplus(logits.scatter(1, own, -torch.inf)).sum(dim=1)
        if negatives is not None:
            others = others + softplus(negatives).sum(dim=1)
        return self.loss.positive * softplus(-target) + self.loss.negative * others
