"""Pairs of subjects: which comparisons share a subject, and how many of them err?

A comparison belongs to a cell: the unordered pair of its subjects, or the one subject of a mated comparison. Errors
add up by cell, and whatever resamples or sums over subjects works on cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.calibrate.comparisons import checked_mask
from vultus.errors import BadArgument, TooFewComparisons
from vultus.types import Float64Array, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Sums over cells, with one column for each of the quantities that were listed.

    Args:
        first, second: (c,) subjects of each cell, first < second; equal in a mated cell.
        sums: (c, q) sum of each quantity over the comparisons of each cell.
        subjects: how many subjects there are; indices lie below it.
    """

    first: IntArray
    second: IntArray
    sums: Float64Array
    subjects: int

    def totals(self, weights: Float64Array) -> Float64Array:
        """(q, r) weighted sums for (subjects, r) weights: w_i w_j in a cell of two subjects, w_i in a mated one."""
        result = np.zeros((self.sums.shape[1], weights.shape[1]))
        rows = max(1, 2**21 // weights.shape[1])  # 16 MB of products at a time
        for begin in range(0, len(self.first), rows):
            part = slice(begin, begin + rows)
            one, other = self.first[part], self.second[part]
            product = weights[one]
            apart = one != other
            if apart.all():
                product *= weights[other]
            else:
                product[apart] *= weights[other[apart]]
            result += self.sums[part].T @ product
        return result


def cells_of(first: IntArray, second: IntArray, quantities: Float64Array, subjects: int) -> Cells:
    """Add (n, q) quantities of comparisons up by cell."""
    low, high = np.minimum(first, second).astype(np.int64), np.maximum(first, second).astype(np.int64)
    codes, cell = np.unique(low * subjects + high, return_inverse=True)
    sums = np.zeros((len(codes), quantities.shape[1]))
    for k, quantity in enumerate(quantities.T):
        sums[:, k] = np.bincount(cell, weights=quantity, minlength=len(codes))
    return Cells((codes // subjects).astype(np.intp), (codes % subjects).astype(np.intp), sums, subjects)


def checked_subjects(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[IntArray, IntArray, int]:
    """(n,) subjects of both sides as indices below the number of subjects, and that number.

    Raises:
        BadArgument: shapes that differ.
        TooFewComparisons: no comparison, or a single subject.
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape:
        raise BadArgument(f"subjects of shape {one.shape} and {other.shape}; expected (n,) for both sides")
    names, index = np.unique(np.concatenate([one, other]), return_inverse=True)
    if len(names) < 2:
        raise TooFewComparisons(f"{len(names)} subject; an interval over subjects needs two or more")
    return index[: len(one)].astype(np.intp), index[len(one) :].astype(np.intp), len(names)


def checked_errors(errors: npt.ArrayLike, length: int) -> Float64Array:
    """(n,) errors as 0.0 and 1.0.

    Raises:
        BadArgument: another shape, or other values than True and False, 1 and 0.
    """
    return checked_mask(errors, length, name="errors").astype(np.float64)


def checked_samples(samples: npt.ArrayLike) -> Float64Array:
    """(s,) samples of each subject.

    Raises:
        BadArgument: not (s,) whole numbers of at least 0.
        TooFewComparisons: fewer than two subjects have a sample.
    """
    sizes = np.asarray(samples)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 0).any():
        raise BadArgument(f"samples of shape {sizes.shape} ({sizes.dtype}); expected (s,) whole numbers, 0 or more")
    if np.count_nonzero(sizes) < 2:
        raise TooFewComparisons("fewer than two subjects have a sample; there is no cross-subject pair")
    return sizes.astype(np.float64)


def checked_cross_pairs(first: npt.ArrayLike, second: npt.ArrayLike, subjects: int) -> tuple[IntArray, IntArray]:
    """(e,) indices of the two subjects of each listed cross-subject pair.

    Raises:
        BadArgument: shapes that differ, indices that are not whole or out of range, or a pair of one subject.
    """
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape:
        raise BadArgument(f"subjects of shape {one.shape} and {other.shape}; expected (e,) for both sides")
    if not len(one):
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    for side in (one, other):
        if side.dtype.kind not in "iu" or side.min() < 0 or side.max() >= subjects:
            raise BadArgument(f"subjects are {side.dtype} values; expected whole numbers in [0, {subjects})")
    if (one == other).any():
        raise BadArgument(f"{np.count_nonzero(one == other)} pairs show one subject; list cross-subject pairs only")
    return one.astype(np.intp), other.astype(np.intp)


def cross_pairs(sizes: Float64Array) -> int:
    """How many pairs of samples show two subjects: (sum^2 - sum of squares) / 2."""
    return round(float(sizes.sum() ** 2 - (sizes**2).sum()) / 2)
