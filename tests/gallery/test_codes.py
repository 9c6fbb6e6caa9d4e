"""Codes and the proof of what they miss: the bound holds, is not idle, and the answers equal those of an exact scan."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta, kstest

from vultus.gallery import codes as codes_module
from vultus.gallery.codes import MISSED, Codes, CodesWriter, codes_of, tail_point
from vultus.gallery.compressed import CompressedScan
from vultus.gallery.rank import By
from vultus.gallery.reads import NEVER, Batch
from vultus.gallery.rows import NoRows, Rows, RowTable, empty_batch
from vultus.gallery.search import ExactScan, best_subjects
from vultus.types import FloatArray

Unit = Callable[..., FloatArray]


def people(n: int, d: int, seed: int) -> FloatArray:
    """Rows whose directions have unequal variance, as those of an embedding have."""
    rows = np.random.default_rng(seed).standard_normal((n, d)) * 0.97 ** np.arange(d)
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def near(rows: FloatArray, score: float, seed: int) -> FloatArray:
    """For each row a probe that scores this much with it."""
    other = np.random.default_rng(seed).standard_normal(rows.shape)
    other -= np.einsum("ij,ij->i", other, rows)[:, None] * rows
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return (score * rows + math.sqrt(1 - score**2) * other).astype(np.float32)


def products(codes: Codes, probes: FloatArray) -> FloatArray:
    """The product of each probe with the code of the row in its place."""
    decoded = codes.index.reconstruct_n(0, len(codes))
    turned = probes @ codes.rotation.T
    found: FloatArray = np.einsum("ij,ij->i", turned.astype(np.float64), decoded.astype(np.float64))
    return found


@pytest.mark.parametrize("dimension", [31, 63, 127, 511])
def test_the_tail_point_is_safe_and_close(dimension: int) -> None:
    # One coordinate t of a random point on the sphere in m dimensions: (t + 1) / 2 is beta((m - 1) / 2, (m - 1) / 2).
    exact = 2 * beta.isf(MISSED, (dimension - 1) / 2, (dimension - 1) / 2) - 1
    assert exact <= tail_point(dimension) < 1.01 * exact


@pytest.mark.parametrize("d", [32, 33, 128])
def test_no_row_falls_below_the_bound(d: int) -> None:
    rows = people(20_000, d, seed=d)
    codes = Codes.empty(d).append(rows)
    usual = np.ones(len(rows), dtype=bool)
    usual[codes.awkward] = False
    assert len(codes.awkward) < 0.004 * len(rows)
    for score in (0.2, 0.5, 0.9):
        below = products(codes, near(rows, score, seed=1))[usual] < codes.least(score)
        assert not below.any()


def test_the_bound_is_not_idle() -> None:
    """The part of a product that is left to chance is distributed as the proof says, whatever the rows."""
    rows = people(20_000, 64, seed=3)
    codes = Codes.empty(64).append(rows)
    decoded = codes.index.reconstruct_n(0, len(rows)).astype(np.float64)
    turned = (rows @ codes.rotation.T).astype(np.float64)
    along = np.einsum("ij,ij->i", turned, decoded)
    across = np.sqrt(np.einsum("ij,ij->i", decoded, decoded) - along**2)
    score = 0.4
    g = (products(codes, near(rows, score, seed=5)) - score * along) / math.sqrt(1 - score**2) / across
    assert kstest((g + 1) / 2, beta(31, 31).cdf).pvalue > 1e-3


def test_scanned_products_are_within_the_slack(unit: Unit) -> None:
    rows = people(5000, 128, seed=0)
    codes = Codes.empty(128).append(rows)
    decoded = codes.index.reconstruct_n(0, len(rows))
    for seed in range(20):
        rotated = codes.rotated(unit(1, 128, seed=seed)[0])
        found, places = codes.index.search(rotated, 5000)
        true = (decoded @ rotated[0])[places[0]]
        assert np.abs(found[0] - true).max() <= codes.slack(rotated)
        assert sorted(places[0].tolist()) == list(range(5000))


def test_below_and_least_agree() -> None:
    codes = Codes.empty(64).append(people(5000, 64, seed=1))
    assert codes.least(-0.3) == codes.least(0.0) == -math.inf
    assert codes.below(10.0) == math.inf
    scores = np.linspace(0.01, 1, 50)
    least = [codes.least(s) for s in scores]
    assert least == sorted(least)
    for score in scores:
        assert codes.below(codes.least(score) - 1e-9) <= score + 0.012
        assert codes.below(codes.least(score)) > score - 0.012


@pytest.fixture(scope="module")
def gallery() -> tuple[Rows, Codes, FloatArray]:
    """Rows of which the last have no code, some deleted, some expired, several of one subject."""
    n, d = 40_000, 64
    generator = np.random.default_rng(7)
    rows = people(n, d, seed=11)
    rows[5000:5200] = near(np.repeat(rows[4000:4001], 200, axis=0), 0.8, seed=2)
    table = RowTable(NoRows(d), empty_batch(d), 0)
    expires = np.where(generator.random(n) < 0.05, 10, NEVER)
    table.append(Batch(np.arange(n), generator.integers(0, n // 2, n), expires, rows))
    table.remove(generator.integers(0, n, n // 10))
    return table.snapshot(), Codes.empty(d).append(rows[:36_000]), rows


@pytest.mark.parametrize("by", ["max", "mean"])
def test_answers_equal_those_of_an_exact_scan(gallery: tuple[Rows, Codes, FloatArray], by: By) -> None:
    rows, codes, all_rows = gallery
    generator = np.random.default_rng(5)
    chosen = generator.integers(0, len(all_rows), 20)
    mated = [near(all_rows[i : i + 1], s, seed=int(i))[0] for i in chosen for s in (0.45, 0.7)]
    probes = [*mated, *people(20, 64, seed=99), *all_rows[4995:5005]]
    for k, probe in enumerate(probes):
        for threshold, max_rank in ((0.75, 5), (0.6, 1), (0.5, 3), (-1.0, 2))[k % 2 :: 2]:
            options = {"threshold": threshold, "max_rank": max_rank, "by": by, "now": 20.0}
            exact = best_subjects(rows, ExactScan(rows, probe), probe, **options)  # type: ignore[arg-type]
            quick = CompressedScan(rows, codes, probe, threshold=threshold)
            assert best_subjects(rows, quick, probe, **options) == exact  # type: ignore[arg-type]


def test_the_exact_scan_is_rarely_needed(
    gallery: tuple[Rows, Codes, FloatArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, codes, _ = gallery
    starts: list[int] = []
    original = ExactScan.__init__

    def counted(self: ExactScan, rows: Rows, probe: FloatArray, *, start: int = 0) -> None:
        starts.append(start)
        original(self, rows, probe, start=start)

    monkeypatch.setattr(ExactScan, "__init__", counted)
    probes = people(100, 64, seed=123)
    for probe in probes:
        best_subjects(
            rows, CompressedScan(rows, codes, probe, threshold=0.75), probe, threshold=0.75, max_rank=1, by="max", now=0
        )
    assert starts.count(36_000) == 100
    assert starts.count(0) <= 5


def test_codes_come_back_from_arrays(unit: Unit) -> None:
    rows = people(3001, 48, seed=4)
    written = CodesWriter(Codes.empty(48).append(rows[:1500]))
    for first in range(0, 3001, 700):
        written.take(rows[first : first + 700])
    sections = written.sections()
    again = codes_of(sections, 3001, 48, lambda at: rows[at])
    assert again is not None
    assert len(again) == 3001
    assert np.array_equal(again.awkward_rows, rows[again.awkward])
    kept = written._codes
    probe = again.rotated(unit(1, 48)[0])
    assert np.array_equal(again.index.search(probe, 50)[1], kept.index.search(probe, 50)[1])
    assert np.array_equal(again.awkward_rows, kept.awkward_rows)
    assert np.array_equal(again.along, kept.along)
    assert again.least(0.5) == kept.least(0.5)
    for wrong in (codes_of({}, 3001, 48, lambda at: rows[at]), codes_of(sections, 3001, 47, lambda at: rows[at])):
        assert wrong is None
    assert codes_of(sections, 5000, 48, lambda at: rows[at]) is None


def test_adding_in_portions_gives_the_same_codes(unit: Unit) -> None:
    rows = people(1000, 32, seed=4)
    start = Codes.empty(32)
    whole, portions = start.copy().append(rows), start.copy()
    for first in range(0, 1000, 130):
        portions = portions.append(rows[first : first + 130])
    same = (whole.index.reconstruct_n(0, 1000) == portions.index.reconstruct_n(0, 1000)).all(axis=1)
    assert np.count_nonzero(same) > 990  # the order of a sum of products decides where two points are equally near
    assert np.allclose(whole.envelope, portions.envelope, atol=0.02)
    assert len(start) == 0


def test_erased_rows_have_no_code_in_the_file() -> None:
    rows = people(100, 32, seed=4)
    erased = rows.copy()
    erased[[5, 77]] = 0
    codes = Codes.empty(32).append(rows)
    writer = CodesWriter(codes)
    writer.take(erased)
    again = codes_of(writer.sections(), 100, 32, lambda at: rows[at])
    assert again is not None
    before, after = codes.index.reconstruct_n(0, 100), again.index.reconstruct_n(0, 100)
    same = (before == after).all(axis=1)
    assert np.flatnonzero(~same).tolist() == [5, 77]
    assert not after[[5, 77]].any()  # the first of the 16 points, of each pair of numbers


def test_the_points_are_where_lloyd_s_rule_leaves_them() -> None:
    points = codes_module._POINTS.astype(np.float64)
    line = np.linspace(-5, 5, 401)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    weight = np.exp(-(grid**2).sum(axis=1) / 2)
    weight /= weight.sum()
    nearest = ((grid[:, None] - points) ** 2).sum(axis=2).argmin(axis=1)
    share = np.bincount(nearest, weight, 16)
    centre = np.stack([np.bincount(nearest, weight * grid[:, k], 16) / share for k in (0, 1)], axis=1)
    assert np.abs(centre - points).max() < 0.01
    assert (weight * ((grid - points[nearest]) ** 2).sum(axis=1)).sum() / 2 == pytest.approx(0.1076, abs=3e-4)


def test_erased_rows_are_neither_awkward_nor_in_the_way() -> None:
    rows = people(500, 32, seed=4)
    start = Codes.empty(32)
    erased = rows.copy()
    erased[::5] = 0
    whole, holed = start.copy().append(rows), start.copy().append(erased)
    assert len(holed) == 500
    assert set(holed.awkward.tolist()) <= set(whole.awkward.tolist())
    assert (holed.envelope >= whole.envelope - 1e-6).all()
    nothing = start.copy().append(np.zeros((40, 32), dtype=np.float32))
    assert nothing.least(0.5) == np.inf
    assert len(nothing.awkward) == 0
