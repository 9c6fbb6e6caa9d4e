"""ElasticFace: a margin drawn anew for each row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vultus._export import export
from vultus.train.functional._batch import (
    assembled,
    checked_choice,
    checked_cosine,
    checked_labels,
    checked_vector,
    own,
)
from vultus.train.functional._margins import GRADIENTS, Far, MarginGradient, angular
from vultus.train.functional.margins import ARC_FAR
from vultus.train.functional.plain import scaled_rows
from vultus.train.loss import Rows


@export("vultus.train.functional.elastic_draws")
def elastic_draws(n: int, *, seed: int = 0, step: int = 0) -> Tensor:
    """(n,) standard normal numbers that depend on (seed, step) alone: the same on every rank and after a resumption.

    Args:
        n: rows in the batch.
        seed: key of the counter-based generator (Philox), 0 to 2^64 - 1.
        step: its counter.
    """
    bits = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=np.array([0, step, 0, 0], np.uint64))
    return torch.from_numpy(np.random.Generator(bits).standard_normal(n))


def largest_to_lowest(draws: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """The draws of the rows with a target, dealt anew: the larger, the lower the row's cosine."""
    held = (labels >= 0).nonzero().squeeze(1)
    order = target.detach()[held].argsort(descending=True, stable=True)
    return draws.index_put((held[order],), draws[held].sort().values)


def elastic_arcface_rows(
    target: Tensor,
    draws: Tensor,
    *,
    margin: float,
    sigma: float,
    scale: float,
    far: Far,
    margin_gradient: MarginGradient,
) -> Rows:
    """The terms of `elastic_arcface`."""
    margins = margin + sigma * draws.detach().to(target)
    return scaled_rows(target, scale, angular(target, margin=margins, far=far, gradient=margin_gradient))


def elastic_cosface_rows(target: Tensor, draws: Tensor, *, margin: float, sigma: float, scale: float) -> Rows:
    """The terms of `elastic_cosface`."""
    return scaled_rows(target, scale, target - (margin + sigma * draws.detach().to(target)))


@export("vultus.train.functional.elastic_arcface")
def elastic_arcface(
    cosine: Tensor,
    labels: Tensor,
    draws: Tensor,
    *,
    margin: float = 0.5,
    sigma: float = 0.05,
    scale: float = 64.0,
    far: Far = "cosine",
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """`arcface` whose margin is m + sigma * draw in each row.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        draws: (n,) standard normal; see `elastic_draws`.
        margin: m, radians.
        sigma: standard deviation of the margin, radians.
        scale: s.
        far: the target where theta + m > pi, as in `arcface`; "cosine" as in the authors' code.
        margin_gradient: "exact", or "detached": the derivative of the target's logit by its cosine is taken to be s.

    Returns:
        (n, C).

    Raises:
        BadArgument: an unknown `far` or `margin_gradient`.
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Boutros et al., ElasticFace, CVPR Workshops 2022 (arXiv:2109.09416), ElasticFace-Arc.
    """
    checked_choice(far, ARC_FAR, name="far")
    checked_choice(margin_gradient, GRADIENTS, name="margin_gradient")
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    draws = checked_vector(draws, len(labels), name="draws")
    rows = elastic_arcface_rows(
        own(cosine, labels),
        draws,
        margin=margin,
        sigma=sigma,
        scale=scale,
        far=far,
        margin_gradient=margin_gradient,
    )
    return assembled(cosine, labels, rows)


@export("vultus.train.functional.elastic_arcface_plus")
def elastic_arcface_plus(
    cosine: Tensor,
    labels: Tensor,
    draws: Tensor,
    *,
    margin: float = 0.5,
    sigma: float = 0.0175,
    scale: float = 64.0,
    far: Far = "cosine",
    margin_gradient: MarginGradient = "exact",
) -> Tensor:
    """`elastic_arcface` in which the larger margins go to the rows with the lower cosine.

    Args and errors are those of `elastic_arcface`.

    Boutros et al., ElasticFace, CVPR Workshops 2022 (arXiv:2109.09416), ElasticFace-Arc+.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    draws = checked_vector(draws, len(labels), name="draws")
    return elastic_arcface(
        cosine,
        labels,
        largest_to_lowest(draws, own(cosine, labels), labels),
        margin=margin,
        sigma=sigma,
        scale=scale,
        far=far,
        margin_gradient=margin_gradient,
    )


@export("vultus.train.functional.elastic_cosface")
def elastic_cosface(
    cosine: Tensor,
    labels: Tensor,
    draws: Tensor,
    *,
    margin: float = 0.35,
    sigma: float = 0.05,
    scale: float = 64.0,
) -> Tensor:
    """`cosface` whose margin is m + sigma * draw in each row.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        draws: (n,) standard normal; see `elastic_draws`.
        margin: m.
        sigma: standard deviation of the margin.
        scale: s.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Boutros et al., ElasticFace, CVPR Workshops 2022 (arXiv:2109.09416), ElasticFace-Cos.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    draws = checked_vector(draws, len(labels), name="draws")
    rows = elastic_cosface_rows(own(cosine, labels), draws, margin=margin, sigma=sigma, scale=scale)
    return assembled(cosine, labels, rows)


@export("vultus.train.functional.elastic_cosface_plus")
def elastic_cosface_plus(
    cosine: Tensor,
    labels: Tensor,
    draws: Tensor,
    *,
    margin: float = 0.35,
    sigma: float = 0.02,
    scale: float = 64.0,
) -> Tensor:
    """`elastic_cosface` in which the larger margins go to the rows with the lower cosine.

    Args and errors are those of `elastic_cosface`.

    Boutros et al., ElasticFace, CVPR Workshops 2022 (arXiv:2109.09416), ElasticFace-Cos+.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    draws = checked_vector(draws, len(labels), name="draws")
    draws = largest_to_lowest(draws, own(cosine, labels), labels)
    return elastic_cosface(cosine, labels, draws, margin=margin, sigma=sigma, scale=scale)
