"""How well are presentation attacks told from living people, and how many get through the whole system?

Terms follow ISO/IEC 30107-3: attacks are reported by species of instrument (one printer and paper, one screen, one mask),
never pooled, because a detector that stops nine of ten species and lets the tenth pass is no use; the worst species counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.intervals import Interval, rate_interval
from vultus.types import BoolArray, Float64Array


@export("vultus.evaluate.AttackRate")
@dataclass(frozen=True, slots=True)
class AttackRate:
    """A share of presentations with its interval.

    Args:
        rate: the share.
        errors: how many.
        presentations: of how many.
        interval: of the true rate if presentations are independent.
    """

    rate: float
    errors: int
    presentations: int
    interval: Interval


@export("vultus.evaluate.AttackDetection")
@dataclass(frozen=True, slots=True)
class AttackDetection:
    """Rates of a detector at one threshold.

    Args:
        threshold: a presentation is taken for an attack from this score on.
        apcer: by species, the share of attacks with an answer that are taken for bona fide.
        bpcer: the share of bona fide presentations with an answer that are taken for attacks.
        apnrr: by species, the share of attacks without an answer.
        bpnrr: the share of bona fide presentations without an answer.
        iapar: by species, the share of attacks that the whole system accepts: it matches them and takes them for bona
            fide; where it was told which it matched.
        worst: the species with the highest APCER, which is the one to state.
    """

    threshold: float
    apcer: dict[str, AttackRate]
    bpcer: AttackRate
    apnrr: dict[str, AttackRate]
    bpnrr: AttackRate
    iapar: dict[str, AttackRate] | None
    worst: str


@export("vultus.evaluate.attack_detection")
def attack_detection(
    attacks: Mapping[str, npt.ArrayLike],
    bona_fide: npt.ArrayLike,
    *,
    threshold: float,
    matched: Mapping[str, npt.ArrayLike] | None = None,
    level: float = 0.95,
) -> AttackDetection:
    """APCER of each species, BPCER, rates without an answer, and IAPAR.

    Args:
        attacks: by species, (n,) scores of attack presentations, higher is more like an attack; NaN where there was no answer.
        bona_fide: (m,) scores of presentations by living people, likewise.
        threshold: from which score on a presentation is taken for an attack.
        matched: by species, (n,) True where the comparison accepted the attack presentation as the person it imitates. An
            attack without an answer is not accepted.
        level: of the intervals.

    Raises:
        BadArgument: no species, other shapes, or infinite scores.
        TooFewComparisons: a species, or the bona fide presentations, without a single answer.
    """
    if not attacks:
        raise BadArgument("no species of attack; expected scores of at least one")
    if not np.isfinite(threshold):
        raise BadArgument(f"threshold is {threshold!r}; expected a number")
    if matched is not None and set(matched) != set(attacks):
        raise BadArgument("matched has other species than attacks; expected the same")
    scores = {name: _scores(values, name) for name, values in attacks.items()}
    people = _scores(bona_fide, "bona_fide")
    apcer = {name: _share(s < threshold, ~np.isnan(s), level, name) for name, s in scores.items()}
    every = {name: np.ones(len(s), dtype=bool) for name, s in scores.items()}
    iapar = None
    if matched is not None:
        accepted = {name: _flags(matched[name], scores[name], name) & (scores[name] < threshold) for name in scores}
        iapar = {name: _share(accepted[name], every[name], level, name) for name in scores}
    return AttackDetection(
        threshold=float(threshold),
        apcer=apcer,
        bpcer=_share(people >= threshold, ~np.isnan(people), level, "bona_fide"),
        apnrr={name: _share(np.isnan(s), every[name], level, name) for name, s in scores.items()},
        bpnrr=_share(np.isnan(people), np.ones(len(people), dtype=bool), level, "bona_fide"),
        iapar=iapar,
        worst=max(apcer, key=lambda name: apcer[name].rate),
    )


def _share(errors: BoolArray, counted: BoolArray, level: float, name: str) -> AttackRate:
    trials, wrong = int(counted.sum()), int((errors & counted).sum())
    if not trials:
        raise TooFewComparisons(f"{name!r} has no presentation with an answer; a rate needs at least one")
    return AttackRate(wrong / trials, wrong, trials, rate_interval(wrong, trials, level=level))


def _scores(values: npt.ArrayLike, name: str) -> Float64Array:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or np.isinf(scores).any():
        raise BadArgument(f"{name!r} has scores of shape {scores.shape}; expected (n,) numbers, NaN for no answer")
    return scores


def _flags(values: npt.ArrayLike, scores: Float64Array, name: str) -> BoolArray:
    flags = np.asarray(values)
    if flags.dtype != bool or flags.shape != scores.shape:
        raise BadArgument(f"matched of {name!r} is {flags.dtype} of shape {flags.shape}; expected bool {scores.shape}")
    return flags
