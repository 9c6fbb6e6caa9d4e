"""Several networks, each with its own view of the face, whose scores are put together.

Taigman et al. 2014, section 5.3: the paper adds the kernels -|x - y| of three networks (aligned in 3D, grey with gradients,
aligned in 2D), which is a sum of their scores; a classifier on top learns how much each counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.deepface.comparing import fit_weights
from vultus.types import Float64Array


@export("vultus.train.deepface.Fusion")
@dataclass(frozen=True, slots=True, eq=False)
class Fusion:
    """A weighted sum of the scores of k networks, each brought to one scale first.

    Args:
        mean, spread: (k,) of each network's scores on the pairs that the fusion was fitted to.
        weight: (k,).
        bias: what is added.
    """

    mean: Float64Array
    spread: Float64Array
    weight: Float64Array
    bias: float

    def __call__(self, scores: npt.ArrayLike) -> Float64Array:
        """(n,) scores of pairs from (n, k), higher where the two are more alike.

        Raises:
            BadArgument: another shape.
        """
        given = np.asarray(scores, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(self.weight):
            raise BadArgument(f"scores have shape {given.shape}; expected (n, {len(self.weight)})")
        fused: Float64Array = (given - self.mean) / self.spread @ self.weight + self.bias
        return fused


@export("vultus.train.deepface.equal_fusion")
def equal_fusion(scores: npt.ArrayLike) -> Fusion:
    """The plain sum, after each network's scores were brought to mean 0 and spread 1 on these pairs.

    Args:
        scores: (n, k) of n pairs by k networks.

    Raises:
        BadArgument: fewer than two pairs, or numbers that are not finite.
    """
    given = _checked(scores)
    mean, spread = _scale(given)
    return Fusion(mean, spread, np.full(given.shape[1], 1.0 / given.shape[1]), 0.0)


@export("vultus.train.deepface.learned_fusion")
def learned_fusion(scores: npt.ArrayLike, mated: npt.ArrayLike, *, cost: float = 1.0) -> Fusion:
    """The sum whose weights tell mated pairs from others best, by logistic regression.

    Args:
        scores: (n, k) of n pairs by k networks.
        mated: (n,) True where both show one person.
        cost: as `fit_weights` takes it.

    Raises:
        BadArgument: as `equal_fusion`, or one kind of pair alone.
    """
    given = _checked(scores)
    mean, spread = _scale(given)
    terms = torch.from_numpy(-(given - mean) / spread)
    weight, bias = fit_weights(terms, torch.as_tensor(np.asarray(mated, dtype=np.bool_)), loss="logistic", cost=cost)
    return Fusion(mean, spread, weight.numpy(), float(bias))


def _checked(scores: npt.ArrayLike) -> Float64Array:
    given = np.asarray(scores, dtype=np.float64)
    if given.ndim != 2 or len(given) < 2 or not given.shape[1] or not np.isfinite(given).all():
        raise BadArgument(f"scores have shape {given.shape}; expected finite (n, k) with n >= 2 and k >= 1")
    return given


def _scale(scores: Float64Array) -> tuple[Float64Array, Float64Array]:
    return scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-12)
