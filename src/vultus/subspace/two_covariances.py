"""Two covariances, one between the means of groups and one within groups, by expectation-maximisation.

The model: sample j of group i is x_ij = m + u_i + e_ij with u_i ~ N(0, B) and e_ij ~ N(0, W), all independent. In coordinates
in which W is the identity and B is diagonal every dimension stands alone, so a step costs one eigenvalue problem however many
groups there are, and groups of unequal size cost nothing extra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.errors import BadArgument
from vultus.types import Float64Array, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """All that the likelihood needs to know of the samples.

    Args:
        means: (k, d) of each group.
        counts: (k,) samples of each group.
        within: (d, d) sum of the outer products of samples minus their group's mean.
    """

    means: Float64Array
    counts: Float64Array
    within: Float64Array

    @classmethod
    def of(cls, samples: Float64Array, groups: IntArray) -> Groups:
        """From (n, d) samples and (n,) group numbers 0..k-1, each of which occurs."""
        counts = np.bincount(groups).astype(np.float64)
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(len(counts)))
        means = np.add.reduceat(samples[order], starts, axis=0) / counts[:, None]
        left = samples - means[groups]
        return cls(means, counts, left.T @ left)

    @property
    def total(self) -> int:
        """Number of samples."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Covariances:
    """The parameters of the model, with the coordinates that make both covariances diagonal.

    Args:
        mean: (d,).
        between: (d, d) B.
        within: (d, d) W.
        basis: (d, d) V with V' W V = 1 and V' B V = diag(ratios).
        ratios: (d,) falling: variance between groups over variance within, in each coordinate.
    """

    mean: Float64Array
    between: Float64Array
    within: Float64Array
    basis: Float64Array
    ratios: Float64Array

    @classmethod
    def of(cls, mean: Float64Array, between: Float64Array, within: Float64Array) -> Covariances:
        """Diagonalise both.

        Raises:
            BadArgument: `within` is not positive definite.
        """
        try:
            half = np.linalg.cholesky(within)
        except np.linalg.LinAlgError as problem:
            raise BadArgument(
                "the covariance within groups is singular: the samples have dimensions in which they do not vary; reduce "
                "them with PCA first, or raise the option ridge"
            ) from problem
        inverse = np.linalg.inv(half)
        ratios, turn = np.linalg.eigh(symmetric(inverse @ between @ inverse.T))
        order = np.argsort(-ratios, kind="stable")
        return cls(mean, between, within, inverse.T @ turn[:, order], np.maximum(ratios[order], 0.0))


def symmetric(matrix: Float64Array) -> Float64Array:
    """The mean of a matrix and its transpose: takes off what rounding adds."""
    return (matrix + matrix.T) / 2


def moments(groups: Groups, *, ridge: float) -> Covariances:
    """A start from the analysis of variance: unbiased, with the negative variances that it may give raised a little.

    Args:
        groups: of which one at least has two samples.
        ridge: added to the diagonal of the covariance within, as a share of its mean variance.
    """
    k, n = len(groups.counts), groups.total
    mean = groups.counts @ groups.means / n
    within = _ridged(groups.within / (n - k), ridge)
    spread = groups.means - groups.means.mean(axis=0)
    between = symmetric(spread.T @ spread / (k - 1) - within * (1 / groups.counts).mean())
    found = Covariances.of(mean, between, within)
    back = np.linalg.inv(found.basis)
    ratios = np.maximum(found.ratios, 1e-3 * max(float(found.ratios[0]), 1.0))  # what is 0 would stay 0
    return Covariances.of(mean, symmetric((back.T * ratios) @ back), within)


def step(groups: Groups, now: Covariances, *, ridge: float) -> Covariances:
    """One round: first the mean given both covariances, then both covariances given the groups' expected means.

    Neither half lowers the likelihood (expectation, conditional maximisation), unless the ridge is what holds W up.
    """
    counts, phi = groups.counts[:, None], now.ratios
    weight = 1 / (phi + 1 / counts)  # inverse variance of a group's mean, in each coordinate
    rows = groups.means @ now.basis
    centre = (weight * rows).sum(axis=0) / weight.sum(axis=0)
    shrink = counts * phi / (1 + counts * phi)
    expected = shrink * (rows - centre)
    doubt = phi / (1 + counts * phi)  # variance that is left once the samples are known
    left = rows - centre - expected
    between = expected.T @ expected / len(rows) + np.diag(doubt.mean(axis=0))
    within = (counts * left).T @ left + np.diag((counts * doubt).sum(axis=0))
    back = np.linalg.inv(now.basis)
    return Covariances.of(
        centre @ back,
        symmetric(back.T @ between @ back),
        _ridged(symmetric(groups.within + back.T @ within @ back) / groups.total, ridge),
    )


def log_likelihood(groups: Groups, model: Covariances) -> float:
    """Natural logarithm of the density of all samples under the model."""
    counts, phi, n = groups.counts[:, None], model.ratios, groups.total
    rows = (groups.means - model.mean) @ model.basis
    inner = np.einsum("di,de,ei->", model.basis, groups.within, model.basis)
    outer = (counts * rows**2 / (1 + counts * phi)).sum()
    volume = n * -2 * np.linalg.slogdet(model.basis)[1] + np.log1p(counts * phi).sum()
    return float(-0.5 * (n * len(phi) * np.log(2 * np.pi) + volume + inner + outer))


def _ridged(matrix: Float64Array, ridge: float) -> Float64Array:
    size = len(matrix)
    raised: Float64Array = matrix + np.eye(size) * (ridge * np.trace(matrix) / size)
    return raised
