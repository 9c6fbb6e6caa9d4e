"""Losses with one logistic term for each class, as classes that hold the learned summand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_choice, checked_number
from vultus.train.functional._margins import GRADIENTS, MarginGradient
from vultus.train.functional.binary import (
    sphereface2_others,
    sphereface2_rows,
    sphereface2_slope,
    uniface_rows,
)
from vultus.train.loss import Loss, Rows


@export("vultus.train.nn.SphereFace2", form_of="vultus.train.functional.sphereface2")
class SphereFace2(Loss):
    """The class form of `vultus.train.functional.sphereface2`; holds the learned offset.

    The terms weigh alpha and 1 - alpha. The paper divides both by r and the authors' code multiplies them by 50 again,
    which is 1.25 at r = 40; here neither is done.

    Args:
        classes: C, from which the offset starts; see `vultus.train.functional.sphereface2_offset`.
        margin: see the function.
        scale: see the function.
        t: see the function.
        margin_gradient: see the function.
        alpha: weight of the target's term, in (0, 1).
    """

    reduction = "binary"

    def __init__(
        self,
        classes: int,
        *,
        margin: float = 0.4,
        scale: float = 40.0,
        t: float = 3.0,
        margin_gradient: MarginGradient = "exact",
        alpha: float = 0.7,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.t = checked_number(t, name="t", low=1.0)
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
        self.offset = nn.Parameter(
            torch.tensor(functional.sphereface2_offset(classes, margin=margin, scale=scale, t=t, alpha=alpha))
        )
        self.positive = alpha
        self.negative = 1 - alpha

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return sphereface2_rows(
            target,
            self.offset,
            margin=self.margin,
            scale=self.scale,
            t=self.t,
            margin_gradient=self.margin_gradient,
        )

    def others(self, products: Tensor, rows: Rows) -> Tensor:
        """See `Loss.others`."""
        del rows
        return sphereface2_others(products, margin=self.margin, t=self.t, margin_gradient=self.margin_gradient)

    def others_slope(self, products: Tensor, rows: Rows) -> Tensor:
        """See `Loss.others_slope`."""
        del rows
        return sphereface2_slope(products, t=self.t, margin_gradient=self.margin_gradient)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits, for `vultus.train.functional.binary_loss` with this module's `positive` and `negative`."""
        return functional.sphereface2(
            cosine,
            labels,
            self.offset,
            margin=self.margin,
            scale=self.scale,
            t=self.t,
            margin_gradient=self.margin_gradient,
        )


@export("vultus.train.nn.UniFace", form_of="vultus.train.functional.uniface")
class UniFace(Loss):
    """The class form of `vultus.train.functional.uniface`; holds the learned threshold.

    Args:
        classes: C, from which the threshold starts; see `vultus.train.functional.uniface_threshold`.
        margin: see the function.
        scale: see the function.
        rate: share of class centres that are sampled, from which the threshold starts too.
        negative: weight of each other class's term, lambda in the paper.
    """

    reduction = "binary"

    def __init__(
        self, classes: int, *, margin: float = 0.4, scale: float = 64.0, rate: float = 1.0, negative: float = 1.0
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.threshold = nn.Parameter(torch.tensor(functional.uniface_threshold(classes, rate=rate)))
        self.negative = negative

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return uniface_rows(target, self.threshold, margin=self.margin, scale=self.scale)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits, for `vultus.train.functional.binary_loss` with this module's `negative`."""
        return functional.uniface(cosine, labels, self.threshold, margin=self.margin, scale=self.scale)
