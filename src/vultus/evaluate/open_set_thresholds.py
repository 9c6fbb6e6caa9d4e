"""Thresholds of searches: does one that was calibrated hold for other subjects, and for a gallery of another size?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vultus._export import export
from vultus.calibrate.comparisons import require_support
from vultus.calibrate.thresholds import threshold_at_fmr
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.intervals import Interval
from vultus.evaluate.protocol import People
from vultus.evaluate.search_pool import (
    Pool,
    Split,
    pooled,
    references,
    require_files,
    searched_split,
    similarities,
    split,
)
from vultus.evaluate.search_rates import pairs_behind
from vultus.evaluate.tail import TailKeeper
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

SIZES = (1, 10, 30, 100, 300, 1_000)


@export("vultus.evaluate.TransferResult")
@dataclass(frozen=True, slots=True)
class TransferResult:
    """A threshold for an FPIR, calibrated on one half of the subjects and applied to the other.

    Args:
        fpir: the rate that was calibrated for.
        gallery_size: N, on both halves.
        threshold: from the first half.
        calibrated: FPIR at the threshold on the first half.
        calibrated_interval: of it, over subjects.
        realised: FPIR at the threshold on the second half.
        realised_interval: of it, over subjects.
        difference: interval of realised minus calibrated.
        searches: non-mated searches on each half.
        subject_pairs: pairs of subjects behind the false positives of each half.
    """

    fpir: float
    gallery_size: int
    threshold: float
    calibrated: float
    calibrated_interval: Interval
    realised: float
    realised_interval: Interval
    difference: Interval
    searches: tuple[int, int]
    subject_pairs: tuple[int, int]

    @property
    def within(self) -> bool:
        """Whether the rate that was calibrated for lies in the interval of the realised one."""
        return self.fpir in self.realised_interval

    @property
    def holds(self) -> bool:
        """Whether the halves agree, both being uncertain: the interval of their difference holds 0."""
        return 0.0 in self.difference

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "fpir": self.fpir,
            "gallery_size": self.gallery_size,
            "threshold": self.threshold if math.isfinite(self.threshold) else None,
            "calibrated": self.calibrated,
            "calibrated_interval": [self.calibrated_interval.low, self.calibrated_interval.high],
            "realised": self.realised,
            "realised_interval": [self.realised_interval.low, self.realised_interval.high],
            "difference": [self.difference.low, self.difference.high],
            "searches": list(self.searches),
            "subject_pairs": list(self.subject_pairs),
            "within": self.within,
            "holds": self.holds,
        }


@export("vultus.evaluate.measure_transfer")
def measure_transfer(
    people: People,
    extraction: Extraction,
    *,
    fpir: float = 1e-2,
    gallery_size: int | None = None,
    gallery_photos: int = 1,
    repeats: int = 10,
    seed: int = 0,
) -> TransferResult:
    """Calibrate a threshold for an FPIR on one half of the subjects, and apply it to the other half.

    In each half each repeat enrols N of its subjects and searches the photos of the others; nobody is in both halves.
    The interval of the difference is Newcombe's (1998, "Interval estimation for the difference between independent
    proportions", method 10) over the two intervals.

    Args:
        people: the folder.
        extraction: templates of its files.
        fpir: rate to calibrate for.
        gallery_size: N; half of a half, and at most 1,000, unless told otherwise.
        gallery_photos: photos of a reference.
        repeats: galleries drawn in each half.
        seed: of the halves and of the galleries.

    Raises:
        BadArgument: an option out of range, or an extraction of other files.
        TooFewComparisons: a half has no more than N subjects with enough photos, or too few searches for the rate.
    """
    require_files(people, extraction)
    _checked(repeats, gallery_photos)
    rng = np.random.default_rng([seed, 0])
    first = rng.permutation(len(people.names)) < len(people.names) // 2
    halves = [_chosen(people, extraction, first), _chosen(people, extraction, ~first)]
    smaller = min(_able(p, gallery_photos) for p, _ in halves)
    size = min(1_000, smaller // 2) if gallery_size is None else gallery_size
    if not 1 <= size < smaller:
        raise TooFewComparisons(
            f"a gallery of {size:,} subjects and strangers besides; a half has {smaller:,} subjects with {gallery_photos} "
            "photos or more"
        )
    one, other = (
        pooled(
            searched_split(e, p.subjects, _strangers(p, size, gallery_photos, [seed, 1 + half, r]))
            for r in range(repeats)
        )
        for half, (p, e) in enumerate(halves)
    )
    require_support(fpir, len(one.strangers), what="non-mated searches on one half")
    threshold = threshold_at_fmr(one.outcomes.best_scores, fmr=fpir)
    (calibrated, a, pairs), (realised, b, other_pairs) = _rate(one, threshold), _rate(other, threshold)
    return TransferResult(
        fpir=fpir,
        gallery_size=size,
        threshold=threshold,
        calibrated=calibrated,
        calibrated_interval=a,
        realised=realised,
        realised_interval=b,
        difference=newcombe(realised, b, calibrated, a),
        searches=(len(one.strangers), len(other.strangers)),
        subject_pairs=(pairs, other_pairs),
    )


def newcombe(rate: float, interval: Interval, other: float, other_interval: Interval) -> Interval:
    """Interval of the difference of two independent rates, from the interval of each."""
    low = math.hypot(rate - interval.low, other_interval.high - other)
    high = math.hypot(interval.high - rate, other - other_interval.low)
    return Interval(rate - other - low, rate - other + high, interval.level, "Newcombe, of two intervals")


@export("vultus.evaluate.GalleryGrowth")
@dataclass(frozen=True, slots=True, eq=False)
class GalleryGrowth:
    """What an FPIR asks of the threshold as the gallery grows, and what independent comparisons would predict.

    Args:
        fpir: the rate that each threshold is for.
        sizes: (s,) N, ascending.
        thresholds: (s,) at which the FPIR is reached.
        reached: (s,) FPIR there.
        intervals: of it, over subjects.
        fmr: (s,) FMR of single comparisons there.
        predicted: (s,) 1 - (1 - FMR)^N, the FPIR if the comparisons of a search were independent.
        independent_thresholds: (s,) at which that formula gives the FPIR asked for.
        independent_reached: (s,) FPIR that is measured there.
        searches: non-mated searches at each size.
        comparisons: that the FMR is measured on.
        subject_pairs: (s,) pairs of subjects behind the false positives.
    """

    fpir: float
    sizes: IntArray
    thresholds: Float64Array
    reached: Float64Array
    intervals: tuple[Interval, ...]
    fmr: Float64Array
    predicted: Float64Array
    independent_thresholds: Float64Array
    independent_reached: Float64Array
    searches: int
    comparisons: int
    subject_pairs: IntArray

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        rows = [
            {
                "gallery_size": int(self.sizes[i]),
                "threshold": float(self.thresholds[i]),
                "reached": float(self.reached[i]),
                "interval": [self.intervals[i].low, self.intervals[i].high],
                "fmr": float(self.fmr[i]),
                "predicted": float(self.predicted[i]),
                "independent_threshold": float(self.independent_thresholds[i]),
                "independent_reached": float(self.independent_reached[i]),
                "subject_pairs": int(self.subject_pairs[i]),
            }
            for i in range(len(self.sizes))
        ]
        return {"fpir": self.fpir, "searches": self.searches, "comparisons": self.comparisons, "sizes": rows}


@export("vultus.evaluate.measure_gallery_growth")
def measure_gallery_growth(
    people: People,
    extraction: Extraction,
    *,
    fpir: float = 1e-2,
    sizes: Sequence[int] = SIZES,
    gallery_photos: int = 1,
    repeats: int = 5,
    seed: int = 0,
) -> GalleryGrowth:
    """Thresholds for an FPIR at several sizes of the gallery, the small galleries being parts of the large ones.

    Args:
        people: the folder.
        extraction: templates of its files.
        fpir: rate to find thresholds for.
        sizes: N; what exceeds half of the subjects with enough photos is left out.
        gallery_photos: photos of a reference.
        repeats: largest galleries drawn.
        seed: of the galleries.

    Raises:
        BadArgument: no size, a size below 1, an option out of range, or an extraction of other files.
        TooFewComparisons: no size fits, or too few searches for the rate.
    """
    require_files(people, extraction)
    _checked(repeats, gallery_photos)
    if not len(sizes) or min(sizes) < 1:
        raise BadArgument(f"sizes are {list(sizes)}; expected whole numbers of 1 or more")
    able = _able(people, gallery_photos)
    fit = np.array(sorted({int(n) for n in sizes if n <= able // 2}), dtype=np.intp)
    if not len(fit):
        raise TooFewComparisons(
            f"{able:,} subjects have {gallery_photos} photos or more; the smallest gallery is {min(sizes):,}"
        )
    drawn = [_strangers(people, int(fit[-1]), gallery_photos, [seed, r]) for r in range(repeats)]
    total = sum(len(d.probes) for d in drawn)
    require_support(fpir, total, what="non-mated searches")
    comparisons = total * int(fit[-1])
    single: Float64Array = -np.expm1(np.log1p(-min(fpir, 1.0 - 1e-12)) / fit)  # FMR that the formula asks for
    keeper = TailKeeper(min(comparisons, int(1.05 * comparisons * single.max()) + 1_000))
    strangers = np.concatenate([people.subjects[d.probes] for d in drawn])
    best: Float64Array = np.empty((len(fit), total))
    near = np.empty((len(fit), total), dtype=np.intp)
    begin = 0
    for scores, subjects in _scored(extraction, drawn, seed):
        place = np.arange(begin, begin + len(scores))
        for s, n in enumerate(fit):
            nearest = scores[:, :n].argmax(axis=1)
            best[s, place], near[s, place] = scores[np.arange(len(scores)), nearest], subjects[nearest]
        nobody = np.zeros(scores.size, dtype=np.int64)
        keeper.add(scores.ravel(), nobody, nobody)
        begin += len(scores)
    tail = keeper.tail()
    thresholds = np.array([threshold_at_fmr(b, fmr=fpir) for b in best])
    matches = np.zeros(len(fit), dtype=np.int64)
    for scores, _ in _scored(extraction, drawn, seed):
        matches += [np.count_nonzero(scores >= t) for t in thresholds]
    fmr: Float64Array = matches / comparisons
    alone = np.array([tail.threshold_at_fmr(f) for f in single.tolist()])
    false = best >= thresholds[:, None]
    return GalleryGrowth(
        fpir=fpir,
        sizes=fit,
        thresholds=thresholds,
        reached=false.mean(axis=1),
        intervals=tuple(dyadic_interval(strangers, n, f) for n, f in zip(near, false, strict=True)),
        fmr=fmr,
        predicted=-np.expm1(fit * np.log1p(-fmr)),
        independent_thresholds=alone,
        independent_reached=(best >= alone[:, None]).mean(axis=1),
        searches=total,
        comparisons=comparisons,
        subject_pairs=np.array(
            [pairs_behind(strangers, n, f) for n, f in zip(near, false, strict=True)], dtype=np.intp
        ),
    )


def _scored(extraction: Extraction, drawn: Sequence[Split], seed: int) -> Iterator[tuple[FloatArray, IntArray]]:
    """Scores of some probes at a time with the gallery of their repeat in random order, and its subjects."""
    for r, chosen in enumerate(drawn):
        turn = np.random.default_rng([seed, r, 1]).permutation(len(chosen.subjects))
        gallery = references(extraction, chosen.gallery)[turn]
        for scores, _ in similarities(extraction.rows[chosen.probes], gallery):
            yield scores, chosen.subjects[turn]


# --- halves and strangers ---------------------------------------------------------------------------------------------


def _checked(repeats: int, gallery_photos: int) -> None:
    if repeats < 1 or gallery_photos < 1:
        raise BadArgument(f"{repeats} repeats with {gallery_photos} photos a subject; expected 1 or more of each")


def _able(people: People, gallery_photos: int) -> int:
    """Subjects with enough photos for a reference."""
    return int(np.count_nonzero(np.bincount(people.subjects, minlength=len(people.names)) >= gallery_photos))


def _strangers(people: People, size: int, gallery_photos: int, seed: list[int]) -> Split:
    """Enrol subjects, and search for everybody else."""
    return split(people, gallery_size=size, gallery_photos=gallery_photos, spare=0, rng=np.random.default_rng(seed))


def _chosen(people: People, extraction: Extraction, subjects: BoolArray) -> tuple[People, Extraction]:
    """Some of the subjects and their templates, numbered anew."""
    files = np.flatnonzero(subjects[people.subjects])
    number = np.cumsum(subjects) - 1
    names = tuple(n for n, s in zip(people.names, subjects, strict=True) if s)
    paths = tuple(people.files[i] for i in files)
    failures = {i: extraction.failures[f] for i, f in enumerate(files.tolist()) if f in extraction.failures}
    rows, quality = extraction.rows[files], extraction.quality[files]
    return (
        People(people.name, names, paths, number[people.subjects[files]].astype(np.intp)),
        Extraction(paths, rows, quality, failures, extraction.model_id),
    )


def _rate(pool: Pool, threshold: float) -> tuple[float, Interval, int]:
    """FPIR at a threshold, its interval, and the pairs of subjects behind it."""
    false = pool.outcomes.best_scores >= threshold
    interval = dyadic_interval(pool.strangers, pool.nearest, false)
    return float(np.mean(false)), interval, pairs_behind(pool.strangers, pool.nearest, false)
