"""Draws of subjects: how often is each one in a replicate, and what do the replicates say together?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vultus.errors import BadArgument
from vultus.evaluate.intervals import Interval, checked_level
from vultus.types import Float64Array

_BLOCK = 128


def draws(subjects: int, replicates: int, seed: int) -> Iterator[Float64Array]:
    """Blocks of (subjects, r) counts of how often each subject was drawn; which blocks does not change the draws."""
    if replicates < 1_000:
        raise BadArgument(f"{replicates} replicates; percentiles of a bootstrap need 1,000 or more")
    rng = np.random.default_rng(seed)
    for begin in range(0, replicates, _BLOCK):
        size = min(_BLOCK, replicates - begin)
        drawn = rng.integers(subjects, size=(size, subjects)) + np.arange(size)[:, None] * subjects
        counts = np.bincount(drawn.ravel(), minlength=size * subjects).reshape(size, subjects)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


def cross_weight(weights: Float64Array, sizes: Float64Array) -> Float64Array:
    """(r,) weight of all cross-subject pairs: the sum of w_i m_i w_j m_j over i < j."""
    weighted = weights * sizes[:, None]
    result: Float64Array = (weighted.sum(axis=0) ** 2 - (weighted**2).sum(axis=0)) / 2
    return result


def percentiles(values: Float64Array, level: float) -> Interval:
    """Bounds that leave (1 - level) / 2 of the replicates out on either side."""
    tail = (1.0 - checked_level(level)) / 2
    low, high = np.quantile(values, [tail, 1.0 - tail]).tolist()
    return Interval(low, high, level, "bootstrap over subjects")
