"""Thresholds for searches: they scale with the gallery, and the rate that is stated holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vultus import Recognizer, SearchThreshold, Threshold
from vultus.calibrate.thresholds import threshold_of_largest
from vultus.errors import BadArgument, NoThreshold
from vultus.gallery import expected_fpir
from vultus.gallery.decide import limit_for_fmr, limit_for_fpir, measured_for, share_interval
from vultus.types import FloatArray
from vultus.weights import load_manifest


def test_the_formula() -> None:
    assert expected_fpir(1e-4, measured_at=1, size=100) == pytest.approx(1 - 0.9999**100, rel=1e-12)
    assert expected_fpir(0.01, measured_at=1000, size=1000) == pytest.approx(0.01, rel=1e-12)
    assert expected_fpir(0.01, measured_at=1000, size=2000) == pytest.approx(1 - 0.99**2, rel=1e-12)
    assert expected_fpir(1e-12, measured_at=1, size=1) == pytest.approx(1e-12, rel=1e-9)


def test_the_threshold_rises_with_the_size(thresholds: tuple[Threshold, ...]) -> None:
    values = [
        limit_for_fpir(0.01, size=size, measured=thresholds, searched=[]).value for size in (0, 1, 2, 10, 11, 100, 1000)
    ]
    assert values == [0.55, 0.55, 0.7, 0.7, 0.8, 0.8, 0.85]
    limit = limit_for_fpir(0.01, size=50, measured=thresholds, searched=[])
    assert limit.fpir == pytest.approx(50e-4, rel=0.01)
    assert limit.basis == thresholds[2]
    with pytest.raises(NoThreshold, match=r"100,000 templates.*0\.632"):
        limit_for_fpir(0.01, size=100_000, measured=thresholds, searched=[])


def test_thresholds_measured_on_searches_come_first(thresholds: tuple[Threshold, ...]) -> None:
    small = SearchThreshold(0.6, 0.001, 100, 50_000, 0.0008, 0.0012, "door")
    large = SearchThreshold(0.65, 0.01, 5000, 5000, 0.008, 0.012, "door")
    own = SearchThreshold(0.7, 0.01, 5000, 5000, 0.008, 0.012, "own")

    def basis(fpir: float, size: int, *sets: list[SearchThreshold]) -> object:
        return limit_for_fpir(fpir, size=size, measured=thresholds, searched=sets).basis

    assert basis(0.01, 100, [small, large]) == small
    assert basis(0.01, 1000, [small, large]) == small
    assert basis(0.01, 1200, [small, large]) == large
    assert basis(0.01, 5000, [small, large]) == large
    assert basis(1e-4, 1, [small, large]) == small
    assert basis(0.01, 5000, [own], [small, large]) == own
    assert basis(0.01, 100, [own], [small, large]) == small  # measured at that size
    assert basis(1e-3, 90, [large], [small]) == small
    assert basis(0.1, 10, [own], [large]) == thresholds[0]  # neither was; comparisons allow a lower one
    assert basis(3e-6, 1, [own], [small]) == own
    with pytest.raises(NoThreshold):
        basis(1e-9, 1, [own], [small])


def test_rates_out_of_range_are_refused(thresholds: tuple[Threshold, ...]) -> None:
    for wrong in (0, 1, -1, 2, math.nan):
        with pytest.raises(BadArgument):
            limit_for_fpir(wrong, size=1, measured=thresholds, searched=[])
        with pytest.raises(BadArgument):
            limit_for_fmr(wrong, size=1, measured=thresholds)
    with pytest.raises(NoThreshold, match="none"):
        limit_for_fmr(0.1, size=1, measured=[])
    assert limit_for_fmr(5e-3, size=1, measured=thresholds).basis == thresholds[1]
    for value, fpir, size, low, high in (
        (2.0, 0.1, 1, 0, 1),
        (0.5, 0.0, 1, 0, 1),
        (0.5, 0.1, 0, 0, 1),
        (0.5, 0.1, 1, 0.5, 0.2),
    ):
        with pytest.raises(BadArgument):
            SearchThreshold(value, fpir, size, 1, low, high, "x")


def people(n: int, seed: int) -> FloatArray:
    """Templates of an anisotropic embedding, where some people resemble many and most resemble none."""
    rows = np.random.default_rng(seed).standard_normal((n, 64)) * 0.9 ** np.arange(64)
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture(scope="module")
def table() -> list[Threshold]:
    """False match rates measured on comparisons of those."""
    comparisons = np.sort((people(6000, 1) @ people(6000, 2).T).ravel())[-4_000_000:].astype(np.float64)[::-1]
    return [
        Threshold(threshold_of_largest(comparisons, comparisons=36_000_000, fmr=f), f, 36_000_000, f / 2, f * 2, "made")
        for f in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    ]


@pytest.mark.parametrize("size", [100, 1000, 4000])
def test_the_rate_that_is_stated_is_kept(table: list[Threshold], size: int) -> None:
    best = (people(5000, size) @ people(size, 3).T).max(axis=1)
    for asked in (0.3, 0.1, 0.03, 0.01):
        limit = limit_for_fpir(asked, size=size, measured=table, searched=[])
        assert limit.fpir is not None
        assert limit.fpir <= asked
        low, _ = share_interval(int(np.count_nonzero(best >= limit.value)), len(best))
        assert low <= limit.fpir


def test_intervals_are_wilson_s() -> None:
    assert share_interval(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert share_interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert share_interval(100, 100)[1] == 1.0


def test_the_built_in_thresholds_are_found_by_model_id(recognizer: Recognizer) -> None:
    assert measured_for("unknown") == ((), ())
    calibration = recognizer.calibration
    assert calibration is not None
    assert measured_for(recognizer.model_id) == (calibration.thresholds, calibration.searches)
    mirrored = load_manifest("sface-2021dec").calibrated(score="cosine+mirror", detector="yunet-2023mar")
    expected = (mirrored.thresholds, mirrored.searches) if mirrored else ((), ())
    assert measured_for(recognizer.model_id + "+mirror") == expected
