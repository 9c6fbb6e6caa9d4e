"""What a head asks of a loss: how one row's products become logits, and how the logits become a number.

With x a feature, W_j a class centre and c_j their *product* (the unit feature times the centre, which is made unit too where
`Loss.unit_weights` says so), every loss that a head can train with is

    logit of the target  = phi(c_y; |x|, |W_y|, state)          `Rows.target`
    logit of another j   = scale * psi(c_j; state) + offset     `Rows.scale`, `Rows.offset`, `Loss.others`
    loss of the row      = a reduction of these + a regulariser  `Loss.reduction`, `Rows.regulariser`

A loss never sees a process group, a class centre or more classes than it is shown; a head never names a loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vultus._export import export

Reduction = Literal["softmax", "binary"]


@export("vultus.train.loss.Rows")
@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a loss says of each row before it sees the other classes. All of shape (n,) and float32 or float64.

    Args:
        target: logit of the row's own class; of no meaning where the label is -1.
        scale: factor of the other classes' logits.
        offset: summand of the other classes' logits.
        regulariser: summand of the row's loss.
        state: (n, k) detached numbers that `Loss.others` needs, or None.
    """

    target: Tensor
    scale: Tensor
    offset: Tensor
    regulariser: Tensor
    state: Tensor | None = None


@export("vultus.train.loss.Loss")
class Loss(nn.Module, ABC):
    """A loss over classes. Subclasses hold hyper-parameters, learned numbers and running state; functions compute.

    `unit_weights`: products are cosines; otherwise the unit feature times the centre as it is.
    `reduction`: "softmax", -log of the target's share; or "binary", a sum of one logistic loss for each class, in which
    `positive` and `negative` weigh the target's term and those of the others.
    `bias`: the head has one learned number a class, added to every logit.
    `mixes`: the terms of a row depend on other rows' targets, so all targets must be known before `rows` is called.
    """

    unit_weights: bool = True
    reduction: Reduction = "softmax"
    bias: bool = False
    mixes: bool = False
    positive: float = 1.0
    negative: float = 1.0

    @abstractmethod
    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """The terms of each row, differentiable in target, norms, centre_norms and the loss's own parameters.

        Called once for each training step; running state moves here, in training mode only.

        Args:
            target: (n,) product with the row's own class; 0 where the label is -1.
            norms: (n,) length of the feature.
            centre_norms: (n,) length of the row's own class centre; 1 where the label is -1.
            labels: (n,) class of each row, or -1 where the class is held elsewhere.
        """

    def others(self, products: Tensor, rows: Rows) -> Tensor:
        """psi of the products with other classes, elementwise.

        Args:
            products: (n, m), of any m classes; never written to.
            rows: what `rows` gave.

        Returns:
            (n, m); `products` itself where psi is the identity.
        """
        del rows
        return products

    def others_slope(self, products: Tensor, rows: Rows) -> Tensor | None:
        """d psi / d product, (n, m), or None where psi is the identity."""
        del products, rows
        return None

    def negatives(self, features: Tensor, labels: Tensor) -> Tensor | None:
        """Logits of further negatives that the batch itself gives, or None.

        Args:
            features: (n, d) unit features of the whole batch.
            labels: (n,) global classes of the whole batch.

        Returns:
            (n, k), minus infinity where there is none; differentiable in the features.
        """
        del features, labels
        return None
