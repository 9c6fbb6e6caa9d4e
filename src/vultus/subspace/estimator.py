"""The part of scikit-learn's interface that every estimator here shares, without importing scikit-learn."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vultus.errors import BadArgument, NotFitted
from vultus.types import Float64Array

_Self = TypeVar("_Self", bound="Estimator")


class Estimator:
    """An object whose constructor only stores its options, and whose `fit` stores what it learned in names that end in _."""

    @classmethod
    def _options(cls) -> tuple[str, ...]:
        names = inspect.signature(cls).parameters
        return tuple(names)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name; `deep` is there for scikit-learn, as no option is an estimator itself."""
        del deep
        return {name: getattr(self, name) for name in self._options()}

    def set_params(self: _Self, **params: Any) -> _Self:
        """Change options. What was fitted stays until the next `fit`.

        Raises:
            BadArgument: no such option; none is changed.
        """
        known = self._options()
        for name in params:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise BadArgument(f"{type(self).__name__} has no option {name!r}; did you mean {near!r}?")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator about itself. Only scikit-learn calls it, so it is installed then."""
        tags = importlib.import_module("sklearn.utils")
        return tags.Tags(
            estimator_type=None,
            target_tags=tags.TargetTags(required="y" in self._needs()),
            transformer_tags=tags.TransformerTags(preserves_dtype=[]),
        )

    def _needs(self) -> tuple[str, ...]:
        """Arguments of `fit` without a default."""
        fit = getattr(self, "fit")  # noqa: B009
        return tuple(n for n, p in inspect.signature(fit).parameters.items() if p.default is inspect.Parameter.empty)

    def _fitted(self, name: str) -> Any:
        if not hasattr(self, name):
            raise NotFitted(f"this {type(self).__name__} is not fitted; call fit first")
        return getattr(self, name)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mean_")


def checked_samples(samples: npt.ArrayLike, *, dimension: int | None = None, least: int = 0) -> Float64Array:
    """(n, d) float64.

    Raises:
        BadArgument: another shape or dimension, fewer than `least` rows, or numbers that are not finite.
    """
    try:
        array = np.asarray(samples, dtype=np.float64)
    except (TypeError, ValueError) as problem:
        raise BadArgument(f"samples are not numbers in (n, d): {problem}") from problem
    if array.ndim != 2 or array.shape[1] == 0 or (dimension is not None and array.shape[1] != dimension):
        raise BadArgument(f"samples have shape {array.shape}; expected (n, {dimension or 'd'})")
    if len(array) < least:
        raise BadArgument(f"{len(array)} samples; expected at least {least}")
    if not np.isfinite(array).all():
        raise BadArgument("samples hold NaN or infinity")
    return array


def checked_state(state: Mapping[str, Any], names: tuple[str, ...], *, what: str) -> dict[str, Float64Array]:
    """The named arrays of a saved estimator, finite float64.

    Raises:
        BadArgument: a name is missing or unknown, or a value is not finite numbers.
    """
    if odd := sorted(set(names) ^ set(state)):
        raise BadArgument(f"the state of a {what} has the arrays {', '.join(names)}; {odd[0]!r} does not fit")
    found = {}
    for name in names:
        try:
            found[name] = np.array(state[name], dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise BadArgument(f"the state of a {what}: {name!r} holds no numbers: {problem}") from problem
        if not np.isfinite(found[name]).all():
            raise BadArgument(f"the state of a {what}: {name!r} holds NaN or infinity")
    return found
