"""The error curve with its band: what is FNMR along false match rates, and how sure is each point?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.evaluate.comparison import of_subjects, one_file_each
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.histogram import ScoreHistogram
from vultus.evaluate.intervals import rule_of_three
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.resampled import (
    CurveReplicates,
    Drawn,
    fnmr_along,
    fnmr_along_tail,
    resample_curve,
    resample_tail,
)
from vultus.evaluate.streams import all_pairs
from vultus.evaluate.tail import Tail
from vultus.types import Float64Array, IntArray

_KEPT = 200_000
_SLACK = 2  # draws differ in how many pairs lie above a score; what is drawn as a curve stays this far from the end


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """FNMR along false match rates.

    Args:
        source: which non-mated comparisons the rates are shares of.
        fmr: (g,) ascending.
        fnmr: (g,) share of mated comparisons missed, failed ones among them.
        low, high: (g,) 95 % bounds, NaN where the comparisons cannot support the rate (fewer than 30 / FMR).
        n_mated, n_non_mated: comparisons of each kind.
    """

    source: str
    fmr: Float64Array
    fnmr: Float64Array
    low: Float64Array
    high: Float64Array
    n_mated: int
    n_non_mated: int

    def to_dict(self) -> dict[str, object]:
        """Plain values; NaN is for the writer to turn into null."""
        return {
            "source": self.source,
            "fmr": self.fmr.tolist(),
            "fnmr": self.fnmr.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "n_mated": self.n_mated,
            "n_non_mated": self.n_non_mated,
        }


@dataclass(frozen=True, slots=True, eq=False)
class CrossPairs:
    """All cross-subject pairs of one photo a subject.

    Args:
        curve: FNMR of the protocol's mated pairs along the rates that these pairs support.
        histogram: of their scores.
        first, second: (k,) index of the file on each side of the highest scores.
        scores: (k,) the highest scores, descending.
        subjects: how many subjects they are of.
    """

    curve: Curve
    histogram: ScoreHistogram
    first: IntArray
    second: IntArray
    scores: Float64Array
    subjects: int


def pairs_curve(pairs: Pairs, scores: Float64Array, drawn: Drawn) -> tuple[Curve, CurveReplicates]:
    """The curve of the protocol's own pairs, and the replicates that its band and the EER's interval come from."""
    n_mated = int(np.count_nonzero(pairs.mated))
    n = len(pairs) - n_mated
    grid = _grid(min(1.0 / n, 0.5), 0.95)
    replicates = resample_curve(scores, pairs.mated, drawn, fmrs=grid)
    low, high = _bounds(replicates.fnmr, n_mated)
    few = grid < 30.0 / n * (1 - 1e-9)
    low[few], high[few] = np.nan, np.nan
    fnmr = fnmr_along(scores, pairs.mated, fmrs=grid)
    return Curve(f"pairs of {pairs.name}", grid, fnmr, low, high, n_mated, n), replicates


def cross_curve(pairs: Pairs, extraction: Extraction, scores: Float64Array, drawn: Drawn) -> CrossPairs | None:
    """The curve over all cross-subject pairs; None where they are too few to support any rate."""
    files, subjects, sizes = one_file_each(pairs, extraction.enrolled)
    total = len(files) * (len(files) - 1) // 2
    keep = min(total, _KEPT)
    highest = keep / total / _SLACK if total else 0.0
    if highest <= 30.0 / max(total, 1):
        return None
    found = all_pairs(extraction.rows[files], keep=keep)
    grid = np.geomspace(30.0 / total, highest, 48)
    mated, owner = scores[pairs.mated], drawn.first[pairs.mated]
    tail = of_subjects(found.tail, subjects)
    low, high = _bounds(resample_tail(mated, owner, tail, drawn, sizes=sizes, fmrs=grid), len(mated))
    fnmr = fnmr_along_tail(mated, owner, tail, sizes=sizes, fmrs=grid)
    source = f"all cross-subject pairs of {len(files):,} subjects"
    curve = Curve(source, grid, fnmr, low, high, len(mated), total)
    return CrossPairs(curve, found.histogram, *_files_of(found.tail, files), found.tail.scores, len(files))


def _files_of(tail: Tail, files: IntArray) -> tuple[IntArray, IntArray]:
    return files[tail.first], files[tail.second]


def _grid(lowest: float, highest: float) -> Float64Array:
    """Rates evenly spread on a log axis below 0.1 and evenly in themselves above."""
    lower = np.geomspace(min(lowest, 0.05), 0.1, 60)
    return np.concatenate([lower[lower >= lowest], np.linspace(max(lowest, 0.11), highest, 40)])


def _bounds(replicates: Float64Array, n_mated: int) -> tuple[Float64Array, Float64Array]:
    """95 % bounds of each column; NaN where a tenth of the draws has no value, 3 / n where none of them has an error."""
    low, high = np.full(replicates.shape[1], np.nan), np.full(replicates.shape[1], np.nan)
    known = np.isnan(replicates).mean(axis=0) < 0.1
    if known.any():
        low[known], high[known] = np.nanquantile(replicates[:, known], [0.025, 0.975], axis=0)
    high[known & (high == 0)] = rule_of_three(n_mated).high
    return low, high
