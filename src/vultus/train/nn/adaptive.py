"""Margins that follow the training or the sample, as classes that hold the running state."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_choice, checked_cosine, checked_labels, checked_vector, own
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient
from vultus.train.functional.adaptive import adaface_rows, magface_rows
from vultus.train.functional.curricular import (
    curricularface_others,
    curricularface_rows,
    curricularface_slope,
)
from vultus.train.functional.margins import ARC_FAR
from vultus.train.loss import Loss, Rows


@export("vultus.train.nn.CurricularFace", form_of="vultus.train.functional.curricularface")
class CurricularFace(Loss):
    """The class form of `vultus.train.functional.curricularface`; holds t, which moves in training mode.

    Args:
        margin: see the function.
        scale: see the function.
        far: see the function.
        margin_gradient: see the function.
        momentum: weight of a batch in t; see `vultus.train.functional.curricularface_t`.
    """

    mixes = True
    t: Tensor

    def __init__(
        self,
        *,
        margin: float = 0.5,
        scale: float = 64.0,
        far: Far = "linear",
        margin_gradient: MarginGradient = "exact",
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.far: Far = checked_choice(far, ARC_FAR, name="far")
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
        self.momentum = momentum
        self.register_buffer("t", torch.zeros(()))

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms
        self._advance(target, labels)
        return curricularface_rows(
            target,
            labels,
            self.t,
            margin=self.margin,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )

    def others(self, products: Tensor, rows: Rows) -> Tensor:
        """See `Loss.others`."""
        return curricularface_others(products, rows)

    def others_slope(self, products: Tensor, rows: Rows) -> Tensor:
        """See `Loss.others_slope`."""
        return curricularface_slope(products, rows)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        cosine = checked_cosine(cosine)
        labels = checked_labels(labels, *cosine.shape)
        self._advance(own(cosine, labels), labels)
        return functional.curricularface(
            cosine,
            labels,
            self.t,
            margin=self.margin,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )

    def _advance(self, target: Tensor, labels: Tensor) -> None:
        if self.training:
            self.t.copy_(functional.curricularface_t(self.t, target[labels >= 0], momentum=self.momentum))


@export("vultus.train.nn.MagFace", form_of="vultus.train.functional.magface")
class MagFace(Loss):
    """The class form of `vultus.train.functional.magface`.

    Args:
        scale: see the function.
        low_norm: see the function.
        high_norm: see the function.
        low_margin: see the function.
        high_margin: see the function.
        far: see the function.
        margin_gradient: see the function.
        weight: of the regulariser; see `vultus.train.functional.magface_regulariser`. A head adds it to the loss;
            `forward` gives the logits alone.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        low_norm: float = 10.0,
        high_norm: float = 110.0,
        low_margin: float = 0.45,
        high_margin: float = 0.8,
        far: Far = "easy",
        margin_gradient: MarginGradient = "exact",
        weight: float = 35.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.low_norm = low_norm
        self.high_norm = high_norm
        self.low_margin = low_margin
        self.high_margin = high_margin
        self.far: Far = checked_choice(far, ARC_FAR, name="far")
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
        self.weight = weight

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del centre_norms, labels
        return magface_rows(
            target,
            norms,
            scale=self.scale,
            low_norm=self.low_norm,
            high_norm=self.high_norm,
            low_margin=self.low_margin,
            high_margin=self.high_margin,
            weight=self.weight,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )

    def forward(self, cosine: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.magface(
            cosine,
            labels,
            norms,
            scale=self.scale,
            low_norm=self.low_norm,
            high_norm=self.high_norm,
            low_margin=self.low_margin,
            high_margin=self.high_margin,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )

    def regulariser(self, norms: Tensor) -> Tensor:
        """(n,) summand of each row's loss."""
        return functional.magface_regulariser(
            norms, low_norm=self.low_norm, high_norm=self.high_norm, weight=self.weight
        )


@export("vultus.train.nn.AdaFace", form_of="vultus.train.functional.adaface")
class AdaFace(Loss):
    """The class form of `vultus.train.functional.adaface`; holds mean and deviation, which move in training mode.

    Args:
        margin: see the function.
        concentration: see the function.
        scale: see the function.
        margin_gradient: see the function.
        momentum: weight of a batch; see `vultus.train.functional.adaface_statistics`. They start at 20 and 100.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        margin: float = 0.4,
        concentration: float = 0.333,
        scale: float = 64.0,
        margin_gradient: MarginGradient = "exact",
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.concentration = concentration
        self.scale = scale
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
        self.momentum = momentum
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del centre_norms, labels
        self._advance(norms)
        return adaface_rows(
            target,
            norms,
            self.mean,
            self.deviation,
            margin=self.margin,
            concentration=self.concentration,
            scale=self.scale,
            margin_gradient=self.margin_gradient,
        )

    def forward(self, cosine: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
        """(n, C) logits."""
        cosine = checked_cosine(cosine)
        labels = checked_labels(labels, *cosine.shape)
        norms = checked_vector(norms, len(labels), name="norms", positive=True)
        self._advance(norms)
        return functional.adaface(
            cosine,
            labels,
            norms,
            self.mean,
            self.deviation,
            margin=self.margin,
            concentration=self.concentration,
            scale=self.scale,
            margin_gradient=self.margin_gradient,
        )

    def _advance(self, norms: Tensor) -> None:
        if self.training:
            mean, deviation = functional.adaface_statistics(self.mean, self.deviation, norms, momentum=self.momentum)
            self.mean.copy_(mean)
            self.deviation.copy_(deviation)
