"""Intervals for independent trials: between which bounds does the true rate lie?

Comparisons that share subjects are not independent: see `bootstrap_subjects` and `dyadic_interval` for those. Terms
follow ISO/IEC 19795-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from vultus._export import export
from vultus.calibrate.comparisons import require_support, required_comparisons, supports
from vultus.errors import BadArgument, TooFewComparisons

__all__ = [
    "Interval",
    "clopper_pearson",
    "rate_interval",
    "require_support",
    "required_comparisons",
    "rule_of_three",
    "supports",
    "wilson",
]


@export("vultus.evaluate.Interval")
@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a rate, how often such bounds hold it, and how they were made."""

    low: float
    high: float
    level: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def checked_level(level: float) -> float:
    """The level, if it is one.

    Raises:
        BadArgument: outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise BadArgument(f"level is {level!r}; expected a probability in (0, 1), such as 0.95")
    return level


def _checked_counts(errors: int, trials: int) -> None:
    if trials < 1:
        raise TooFewComparisons(f"{trials} trials; an interval needs at least one")
    if not 0 <= errors <= trials:
        raise BadArgument(f"{errors} errors in {trials} trials; expected between 0 and {trials}")


@export("vultus.evaluate.wilson")
def wilson(errors: int, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval (1927, "Probable inference, the law of succession, and statistical inference").

    Args:
        errors: how many of the trials failed.
        trials: independent trials.
        level: probability with which the interval should hold the true rate; it does so on average over rates.

    Raises:
        BadArgument: errors outside [0, trials], or a level outside (0, 1).
        TooFewComparisons: no trial.
    """
    _checked_counts(errors, trials)
    z = NormalDist().inv_cdf(0.5 + checked_level(level) / 2)
    low, high = score_bounds(errors / trials, trials, z)
    return Interval(low, high, level, "Wilson")


def score_bounds(p: float, trials: float, z: float) -> tuple[float, float]:
    """The rates from which a measured rate `p` is z standard errors away, each taken at the bound itself."""
    share = z * z / trials
    centre = (p + share / 2) / (1 + share)
    half = math.sqrt(p * (1 - p) * share + share * share / 4) / (1 + share)
    return (max(0.0, centre - half) if p > 0 else 0.0), (min(1.0, centre + half) if p < 1 else 1.0)


@export("vultus.evaluate.clopper_pearson")
def clopper_pearson(errors: int, trials: int, *, level: float = 0.95) -> Interval:
    """The exact interval of Clopper and Pearson (1934): it holds the true rate with at least the level asked for.

    Args:
        errors: how many of the trials failed.
        trials: independent trials.
        level: least probability with which the interval holds the true rate.

    Raises:
        BadArgument: errors outside [0, trials], or a level outside (0, 1).
        TooFewComparisons: no trial.
    """
    _checked_counts(errors, trials)
    tail = (1.0 - checked_level(level)) / 2
    low = beta_quantile(tail, errors, trials - errors + 1) if errors else 0.0
    high = 1.0 - beta_quantile(tail, trials - errors, errors + 1) if errors < trials else 1.0
    return Interval(low, high, level, "Clopper-Pearson")


@export("vultus.evaluate.rule_of_three")
def rule_of_three(trials: int, *, level: float = 0.95) -> Interval:
    """What no error in n independent trials says: the rate lies between 0 and 3 / n.

    The chance of no error at a rate r is about exp(-n r), which is 1 - level at r = -log(1 - level) / n; at the level
    of 0.95 the numerator is 2.996 and quoted as 3.

    Args:
        trials: independent trials.
        level: probability of seeing an error at the upper bound.

    Raises:
        BadArgument: a level outside (0, 1).
        TooFewComparisons: no trial.
    """
    _checked_counts(0, trials)
    numerator = 3.0 if level == 0.95 else -math.log(1.0 - checked_level(level))
    return Interval(0.0, min(1.0, numerator / trials), level, "rule of three")


@export("vultus.evaluate.rate_interval")
def rate_interval(errors: int, trials: int, *, level: float = 0.95) -> Interval:
    """The interval to print for a rate of independent trials: Wilson's, and 3 / n where no trial or each one failed.

    Raises:
        BadArgument: errors outside [0, trials], or a level outside (0, 1).
        TooFewComparisons: no trial.
    """
    _checked_counts(errors, trials)
    if errors == 0:
        return rule_of_three(trials, level=level)
    if errors == trials:
        mirrored = rule_of_three(trials, level=level)
        return Interval(1.0 - mirrored.high, 1.0, level, mirrored.method)
    return wilson(errors, trials, level=level)


# --- quantiles --------------------------------------------------------------------------------------------------------


def student_quantile(tail: float, df: float) -> float:
    """The t > 0 that Student's distribution exceeds with probability `tail` < 1/2, for df > 0 degrees of freedom."""
    x = beta_quantile(2.0 * tail, df / 2, 0.5)  # of df / (df + t^2)
    return math.sqrt(df * (1.0 - x) / x)


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x at which the regularised incomplete beta function I_x(a, b) is p, for a, b > 0 and p in (0, 1).

    Newton's method, kept within a bracket that every step narrows.
    """
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        value = beta_cdf(x, a, b)
        low, high = (x, high) if value < p else (low, x)
        slope = math.exp(_log_power(x, a, b)) / (x * (1.0 - x))
        after = x - (value - p) / slope if slope > 0.0 else low
        if not low < after < high:
            after = (low + high) / 2
        if abs(after - x) <= 1e-15 * x:
            return after
        x = after
    return x


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b) for x in (0, 1), by its continued fraction (DLMF 8.17.22)."""
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - math.exp(_log_power(x, a, b)) * _beta_fraction(1.0 - x, b, a) / b
    return math.exp(_log_power(x, a, b)) * _beta_fraction(x, a, b) / a


def _log_power(x: float, a: float, b: float) -> float:
    """log of x**a (1 - x)**b / B(a, b)."""
    return math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """1 / (1 + d1 / (1 + d2 / (1 + ...))), from the front by Lentz's product of ratios."""
    value, upper, lower = 1.0, 1.0, 0.0
    for k in range(1, 1_000_000):
        m = k // 2
        if k % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1.0 / (1.0 + d * lower)
        upper = 1.0 + d / upper
        value *= upper * lower
        if abs(upper * lower - 1.0) < 1e-15:
            break
    return 1.0 / value
