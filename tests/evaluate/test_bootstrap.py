"""The bootstrap over subjects against resampling by hand, equal forms, and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.bootstrap import (
    bootstrap_all_pairs,
    bootstrap_all_pairs_difference,
    bootstrap_difference,
    bootstrap_subjects,
)
from vultus.evaluate.bootstrap_figures import bootstrap_fnmr_at_fmr, bootstrap_metric
from vultus.evaluate.intervals import Interval
from vultus.evaluate.metrics import eer
from vultus.types import BoolArray, Float64Array, IntArray


def all_pairs(subjects: int) -> tuple[IntArray, IntArray]:
    first, second = np.triu_indices(subjects, 1)
    return first.astype(np.intp), second.astype(np.intp)


def mixed_pairs(seed: int) -> tuple[IntArray, IntArray, BoolArray]:
    """Mated and non-mated comparisons of 12 subjects, some of them twice, a third of them wrong."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 12, (2, 80))
    second = np.where(rng.random(80) < 0.3, first, second)
    return first.astype(np.intp), second.astype(np.intp), rng.random(80) < 0.3


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_replicates_are_weighted_as_resampling_by_hand_does() -> None:
    first, second, errors = mixed_pairs(0)
    rng = np.random.default_rng(5)
    rates = []
    for _ in range(1_000):
        drawn = rng.integers(12, size=12).tolist()
        weight = [
            drawn.count(a) if a == b else drawn.count(a) * drawn.count(b)
            for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ]
        rates.append(np.average(errors, weights=weight))
    interval = bootstrap_subjects(first, second, errors, seed=5)
    expected = np.quantile(rates, [0.025, 0.975])
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=1e-12)
    assert (interval.level, interval.method) == (0.95, "bootstrap over subjects")


def test_listing_all_pairs_and_listing_the_errors_agree() -> None:
    first, second = all_pairs(30)
    errors = np.random.default_rng(1).random(len(first)) < 0.1
    listed = bootstrap_subjects(first, second, errors, seed=3)
    sparse = bootstrap_all_pairs(first[errors], second[errors], samples=np.ones(30, dtype=int), seed=3)
    np.testing.assert_allclose([listed.low, listed.high], [sparse.low, sparse.high], atol=1e-12)


def test_several_samples_a_subject() -> None:
    rng = np.random.default_rng(2)
    owner = np.concatenate([np.arange(20), rng.integers(0, 20, 25)])
    i, j = all_pairs(len(owner))
    apart = owner[i] != owner[j]
    first, second = owner[i[apart]], owner[j[apart]]
    errors = rng.random(len(first)) < 0.1
    listed = bootstrap_subjects(first, second, errors, seed=3)
    sparse = bootstrap_all_pairs(first[errors], second[errors], samples=np.bincount(owner), seed=3)
    np.testing.assert_allclose([listed.low, listed.high], [sparse.low, sparse.high], atol=1e-12)


def test_names_sides_and_order_do_not_matter() -> None:
    first, second, errors = mixed_pairs(3)
    names = np.asarray([f"subject {k:02d}" for k in range(12)])
    one = bootstrap_subjects(first, second, errors)
    assert bootstrap_subjects(names[second[::-1]], names[first[::-1]], errors[::-1]) == one


def test_options_act() -> None:
    first, second, errors = mixed_pairs(4)
    one = bootstrap_subjects(first, second, errors)
    assert bootstrap_subjects(first, second, errors) == one
    assert bootstrap_subjects(first, second, errors, seed=1) != one
    assert bootstrap_subjects(first, second, errors, replicates=2_000) != one
    narrow = bootstrap_subjects(first, second, errors, level=0.5)
    assert one.low < narrow.low < narrow.high < one.high
    with pytest.raises(BadArgument, match="1,000 or more"):
        bootstrap_subjects(first, second, errors, replicates=999)
    with pytest.raises(BadArgument, match="level"):
        bootstrap_subjects(first, second, errors, level=1.0)


def test_the_metric_form_agrees_with_the_rate_form() -> None:
    first, second, errors = mixed_pairs(5)
    rate = bootstrap_subjects(first, second, errors, seed=2)
    metric = bootstrap_metric(lambda i: float(errors[i].mean()), first, second, seed=2)
    np.testing.assert_allclose([metric.low, metric.high], [rate.low, rate.high], atol=1e-12)


def test_the_interval_of_an_eer_holds_the_eer() -> None:
    rng = np.random.default_rng(6)
    first, second = np.repeat(np.arange(40), 4), np.concatenate([np.arange(40)] * 4)
    mated = np.arange(160) % 4 < 2
    second = np.where(mated, first, (first + 1 + second % 39) % 40)
    scores = rng.normal(mated * 2.0, 1)
    interval = bootstrap_metric(lambda i: eer(scores[i], mated[i]), first, second)
    assert 0 < interval.low < eer(scores, mated) < interval.high < 0.5
    with pytest.raises(BadArgument, match="NaN"):
        bootstrap_metric(lambda i: float("nan"), first, second)


# --- FNMR at an FMR ---------------------------------------------------------------------------------------------------


def test_fnmr_at_fmr_finds_its_threshold_in_each_replicate() -> None:
    rng = np.random.default_rng(7)
    first, second = all_pairs(40)
    non_mated = np.round(rng.normal(0, 1, len(first)), 2)
    owner = np.repeat(np.arange(40), 3)
    mated = np.round(rng.normal(2, 1, 120), 2)

    def brute(i: IntArray) -> float:
        scores = np.concatenate([mated, non_mated])[i]
        others = scores[i >= 120]
        lowest = min(t for t in [*np.unique(others), np.inf] if np.mean(others >= t) <= 0.05)
        below = others[others < lowest].max()
        return float(np.mean(scores[i < 120] <= below))

    expected = bootstrap_metric(brute, np.concatenate([owner, first]), np.concatenate([owner, second]), seed=4)
    order = np.argsort(-non_mated)[:300]
    ours = bootstrap_fnmr_at_fmr(
        mated,
        owner,
        non_mated[order],
        first[order],
        second[order],
        fmr=0.05,
        samples=np.ones(40, dtype=int),
        seed=4,
    )
    np.testing.assert_allclose([ours.low, ours.high], [expected.low, expected.high], atol=1e-12)


def test_fnmr_at_fmr_refuses_what_it_cannot_know() -> None:
    first, second = all_pairs(40)
    ones = np.ones(40, dtype=int)
    falling = np.linspace(1, 0, len(first))
    with pytest.raises(TooFewComparisons, match="needs 3,000"):
        bootstrap_fnmr_at_fmr([0.5], [0], falling, first, second, fmr=0.01, samples=ones)
    with pytest.raises(TooFewComparisons, match="keep 80 or more"):
        bootstrap_fnmr_at_fmr([0.5], [0], falling[:40], first[:40], second[:40], fmr=0.05, samples=ones)
    with pytest.raises(BadArgument, match="descending"):
        bootstrap_fnmr_at_fmr([0.5], [0], falling[::-1], first, second, fmr=0.05, samples=ones)
    with pytest.raises(BadArgument, match=r"\[0, 40\)"):
        bootstrap_fnmr_at_fmr([0.5], [40], falling, first, second, fmr=0.05, samples=ones)
    owner = np.arange(40)
    never = bootstrap_fnmr_at_fmr(np.full(40, 2.0), owner, falling, first, second, fmr=0.05, samples=ones)
    assert never == Interval(0.0, 3 / 40, 0.95, "rule of three")


# --- differences ------------------------------------------------------------------------------------------------------


def test_the_difference_uses_the_same_draws_for_both() -> None:
    first, second, errors = mixed_pairs(8)
    other = errors ^ (np.random.default_rng(9).random(80) < 0.1)
    paired = bootstrap_difference(first, second, errors, other, seed=1)
    by_metric = bootstrap_metric(lambda i: float(errors[i].mean() - other[i].mean()), first, second, seed=1)
    assert paired.value == pytest.approx(errors.mean() - other.mean(), abs=1e-12)
    np.testing.assert_allclose([paired.interval.low, paired.interval.high], [by_metric.low, by_metric.high], atol=1e-12)
    swapped = bootstrap_difference(first, second, other, errors, seed=1)
    assert swapped.value == -paired.value
    assert swapped.interval.low == pytest.approx(-paired.interval.high, abs=1e-12)


def test_the_difference_over_all_pairs_agrees_with_listing_them() -> None:
    first, second = all_pairs(30)
    rng = np.random.default_rng(10)
    one, other = rng.random((2, len(first))) < 0.1
    listed = bootstrap_difference(first, second, one, other, seed=2)
    sparse = bootstrap_all_pairs_difference(
        (first[one], second[one]), (second[other], first[other]), samples=np.ones(30, dtype=int), seed=2
    )
    assert sparse.value == pytest.approx(listed.value, abs=1e-12)
    ours, expected = sparse.interval, listed.interval
    np.testing.assert_allclose([ours.low, ours.high], [expected.low, expected.high], atol=1e-12)


def test_systems_that_decide_alike_differ_by_at_most_three_over_n() -> None:
    first, second, errors = mixed_pairs(11)
    same = bootstrap_difference(first, second, errors, errors)
    assert (same.value, same.interval) == (0, Interval(-3 / 80, 3 / 80, 0.95, "rule of three"))
    pairs = ([0, 1], [2, 3])
    over_all = bootstrap_all_pairs_difference(pairs, pairs, samples=np.ones(10, dtype=int))
    assert over_all.interval == Interval(-3 / 45, 3 / 45, 0.95, "rule of three")


# --- ends -------------------------------------------------------------------------------------------------------------


def test_no_error_gives_three_over_n_and_never_zero() -> None:
    first, second = all_pairs(25)
    none = np.zeros(len(first), dtype=bool)
    assert bootstrap_subjects(first, second, none) == Interval(0.0, 3 / 300, 0.95, "rule of three")
    assert bootstrap_subjects(first, second, ~none) == Interval(1 - 3 / 300, 1.0, 0.95, "rule of three")
    over_all = bootstrap_all_pairs([], [], samples=np.ones(25, dtype=int))
    assert over_all == Interval(0.0, 3 / 300, 0.95, "rule of three")


def test_draws_that_leave_no_comparison_are_passed_over() -> None:
    ring = np.arange(5), (np.arange(5) + 1) % 5  # without a comparison in 155 of 3,125 draws
    interval = bootstrap_subjects(*ring, [True, False, False, False, False])
    assert 0 <= interval.low <= 1 / 5 <= interval.high <= 1
    with pytest.raises(TooFewComparisons, match="of 1000 replicates"):
        bootstrap_subjects([0, 0, 1], [1, 2, 2], [True, False, False])  # 1 of 9 draws


def test_bad_pairs_are_refused() -> None:
    ones = np.ones(4, dtype=int)
    with pytest.raises(TooFewComparisons, match="1 subject"):
        bootstrap_subjects(["a", "a"], ["a", "a"], [True, False])
    with pytest.raises(BadArgument, match="both sides"):
        bootstrap_subjects([0, 1], [1], [True, False])
    with pytest.raises(BadArgument, match="errors"):
        bootstrap_subjects([0, 1], [1, 2], [3, 4])
    with pytest.raises(BadArgument, match="one subject"):
        bootstrap_all_pairs([1], [1], samples=ones)
    with pytest.raises(BadArgument, match=r"\[0, 4\)"):
        bootstrap_all_pairs([1], [4], samples=ones)
    with pytest.raises(BadArgument, match="samples"):
        bootstrap_all_pairs([1], [2], samples=[-1, 2, 3])
    with pytest.raises(TooFewComparisons, match="two subjects"):
        bootstrap_all_pairs([], [], samples=[0, 3])


# --- coverage ---------------------------------------------------------------------------------------------------------


def share_covered(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([truth in interval for interval in intervals]))


def test_coverage_where_mated_comparisons_share_subjects() -> None:
    rng = np.random.default_rng(12)
    owner = np.repeat(np.arange(80), 5)
    found = []
    for _ in range(400):
        rate_of_subject: Float64Array = rng.beta(1, 4, 80)  # mean 0.2: some subjects are hard
        errors = rng.random(400) < rate_of_subject[owner]
        found.append(bootstrap_subjects(owner, owner, errors, seed=0))
    assert 0.93 <= share_covered(found, 0.2) <= 0.97


def test_coverage_where_non_mated_comparisons_share_subjects() -> None:
    rng = np.random.default_rng(13)
    first, second = all_pairs(80)
    ones = np.ones(80, dtype=int)
    found = []
    for _ in range(400):
        alike = rng.normal(size=80)  # subjects who look like many others
        score = (alike[first] + alike[second]) * np.sqrt(0.4) + rng.normal(size=len(first)) * np.sqrt(0.2)
        wrong = score > 0.8416212335729143  # exceeded with probability 0.2
        found.append(bootstrap_all_pairs(first[wrong], second[wrong], samples=ones, seed=0))
    assert 0.93 <= share_covered(found, 0.2) <= 0.97


def test_coverage_of_a_paired_difference() -> None:
    rng = np.random.default_rng(14)
    owner = np.repeat(np.arange(80), 5)
    held = []
    for _ in range(400):
        hard = rng.beta(1, 4, 80)[owner]
        one, other = rng.random(400) < hard, rng.random(400) < hard * 0.75  # means 0.2 and 0.15
        held.append(0.05 in bootstrap_difference(owner, owner, one, other, seed=0).interval)
    assert 0.93 <= np.mean(held) <= 0.97
