"""Isotonic regression: which neighbouring scores share one probability, if it may never fall as the score rises?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import BoolArray, Float64Array, IntArray


def tied_counts(scores: Float64Array, mated: BoolArray) -> tuple[Float64Array, IntArray, IntArray]:
    """(distinct scores ascending, mated comparisons at each, comparisons at each)."""
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    hits = np.add.reduceat(mated[order].astype(np.intp), starts)
    return ascending[starts], hits, np.diff(np.append(starts, len(scores)))


@export("vultus.calibrate.pool_adjacent_violators")
def pool_adjacent_violators(sums: npt.ArrayLike, weights: npt.ArrayLike) -> IntArray:
    """Blocks of the isotonic regression: means that strictly ascend, each over neighbours that had to be pooled.

    Runs of means that do not ascend belong to one block of the solution (Barlow et al. 1972, "Statistical inference
    under order restrictions"), so whole runs are pooled at once, again and again, while that shortens the
    sequence by a tenth or more; what remains goes through the usual stack.

    Args:
        sums: (n,) weighted sum at each place, such as the count of mated comparisons.
        weights: (n,) weight at each place, above 0, such as the count of comparisons. Comparisons of means are exact
            for whole numbers whose products stay below 2**53.

    Returns:
        (k,) index at which each block starts; np.add.reduceat(sums, starts) / np.add.reduceat(weights, starts) are the
        means.

    Raises:
        BadArgument: shapes that differ or are not (n,), n >= 1, or weights that are not positive.
    """
    s, w = np.asarray(sums, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if s.ndim != 1 or s.shape != w.shape or not len(s) or not (w > 0).all():
        raise BadArgument(f"sums of shape {s.shape} and weights of shape {w.shape}; expected (n,) with weights above 0")
    starts = np.arange(len(s))
    while len(s) > 1:
        ascends = np.concatenate([[True], s[1:] * w[:-1] > s[:-1] * w[1:]])
        heads = np.flatnonzero(ascends)
        before = len(s)
        s, w, starts = np.add.reduceat(s, heads), np.add.reduceat(w, heads), starts[heads]
        if len(s) > 0.9 * before:
            break
    return starts[_pool_with_stack(s.tolist(), w.tolist())]


def _pool_with_stack(sums: list[float], weights: list[float]) -> IntArray:
    """Heads of the blocks by the textbook algorithm, one place after the other."""
    s: list[float] = []
    w: list[float] = []
    heads: list[int] = []
    for i, (total, weight) in enumerate(zip(sums, weights, strict=True)):
        head = i
        while s and total * w[-1] <= s[-1] * weight:
            total, weight, head = total + s.pop(), weight + w.pop(), heads.pop()
        s.append(total)
        w.append(weight)
        heads.append(head)
    return np.asarray(heads, dtype=np.intp)
