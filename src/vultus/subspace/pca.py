"""Principal components: the directions in which samples vary most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.subspace.estimator import Estimator, checked_samples, checked_state
from vultus.types import Float64Array

_STATE = ("mean_", "components_", "explained_variance_", "explained_variance_ratio_")


@export("vultus.subspace.PCA")
class PCA(Estimator):
    """Principal component analysis by the singular value decomposition of the centred samples.

    Signs are chosen so that the entry of largest absolute value of each component is positive.

    Args:
        n_components: how many to keep; a float in (0, 1): as many as explain that share of the variance; None: min(n, d).
        whiten: scale each coordinate to variance 1 on the samples of the fit. A coordinate without variance stays 0.

    Attributes:
        mean_: (d,) of the samples.
        components_: (k, d) orthonormal rows, by falling variance.
        explained_variance_: (k,) variance along each, with n - 1 in the denominator.
        explained_variance_ratio_: (k,) shares of the total variance.
    """

    mean_: Float64Array
    components_: Float64Array
    explained_variance_: Float64Array
    explained_variance_ratio_: Float64Array

    def __init__(self, n_components: int | float | None = None, *, whiten: bool = False) -> None:
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, X: npt.ArrayLike, y: object = None) -> PCA:  # noqa: N803
        """Learn mean and components.

        Args:
            X: (n, d) samples, n at least 2.
            y: not used.

        Raises:
            BadArgument: samples that are not (n, d) finite numbers, or an `n_components` out of range.
        """
        del y
        samples = checked_samples(X, least=2)
        mean = samples.mean(axis=0)
        _, spread, rows = np.linalg.svd(samples - mean, full_matrices=False)
        variance = spread**2 / (len(samples) - 1)
        total = variance.sum()
        share = variance / total if total > 0 else np.zeros_like(variance)
        keep = self._count(share)
        rows = rows[:keep]
        signs = np.sign(rows[np.arange(keep), np.abs(rows).argmax(axis=1)])
        self.mean_ = mean
        self.components_ = rows * signs[:, None]
        self.explained_variance_ = variance[:keep]
        self.explained_variance_ratio_ = share[:keep]
        return self

    def transform(self, X: npt.ArrayLike) -> Float64Array:  # noqa: N803
        """(n, d) samples to (n, k) coordinates.

        Raises:
            NotFitted: `fit` was not called.
            BadArgument: samples that are not (n, d) finite numbers.
        """
        mean = self._fitted("mean_")
        samples = checked_samples(X, dimension=len(mean))
        found: Float64Array = ((samples - mean) @ self.components_.T) / self._scale()
        return found

    def fit_transform(self, X: npt.ArrayLike, y: object = None) -> Float64Array:  # noqa: N803
        """`fit`, then `transform` of the same samples."""
        return self.fit(X, y).transform(X)

    def inverse_transform(self, X: npt.ArrayLike) -> Float64Array:  # noqa: N803
        """(n, k) coordinates to the (n, d) samples nearest to the original ones.

        Raises:
            NotFitted, BadArgument: as in `transform`.
        """
        mean = self._fitted("mean_")
        coordinates = checked_samples(X, dimension=len(self.components_))
        found: Float64Array = (coordinates * self._scale()) @ self.components_ + mean
        return found

    def state(self) -> dict[str, Float64Array]:
        """What was fitted, as arrays that `numpy.savez` takes; `from_state` reads them back.

        Raises:
            NotFitted: `fit` was not called.
        """
        return {name: self._fitted(name).copy() for name in _STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, whiten: bool = False) -> PCA:
        """A fitted estimator from what `state` gave.

        Args:
            state: the arrays.
            whiten: as for the constructor.

        Raises:
            BadArgument: arrays that are missing, or whose shapes do not fit.
        """
        arrays = checked_state(state, _STATE, what="PCA")
        components = arrays["components_"]
        if components.ndim != 2:
            raise BadArgument(f"the state of a PCA: components_ have shape {components.shape}; expected (k, d)")
        k, d = components.shape
        shapes = {"mean_": (d,), "explained_variance_": (k,), "explained_variance_ratio_": (k,)}
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise BadArgument(f"the state of a PCA: {name} has shape {arrays[name].shape}; expected {shape}")
        made = cls(k, whiten=whiten)
        for name, array in arrays.items():
            setattr(made, name, array)
        return made

    def _scale(self) -> Float64Array:
        """(k,) lengths that the coordinates are divided by."""
        variance = self.explained_variance_
        if not self.whiten:
            return np.ones_like(variance)
        flat = variance <= np.finfo(np.float64).eps * variance.max(initial=0.0)
        return np.where(flat, 1.0, np.sqrt(np.where(flat, 1.0, variance)))

    def _count(self, share: Float64Array) -> int:
        wanted, most = self.n_components, len(share)
        if wanted is None:
            return most
        if isinstance(wanted, float) and 0 < wanted < 1:
            return min(int(np.searchsorted(np.cumsum(share), wanted, side="right")) + 1, most)
        if isinstance(wanted, int | np.integer) and not isinstance(wanted, bool) and 1 <= wanted <= most:
            return int(wanted)
        raise BadArgument(
            f"n_components is {wanted!r}; expected a whole number from 1 to min(n, d) = {most}, a share in (0, 1), or None"
        )
