"""Likelihood ratios: how much more probable is a score for two samples of one subject than for samples of two?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.calibrate.comparisons import checked_comparisons
from vultus.calibrate.pooling import pool_adjacent_violators, tied_counts
from vultus.errors import BadArgument
from vultus.types import BoolArray, Float64Array

_RIDGE = 1e-6
_NEWTON_STEPS = 100


@export("vultus.calibrate.Calibration")
class Calibration(Protocol):
    """A map from scores to likelihood ratios that never falls as the score rises."""

    @property
    def threshold(self) -> float:
        """The score from which on the evidence speaks for one subject: likelihood ratio >= 1."""

    def log_likelihood_ratio(self, scores: npt.ArrayLike) -> Float64Array:
        """Natural logarithm of the likelihood ratio, in the shape of `scores`."""

    def log10_likelihood_ratio(self, scores: npt.ArrayLike) -> Float64Array:
        """Decimal logarithm of the likelihood ratio, in the shape of `scores`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain strings, floats and lists, for a manifest; `calibration_from_dict` reads them back."""


@export("vultus.calibrate.LogisticCalibration")
@dataclass(frozen=True, slots=True)
class LogisticCalibration:
    """A straight line from scores to log likelihood ratios: weight * score + bias.

    It is a perceptron with one input, and its bias is the learned threshold: the line crosses zero at -bias / weight.

    Args:
        weight: natural log units per unit of score, above 0.
        bias: natural log likelihood ratio at score 0.

    Raises:
        BadArgument: a weight that is not positive, or numbers that are not finite.
    """

    weight: float
    bias: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and math.isfinite(self.bias) and self.weight > 0):
            raise BadArgument(
                f"weight {self.weight!r} and bias {self.bias!r}; expected finite numbers and a weight above 0 "
                "(mated scores must be the higher ones)"
            )

    @property
    def threshold(self) -> float:
        """The score at which the likelihood ratio is 1."""
        return -self.bias / self.weight

    def log_likelihood_ratio(self, scores: npt.ArrayLike) -> Float64Array:
        """Natural logarithm of the likelihood ratio, in the shape of `scores`."""
        ratio: Float64Array = self.weight * np.asarray(scores, dtype=np.float64) + self.bias
        return ratio

    def log10_likelihood_ratio(self, scores: npt.ArrayLike) -> Float64Array:
        """Decimal logarithm of the likelihood ratio, in the shape of `scores`."""
        return self.log_likelihood_ratio(scores) / math.log(10)

    def to_dict(self) -> dict[str, Any]:
        """{"kind": "logistic", "weight": float, "bias": float}."""
        return {"kind": "logistic", "weight": self.weight, "bias": self.bias}


@export("vultus.calibrate.fit_logistic")
def fit_logistic(scores: npt.ArrayLike, mated: npt.ArrayLike, *, prior: float = 0.5) -> LogisticCalibration:
    """Prior-weighted logistic regression of "mated" on the score.

    Minimises, over weight w and bias b, with z = w * score + b and logit the log odds of `prior`,

        prior * mean_mated log(1 + exp(-z - logit)) + (1 - prior) * mean_non_mated log(1 + exp(z + logit))

    (Brümmer and du Preez 2006, "Application-independent evaluation of speaker detection"). Each class
    counts by its mean, so z is the log likelihood ratio whatever the shares of the classes in the data. Solved by
    Newton's method with halved steps on standardised scores, plus a ridge of 1e-6 / 2 times the square of the
    standardised weight: on separable data, where the maximum lies at infinity, it keeps the weight finite, and
    elsewhere it moves the result by less than 1e-4 of itself.

    Args:
        scores: (n,) similarity, higher is more alike.
        mated: (n,), True where both samples show one subject.
        prior: probability of a mated comparison around which the fit should be best, in (0, 1).

    Raises:
        BadArgument: shapes that differ, NaN or infinity, a prior outside (0, 1), or scores that do not rise from
            non-mated to mated.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    x, y = checked_comparisons(scores, mated)
    if not 0.0 < prior < 1.0:
        raise BadArgument(f"prior is {prior!r}; expected a probability in (0, 1)")
    if not np.isfinite(x).all():
        raise BadArgument("scores hold -inf; leave out comparisons that failed before fitting")
    n_mated = int(np.count_nonzero(y))
    share = np.where(y, prior / n_mated, (1.0 - prior) / (len(y) - n_mated))
    centre = float(share @ x)
    scale = math.sqrt(float(share @ (x - centre) ** 2))
    if not scale > 1e-12 * max(1.0, abs(centre)):
        raise BadArgument(f"all scores are about {centre:.6g}; a calibration needs scores that differ")
    logit = math.log(prior / (1.0 - prior))
    weight, bias = _newton((x - centre) / scale, y, share, logit)
    weight, bias = weight / scale, bias - weight * centre / scale
    return LogisticCalibration(weight, bias)


def _newton(x: Float64Array, y: BoolArray, share: Float64Array, logit: float) -> tuple[float, float]:
    """Weight and bias that minimise the weighted logistic loss on standardised scores."""
    sign = np.where(y, -1.0, 1.0)

    def loss(theta: Float64Array) -> float:
        z = theta[0] * x + theta[1] + logit
        return float(share @ np.logaddexp(0.0, sign * z)) + 0.5 * _RIDGE * float(theta[0]) ** 2

    theta = np.zeros(2)
    now = loss(theta)
    for _ in range(_NEWTON_STEPS):
        p = 0.5 + 0.5 * np.tanh(0.5 * (theta[0] * x + theta[1] + logit))
        residual, curvature = share * (p - y), share * p * (1.0 - p)
        slope = np.array([residual @ x + _RIDGE * theta[0], residual.sum()])
        cx = curvature * x
        hessian = np.array([[cx @ x + _RIDGE, cx.sum()], [cx.sum(), curvature.sum() + 1e-12]])
        step = np.linalg.solve(hessian, slope)
        size = 1.0
        while (then := loss(theta - size * step)) > now and size > 1e-6:
            size *= 0.5
        if then > now:
            break
        theta, now = theta - size * step, then
        if float(slope @ step) < 1e-18:
            break
    return float(theta[0]), float(theta[1])


@export("vultus.calibrate.IsotonicCalibration")
@dataclass(frozen=True, slots=True, eq=False)
class IsotonicCalibration:
    """A staircase from scores to log likelihood ratios, which never falls.

    Args:
        thresholds: (k,) ascending: the lowest score of each step. Scores between two steps belong to the lower one,
            and scores below the first step to the first.
        values: (k,) natural log likelihood ratio of each step, ascending, finite.

    Raises:
        BadArgument: shapes that differ, no step, or numbers that do not ascend or are not finite.
    """

    thresholds: Float64Array
    values: Float64Array

    def __post_init__(self) -> None:
        for name in ("thresholds", "values"):
            array = np.asarray(getattr(self, name), dtype=np.float64)
            if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or (np.diff(array) < 0).any():
                raise BadArgument(f"{name} of shape {array.shape}; expected (k,) finite ascending numbers, k >= 1")
            object.__setattr__(self, name, array)
        if len(self.thresholds) != len(self.values):
            raise BadArgument(f"{len(self.thresholds)} thresholds and {len(self.values)} values; expected as many")

    @property
    def threshold(self) -> float:
        """The lowest score with a likelihood ratio of at least 1; +inf where there is none."""
        first = int(np.searchsorted(self.values, 0.0, side="left"))
        return float(self.thresholds[first]) if first < len(self.values) else math.inf

    def log_likelihood_ratio(self, scores: npt.ArrayLike) -> Float64Array:
        """Natural logarithm of the likelihood ratio, in the shape of `scores`."""
        step = np.searchsorted(self.thresholds, np.asarray(scores, dtype=np.float64), side="right") - 1
        ratio: Float64Array = self.values[np.maximum(step, 0)]
        return ratio

    def log10_likelihood_ratio(self, scores: npt.ArrayLike) -> Float64Array:
        """Decimal logarithm of the likelihood ratio, in the shape of `scores`."""
        return self.log_likelihood_ratio(scores) / math.log(10)

    def to_dict(self) -> dict[str, Any]:
        """{"kind": "isotonic", "thresholds": list of float, "values": list of float}."""
        return {"kind": "isotonic", "thresholds": self.thresholds.tolist(), "values": self.values.tolist()}


@export("vultus.calibrate.fit_isotonic")
def fit_isotonic(scores: npt.ArrayLike, mated: npt.ArrayLike) -> IsotonicCalibration:
    """Isotonic regression of "mated" on the score by pool-adjacent-violators, with the shares of the classes taken out.

    The ends of the plain solution are infinite: above the highest non-mated score every comparison is mated. Here one
    mated and one non-mated comparison are added below all scores and above all scores. A step at an end that holds m
    comparisons, all mated, then counts as m + 1 of m + 2 (Laplace's rule of succession), and no ratio is infinite.

    Args:
        scores: (n,) similarity, higher is more alike.
        mated: (n,), True where both samples show one subject.

    Raises:
        BadArgument: shapes that differ, or NaN or infinity.
        TooFewComparisons: no mated or no non-mated comparison.
    """
    x, y = checked_comparisons(scores, mated)
    if not np.isfinite(x).all():
        raise BadArgument("scores hold -inf; leave out comparisons that failed before fitting")
    levels, hits, counts = tied_counts(x, y)
    hits, counts = np.concatenate([[1], hits, [1]]), np.concatenate([[2], counts, [2]])
    starts = pool_adjacent_violators(hits, counts)
    mated_in, all_in = np.add.reduceat(hits, starts), np.add.reduceat(counts, starts)
    values = np.log(mated_in / (all_in - mated_in)) - math.log(hits.sum() / (counts.sum() - hits.sum()))
    last = np.append(starts[1:], len(hits)) - 1
    real = (last >= 1) & (starts <= len(levels))  # a step of nothing but added comparisons holds no score
    return IsotonicCalibration(levels[np.maximum(starts[real] - 1, 0)], values[real])


@export("vultus.calibrate.calibration_from_dict")
def calibration_from_dict(entry: Mapping[str, Any]) -> LogisticCalibration | IsotonicCalibration:
    """Read back what `to_dict` of a calibration gave.

    Raises:
        BadArgument: an unknown kind or key, a missing key, or a value that does not fit.
    """
    kinds = {"logistic": ("weight", "bias"), "isotonic": ("thresholds", "values")}
    kind = entry.get("kind")
    if kind not in kinds:
        raise BadArgument(f"a calibration of kind {kind!r}; expected one of {', '.join(kinds)}")
    keys = kinds[kind]
    for key in entry:
        if key != "kind" and key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.0)[0]
            raise BadArgument(f"a {kind} calibration has no key {key!r}; did you mean {near!r}?")
    missing = [key for key in keys if key not in entry]
    if missing:
        raise BadArgument(f"a {kind} calibration lacks {' and '.join(missing)}")
    try:
        if kind == "logistic":
            return LogisticCalibration(float(entry["weight"]), float(entry["bias"]))
        return IsotonicCalibration(np.asarray(entry["thresholds"], float), np.asarray(entry["values"], float))
    except (TypeError, ValueError) as error:
        if isinstance(error, BadArgument):
            raise
        raise BadArgument(f"a {kind} calibration with values that are not numbers: {error}") from error
