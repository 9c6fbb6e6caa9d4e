"""Losses that add something to another: Ring loss, in-batch negatives, the terms for classes with few photos."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train import functional
from vultus.train.functional.plain import scaled_rows
from vultus.train.functional.regularise import batch_negatives, promotion
from vultus.train.loss import Loss, Rows
from vultus.train.nn.margins import CosFace
from vultus.train.nn.plain import Softmax


class _Extended(Loss):
    """Asks another loss for everything, and has the same attributes."""

    def __init__(self, base: Loss) -> None:
        super().__init__()
        self.base = base
        self.unit_weights = base.unit_weights
        self.reduction = base.reduction
        self.bias = base.bias
        self.mixes = base.mixes
        self.positive = base.positive
        self.negative = base.negative

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        return self.base.rows(target, norms, centre_norms, labels)

    def others(self, products: Tensor, rows: Rows) -> Tensor:
        """See `Loss.others`."""
        return self.base.others(products, rows)

    def others_slope(self, products: Tensor, rows: Rows) -> Tensor | None:
        """See `Loss.others_slope`."""
        return self.base.others_slope(products, rows)

    def negatives(self, features: Tensor, labels: Tensor) -> Tensor | None:
        """See `Loss.negatives`."""
        return self.base.negatives(features, labels)


@export("vultus.train.nn.Ring", form_of="vultus.train.functional.ring")
class Ring(_Extended):
    """Another loss and the class form of `vultus.train.functional.ring`; holds the learned radius.

    Args:
        base: the loss to which it is added; None for `Softmax`.
        weight: see the function.
        radius: R at the start; None for the mean length of the features of the first batch in training mode, as in the
            authors' code.
    """

    begun: Tensor

    def __init__(self, base: Loss | None = None, *, weight: float = 0.01, radius: float | None = None) -> None:
        super().__init__(Softmax() if base is None else base)
        self.weight = weight
        self.radius = nn.Parameter(torch.tensor(0.0 if radius is None else float(radius)))
        self.register_buffer("begun", torch.tensor(radius is not None))

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        rows = super().rows(target, norms, centre_norms, labels)
        self._begin(norms)
        regulariser = rows.regulariser + functional.ring(norms, self.radius, weight=self.weight)
        return Rows(rows.target, rows.scale, rows.offset, regulariser, rows.state)

    def forward(self, norms: Tensor) -> Tensor:
        """(n,) summand of each row's loss."""
        functional.ring(norms, self.radius, weight=self.weight)
        self._begin(norms)
        return functional.ring(norms, self.radius, weight=self.weight)

    def _begin(self, norms: Tensor) -> None:
        if self.training and not bool(self.begun):
            with torch.no_grad():
                self.radius.copy_(norms.detach().to(self.radius).mean())
            self.begun.fill_(True)


@export("vultus.train.nn.UNPG", form_of="vultus.train.functional.unpg")
class UNPG(_Extended):
    """Another loss and the class form of `vultus.train.functional.unpg`.

    Args:
        base: the softmax loss to which negatives are added; None for `CosFace` with margin 0.4 and the same scale.
        scale: see the function; that of the base, as a rule.
        whisker: see the function.
    """

    def __init__(self, base: Loss | None = None, *, scale: float = 64.0, whisker: float = 1.5) -> None:
        super().__init__(CosFace(margin=0.4, scale=scale) if base is None else base)
        if self.reduction != "softmax":
            raise BadArgument(f"base is {type(base).__name__}, expected a softmax loss")
        self.scale = scale
        self.whisker = whisker

    def negatives(self, features: Tensor, labels: Tensor) -> Tensor:
        """See `Loss.negatives`."""
        return batch_negatives(features, labels, scale=self.scale, whisker=self.whisker)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(n, n) logits of the negatives, minus infinity where there is none."""
        return functional.unpg(features, labels, scale=self.scale, whisker=self.whisker)


@export("vultus.train.nn.UPLoss", form_of="vultus.train.functional.uploss")
class UPLoss(Loss):
    """The class form of `vultus.train.functional.uploss` and its regulariser; a head gives it free class centres and a bias.

    Args:
        classes: C.
        promoted: classes with few photos.
        direction: see `vultus.train.functional.uploss_regulariser`. A head adds it to the loss; `forward` gives the
            logits alone.
        norm: see there.
    """

    unit_weights = False
    bias = True
    mixes = True
    promoted: Tensor

    def __init__(
        self, classes: int, *, promoted: Iterable[int] = (), direction: float = 1.0, norm: float = 1.0
    ) -> None:
        super().__init__()
        self.direction = direction
        self.norm = norm
        mask = torch.zeros(classes, dtype=torch.bool)
        for label in promoted:
            if not 0 <= label < classes:
                raise BadArgument(f"promoted holds {label}, expected classes 0 to {classes - 1}")
            mask[label] = True
        self.register_buffer("promoted", mask)

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        rows = scaled_rows(target, norms)
        regulariser = promotion(
            target / centre_norms, labels, centre_norms, self.promoted, direction=self.direction, norm=self.norm
        )
        return Rows(rows.target, rows.scale, rows.offset, regulariser)

    def forward(self, products: Tensor, labels: Tensor, norms: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, C) logits."""
        return functional.uploss(products, labels, norms, bias)

    def regulariser(self, cosine: Tensor, labels: Tensor, centre_norms: Tensor) -> Tensor:
        """(n,) summand of each row's loss; arguments as in `vultus.train.functional.uploss_regulariser`."""
        return functional.uploss_regulariser(
            cosine, labels, centre_norms, self.promoted, direction=self.direction, norm=self.norm
        )
