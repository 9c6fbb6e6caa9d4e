"""Softmax without a margin, as classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.train import functional
from vultus.train.functional.plain import scaled_rows
from vultus.train.loss import Loss, Rows


@export("vultus.train.nn.Softmax", form_of="vultus.train.functional.softmax")
class Softmax(Loss):
    """The class form of `vultus.train.functional.softmax`; a head gives it free class centres and a bias."""

    unit_weights = False
    bias = True

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del centre_norms, labels
        return scaled_rows(target, norms)

    def forward(self, products: Tensor, labels: Tensor, norms: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, C) logits."""
        return functional.softmax(products, labels, norms, bias)


@export("vultus.train.nn.ModifiedSoftmax", form_of="vultus.train.functional.modified_softmax")
class ModifiedSoftmax(Loss):
    """The class form of `vultus.train.functional.modified_softmax`."""

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del centre_norms, labels
        return scaled_rows(target, norms)

    def forward(self, cosine: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.modified_softmax(cosine, labels, norms)


@export("vultus.train.nn.L2Softmax", form_of="vultus.train.functional.l2_softmax")
class L2Softmax(Loss):
    """The class form of `vultus.train.functional.l2_softmax`; a head gives it free class centres and a bias."""

    unit_weights = False
    bias = True

    def __init__(self, *, scale: float = 16.0) -> None:
        super().__init__()
        self.scale = scale

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return scaled_rows(target, self.scale)

    def forward(self, products: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, C) logits."""
        return functional.l2_softmax(products, labels, bias, scale=self.scale)


@export("vultus.train.nn.NormFace", form_of="vultus.train.functional.normface")
class NormFace(Loss):
    """The class form of `vultus.train.functional.normface`.

    Args:
        scale: s, or its start.
        learned: s is a parameter of this module.
    """

    def __init__(self, *, scale: float = 20.0, learned: bool = False) -> None:
        super().__init__()
        self.learned = learned
        self.scale: float | Tensor = nn.Parameter(torch.tensor(float(scale))) if learned else scale

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return scaled_rows(target, self.scale)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.normface(cosine, labels, scale=self.scale)


@export("vultus.train.nn.COCO", form_of="vultus.train.functional.coco")
class COCO(Loss):
    """The class form of `vultus.train.functional.coco`; the class centres of a head are the centroids."""

    def __init__(self, *, scale: float = 6.25) -> None:
        super().__init__()
        self.scale = scale

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return scaled_rows(target, self.scale)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.coco(cosine, labels, scale=self.scale)
