"""Measuring thresholds: from a folder of people to what stands in a manifest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus._export import export
from vultus.calibrate import fit_logistic
from vultus.errors import TooFewComparisons
from vultus.evaluate.bootstrap import bootstrap_all_pairs
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.open_set import measure_open_set
from vultus.evaluate.protocol import People
from vultus.evaluate.streams import all_pairs_tail
from vultus.recognizer import Recognizer
from vultus.types import Float64Array, SearchThreshold, Threshold
from vultus.weights.manifest import ScoreCalibration

FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
_FITTED = 1_000_000


@export("vultus.evaluate.measure_calibration")
def measure_calibration(
    people: People,
    extraction: Extraction,
    recognizer: Recognizer,
    *,
    rates: Sequence[float] = FMRS,
    search_rates: Sequence[float] = (),
    gallery_size: int | None = None,
    replicates: int = 1_000,
    seed: int = 0,
) -> ScoreCalibration:
    """Thresholds and likelihood ratios of a recognizer, measured on a folder of people.

    Non-mated: all pairs of the first enrolled photo of each subject. Mated: all pairs of photos of one subject, at most
    twenty photos each. Intervals of the FMR by bootstrap over subjects, both sides resampled.

    Args:
        people: the folder.
        extraction: templates of its files, by `recognizer`.
        recognizer: the system that the thresholds belong to.
        rates: false match rates.
        search_rates: false positive identification rates to measure thresholds for, by open-set searches.
        gallery_size: subjects enrolled in those searches.
        replicates, seed: of the bootstrap.

    Raises:
        TooFewComparisons: the people cannot support one of the rates; the message names how many pairs it needs.
    """
    enrolled = np.flatnonzero(extraction.enrolled)
    subjects, where = np.unique(people.subjects[enrolled], return_index=True)
    if len(subjects) < 2:
        raise TooFewComparisons(f"{len(subjects)} subjects gave a template; thresholds need two or more")
    rows = extraction.rows[enrolled[where]]
    total = len(rows) * (len(rows) - 1) // 2
    tail = all_pairs_tail(rows, keep=max(1, min(total, int(1.1 * max(rates) * total) + 1_000)))
    mated = extraction.scores(*people.mated_pairs())
    thresholds = []
    for rate in sorted(rates, reverse=True):
        value = tail.threshold_at_fmr(rate)
        first, second = tail.false_matches(value)
        interval = bootstrap_all_pairs(
            first, second, samples=np.ones(len(rows), dtype=np.intp), replicates=replicates, seed=seed
        )
        fnmr = float(np.mean(mated < value)) if len(mated) else None
        thresholds.append(
            Threshold(
                value=round(value, 6),
                fmr=rate,
                comparisons=total,
                low=interval.low,
                high=interval.high,
                data=people.name,
                fnmr=fnmr,
            )
        )
    weight, bias = None, None
    usable = mated[np.isfinite(mated)]
    if len(usable):
        ratio = fit_logistic(*_fitting_set(rows, usable, seed))
        weight, bias = ratio.weight, ratio.bias
    return ScoreCalibration(
        score=recognizer.score_kind,
        detector=recognizer.detector.manifest.name,
        weight=weight,
        bias=bias,
        data=f"{people.name}: {len(subjects):,} subjects, {len(usable):,} mated pairs",
        thresholds=tuple(thresholds),
        searches=_searches(people, extraction, search_rates, gallery_size, replicates, seed) if search_rates else (),
    )


def _searches(
    people: People, extraction: Extraction, rates: Sequence[float], gallery_size: int | None, replicates: int, seed: int
) -> tuple[SearchThreshold, ...]:
    """Thresholds of searches; a rate that too few pairs of subjects stand behind is refused, not written down."""
    result = measure_open_set(
        people, extraction, gallery_size=gallery_size, rates=tuple(rates), replicates=replicates, seed=seed
    )
    if result.refused:
        raise TooFewComparisons("; ".join(result.refused.values()))
    weak = [p for p in result.points if not p.supported]
    if weak:
        raise TooFewComparisons(
            f"the false positives at FPIR {weak[0].fpir:g} come from {weak[0].subject_pairs} pairs of subjects, fewer than "
            "30; ask for a higher rate, or bring more people"
        )
    return tuple(
        SearchThreshold(
            value=round(p.threshold, 6),
            fpir=p.fpir,
            gallery_size=result.gallery_size,
            searches=p.n_non_mated,
            low=p.fpir_interval.low,
            high=p.fpir_interval.high,
            data=people.name,
            fnir=p.fnir,
        )
        for p in sorted(result.points, key=lambda p: -p.fpir)
    )


def _fitting_set(rows: np.ndarray, mated: Float64Array, seed: int) -> tuple[Float64Array, np.ndarray]:
    """Mated scores and as many random cross-subject ones as are worth having."""
    rng = np.random.default_rng(seed)
    one = rng.integers(0, len(rows), _FITTED)
    other = (one + rng.integers(1, len(rows), _FITTED)) % len(rows)
    non_mated = np.einsum("nd,nd->n", rows[one], rows[other], dtype=np.float64)
    scores = np.concatenate([mated, non_mated])
    return scores, np.arange(len(scores)) < len(mated)
