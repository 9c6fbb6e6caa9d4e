"""Which score must a candidate reach, so that a search for a stranger names somebody with a stated probability at most?

A search compares its probe with N templates. Where each comparison with a stranger matches with probability FMR, the
search names somebody with a probability of at most N * FMR whatever the comparisons have in common, and of
1 - (1 - FMR)^N where they have nothing in common. In practice some probes resemble many and most resemble none, which
lowers it further. Thresholds measured on searches in a gallery of about the same size come first, those of this very
gallery before all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from vultus._export import export
from vultus.align import ALIGNMENT
from vultus.errors import BadArgument, NoThreshold
from vultus.types import SearchThreshold, Threshold
from vultus.weights import load_manifest
from vultus.weights.manifest import builtin_names


@dataclass(frozen=True, slots=True)
class Limit:
    """The score that candidates must reach, and why.

    Args:
        value: the score.
        fpir: the most probable share of non-mated searches that name somebody, where known.
        basis: the measurement that it rests on.
    """

    value: float
    fpir: float | None = None
    basis: Threshold | SearchThreshold | None = None


@export("vultus.gallery.expected_fpir")
def expected_fpir(rate: float, *, measured_at: int, size: int) -> float:
    """How often a search for a stranger in `size` templates names somebody: 1 - (1 - rate)^(size / measured_at).

    Args:
        rate: the same, measured on searches in `measured_at` templates; for one template it is the FMR.
        measured_at: how many templates those searches were compared with.
        size: N.
    """
    return -math.expm1(size / measured_at * math.log1p(-rate))


def limit_for_fpir(
    fpir: float, *, size: int, measured: Sequence[Threshold], searched: Sequence[Sequence[SearchThreshold]]
) -> Limit:
    """The lowest known threshold at which a search of `size` templates keeps the rate.

    Args:
        fpir: the rate, in (0, 1).
        size: N.
        measured: thresholds measured on comparisons.
        searched: sets of thresholds measured on searches, best first. The first set decides that keeps the rate by a
            measurement in a gallery of about this size (a third to three times as many templates); where none does, all
            measurements count alike.

    Raises:
        BadArgument: a rate out of range.
        NoThreshold: none keeps the rate; the message says what rate can be kept.
    """
    if not 0 < fpir < 1:
        raise BadArgument(f"fpir is {fpir!r}; expected a rate in (0, 1)")
    size = max(size, 1)
    limits = [Limit(t.value, expected_fpir(t.fmr, measured_at=1, size=size), t) for t in measured]
    for known in searched:
        near = [t for t in known if size / 3 <= t.gallery_size <= size * 3]
        if found := _lowest([_scaled(t, size) for t in near], fpir):
            return found
        limits += [_scaled(t, size) for t in known]
    if found := _lowest(limits, fpir):
        return found
    rates = [limit.fpir for limit in limits if limit.fpir is not None]
    offer = f"the lowest that can be kept is {min(rates):.3g}" if rates else "no threshold was measured"
    raise NoThreshold(
        f"no threshold is known at FPIR {fpir:g} for {size:,} templates ({offer}); measure one with calibrate(), ask for "
        "a higher rate, or pass threshold= with a value that you can defend"
    )


def _scaled(threshold: SearchThreshold, size: int) -> Limit:
    rate = expected_fpir(threshold.fpir, measured_at=threshold.gallery_size, size=size)
    return Limit(threshold.value, rate, threshold)


def _lowest(limits: Sequence[Limit], fpir: float) -> Limit | None:
    """The lowest of the limits that keep the rate."""
    kept = [limit for limit in limits if limit.fpir is not None and limit.fpir <= fpir * (1 + 1e-9)]
    return min(kept, key=lambda limit: limit.value, default=None)


def limit_for_fmr(fmr: float, *, size: int, measured: Sequence[Threshold]) -> Limit:
    """The threshold measured at a false match rate, or at the next lower one.

    Raises:
        BadArgument: a rate out of range.
        NoThreshold: nothing was measured at or below that rate.
    """
    if not 0 < fmr < 1:
        raise BadArgument(f"fmr is {fmr!r}; expected a rate in (0, 1)")
    usable = [t for t in measured if t.fmr <= fmr * (1 + 1e-9)]
    if not usable:
        known = ", ".join(f"{t.fmr:g}" for t in measured) or "none"
        raise NoThreshold(
            f"no threshold was measured at FMR {fmr:g} for this gallery's model (measured: {known}); pass the "
            "thresholds of your model to Gallery.open, or threshold= with a value that you can defend"
        )
    chosen = max(usable, key=lambda t: t.fmr)
    return Limit(chosen.value, expected_fpir(chosen.fmr, measured_at=1, size=max(size, 1)), chosen)


def checked_limit(threshold: float) -> Limit:
    """A threshold of the caller's, which states no rate.

    Raises:
        BadArgument: no score in [-1, 1].
    """
    if not -1 <= threshold <= 1:
        raise BadArgument(f"threshold is {threshold!r}; expected a score in [-1, 1]")
    return Limit(float(threshold))


def measured_for(model_id: str) -> tuple[tuple[Threshold, ...], tuple[SearchThreshold, ...]]:
    """What the built-in manifests state for exactly this system; nothing where they do not know it."""
    for name in builtin_names():
        manifest = load_manifest(name)
        for calibration in manifest.calibration:
            if manifest.embedding is None:
                continue
            detector = load_manifest(calibration.detector)
            kind = calibration.score.removeprefix("cosine")
            if model_id == f"{manifest.id}+{detector.id}+{manifest.embedding.template}/{ALIGNMENT}{kind}":
                return calibration.thresholds, calibration.searches
    return (), ()


def share_interval(count: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate of which `count` of `trials` were seen (E. B. Wilson, 1927)."""
    z = NormalDist().inv_cdf(0.975)
    share, weight = count / trials, z * z / trials
    middle, reach = share + weight / 2, z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return max(0.0, (middle - reach) / (1 + weight)), min(1.0, (middle + reach) / (1 + weight))
