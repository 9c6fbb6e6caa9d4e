"""Histograms of scores: how many of any number of scores lie at or above an edge, in memory that never grows?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.metrics import Roc
from vultus.types import Float64Array

_CHUNK = 1 << 16
_SLACK = 1e-3

Counts = npt.NDArray[np.int64]


@export("vultus.evaluate.ScoreHistogram")
@dataclass(frozen=True, slots=True, eq=False)
class ScoreHistogram:
    """Counts of scores in bins of equal width over [-1, 1]; `+` merges two.

    The number of bins is a power of two, so that bins and edges are exact in floating point: a score is in a bin iff
    lower edge <= score < upper edge. The last bin holds 1 and what rounding put above it, the first bin everything
    below -1, such as the -inf of a comparison that failed.

    Args:
        counts: (bins,) scores in each bin.

    Raises:
        BadArgument: a number of bins that is no power of two from 2 to 2^20, or negative counts.
    """

    counts: Counts

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts, dtype=np.int64)
        if counts.ndim != 1 or (counts < 0).any():
            raise BadArgument(f"counts of shape {counts.shape}; expected (bins,) numbers, 0 or more")
        checked_bins(len(counts))
        object.__setattr__(self, "counts", counts)

    @classmethod
    def of(cls, scores: npt.ArrayLike, *, bins: int = 4096) -> ScoreHistogram:
        """The histogram of (n,) scores; none is as good as any number.

        Raises:
            BadArgument: another shape, NaN, scores above 1.001, or a number of bins that is no power of two.
        """
        array = np.asarray(scores)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64)
        if array.ndim != 1:
            raise BadArgument(f"scores have shape {array.shape}; expected (n,)")
        counts = np.zeros(checked_bins(bins), dtype=np.int64)
        for begin in range(0, len(array), _CHUNK):
            count_into(counts, array[begin : begin + _CHUNK])
        return cls(counts)

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        if len(self.counts) != len(other.counts):
            raise BadArgument(f"histograms of {len(self.counts)} and {len(other.counts)} bins cannot be merged")
        return ScoreHistogram(self.counts + other.counts)

    @property
    def comparisons(self) -> int:
        """How many scores were counted."""
        return int(self.counts.sum())

    @property
    def edges(self) -> Float64Array:
        """(bins + 1,) from -1 to 1."""
        return np.linspace(-1.0, 1.0, len(self.counts) + 1)

    def share_at_or_above(self, threshold: float) -> float:
        """Share of scores at or above a threshold in (-1, 1): of non-mated ones the FMR.

        Exact at an edge. Between two edges it is the share at the upper one, which is too low by at most the bin's own.

        Raises:
            BadArgument: a threshold outside (-1, 1).
            TooFewComparisons: an empty histogram.
        """
        if not -1.0 < threshold < 1.0:
            raise BadArgument(f"the threshold is {threshold!r}; expected a number in (-1, 1)")
        if not self.comparisons:
            raise TooFewComparisons("the histogram is empty; a share needs at least one score")
        first = math.ceil((threshold + 1.0) * (len(self.counts) // 2))
        return int(self.counts[first:].sum()) / self.comparisons


@export("vultus.evaluate.roc_of_histograms")
def roc_of_histograms(mated: ScoreHistogram, non_mated: ScoreHistogram) -> Roc:
    """The errors at every edge of two histograms: exact there, and nothing is known in between.

    Raises:
        BadArgument: histograms of different bins.
        TooFewComparisons: an empty histogram.
    """
    if len(mated.counts) != len(non_mated.counts):
        raise BadArgument(f"histograms of {len(mated.counts)} and {len(non_mated.counts)} bins; expected the same")
    if not mated.comparisons or not non_mated.comparisons:
        raise TooFewComparisons(
            f"{mated.comparisons} mated and {non_mated.comparisons} non-mated comparisons; expected some of each"
        )
    thresholds = np.concatenate([[math.inf], mated.edges[-2::-1]])
    matches, false_matches = (np.concatenate([[0], np.cumsum(h.counts[::-1])]) for h in (mated, non_mated))
    n = mated.comparisons
    return Roc(thresholds, false_matches, n - matches, n, non_mated.comparisons)


def checked_bins(bins: int) -> int:
    """The number of bins, if it is a power of two from 2 to 2^20.

    Raises:
        BadArgument: another number.
    """
    if not 2 <= bins <= 1 << 20 or bins & (bins - 1):
        raise BadArgument(f"{bins} bins; expected a power of two from 2 to {1 << 20:,}, such as 4096")
    return bins


def count_into(counts: Counts, scores: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> None:
    """Add scores to counts that the caller owns.

    Scaling by a power of two and rounding down are exact, so no score crosses an edge on its way to a bin.

    Raises:
        BadArgument: NaN, or a score above 1.001.
    """
    if not len(scores):
        return
    if not scores.max() <= 1.0 + _SLACK:
        raise BadArgument(f"scores hold NaN or numbers above 1 (up to {scores.max()}); expected cosines in [-1, 1]")
    half = len(counts) // 2
    scaled = scores * scores.dtype.type(half)
    np.floor(scaled, out=scaled)
    np.clip(scaled, -half, half - 1, out=scaled)
    bins = scaled.astype(np.int32)
    bins += half
    counts += np.bincount(bins, minlength=2 * half)
