"""Search in rows: equal to brute force whatever was added, deleted, moved or has expired."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.gallery.rank import By
from vultus.gallery.reads import NEVER, Batch
from vultus.gallery.rows import GONE, NoRows, Rows, RowTable, empty_batch, row_scores
from vultus.gallery.search import ExactScan, at_least_the_best, best_subjects
from vultus.types import FloatArray, IntArray

Unit = Callable[..., FloatArray]


def table_of(rows: FloatArray, subjects: list[int] | IntArray, *, expires: list[int] | None = None) -> RowTable:
    table = RowTable(NoRows(rows.shape[1]), empty_batch(rows.shape[1]), 0)
    until = np.full(len(rows), NEVER) if expires is None else np.array(expires, dtype=np.int64)
    table.append(Batch(np.arange(len(rows)) * 10, np.array(subjects, dtype=np.int64), until, rows))
    return table


def brute_force(
    rows: Rows, probe: FloatArray, *, threshold: float, max_rank: int, by: By, now: float
) -> list[tuple[int, float]]:
    scores: dict[int, list[float]] = {}
    for i, score in enumerate(row_scores(rows.gather(np.arange(len(rows))), probe).tolist()):
        if rows.subjects[i] != GONE and rows.expires[i] > now:
            scores.setdefault(int(rows.subjects[i]), []).append(score)
    found = [(s, max(v) if by == "max" else sum(v) / len(v)) for s, v in scores.items()]
    return sorted((f for f in found if f[1] >= threshold), key=lambda f: (-f[1], f[0]))[:max_rank]


def search(
    rows: Rows, probe: FloatArray, *, threshold: float = -np.inf, max_rank: int = 5, by: By = "max", now: float = 0
) -> list[tuple[int, float]]:
    found = best_subjects(rows, ExactScan(rows, probe), probe, threshold=threshold, max_rank=max_rank, by=by, now=now)
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("by", ["max", "mean"])
@pytest.mark.parametrize("n", [1, 40, 700, 5000])
def test_search_equals_brute_force(unit: Unit, n: int, by: By) -> None:
    generator = np.random.default_rng(n)
    expires = np.where(generator.random(n) < 0.2, 5, NEVER).tolist()
    table = table_of(unit(n, 12), generator.integers(0, max(1, n // 3), n), expires=expires)
    table.remove(generator.integers(0, n, n // 4) * 10)
    rows = table.snapshot()
    for seed in range(5):
        probe = unit(1, 12, seed=seed + 100)[0]
        for threshold, max_rank in ((-np.inf, 1), (-np.inf, 7), (0.5, 7), (0.99, 3), (-np.inf, 2 * n)):
            for now in (0, 5):
                options = {"threshold": threshold, "max_rank": max_rank, "by": by, "now": now}
                expected = brute_force(rows, probe, **options)  # type: ignore[arg-type]
                found = search(rows, probe, **options)  # type: ignore[arg-type]
                assert [f[0] for f in found] == [e[0] for e in expected]
                assert [f[1] for f in found] == pytest.approx([e[1] for e in expected], abs=1e-12)


def test_many_templates_of_one_subject_do_not_hide_the_others(unit: Unit) -> None:
    probe = unit(1, 8, seed=1)[0]
    crowd = np.repeat(probe[None], 3000, axis=0)
    rows = table_of(np.concatenate([crowd, unit(20, 8)]), [7] * 3000 + list(range(100, 120))).snapshot()
    found = search(rows, probe, max_rank=4)
    assert found[0][0] == 7
    assert found == brute_force(rows, probe, threshold=-np.inf, max_rank=4, by="max", now=0)


def test_equal_scores_are_in_the_order_of_enrolment(unit: Unit) -> None:
    row = unit(1, 8)
    rows = table_of(np.repeat(row, 500, axis=0), np.arange(500)[::-1]).snapshot()
    assert [s for s, _ in search(rows, row[0], max_rank=3)] == [0, 1, 2]


def test_snapshots_are_not_disturbed_by_later_changes(unit: Unit) -> None:
    table = table_of(unit(50, 8), list(range(50)))
    before = table.snapshot()
    kept = before.numbers.copy(), before.subjects.copy(), before.tail.copy()
    table.remove(np.array([10, 20, 99_999, 30, 30]))
    table.move(np.array([40, 50, 20, 50]), np.array([1, 2, 3, 4]))
    table.append(Batch(np.array([1000]), np.array([77]), np.array([NEVER]), unit(1, 8, seed=5)))
    assert np.array_equal(kept[0], before.numbers)
    assert np.array_equal(kept[1], before.subjects)
    assert np.array_equal(kept[2], before.tail)
    after = table.snapshot()
    assert (len(before), len(after), before.live, after.live) == (50, 51, 50, 48)
    assert after.subjects[[1, 2, 3, 4, 5, 50]].tolist() == [GONE, GONE, GONE, 1, 4, 77]
    assert table.dead == 3


def test_an_empty_table_answers_nobody(unit: Unit) -> None:
    rows = RowTable(NoRows(8), empty_batch(8), 0).snapshot()
    assert search(rows, unit(1, 8)[0]) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2000), st.integers(1, 80), st.integers(0, 2**32 - 1), st.sampled_from([3, 50, 100_000]))
def test_the_best_scores_are_found_with_their_ties(n: int, count: int, seed: int, levels: int) -> None:
    scores = (np.random.default_rng(seed).integers(0, levels, n) / levels).astype(np.float32)
    places, last = at_least_the_best(scores, count)
    if count >= n:
        assert len(places) == n
        assert last == -np.inf
        return
    assert last == np.sort(scores)[-count]
    assert np.array_equal(places, np.flatnonzero(scores >= last))


def test_a_score_does_not_depend_on_how_many_are_asked_for(unit: Unit) -> None:
    rows, probe = unit(300, 128), unit(1, 128, seed=3)[0]
    together = row_scores(rows, probe)
    assert [float(row_scores(rows[i : i + 1], probe)[0]) for i in range(300)] == together.tolist()
