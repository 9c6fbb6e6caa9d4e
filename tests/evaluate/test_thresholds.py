"""Thresholds and likelihood ratios from a folder of people, against brute force on planted subjects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus import Recognizer, load_manifest, save_manifest
from vultus.errors import TooFewComparisons
from vultus.evaluate import Extraction, People, measure_calibration
from vultus.types import FloatArray

SUBJECTS, PHOTOS = 700, 3


@pytest.fixture(scope="module")
def rows() -> FloatArray:
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((SUBJECTS, 1, 48))
    rows = (centres + 0.75 * rng.standard_normal((SUBJECTS, PHOTOS, 48))).reshape(-1, 48)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def people() -> People:
    names = tuple(f"s{i:04d}" for i in range(SUBJECTS))
    files = tuple(f"{name}/{k}.jpg" for name in names for k in range(PHOTOS))
    return People("planted", names, files, np.repeat(np.arange(SUBJECTS), PHOTOS))


def extraction_of(people: People, rows: FloatArray, failed: tuple[int, ...] = ()) -> Extraction:
    kept = rows.copy()
    kept[list(failed)] = 0
    return Extraction(people.files, kept, np.ones(len(rows), np.float32), dict.fromkeys(failed, "no_face: none"), "m")


def test_thresholds_equal_brute_force(people: People, rows: FloatArray, recognizer: Recognizer) -> None:
    measured = measure_calibration(people, extraction_of(people, rows), recognizer, rates=(1e-1, 1e-2, 1e-3))
    first = rows[::PHOTOS]
    scores = np.sort((first @ first.T)[np.triu_indices(SUBJECTS, 1)])[::-1]
    a, b = people.mated_pairs()
    mated = np.einsum("nd,nd->n", rows[a], rows[b])
    assert [t.fmr for t in measured.thresholds] == [1e-1, 1e-2, 1e-3]
    for t in measured.thresholds:
        assert t.comparisons == len(scores) == SUBJECTS * (SUBJECTS - 1) // 2
        realised = np.mean(scores >= t.value)
        assert t.fmr - 1.5 / len(scores) <= realised <= t.fmr
        assert t.low < realised < t.high
        assert t.fnmr == pytest.approx(np.mean(mated < t.value), abs=1e-9)
    assert measured.score == "cosine"
    assert measured.detector == "yunet-2023mar"


def test_a_likelihood_ratio_of_one_lies_between_the_kinds(
    people: People, rows: FloatArray, recognizer: Recognizer
) -> None:
    measured = measure_calibration(people, extraction_of(people, rows), recognizer, rates=(1e-1,))
    assert measured.weight is not None
    assert measured.bias is not None
    crossing = -measured.bias / measured.weight
    a, b = people.mated_pairs()
    assert np.mean(np.einsum("nd,nd->n", rows[a], rows[b]) > crossing) > 0.9
    assert abs(crossing) < 0.6


def test_failed_photos_are_left_out_and_their_subjects_kept(
    people: People, rows: FloatArray, recognizer: Recognizer
) -> None:
    """A subject's next photo stands in; a subject without any drops out of the count."""
    failed = (0, 3, 4, 5)
    measured = measure_calibration(people, extraction_of(people, rows, failed), recognizer, rates=(1e-1,))
    assert measured.thresholds[0].comparisons == (SUBJECTS - 1) * (SUBJECTS - 2) // 2


def test_a_rate_without_support_is_refused(people: People, rows: FloatArray, recognizer: Recognizer) -> None:
    with pytest.raises(TooFewComparisons, match="300,000"):
        measure_calibration(people, extraction_of(people, rows), recognizer, rates=(1e-4,))
    with pytest.raises(TooFewComparisons):
        measure_calibration(people, extraction_of(people, rows), recognizer, rates=(1e-1,), search_rates=(1e-6,))
    everybody = tuple(range(len(rows)))
    with pytest.raises(TooFewComparisons, match="0 subjects"):
        measure_calibration(people, extraction_of(people, rows, everybody), recognizer, rates=(1e-1,))


def test_searches_are_measured_and_survive_the_manifest(
    people: People, rows: FloatArray, recognizer: Recognizer, tmp_path: Path
) -> None:
    measured = measure_calibration(
        people, extraction_of(people, rows), recognizer, rates=(1e-1,), search_rates=(5e-2,), gallery_size=200
    )
    (search,) = measured.searches
    assert (search.fpir, search.gallery_size) == (5e-2, 200)
    assert search.low <= 5e-2 <= search.high
    assert search.value > measured.thresholds[0].value
    save_manifest(load_manifest("sface-2021dec").with_calibration(measured), tmp_path / "m.toml")
    kept = load_manifest(tmp_path / "m.toml").calibrated(score="cosine", detector="yunet-2023mar")
    assert kept == measured
