"""Open-set identification: searches against a plain matrix, what pooled repeats may claim, and thresholds elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from vultus import Recognizer
from vultus.errors import BadArgument, TooFewComparisons
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction, extract
from vultus.evaluate.intervals import Interval
from vultus.evaluate.open_set import measure_open_set
from vultus.evaluate.open_set_thresholds import measure_gallery_growth, measure_transfer, newcombe
from vultus.evaluate.protocol import People, read_people
from vultus.evaluate.search_pool import pooled, references, searched, searched_split, split
from vultus.evaluate.search_rates import pairs_behind

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def world(
    seed: int, *, several: int = 60, photos: int = 3, single: int = 60, noise: float = 0.5, failed: int = 0, d: int = 24
) -> tuple[People, Extraction]:
    """People whose photos are noisy copies of a direction of their own."""
    rng = np.random.default_rng(seed)
    count = np.concatenate([np.full(several, photos), np.ones(single, dtype=int)])
    subjects = np.repeat(np.arange(len(count)), count)
    rows = rng.normal(size=(len(count), d))[subjects] + noise * rng.normal(size=(len(subjects), d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    failures = {int(i): "no_face: none" for i in rng.choice(len(subjects), failed, replace=False)}
    rows[list(failures)] = 0
    files = tuple(f"{s}/{i}" for i, s in enumerate(subjects))
    quality = np.ones(len(files), dtype=np.float32)
    people = People("made up", tuple(str(s) for s in range(len(count))), files, subjects)
    return people, Extraction(files, rows.astype(np.float32), quality, failures, "m")


# --- splits and searches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2])
def test_a_split_enrols_those_with_photos_to_spare(k: int) -> None:
    people, _ = world(0)
    drawn = split(people, gallery_size=20, gallery_photos=k, spare=1, rng=np.random.default_rng(1))
    assert drawn.gallery.shape == (20, k)
    assert len(np.unique(drawn.subjects)) == 20
    assert (people.subjects[drawn.gallery] == drawn.subjects[:, None]).all()
    assert (drawn.subjects < 60).all()
    both = np.concatenate([drawn.gallery.ravel(), drawn.probes])
    assert sorted(both.tolist()) == list(range(len(people.files)))
    other = split(people, gallery_size=20, gallery_photos=k, spare=1, rng=np.random.default_rng(2))
    assert other.subjects.tolist() != drawn.subjects.tolist()


def test_a_split_without_spare_photos_searches_strangers_only() -> None:
    people, _ = world(0)
    drawn = split(people, gallery_size=70, gallery_photos=1, spare=0, rng=np.random.default_rng(1))
    assert not np.isin(people.subjects[drawn.probes], drawn.subjects).any()
    assert len(np.unique(people.subjects[drawn.probes])) == 50


def test_searches_agree_with_brute_force() -> None:
    people, found = world(1, failed=25)
    drawn = split(people, gallery_size=30, gallery_photos=2, spare=1, rng=np.random.default_rng(3))
    pool = searched_split(found, people.subjects, drawn)
    own, ranks, best, nearest = [], [], [], []
    for probe in drawn.probes:
        scores = []
        for subject, files in zip(drawn.subjects, drawn.gallery, strict=True):
            enrolled = [f for f in files if f not in found.failures]
            if probe in found.failures or not enrolled:
                scores.append((-math.inf, subject))
                continue
            mean = found.rows[enrolled].astype(np.float64).sum(axis=0)
            scores.append((float(found.rows[probe] @ mean / np.linalg.norm(mean)), subject))
        who = people.subjects[probe]
        mine = [s for s, subject in scores if subject == who]
        if mine:
            own.append(mine[0])
            ranks.append(0 if mine[0] == -math.inf else sum(s >= mine[0] for s, _ in scores))
        else:
            best.append(max(scores)[0])
            nearest.append(max(scores, key=lambda s: s[0])[1])
    np.testing.assert_allclose(pool.outcomes.own_scores, own, atol=1e-5)
    np.testing.assert_allclose(pool.outcomes.best_scores, best, atol=1e-5)
    assert pool.outcomes.own_ranks.tolist() == ranks
    assert pool.nearest.tolist() == nearest
    assert np.isneginf(pool.outcomes.best_scores).any()
    assert (pool.mated_subjects == people.subjects[pool.mated_photos]).all()
    assert (pool.strangers == people.subjects[pool.strange_photos]).all()


def test_blank_references_match_nobody() -> None:
    _, found = world(2)
    files = np.asarray([[0, 1], [3, 4]])
    blank = Extraction(found.files, found.rows * (np.arange(len(found.rows)) >= 3)[:, None], found.quality)
    rows = references(blank, files)
    assert not rows[0].any()
    assert np.linalg.norm(rows[1]) == pytest.approx(1)
    pool = searched(found.rows[:1], np.asarray([0]), np.asarray([0]), rows, np.asarray([0, 1]))
    assert pool.outcomes.own_scores.tolist() == [-math.inf]
    assert pool.outcomes.own_ranks.tolist() == [0]


def test_pairs_behind_false_positives_are_unordered() -> None:
    strangers, nearest = np.asarray([1, 2, 1, 5]), np.asarray([2, 1, 2, 6])
    assert pairs_behind(strangers, nearest, np.asarray([True, True, True, False])) == 1
    assert pairs_behind(strangers, nearest, np.ones(4, dtype=bool)) == 2


# --- figures ------------------------------------------------------------------------------------------------------------


def test_figures_of_one_gallery_are_those_of_its_searches() -> None:
    people, found = world(3, single=400)
    result = measure_open_set(people, found, gallery_size=40, repeats=1, rates=(0.1,), ranks=5, seed=4)
    drawn = split(people, gallery_size=40, gallery_photos=1, spare=1, rng=np.random.default_rng([4, 0]))
    pool = searched_split(found, people.subjects, drawn)
    point = result.points[0]
    best = pool.outcomes.best_scores
    assert point.reached == np.mean(best >= point.threshold) <= 0.1
    missed = (pool.outcomes.own_scores < point.threshold) | (pool.outcomes.own_ranks != 1)
    assert point.fnir == np.mean(missed)
    assert point.fnir in point.fnir_interval
    assert point.reached in point.fpir_interval
    assert result.cmc == tuple(np.mean(pool.outcomes.own_ranks <= r) for r in range(1, 6))
    assert result.cmc[0] in result.rank_one_interval
    assert (result.n_mated, result.n_non_mated) == (80, 400 + 60)
    assert (result.mated_photos, result.non_mated_photos) == (80, 460)
    assert result.notes[0] == "one gallery; others would give other figures"


def test_repeats_pool_searches_of_the_same_photos() -> None:
    people, found = world(3, single=200)
    result = measure_open_set(people, found, gallery_size=30, repeats=6, rates=(0.05,), seed=1)
    assert result.n_mated == 6 * 60
    assert result.n_non_mated == 6 * (200 + 90)
    assert 290 < result.non_mated_photos <= 200 + 180
    assert result.mated_photos <= 180
    assert result.points[0].subject_pairs <= result.points[0].false_positives
    again = measure_open_set(people, found, gallery_size=30, repeats=6, rates=(0.05,), seed=1)
    assert again.to_dict() == result.to_dict()
    assert (
        measure_open_set(people, found, gallery_size=30, repeats=6, rates=(0.05,), seed=2).to_dict() != result.to_dict()
    )
    assert result.to_dict() == json.loads(json.dumps(result.to_dict()))


def test_rates_are_refused_by_the_number_of_searches_and_marked_by_the_number_of_pairs() -> None:
    people, found = world(5, single=200)
    result = measure_open_set(people, found, gallery_size=30, repeats=2, rates=(0.1, 1e-2), seed=0)
    assert [p.fpir for p in result.points] == [0.1]
    assert "580 non-mated searches, 290 in each of 2, cannot support an FPIR of 0.01" in result.refused[1e-2]
    assert "needs 3,000 (30 / rate): 11 repeats" in result.refused[1e-2]
    many = measure_open_set(people, found, gallery_size=30, repeats=11, rates=(1e-2,), seed=0)
    assert not many.points[0].supported  # 30 searches, but of few people who look alike
    assert many.points[0].false_positives >= 29
    assert any(f"come from {many.points[0].subject_pairs} pairs" in n for n in many.notes)


def test_options_act() -> None:
    people, found = world(6, photos=4, noise=1.3, single=300)
    one = measure_open_set(people, found, gallery_size=30, repeats=2, rates=(0.1,))
    more = measure_open_set(people, found, gallery_size=30, gallery_photos=3, repeats=2, rates=(0.1,))
    deep = measure_open_set(people, found, gallery_size=30, repeats=2, rates=(0.1,), max_rank=5, ranks=3)
    assert more.points[0].fnir < one.points[0].fnir
    assert more.n_mated == 60
    assert deep.points[0].fnir <= one.points[0].fnir
    assert len(deep.cmc) == 3
    assert measure_open_set(people, found, repeats=1, rates=(0.1,)).gallery_size == 40
    wide = measure_open_set(people, found, gallery_size=30, repeats=2, rates=(0.1,), replicates=2_000)
    assert wide.points[0].fnir_interval != one.points[0].fnir_interval


def test_failures_stay_in_the_denominators() -> None:
    people, found = world(7, failed=40)
    result = measure_open_set(people, found, gallery_size=30, repeats=1, rates=(0.5,))
    assert len(result.failures) == 40
    assert result.n_mated == 60
    assert result.cmc[-1] < 1


def test_perfect_scores_have_the_rule_of_three_on_different_photos() -> None:
    people, found = world(8, noise=0.01, single=300)
    result = measure_open_set(people, found, gallery_size=30, repeats=3, rates=(0.1,))
    assert result.points[0].fnir == 0
    assert result.points[0].fnir_interval == Interval(0.0, 3 / result.mated_photos, 0.95, "rule of three")


def test_what_a_folder_cannot_give_is_refused() -> None:
    people, found = world(9)
    with pytest.raises(TooFewComparisons, match=r"gallery of 61 subjects .* 60 of 120 subjects have that many"):
        measure_open_set(people, found, gallery_size=61)
    with pytest.raises(TooFewComparisons, match="all 60 subjects are enrolled"):
        measure_open_set(*world(9, single=0), gallery_size=60)
    with pytest.raises(TooFewComparisons, match="gallery of 0 subjects"):
        measure_open_set(*world(9, several=0))
    with pytest.raises(BadArgument, match="0 repeats"):
        measure_open_set(people, found, gallery_size=10, repeats=0)
    with pytest.raises(BadArgument, match="not one of the 240 files"):
        measure_open_set(people, world(9, single=1)[1])


@pytest.mark.slow
def test_coverage_of_the_interval_of_an_fpir() -> None:
    pools = []
    for seed in range(200):
        people, found = world(seed, several=80, single=120, d=12)
        drawn = (
            split(people, gallery_size=60, gallery_photos=1, spare=1, rng=np.random.default_rng([seed, r]))
            for r in range(3)
        )
        pools.append(pooled(searched_split(found, people.subjects, s) for s in drawn))
    best = np.concatenate([p.outcomes.best_scores for p in pools])
    for rate in (0.2, 0.05):
        threshold = float(np.quantile(best, 1 - rate))
        held = [rate in dyadic_interval(p.strangers, p.nearest, p.outcomes.best_scores >= threshold) for p in pools]
        assert 0.93 <= np.mean(held) <= 0.99


# --- thresholds elsewhere -----------------------------------------------------------------------------------------------


def test_a_threshold_transfers_to_other_subjects_of_the_same_kind() -> None:
    people, found = world(10, several=200, single=600)
    result = measure_transfer(people, found, fpir=0.05, gallery_size=100, repeats=5)
    assert result.calibrated <= 0.05
    assert result.holds
    assert result.realised in result.realised_interval
    assert result.calibrated in result.calibrated_interval
    assert result.realised - result.calibrated in result.difference
    assert result.within == (result.realised_interval.low <= 0.05 <= result.realised_interval.high)
    assert result.gallery_size == 100
    plain = result.to_dict()
    assert plain == json.loads(json.dumps(plain))
    assert measure_transfer(people, found, fpir=0.05, repeats=5).gallery_size == 200
    assert measure_transfer(people, found, fpir=0.05, gallery_size=100, repeats=5, seed=1).threshold != result.threshold
    assert measure_transfer(people, found, fpir=0.05, gallery_size=100, repeats=4).searches[0] < result.searches[0]
    assert (
        measure_transfer(people, found, fpir=0.05, gallery_size=50, gallery_photos=2, repeats=5).threshold
        != result.threshold
    )


def test_a_threshold_does_not_transfer_to_subjects_of_another_kind() -> None:
    people, found = world(11, several=0, single=1_200, d=24)
    rng = np.random.default_rng([0, 0])
    second = ~(rng.permutation(1_200) < 600)  # the half that is tested with seed 0
    rows = found.rows.copy()
    rows[second, 0] += 0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shifted = Extraction(found.files, rows, found.quality, {}, "m")
    result = measure_transfer(people, shifted, fpir=0.05, gallery_size=100, repeats=3)
    assert not result.within
    assert not result.holds
    assert result.realised > 0.1


def test_newcombes_difference_by_hand() -> None:
    # Newcombe (1998), table II, case (a): 56/70 and 48/80 by method 10, Wilson intervals of each.
    one, other = Interval(0.6918, 0.8770, 0.95, ""), Interval(0.4905, 0.7001, 0.95, "")
    found = newcombe(56 / 70, one, 48 / 80, other)
    assert found.low == pytest.approx(0.0524, abs=2e-3)
    assert found.high == pytest.approx(0.3339, abs=2e-3)


def test_thresholds_grow_with_the_gallery_as_maxima_do() -> None:
    people, found = world(12, several=0, single=900, d=60)
    growth = measure_gallery_growth(people, found, fpir=0.05, sizes=(300, 1, 10, 100, 10_000), repeats=4)
    assert growth.sizes.tolist() == [1, 10, 100, 300]
    assert (np.diff(growth.thresholds) > 0).all()
    assert (growth.reached <= 0.05).all()
    assert growth.searches == 4 * 600
    assert growth.comparisons == 4 * 600 * 300
    # Directions in 60 dimensions compare almost independently: scores are about normal with a deviation of 1 / sqrt(60).
    expected = norm.isf(1 - (1 - 0.05) ** (1 / growth.sizes)) / math.sqrt(60)
    np.testing.assert_allclose(growth.thresholds, expected, atol=0.03)
    np.testing.assert_allclose(growth.independent_thresholds, growth.thresholds, atol=0.02)
    np.testing.assert_allclose(growth.predicted, 0.05, rtol=0.25)
    np.testing.assert_allclose(growth.independent_reached, 0.05, rtol=0.25)
    assert all(r in i for r, i in zip(growth.reached, growth.intervals, strict=True))
    plain = growth.to_dict()
    assert plain == json.loads(json.dumps(plain))


def test_growth_agrees_with_brute_force() -> None:
    people, found = world(13, several=0, single=200)
    growth = measure_gallery_growth(people, found, fpir=0.2, sizes=(5, 50), repeats=2, seed=3)
    best, scores = [], []
    for r in range(2):
        drawn = split(people, gallery_size=50, gallery_photos=1, spare=0, rng=np.random.default_rng([3, r]))
        turn = np.random.default_rng([3, r, 1]).permutation(50)
        matrix = found.rows[drawn.probes] @ found.rows[drawn.gallery[:, 0]][turn].T
        best.append(np.stack([matrix[:, :5].max(axis=1), matrix.max(axis=1)]))
        scores.append(matrix.ravel())
    tops, every = np.concatenate(best, axis=1), np.concatenate(scores)
    for s in range(2):
        t = growth.thresholds[s]
        assert growth.reached[s] == np.mean(tops[s] >= t)
        assert growth.fmr[s] == pytest.approx(np.mean(every >= t), abs=2 / len(every))
        assert growth.predicted[s] == pytest.approx(1 - (1 - growth.fmr[s]) ** growth.sizes[s])
        single = 1 - 0.8 ** (1 / growth.sizes[s])
        assert np.mean(every >= growth.independent_thresholds[s]) == pytest.approx(single, abs=2 / len(every))


def test_thresholds_that_cannot_be_had_are_refused() -> None:
    people, found = world(14)
    with pytest.raises(TooFewComparisons, match="a half has 60 subjects"):
        measure_transfer(people, found, gallery_size=60)
    with pytest.raises(TooFewComparisons, match="non-mated searches on one half cannot support"):
        measure_transfer(people, found, fpir=1e-4)
    with pytest.raises(BadArgument, match="0 photos"):
        measure_transfer(people, found, gallery_photos=0)
    with pytest.raises(BadArgument, match="expected whole numbers of 1 or more"):
        measure_gallery_growth(people, found, sizes=(0, 5))
    with pytest.raises(TooFewComparisons, match="120 subjects have 1 photos or more; the smallest gallery is 100"):
        measure_gallery_growth(people, found, sizes=(100,))
    with pytest.raises(TooFewComparisons, match=r"cannot support a rate of 0\.0001"):
        measure_gallery_growth(people, found, fpir=1e-4)
    other = world(14, single=1)[1]
    for measure in (measure_transfer, measure_gallery_growth):
        with pytest.raises(BadArgument, match="not one of the 240 files"):
            measure(people, other)


# --- real photos --------------------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "orl").is_dir(), reason="../shared/data/orl is absent")
def test_a_folder_of_real_people(recognizer: Recognizer, tmp_path: Path) -> None:
    for subject in range(1, 25):
        source = DATA / "orl" / f"s{subject}"
        if not source.is_dir():
            pytest.skip("../shared/data/orl is not in folders of people")
        (tmp_path / f"s{subject}").mkdir()
        for photo in sorted(source.glob("[1-4].pgm")):
            with Image.open(photo) as picture:
                picture.resize((184, 224)).save(tmp_path / f"s{subject}" / f"{photo.stem}.png")
    people = read_people(tmp_path)
    found = extract(people.files, recognizer, cache=tmp_path / "cache")
    result = measure_open_set(people, found, gallery_size=12, repeats=8, rates=(0.1,))
    assert result.cmc[0] > 0.9
    assert result.points[0].fnir < 0.2
