"""Joint Bayesian: how much more probable are two embeddings if one person made both than if two people did?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.subspace.estimator import Estimator, checked_samples, checked_state
from vultus.subspace.two_covariances import Covariances, Groups, log_likelihood, moments, step
from vultus.types import Float64Array

_STATE = ("mean_", "between_", "within_")


@export("vultus.subspace.JointBayesian")
class JointBayesian(Estimator):
    """An embedding is a mean, plus what is the person's own, plus what is the photo's own; both are normal variables.

    Their covariances S_mu (between people) and S_eps (within a person) are found by expectation-maximisation. The score of
    a pair is the logarithm of its likelihood ratio, a closed form in both covariances.

    Chen, Cao, Wang, Wen and Sun, Bayesian Face Revisited: A Joint Formulation, ECCV 2012. Deviations: the M step counts what
    is still unknown of a person after the photos are seen (the paper takes the covariance of expected values alone, which
    finds too little variance between people with few photos each); the mean is estimated too; the score has the constant
    that the paper drops, so that 0 means equally probable.

    Args:
        max_iter: most rounds.
        tol: stop once a round raises the mean log likelihood of a number (a sample's coordinate) by less.
        ridge: added to the diagonal of S_eps in each round, as a share of its mean variance.
        n_components: coordinates that `transform` and the scores use, those that tell people apart best; None: all.

    Attributes:
        mean_: (d,).
        between_: (d, d) S_mu.
        within_: (d, d) S_eps.
        ratios_: (d,) falling: variance between people over variance within, in the coordinates of `transform`.
        n_iter_: rounds done.
        log_likelihoods_: (n_iter_ + 1,) mean log likelihood of a number before the first and after each round.
    """

    mean_: Float64Array
    between_: Float64Array
    within_: Float64Array
    ratios_: Float64Array
    log_likelihoods_: Float64Array
    n_iter_: int
    _basis: Float64Array

    def __init__(
        self, *, max_iter: int = 100, tol: float = 1e-6, ridge: float = 1e-6, n_components: int | None = None
    ) -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.ridge = ridge
        self.n_components = n_components

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> JointBayesian:  # noqa: N803
        """Learn the mean and both covariances.

        Args:
            X: (n, d) embeddings, as they come or after a PCA.
            y: (n,) who is on each: numbers or strings. People may have different numbers of photos, and some only one.

        Raises:
            BadArgument: samples that are not (n, d) finite numbers, labels that do not fit them, options out of range, or
                dimensions in which no sample varies while `ridge` is 0.
            TooFewComparisons: fewer than two people, or nobody with two photos.
        """
        samples = checked_samples(X, least=2)
        self._check_options(samples.shape[1])
        groups = Groups.of(samples, _numbered(y, len(samples)))
        if len(groups.counts) < 2 or groups.total == len(groups.counts):
            raise TooFewComparisons(
                f"{groups.total} samples of {len(groups.counts)} people; expected two people or more, and one of them with "
                "two samples or more"
            )
        if not np.trace(groups.within) > 0:
            raise BadArgument("all samples of each person are equal; expected some variation within people")
        model = moments(groups, ridge=self.ridge)
        path = [log_likelihood(groups, model) / samples.size]
        for _ in range(self.max_iter):
            model = step(groups, model, ridge=self.ridge)
            path.append(log_likelihood(groups, model) / samples.size)
            if path[-1] - path[-2] < self.tol:
                break
        self._take(model)
        self.log_likelihoods_ = np.array(path)
        self.n_iter_ = len(path) - 1
        return self

    def transform(self, X: npt.ArrayLike) -> Float64Array:  # noqa: N803
        """(n, d) embeddings to (n, k) coordinates with S_eps the identity and S_mu diagonal, the most telling first.

        Raises:
            NotFitted: `fit` was not called.
            BadArgument: samples that are not (n, d) finite numbers.
        """
        mean = self._fitted("mean_")
        rows: Float64Array = (checked_samples(X, dimension=len(mean)) - mean) @ self._basis[:, : self.n_components]
        return rows

    def fit_transform(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Float64Array:  # noqa: N803
        """`fit`, then `transform` of the same samples."""
        return self.fit(X, y).transform(X)

    def score_pairs(self, one: npt.ArrayLike, other: npt.ArrayLike) -> Float64Array:
        """Natural log likelihood ratio of each row of `one` with the same row of `other`.

        Args:
            one, other: (n, d) embeddings.

        Returns:
            (n,); above 0 speaks for one person.

        Raises:
            NotFitted: `fit` was not called.
            BadArgument: samples that are not (n, d) finite numbers, or of different numbers.
        """
        a, b = self.transform(one), self.transform(other)
        if a.shape != b.shape:
            raise BadArgument(f"{len(a)} samples and {len(b)} others; expected as many")
        square, cross, constant = self._weights()
        scores: Float64Array = (a**2 + b**2) @ square + (a * b) @ cross + constant
        return scores

    def score_matrix(self, probes: npt.ArrayLike, references: npt.ArrayLike) -> Float64Array:
        """Natural log likelihood ratio of every probe with every reference.

        Args:
            probes: (n, d) embeddings.
            references: (m, d) embeddings.

        Returns:
            (n, m).

        Raises:
            NotFitted, BadArgument: as in `score_pairs`.
        """
        a, b = self.transform(probes), self.transform(references)
        square, cross, constant = self._weights()
        scores: Float64Array = (a * cross) @ b.T
        scores += ((a**2) @ square)[:, None] + ((b**2) @ square)[None, :] + constant
        return scores

    def closed_form(self) -> tuple[Float64Array, Float64Array]:
        """The paper's (d, d) matrices A and G, of all coordinates: 2 (score - constant) = x' A x + y' A y - 2 x' G y.

        x and y are embeddings minus `mean_`; A and G follow eq. 4 to 7 of the paper.

        Raises:
            NotFitted: `fit` was not called.
        """
        self._fitted("mean_")
        phi = self.ratios_
        square, cross = _square(phi), _cross(phi)
        a = (self._basis * (2 * square)) @ self._basis.T
        g = (self._basis * -cross) @ self._basis.T
        return a, g

    def state(self) -> dict[str, Float64Array]:
        """What was fitted, as arrays that `numpy.savez` takes; `from_state` reads them back.

        Raises:
            NotFitted: `fit` was not called.
        """
        return {name: self._fitted(name).copy() for name in _STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, n_components: int | None = None) -> JointBayesian:
        """An estimator that scores as the one whose `state` this is.

        Args:
            state: the arrays.
            n_components: as for the constructor.

        Raises:
            BadArgument: arrays that are missing, whose shapes do not fit, or that are no covariances.
        """
        arrays = checked_state(state, _STATE, what="JointBayesian")
        d = arrays["mean_"].size
        shapes = {"mean_": (d,), "between_": (d, d), "within_": (d, d)}
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise BadArgument(
                    f"the state of a JointBayesian: {name} has shape {arrays[name].shape}; expected {shape}"
                )
        made = cls(n_components=n_components)
        made._check_options(d)
        made._take(Covariances.of(arrays["mean_"], arrays["between_"], arrays["within_"]))
        return made

    def _take(self, model: Covariances) -> None:
        self.mean_, self.between_, self.within_ = model.mean, model.between, model.within
        self.ratios_, self._basis = model.ratios, model.basis

    def _weights(self) -> tuple[Float64Array, Float64Array, float]:
        """(k,) weights of u^2 + v^2 and of u v in each coordinate, and the constant."""
        phi = self.ratios_[: self.n_components]
        return _square(phi), _cross(phi), float((np.log1p(phi) - np.log1p(2 * phi) / 2).sum())

    def _check_options(self, dimension: int) -> None:
        if self.max_iter < 1 or not self.tol >= 0 or not 0 <= self.ridge < 1:
            raise BadArgument(
                f"max_iter is {self.max_iter}, tol {self.tol} and ridge {self.ridge}; expected at least 1, at least 0, and "
                "a share in [0, 1)"
            )
        if self.n_components is not None and not 1 <= self.n_components <= dimension:
            raise BadArgument(f"n_components is {self.n_components}; expected 1 to d = {dimension}, or None")


def _square(phi: Float64Array) -> Float64Array:
    return -0.5 * phi**2 / ((1 + phi) * (1 + 2 * phi))


def _cross(phi: Float64Array) -> Float64Array:
    return phi / (1 + 2 * phi)


def _numbered(labels: npt.ArrayLike, count: int) -> npt.NDArray[np.intp]:
    array = np.asarray(labels)
    if array.shape != (count,):
        raise BadArgument(f"labels have shape {array.shape}; expected ({count},), one for each sample")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadArgument("labels hold NaN or infinity")
    numbered: npt.NDArray[np.intp] = np.unique(array, return_inverse=True)[1].astype(np.intp)
    return numbered
