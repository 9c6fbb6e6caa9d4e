"""The numbers behind a page, against the functions that give one of them at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vultus.errors import TooFewComparisons
from vultus.evaluate import (
    Extraction,
    Pairs,
    bootstrap_fnmr_at_fmr,
    dyadic_interval,
    error_versus_discard,
    fnmr_at_fmr,
    measure_verification,
    wilson,
)
from vultus.evaluate.protocol import People
from vultus.evaluate.report.curves import cross_curve, pairs_curve
from vultus.evaluate.report.figures import figures_of, worst_pairs
from vultus.evaluate.report.people import pairs_of_people
from vultus.evaluate.report.system import Evaluated, labels
from vultus.evaluate.resampled import Drawn
from vultus.evaluate.streams import all_pairs_tail

SUBJECTS = 70


def planted(*, failing: tuple[int, ...] = ()) -> tuple[Pairs, Evaluated]:
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(SUBJECTS), 3)
    rows = rng.normal(size=(SUBJECTS, 12))[subjects] + rng.normal(0, 0.8, (len(subjects), 12))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    first = np.concatenate([np.arange(0, 210, 3), np.arange(1, 210, 3), rng.integers(0, 210, 700)])
    second = np.concatenate([np.arange(1, 210, 3), np.arange(2, 210, 3), rng.integers(0, 210, 700)])
    keep = first != second
    first, second = first[keep], second[keep]
    files = tuple(f"{i}.png" for i in range(210))
    pairs = Pairs("planted", files, first, second, subjects[first] == subjects[second], subjects)
    quality = rng.random(210).astype(np.float32)
    rows[list(failing)], quality[list(failing)] = 0, np.nan
    extraction = Extraction(files, rows, quality, dict.fromkeys(failing, "no_face: none"), "one@1")
    return pairs, Evaluated(extraction, measure_verification(pairs, extraction, rates=(0.1, 0.05)))


def drawn_of(pairs: Pairs) -> Drawn:
    return Drawn.of(pairs.subjects, pairs.first, pairs.second, replicates=1_000, seed=0)


def test_the_curve_of_the_pairs_passes_through_the_points() -> None:
    pairs, system = planted(failing=(4, 9))
    scores = system.extraction.scores(pairs.first, pairs.second)
    curve, _ = pairs_curve(pairs, scores, drawn_of(pairs))
    assert (np.diff(curve.fmr) > 0).all()
    assert (np.diff(curve.fnmr) <= 0).all()
    for i in np.flatnonzero(curve.fmr * curve.n_non_mated >= 30)[::7]:
        assert curve.fnmr[i] == fnmr_at_fmr(scores, pairs.mated, fmr=curve.fmr[i]).fnmr
        assert curve.low[i] <= curve.fnmr[i] <= curve.high[i]
    assert np.isnan(curve.low[curve.fmr * curve.n_non_mated < 29.9]).all()
    assert curve.fnmr[-1] > 0  # the comparisons that failed


def test_the_curve_of_all_cross_pairs_has_the_band_of_the_bootstrap() -> None:
    pairs, system = planted()
    scores = system.extraction.scores(pairs.first, pairs.second)
    found = cross_curve(pairs, system.extraction, scores, drawn_of(pairs))
    assert found is not None
    total = SUBJECTS * (SUBJECTS - 1) // 2
    assert found.histogram.comparisons == found.curve.n_non_mated == total
    assert found.curve.fmr[0] == pytest.approx(30 / total)
    firsts = np.arange(0, 210, 3)
    tail = all_pairs_tail(system.extraction.rows[firsts], keep=total)
    np.testing.assert_array_equal(found.scores, tail.scores)
    np.testing.assert_array_equal(found.first, firsts[tail.first])
    owner = pairs.subjects[pairs.first[pairs.mated]]
    for i in (0, 20):
        expected = bootstrap_fnmr_at_fmr(
            scores[pairs.mated],
            owner,
            tail.scores,
            tail.first,
            tail.second,
            fmr=found.curve.fmr[i] * (1 + 1e-9),
            samples=np.ones(SUBJECTS, dtype=np.intp),
        )
        assert (found.curve.low[i], found.curve.high[i]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_too_few_subjects_have_no_curve_of_all_pairs() -> None:
    pairs, system = planted(failing=tuple(range(24, 210)))
    scores = system.extraction.scores(pairs.first, pairs.second)
    assert cross_curve(pairs, system.extraction, scores, drawn_of(pairs)) is None


def test_the_discard_curve_has_the_interval_of_what_remains() -> None:
    pairs, system = planted(failing=(4, 9))
    figures = figures_of(pairs, system, "one", cross_pairs=False, replicates=1_000, seed=0)
    curve = figures.discard
    assert curve is not None
    assert curve.point.fmr == 0.05
    quality = np.where(np.isnan(system.extraction.quality), -np.inf, system.extraction.quality)
    mated = np.flatnonzero(pairs.mated)
    one, other = pairs.first[mated], pairs.second[mated]
    expected = error_versus_discard(
        figures.scores[mated], one, other, quality, threshold=curve.point.threshold, shares=curve.shares
    )
    np.testing.assert_array_equal(curve.fnmr, expected.fnmr)
    gone = np.argsort(quality, kind="stable")[: int(0.2 * 210)]
    stays = ~(np.isin(one, gone) | np.isin(other, gone))
    subjects = pairs.subjects[one[stays]]
    interval = dyadic_interval(subjects, subjects, figures.scores[mated][stays] < curve.point.threshold)
    assert (curve.low[10], curve.high[10]) == (interval.low, interval.high)
    assert curve.kept[10] == np.count_nonzero(stays)


def test_failures_are_measured_and_not_in_the_histograms() -> None:
    pairs, system = planted(failing=(4, 9))
    figures = figures_of(pairs, system, "one", cross_pairs=False, replicates=1_000, seed=0)
    assert figures.enrolment.value == 2 / 210
    assert figures.enrolment.interval == wilson(2, 210)
    assert figures.accuracy is None
    assert figures.mated.comparisons == np.count_nonzero(np.isfinite(figures.scores) & pairs.mated)
    assert figures.non_mated.comparisons == np.count_nonzero(np.isfinite(figures.scores) & ~pairs.mated)


def test_worst_pairs_come_in_order_once_and_with_a_score() -> None:
    pairs, _ = planted()
    n = len(pairs)
    doubled = replace(
        pairs,
        first=np.concatenate([pairs.first, pairs.second]),
        second=np.concatenate([pairs.second, pairs.first]),
        mated=np.tile(pairs.mated, 2),
    )
    scores = np.random.default_rng(1).random(n)
    scores[:5] = -np.inf
    mated, rest = worst_pairs(doubled, np.tile(scores, 2), count=8)
    assert (mated < n).all()
    assert (rest < n).all()
    usable = np.flatnonzero(np.isfinite(scores))
    assert mated.tolist() == sorted(usable[pairs.mated[usable]], key=lambda i: scores[i])[:8]
    assert scores[rest].tolist() == sorted(scores[rest], reverse=True)
    assert not pairs.mated[rest].any()


def test_labels_differ() -> None:
    _, system = planted()
    mirrored = replace(system, extraction=replace(system.extraction, model_id="one@1+finder@2+mirror"))
    assert labels([system]) == ["one"]
    assert labels([system, mirrored]) == ["one", "one +mirror"]
    assert labels([system, system]) == ["one (A)", "one (B)"]
    assert labels([replace(system, name="mine"), system]) == ["mine", "one"]


def test_a_folder_of_people_gives_all_mated_pairs_and_as_many_others() -> None:
    subjects = np.repeat(np.arange(90), [3] * 80 + [1] * 10)
    files = tuple(f"{i}.png" for i in range(len(subjects)))
    people = People("folk", tuple(f"p{i}" for i in range(90)), files, subjects)
    pairs = pairs_of_people(people)
    assert np.count_nonzero(pairs.mated) == 80 * 3
    assert np.count_nonzero(~pairs.mated) == 3_000
    assert (pairs.mated == (subjects[pairs.first] == subjects[pairs.second])).all()
    others = np.sort(np.stack([pairs.first, pairs.second])[:, ~pairs.mated], axis=0)
    assert np.unique(others, axis=1).shape == others.shape
    assert np.count_nonzero(pairs_of_people(people, most=2).mated) == 80
    assert pairs_of_people(people).first.tolist() == pairs.first.tolist()
    assert pairs_of_people(people, seed=1).first.tolist() != pairs.first.tolist()
    assert "3,000" in pairs.notes[0]


def test_people_with_one_photo_each_have_no_pairs() -> None:
    people = People("folk", ("a", "b"), ("a.png", "b.png"), np.array([0, 1]))
    with pytest.raises(TooFewComparisons, match="2 subjects with 0 pairs"):
        pairs_of_people(people)
