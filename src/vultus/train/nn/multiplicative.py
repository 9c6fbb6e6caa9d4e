"""Softmax with a margin that multiplies the angle, as classes that count the batches for the annealing."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_choice, checked_number
from vultus.train.functional._margins import GRADIENTS, MarginGradient
from vultus.train.functional.multiplicative import l_softmax_rows, sphereface_r_rows, sphereface_rows
from vultus.train.loss import Loss, Rows


class _Annealed(Loss):
    """Holds the number of batches seen in training mode, and gives lambda for it."""

    iteration: Tensor

    def __init__(
        self,
        *,
        margin: float,
        margin_gradient: MarginGradient,
        base: float,
        gamma: float,
        power: float,
        least: float,
    ) -> None:
        super().__init__()
        self.margin = checked_number(margin, name="margin", low=1.0)
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
        self.base = base
        self.gamma = gamma
        self.power = power
        self.least = least
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    @property
    def annealing(self) -> float:
        """Lambda of the next batch."""
        return functional.annealed_lambda(
            int(self.iteration), base=self.base, gamma=self.gamma, power=self.power, least=self.least
        )

    def _advance(self) -> None:
        if self.training:
            self.iteration.add_(1)


@export("vultus.train.nn.LSoftmax", form_of="vultus.train.functional.l_softmax")
class LSoftmax(_Annealed):
    """The class form of `vultus.train.functional.l_softmax`; a head gives it free class centres.

    Args:
        margin: see the function.
        margin_gradient: see the function.
        base: see `vultus.train.functional.annealed_lambda`; base and least 0 for no annealing.
        gamma: see there.
        power: see there.
        least: see there; 5 to 10 on hard sets.
    """

    unit_weights = False

    def __init__(
        self,
        *,
        margin: float = 4.0,
        margin_gradient: MarginGradient = "exact",
        base: float = 1000.0,
        gamma: float = 2.5e-5,
        power: float = 35.0,
        least: float = 0.0,
    ) -> None:
        super().__init__(
            margin=margin, margin_gradient=margin_gradient, base=base, gamma=gamma, power=power, least=least
        )

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del labels
        rows = l_softmax_rows(
            target,
            norms,
            centre_norms,
            margin=self.margin,
            annealing=self.annealing,
            margin_gradient=self.margin_gradient,
        )
        self._advance()
        return rows

    def forward(self, products: Tensor, labels: Tensor, norms: Tensor, centre_norms: Tensor) -> Tensor:
        """(n, C) logits."""
        logits = functional.l_softmax(
            products,
            labels,
            norms,
            centre_norms,
            self.annealing,
            margin=self.margin,
            margin_gradient=self.margin_gradient,
        )
        self._advance()
        return logits


@export("vultus.train.nn.SphereFace", form_of="vultus.train.functional.sphereface")
class SphereFace(_Annealed):
    """The class form of `vultus.train.functional.sphereface`.

    Args:
        margin: see the function.
        margin_gradient: see the function.
        base: see `vultus.train.functional.annealed_lambda`; base and least 0 for no annealing.
        gamma: see there.
        power: see there.
        least: see there.
    """

    def __init__(
        self,
        *,
        margin: float = 4.0,
        margin_gradient: MarginGradient = "exact",
        base: float = 1000.0,
        gamma: float = 0.12,
        power: float = 1.0,
        least: float = 5.0,
    ) -> None:
        super().__init__(
            margin=margin, margin_gradient=margin_gradient, base=base, gamma=gamma, power=power, least=least
        )

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del centre_norms, labels
        rows = sphereface_rows(
            target, norms, margin=self.margin, annealing=self.annealing, margin_gradient=self.margin_gradient
        )
        self._advance()
        return rows

    def forward(self, cosine: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """(n, C) logits."""
        logits = functional.sphereface(
            cosine,
            labels,
            norms,
            self.annealing,
            margin=self.margin,
            margin_gradient=self.margin_gradient,
        )
        self._advance()
        return logits


@export("vultus.train.nn.SphereFaceR", form_of="vultus.train.functional.sphereface_r")
class SphereFaceR(Loss):
    """The class form of `vultus.train.functional.sphereface_r`."""

    def __init__(
        self, *, margin: float = 1.7, scale: float = 30.0, margin_gradient: MarginGradient = "detached"
    ) -> None:
        super().__init__()
        self.margin = checked_number(margin, name="margin", low=1.0)
        self.scale = scale
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return sphereface_r_rows(target, margin=self.margin, scale=self.scale, margin_gradient=self.margin_gradient)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.sphereface_r(
            cosine, labels, margin=self.margin, scale=self.scale, margin_gradient=self.margin_gradient
        )
