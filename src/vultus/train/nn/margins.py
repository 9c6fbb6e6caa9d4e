"""Softmax with a fixed margin, as classes."""

from __future__ import annotations

from torch import Tensor

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_choice
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient
from vultus.train.functional.margins import ARC_FAR, COMBINED_FAR, combined_rows, cosface_rows
from vultus.train.loss import Loss, Rows


@export("vultus.train.nn.CosFace", form_of="vultus.train.functional.cosface")
class CosFace(Loss):
    """The class form of `vultus.train.functional.cosface`."""

    def __init__(self, *, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return cosface_rows(target, margin=self.margin, scale=self.scale)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.cosface(cosine, labels, margin=self.margin, scale=self.scale)


@export("vultus.train.nn.AMSoftmax", form_of="vultus.train.functional.am_softmax")
class AMSoftmax(CosFace):
    """The class form of `vultus.train.functional.am_softmax`."""

    def __init__(self, *, margin: float = 0.35, scale: float = 30.0) -> None:
        super().__init__(margin=margin, scale=scale)


@export("vultus.train.nn.ArcFace", form_of="vultus.train.functional.arcface")
class ArcFace(Loss):
    """The class form of `vultus.train.functional.arcface`."""

    def __init__(
        self,
        *,
        margin: float = 0.5,
        scale: float = 64.0,
        far: Far = "linear",
        margin_gradient: MarginGradient = "exact",
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.far: Far = checked_choice(far, ARC_FAR, name="far")
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return combined_rows(
            target,
            m1=1.0,
            m2=self.margin,
            m3=0.0,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.arcface(
            cosine,
            labels,
            margin=self.margin,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )


@export("vultus.train.nn.CombinedMargin", form_of="vultus.train.functional.combined_margin")
class CombinedMargin(Loss):
    """The class form of `vultus.train.functional.combined_margin`."""

    def __init__(
        self,
        *,
        m1: float = 1.0,
        m2: float = 0.3,
        m3: float = 0.2,
        scale: float = 64.0,
        far: Far = "psi",
        margin_gradient: MarginGradient = "exact",
    ) -> None:
        super().__init__()
        self.m1 = m1
        self.m2 = m2
        self.m3 = m3
        self.scale = scale
        self.far: Far = checked_choice(far, COMBINED_FAR, name="far")
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms, labels
        return combined_rows(
            target,
            m1=self.m1,
            m2=self.m2,
            m3=self.m3,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        return functional.combined_margin(
            cosine,
            labels,
            m1=self.m1,
            m2=self.m2,
            m3=self.m3,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )
