"""From which score on are two of n faces taken for one person, on the scale of the model that made them?

A face that has no mate among n others is compared with n strangers. It finds a false mate with a probability of n times
the false match rate at most; so the threshold is the one at a false match rate of `rate` / n. It is the rule by which a
gallery of n templates identifies at that FPIR. It rises with n, and it takes from the model only what every manifest
states: thresholds by false match rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

from vultus._export import export
from vultus.errors import BadArgument, NoThreshold
from vultus.types import Threshold

RATE = 0.01


@export("vultus.gallery.cluster.threshold_for")
def threshold_for(thresholds: Sequence[Threshold], *, faces: int, rate: float = RATE) -> float:
    """The score at which a false match rate of `rate` / `faces` is expected.

    Between two measured thresholds, and beyond the strictest, the score is taken for linear in the normal deviate of the
    rate, as scores of strangers with a normal tail are. What lies beyond the strictest is no measurement: it is good
    enough for groups that a person looks at, and the gallery's own decisions do without. It never goes below the laxest
    measured threshold.

    Args:
        thresholds: as a manifest states them, two or more at different rates.
        faces: n.
        rate: the share of faces without a mate that may find a false one, in (0, 1).

    Raises:
        BadArgument: a rate or a number out of range.
        NoThreshold: fewer than two thresholds, or they do not rise as the rate falls, or no score below 1 is strict
            enough.
    """
    if not 0 < rate < 1 or faces < 0:
        raise BadArgument(f"rate is {rate!r} and faces is {faces!r}; expected a rate in (0, 1) and at least 0 faces")
    points = sorted({(NormalDist().inv_cdf(1 - t.fmr), t.value) for t in thresholds if 0 < t.fmr < 1})
    rising = all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points))
    if len(points) < 2 or not rising:
        raise NoThreshold(
            f"{len(thresholds)} measured thresholds; expected two or more that rise as the false match rate falls. "
            "Measure them with `vultus calibrate`, or pass threshold= with a score that you can defend"
        )
    wanted = -NormalDist().inv_cdf(rate / max(faces, 1))
    if wanted <= points[0][0]:
        return points[0][1]
    at = next((i for i in range(1, len(points)) if wanted <= points[i][0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[at - 1 : at + 1]
    value = y0 + (y1 - y0) * (wanted - x0) / (x1 - x0)
    if value >= 1:
        raise NoThreshold(
            f"at a rate of {rate:g} for {faces:,} faces the threshold would be {value:.3f}; ask for a higher rate, or pass "
            "threshold="
        )
    return value
