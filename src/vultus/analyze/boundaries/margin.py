"""How far the region of a class reaches towards another, and what lies between the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vultus._export import export
from vultus.analyze.boundaries.closed import closed_boundary
from vultus.analyze.boundaries.numeric import lead, numeric_boundary
from vultus.analyze.boundaries.pair import Pair
from vultus.errors import AnalysisError, BadArgument
from vultus.train.loss import Loss
from vultus.types import Float64Array

_WAYS = (0.0, math.pi, 0.7, 1.9)


class Finder(Protocol):
    """`numeric_boundary` or `closed_boundary`."""

    def __call__(self, loss: Loss, pair: Pair, *, azimuth: float = 0.0, norm: float = 1.0) -> Float64Array:
        """Ascending angles from the pair's first centre."""


@export("vultus.analyze.boundaries.reach")
def reach(
    loss: Loss, pair: Pair, *, azimuth: float = 0.0, norm: float = 1.0, find: Finder = numeric_boundary
) -> float | None:
    """Angle from the first centre to the end of its region along an azimuth, pi where it has none.

    None where the centre itself lies outside, because the other is nearer than the margin.

    Args:
        loss: any that `find` takes.
        pair: two centres; `pair.swapped` for the second class.
        azimuth: see `Pair`; 0 is the arc to the other centre.
        norm: length of the feature, for losses that look at it.
        find: `numeric_boundary` or `closed_boundary`.
    """
    if lead(loss, norm * pair.places([0.0]), pair.centres, 0, biases=pair.biases)[0] < 0:
        return None
    ends = find(loss, pair, azimuth=azimuth, norm=norm)
    return float(ends[0]) if len(ends) else math.pi


@export("vultus.analyze.boundaries.angular_margin")
def angular_margin(loss: Loss, pair: Pair, *, norm: float = 1.0, find: Finder = numeric_boundary) -> float | None:
    """Angle between the regions of two classes on the arc between their centres, or None where one has no region.

    (m - 1) / (m + 1) of the angle between the centres for A-Softmax, 2 asin(m / (2 sin(T / 2))) for CosFace, m for
    ArcFace, 0 without a margin. Below 0 where the regions overlap.

    Args:
        loss: any that `find` takes.
        pair: two centres.
        norm: length of the feature, for losses that look at it.
        find: `numeric_boundary` or `closed_boundary`.
    """
    one, two = (reach(loss, p, norm=norm, find=find) for p in (pair, pair.swapped))
    return None if one is None or two is None else pair.angle - one - two


@export("vultus.analyze.boundaries.boundary_difference")
def boundary_difference(
    loss: Loss, pair: Pair, *, azimuths: Sequence[float] = _WAYS, norm: float = 1.0
) -> float | None:
    """The largest distance, radians, between `numeric_boundary` and `closed_boundary` over both classes and all azimuths.

    None where the loss has no closed form along one of them.

    Args:
        loss: any.
        pair: two centres.
        azimuths: ways from each centre; 0 and pi are those of the plane.
        norm: length of the feature, for losses that look at it.

    Raises:
        AnalysisError: the two do not even have the same number of ends.
    """
    worst = 0.0
    for own in (pair, pair.swapped):
        for azimuth in azimuths:
            try:
                closed = closed_boundary(loss, own, azimuth=azimuth, norm=norm)
            except BadArgument:
                return None
            found = numeric_boundary(loss, own, azimuth=azimuth, norm=norm)
            if len(found) != len(closed):
                raise AnalysisError(
                    f"{type(loss).__name__} ends at {found} by its logits and at {closed} by formula, azimuth {azimuth:g}, "
                    f"{own}; one of them is wrong"
                )
            worst = max([worst, *np.abs(found - closed)])
    return float(worst)
