"""Where a loss draws its boundary: by formula."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from vultus._export import export
from vultus.analyze.boundaries.forms import Place, form_of
from vultus.analyze.boundaries.harmonic import Harmonics
from vultus.analyze.boundaries.pair import Pair
from vultus.errors import BadArgument
from vultus.train.loss import Loss
from vultus.types import Float64Array


@export("vultus.analyze.boundaries.closed_boundary")
def closed_boundary(loss: Loss, pair: Pair, *, azimuth: float = 0.0, norm: float = 1.0) -> Float64Array:
    """Where the region of the pair's first class begins and ends along an azimuth, from formulas.

    The loss tells its hyper-parameters and state; none of its code is used. With T the angle between the centres, on the
    arc between them: T / 2 without a margin, T / (m + 1) for A-Softmax, T / 2 - asin(m / (2 sin(T / 2))) for CosFace,
    (T - m) / 2 for ArcFace. docs/margins.md has the rest.

    Args:
        loss: of `vultus.train.nn`, in the state in which it is.
        pair: two centres; `pair.swapped` for the second class.
        azimuth: see `Pair`; 0 is the arc to the other centre.
        norm: length of the feature, for losses that look at it.

    Returns:
        (k,) ascending angles from the first centre, in [0, pi]. k may be 0.

    Raises:
        BadArgument: a loss without a closed form, or a length that is not above 0.

    Liu et al., SphereFace, CVPR 2017 (arXiv:1704.08063), section 3 and proposition 1, for the plane.
    """
    if not math.isfinite(norm) or norm <= 0:
        raise BadArgument(f"norm is {norm:g}; expected a finite number above 0")
    size, turn = pair.seen_along(azimuth)
    form = form_of(loss, Place(pair, Harmonics(((size, 1.0, -turn),)), norm))
    breaks = sorted({0.0, math.pi, *(u for u in form.breaks if 0 < u < math.pi)})
    candidates = set(breaks)
    for low, high in pairwise(breaks):
        candidates.update(u for u in form.at((low + high) / 2).roots() if low < u < high)
    places = sorted(candidates)
    middles = [(low + high) / 2 for low, high in pairwise(places)]
    inside = [form.at(u)(u) >= 0 for u in middles]
    changes = [u for u, before, after in zip(places[1:], inside, inside[1:], strict=False) if before != after]
    return np.array(changes, dtype=np.float64)
