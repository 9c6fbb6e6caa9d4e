"""ElasticFace, as classes that draw the margins of each batch from a seed and a counter."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.train import functional
from vultus.train.functional._batch import checked_choice
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient
from vultus.train.functional.elastic import elastic_arcface_rows, elastic_cosface_rows, largest_to_lowest
from vultus.train.functional.margins import ARC_FAR
from vultus.train.loss import Loss, Rows


class _Elastic(Loss):
    """Holds the step. In training mode each batch has its own draws; otherwise every margin is the mean."""

    step: Tensor

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def draws(self, n: int) -> Tensor:
        """(n,) standard normal numbers of the next batch, 0 in eval mode: the same on every rank."""
        if not self.training:
            return torch.zeros(n, dtype=torch.float64)
        return functional.elastic_draws(n, seed=self.seed, step=int(self.step))

    def _advance(self) -> None:
        if self.training:
            self.step.add_(1)


class _ElasticArc(_Elastic):
    def __init__(
        self,
        *,
        margin: float,
        sigma: float,
        scale: float,
        far: Far,
        margin_gradient: MarginGradient,
        seed: int,
    ) -> None:
        super().__init__(seed=seed)
        self.margin = margin
        self.sigma = sigma
        self.scale = scale
        self.far: Far = checked_choice(far, ARC_FAR, name="far")
        self.margin_gradient: MarginGradient = checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms
        rows = elastic_arcface_rows(
            target,
            self._dealt(target, labels),
            margin=self.margin,
            sigma=self.sigma,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )
        self._advance()
        return rows

    def _dealt(self, target: Tensor, labels: Tensor) -> Tensor:
        del labels
        return self.draws(len(target)).to(target)


class _ElasticCos(_Elastic):
    def __init__(self, *, margin: float, sigma: float, scale: float, seed: int) -> None:
        super().__init__(seed=seed)
        self.margin = margin
        self.sigma = sigma
        self.scale = scale

    def rows(self, target: Tensor, norms: Tensor, centre_norms: Tensor, labels: Tensor) -> Rows:
        """See `Loss.rows`."""
        del norms, centre_norms
        draws = self._dealt(target, labels)
        rows = elastic_cosface_rows(target, draws, margin=self.margin, sigma=self.sigma, scale=self.scale)
        self._advance()
        return rows

    def _dealt(self, target: Tensor, labels: Tensor) -> Tensor:
        del labels
        return self.draws(len(target)).to(target)


@export("vultus.train.nn.ElasticArcFace", form_of="vultus.train.functional.elastic_arcface")
class ElasticArcFace(_ElasticArc):
    """The class form of `vultus.train.functional.elastic_arcface`; eval mode takes the mean margin.

    Args:
        margin: see the function.
        sigma: see the function.
        scale: see the function.
        far: see the function.
        margin_gradient: see the function.
        seed: of the draws; see `vultus.train.functional.elastic_draws`.
    """

    def __init__(
        self,
        *,
        margin: float = 0.5,
        sigma: float = 0.05,
        scale: float = 64.0,
        far: Far = "cosine",
        margin_gradient: MarginGradient = "exact",
        seed: int = 0,
    ) -> None:
        super().__init__(margin=margin, sigma=sigma, scale=scale, far=far, margin_gradient=margin_gradient, seed=seed)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        logits = functional.elastic_arcface(
            cosine,
            labels,
            self.draws(len(labels)).to(cosine.device),
            margin=self.margin,
            sigma=self.sigma,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )
        self._advance()
        return logits


@export("vultus.train.nn.ElasticArcFacePlus", form_of="vultus.train.functional.elastic_arcface_plus")
class ElasticArcFacePlus(_ElasticArc):
    """The class form of `vultus.train.functional.elastic_arcface_plus`; eval mode takes the mean margin.

    Args:
        margin: see the function.
        sigma: see the function.
        scale: see the function.
        far: see the function.
        margin_gradient: see the function.
        seed: of the draws; see `vultus.train.functional.elastic_draws`.
    """

    mixes = True

    def __init__(
        self,
        *,
        margin: float = 0.5,
        sigma: float = 0.0175,
        scale: float = 64.0,
        far: Far = "cosine",
        margin_gradient: MarginGradient = "exact",
        seed: int = 0,
    ) -> None:
        super().__init__(margin=margin, sigma=sigma, scale=scale, far=far, margin_gradient=margin_gradient, seed=seed)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        logits = functional.elastic_arcface_plus(
            cosine,
            labels,
            self.draws(len(labels)).to(cosine.device),
            margin=self.margin,
            sigma=self.sigma,
            scale=self.scale,
            far=self.far,
            margin_gradient=self.margin_gradient,
        )
        self._advance()
        return logits

    def _dealt(self, target: Tensor, labels: Tensor) -> Tensor:
        return largest_to_lowest(super()._dealt(target, labels), target, labels)


@export("vultus.train.nn.ElasticCosFace", form_of="vultus.train.functional.elastic_cosface")
class ElasticCosFace(_ElasticCos):
    """The class form of `vultus.train.functional.elastic_cosface`; eval mode takes the mean margin.

    Args:
        margin: see the function.
        sigma: see the function.
        scale: see the function.
        seed: of the draws; see `vultus.train.functional.elastic_draws`.
    """

    def __init__(self, *, margin: float = 0.35, sigma: float = 0.05, scale: float = 64.0, seed: int = 0) -> None:
        super().__init__(margin=margin, sigma=sigma, scale=scale, seed=seed)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        draws = self.draws(len(labels)).to(cosine.device)
        logits = functional.elastic_cosface(
            cosine, labels, draws, margin=self.margin, sigma=self.sigma, scale=self.scale
        )
        self._advance()
        return logits


@export("vultus.train.nn.ElasticCosFacePlus", form_of="vultus.train.functional.elastic_cosface_plus")
class ElasticCosFacePlus(_ElasticCos):
    """The class form of `vultus.train.functional.elastic_cosface_plus`; eval mode takes the mean margin.

    Args:
        margin: see the function.
        sigma: see the function.
        scale: see the function.
        seed: of the draws; see `vultus.train.functional.elastic_draws`.
    """

    mixes = True

    def __init__(self, *, margin: float = 0.35, sigma: float = 0.02, scale: float = 64.0, seed: int = 0) -> None:
        super().__init__(margin=margin, sigma=sigma, scale=scale, seed=seed)

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """(n, C) logits."""
        draws = self.draws(len(labels)).to(cosine.device)
        logits = functional.elastic_cosface_plus(
            cosine, labels, draws, margin=self.margin, sigma=self.sigma, scale=self.scale
        )
        self._advance()
        return logits

    def _dealt(self, target: Tensor, labels: Tensor) -> Tensor:
        return largest_to_lowest(super()._dealt(target, labels), target, labels)
