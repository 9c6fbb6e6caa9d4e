"""Two systems on the same pairs: the paired bootstrap against that of single figures, and planted differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from vultus.errors import BadArgument
from vultus.evaluate import Extraction, Pairs, accuracy_by_fold, bootstrap_metric, eer, fnmr_at_fmr
from vultus.evaluate.comparison import compare_systems, right_decisions
from vultus.types import Float64Array, IntArray

SUBJECTS = 80


def planted(seed: int, *, noise: float) -> tuple[Pairs, Extraction]:
    """Four photos of each subject; the pairs depend on nothing, the rows on seed and noise."""
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(SUBJECTS), 4)
    centres = rng.normal(size=(SUBJECTS, 16))
    own = np.concatenate([[(4 * s, 4 * s + 1), (4 * s + 2, 4 * s + 3)] for s in range(SUBJECTS)])
    other = np.stack([rng.integers(0, 4 * SUBJECTS, 900), rng.integers(0, 4 * SUBJECTS, 900)], axis=1)
    other = other[subjects[other[:, 0]] != subjects[other[:, 1]]]
    both = np.concatenate([own, other])
    files = tuple(f"{i}.png" for i in range(len(subjects)))
    mated = np.arange(len(both)) < len(own)
    pairs = Pairs("planted", files, both[:, 0], both[:, 1], mated, subjects, folds=np.arange(len(both)) % 5)
    rows = centres[subjects] + np.random.default_rng(seed).normal(0, noise, (len(subjects), 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return pairs, Extraction(files, rows, np.ones(len(files), dtype=np.float32), {}, f"system@{seed}")


def test_differences_agree_with_the_bootstrap_of_the_difference() -> None:
    pairs, one = planted(1, noise=0.9)
    _, other = planted(2, noise=1.1)
    found = {f.name: f for f in compare_systems(pairs, one, other, rates=(0.1,), seed=3).figures}
    x, y = (e.scores(pairs.first, pairs.second) for e in (one, other))
    subjects = pairs.subjects[pairs.first], pairs.subjects[pairs.second]

    def fnmr(scores: Float64Array, i: IntArray) -> float:
        return fnmr_at_fmr(scores[i], pairs.mated[i], fmr=0.1).fnmr

    def equal(scores: Float64Array, i: IntArray) -> float:
        return eer(scores[i], pairs.mated[i])

    everything = np.arange(len(pairs))
    for name, metric in (("EER", equal), ("FNMR at FMR 0.1", fnmr)):
        expected = bootstrap_metric(partial(_apart, metric, x, y), *subjects, seed=3)
        got = found[name].difference
        assert (got.interval.low, got.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert (found[name].value, found[name].other) == (metric(x, everything), metric(y, everything))
        assert got.value == found[name].value - found[name].other
    assert pairs.folds is not None
    assert found["accuracy"].value == accuracy_by_fold(x, pairs.mated, pairs.folds).mean


def _apart(metric: Callable[[Float64Array, IntArray], float], x: Float64Array, y: Float64Array, i: IntArray) -> float:
    return metric(x, i) - metric(y, i)


def test_a_planted_difference_is_found_and_named() -> None:
    pairs, good = planted(1, noise=0.5)
    _, poor = planted(2, noise=2.0)
    for figure in compare_systems(pairs, good, poor, rates=(0.1, 0.05)).figures:
        assert figure.better == "one"
        assert (figure.difference.value < 0) == figure.lower_is_better
    for figure in compare_systems(pairs, poor, good, rates=(0.1, 0.05)).figures:
        assert figure.better == "other"


def test_a_system_does_not_differ_from_itself() -> None:
    pairs, one = planted(1, noise=0.9)
    result = compare_systems(pairs, one, one, rates=(0.1, 0.02), cross_pairs=True)
    assert len(result.figures) == 4
    for figure in result.figures:
        assert figure.difference.value == 0.0
        assert figure.difference.interval.method == "rule of three"
        assert figure.difference.interval.high > 0
        assert figure.better is None


def test_rates_beyond_the_pairs_come_from_all_cross_pairs_or_are_refused() -> None:
    pairs, one = planted(1, noise=0.9)
    _, other = planted(2, noise=0.9)
    alone = compare_systems(pairs, one, other, rates=(0.1, 0.02, 1e-4))
    assert set(alone.refused) == {"FNMR at FMR 0.02", "FNMR at FMR 0.0001"}
    wide = compare_systems(pairs, one, other, rates=(0.1, 0.02, 1e-4), cross_pairs=True)
    assert set(wide.refused) == {"FNMR at FMR 0.0001"}
    assert "300,000" in wide.refused["FNMR at FMR 0.0001"]
    figure = next(f for f in wide.figures if f.name == "FNMR at FMR 0.02")
    assert figure.source == f"all cross-subject pairs of {SUBJECTS} subjects of planted"
    assert figure.difference.value in figure.difference.interval


def test_failures_of_one_system_cost_only_that_one() -> None:
    pairs, one = planted(1, noise=0.5)
    failing = dict.fromkeys(range(0, 80, 2), "no_face: none")
    other = replace(one, failures=failing, model_id="failing@1")
    result = compare_systems(pairs, one, other, rates=(0.1, 0.02), cross_pairs=True)
    for figure in result.figures:
        if figure.name.startswith("FNMR"):
            assert figure.other >= figure.value + 0.2
            assert figure.better == "one"


def test_a_protocol_without_folds_has_no_accuracy_and_says_why() -> None:
    pairs, one = planted(1, noise=0.9)
    result = compare_systems(replace(pairs, folds=None), one, one, rates=(0.1,))
    assert "folds" in result.refused["accuracy"]
    assert [f.name for f in result.figures] == ["EER", "FNMR at FMR 0.1"]


def test_the_seed_and_the_number_of_draws_act() -> None:
    pairs, one = planted(1, noise=0.9)
    _, other = planted(2, noise=1.1)
    records = [
        compare_systems(pairs, one, other, rates=(0.1,), seed=seed, replicates=replicates).to_dict()["figures"]
        for seed, replicates in ((0, 1_000), (1, 1_000), (0, 1_500), (0, 1_000))
    ]
    assert records[0] == records[3]
    assert records[0] != records[1]
    assert records[0] != records[2]


def test_templates_of_other_files_are_refused() -> None:
    pairs, one = planted(1, noise=0.9)
    other = replace(one, files=(*one.files[:3], "elsewhere.png", *one.files[4:]))
    with pytest.raises(BadArgument, match=r"'elsewhere\.png' in place of '3\.png'"):
        compare_systems(pairs, one, other)


def test_decisions_are_made_with_the_thresholds_of_the_other_folds() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.3, 0.6])
    mated = np.array([True, False, True, False, True, False])
    folds = np.array([7, 7, 8, 8, 9, 9])
    result, right = right_decisions(scores, mated, folds)
    assert right.tolist() == [True, True, True, True, False, False]
    assert result.accuracies.tolist() == [1.0, 1.0, 0.0]


def test_the_record_is_json() -> None:
    pairs, one = planted(1, noise=0.9)
    _, other = planted(2, noise=1.1)
    result = compare_systems(pairs, one, other, rates=(0.1, 1e-5))
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["model_id"] == "system@1"
    assert record["other_model_id"] == "system@2"
    assert record["figures"][0]["low"] <= record["figures"][0]["difference"] <= record["figures"][0]["high"]
    assert "FNMR at FMR 1e-05" in record["refused"]
