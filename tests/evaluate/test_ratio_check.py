"""Likelihood ratios on unseen subjects: planted scores whose ratio is known, and the parts against Cllr and minCllr."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vultus.errors import TooFewComparisons
from vultus.evaluate import Extraction, Pairs, cllr, min_cllr
from vultus.evaluate.ratio_check import _bins, _costs, _least_costs, likelihood_ratio_check
from vultus.types import Float64Array

SUBJECTS = 200


def planted(seed: int = 0) -> tuple[Pairs, Extraction]:
    """Unit rows in a plane, so that a cosine is that of an angle: small for one subject, any for two."""
    rng = np.random.default_rng(seed)
    own = rng.uniform(0, np.pi, SUBJECTS)
    angles = np.repeat(own, 3) + rng.normal(0, 0.25, 3 * SUBJECTS)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    subjects = np.repeat(np.arange(SUBJECTS), 3)
    first = np.concatenate([np.arange(0, 3 * SUBJECTS, 3), rng.integers(0, 3 * SUBJECTS, 2_000)])
    second = np.concatenate([np.arange(1, 3 * SUBJECTS, 3), rng.integers(0, 3 * SUBJECTS, 2_000)])
    files = tuple(f"{i}.png" for i in range(3 * SUBJECTS))
    pairs = Pairs("planted", files, first, second, subjects[first] == subjects[second], subjects)
    return pairs, Extraction(files, rows, np.ones(len(files), dtype=np.float32), {}, "planted@1")


def test_halves_share_no_subject_and_every_comparison_is_accounted_for() -> None:
    pairs, extraction = planted()
    extraction = replace(extraction, failures={0: "no_face: none", 5: "no_face: none"})
    check = likelihood_ratio_check(pairs, extraction)
    failed = np.count_nonzero(np.isin(pairs.first, [0, 5]) | np.isin(pairs.second, [0, 5]))
    assert check.failed == failed > 0
    assert sum(check.fitted) + sum(check.tested) + check.between + check.failed == len(pairs)
    assert sum(check.subjects) <= SUBJECTS
    for fit in check.fits:
        assert fit.bins.counts.sum() == sum(check.tested)
        assert fit.cllr == pytest.approx(check.min_cllr + fit.loss, abs=1e-12)
        assert fit.loss >= 0
        assert fit.cllr in fit.cllr_interval
        assert fit.loss in fit.loss_interval
        assert (fit.bins.low <= fit.bins.observed + 1e-12).all()
        assert (fit.bins.observed <= fit.bins.high + 1e-12).all()
    assert [fit.name for fit in check.fits] == ["logistic", "isotonic"]


def test_the_seed_chooses_the_halves() -> None:
    pairs, extraction = planted()
    checks = [likelihood_ratio_check(pairs, extraction, seed=s) for s in (0, 0, 1)]
    assert checks[0].to_dict() == checks[1].to_dict() != checks[2].to_dict()


def test_the_record_is_json_and_holds_the_fit() -> None:
    check = likelihood_ratio_check(*planted())
    record = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    logistic = record["fits"]["logistic"]
    assert logistic["weight"] == check.fits[0].calibration.to_dict()["weight"]
    assert len(logistic["reliability"]["stated"]) == len(logistic["reliability"]["counts"])


def test_true_ratios_of_normal_scores_cost_what_cllr_says_and_lose_little() -> None:
    rng = np.random.default_rng(4)
    mated = np.arange(4_000) < 2_000
    scores = rng.normal(np.where(mated, 2.0, -2.0), 2.0)  # whose log likelihood ratio is the score itself
    costs = _costs(scores, mated)
    assert (costs[mated].mean() + costs[~mated].mean()) / 2 == pytest.approx(cllr(scores, mated), abs=1e-12)
    least = _least_costs(scores, mated)
    assert (least[mated].mean() + least[~mated].mean()) / 2 == pytest.approx(min_cllr(scores, mated), abs=1e-12)
    subjects = np.arange(4_000)
    bins = _bins(scores, mated, subjects, subjects)
    held = (bins.low <= bins.stated) & (bins.stated <= bins.high)
    assert len(bins.counts) == 8
    assert np.count_nonzero(held) >= 7


def test_tied_scores_share_the_cost_of_their_block() -> None:
    scores: Float64Array = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 2.0])
    mated = np.array([False, False, True, False, True, True])
    least = _least_costs(scores, mated)
    assert least[[0, 1, 5]].tolist() == [0.0, 0.0, 0.0]
    share = (2 / 3) / (2 / 3 + 1 / 3)
    np.testing.assert_allclose(least[[2, 4]], -np.log2(share), atol=1e-12)
    np.testing.assert_allclose(least[3], -np.log2(1 - share), atol=1e-12)


def test_a_half_without_one_kind_is_refused() -> None:
    pairs, extraction = planted()
    only = pairs.mated
    first, second = pairs.first[only], pairs.second[only]
    few = replace(pairs, first=first, second=second, mated=np.ones(len(first), dtype=np.bool_))
    with pytest.raises(TooFewComparisons, match="0 non-mated"):
        likelihood_ratio_check(few, extraction)
