"""Searches on Qdrant against a scan in double precision of everything, whatever has been deleted, has expired or ties."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pytest
from tests.gallery.conftest import MODEL
from tests.gallery.qdrant_server import Server

from vultus import Template
from vultus.gallery import Gallery, NewSubject
from vultus.gallery.rows import row_scores
from vultus.types import FloatArray

Rows = Callable[..., FloatArray]


def best(rows: FloatArray, subjects: list[str], probe: FloatArray, by: str) -> list[tuple[str, float]]:
    """Every subject with its score, best first, equal ones in the order of enrolment."""
    scores = row_scores(rows, probe)
    reduce = np.max if by == "max" else np.mean
    of = {s: float(reduce([scores[i] for i, other in enumerate(subjects) if other == s])) for s in subjects}
    return sorted(of.items(), key=lambda entry: -entry[1])


@pytest.mark.parametrize("by", ["max", "mean"])
def test_answers_are_those_of_a_scan_in_double_precision(
    on_qdrant: Callable[..., str], unit: Rows, by: Literal["max", "mean"]
) -> None:
    rows = unit(300, 32, seed=1)
    rows[100:110] = rows[7]  # ten that tie
    subjects = [f"s{i // 2}" for i in range(300)]
    with Gallery.open(on_qdrant("scan"), model=MODEL, near_duplicate=None, by=by) as gallery:
        gallery.enrol_many(
            [NewSubject(s, [Template(rows[i], MODEL), Template(rows[i + 1], MODEL)]) for i, s in pairs(subjects)]
        )
        for probe in [rows[7], *unit(5, 32, seed=2)]:
            expected = best(rows, subjects, probe, by)
            found = gallery.search(Template(probe, MODEL), max_rank=10)
            assert [(c.subject_id, c.score) for c in found] == expected[:10]
            threshold = expected[4][1]
            named = gallery.identify(Template(probe, MODEL), threshold=threshold, max_rank=20)
            assert [(c.subject_id, c.score) for c in named] == [e for e in expected if e[1] >= threshold][:20]
        everybody = gallery.search(Template(rows[0], MODEL), max_rank=1000)
        assert [c.subject_id for c in everybody] == [s for s, _ in best(rows, subjects, rows[0], by)]


def pairs(subjects: list[str]) -> list[tuple[int, str]]:
    return [(i, subjects[i]) for i in range(0, len(subjects), 2)]


def test_ties_beyond_what_was_asked_for_are_all_looked_at(on_qdrant: Callable[..., str], unit: Rows) -> None:
    row = unit(1, 16)[0]
    with Gallery.open(on_qdrant("ties"), model=MODEL, near_duplicate=None) as gallery:
        gallery.enrol_many([NewSubject(f"s{i:04}", [Template(row, MODEL)]) for i in range(400, 0, -1)])
        found = gallery.search(Template(row, MODEL), max_rank=2)
        assert [c.subject_id for c in found] == ["s0400", "s0399"]


def test_what_is_expired_or_gone_hides_nobody(on_qdrant: Callable[..., str], unit: Rows) -> None:
    now = [1000.0]
    rows = unit(1, 16)[0] + 0.1 * unit(200, 16, seed=3)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    probe, soon = Template(unit(1, 16)[0], MODEL), datetime.fromtimestamp(2000, UTC)
    with Gallery.open(on_qdrant("gone"), model=MODEL, near_duplicate=None, clock=lambda: now[0]) as gallery:
        gallery.enrol_many(
            [NewSubject(f"s{i}", [Template(row, MODEL)], expires=soon if i % 4 else None) for i, row in enumerate(rows)]
        )
        everybody = [c.subject_id for c in gallery.search(probe, max_rank=200)]
        now[0] = 3000.0
        for subject in everybody[:3]:
            gallery.delete(subject)
        kept = [s for s in everybody[3:] if int(s[1:]) % 4 == 0]
        assert [c.subject_id for c in gallery.search(probe, max_rank=10)] == kept[:10]
        assert [c.subject_id for c in gallery.search(probe, max_rank=100)] == kept


def test_oversampling_searches_by_eight_bits(on_qdrant: Callable[..., str], unit: Rows, qdrant_server: Server) -> None:
    rows, probes = unit(1000, 64, seed=4), unit(20, 64, seed=5)
    exact_place = on_qdrant("quick")
    templates = [Template(probe, MODEL) for probe in probes]
    with Gallery.open(exact_place, model=MODEL, near_duplicate=None) as gallery:
        gallery.enrol_many([NewSubject(f"s{i}", [Template(row, MODEL)]) for i, row in enumerate(rows)])
    name = exact_place.rpartition("/")[2]
    assert qdrant_server.collections.optimize(f"{name}_rows_64")
    with Gallery.open(f"{exact_place}?oversampling=1", near_duplicate=None) as quick:
        before = len(qdrant_server.requests)
        measured = quick.recall(templates, max_rank=20)
        assert any(r.endswith("/points/query") for r in qdrant_server.requests[before:])
        assert 0.9 < measured.share <= 1
    with Gallery.open(exact_place, near_duplicate=None) as gallery:
        assert gallery.recall(templates, max_rank=20).share == 1
        expected = row_scores(rows, probes[0])
        assert gallery.search(templates[0], max_rank=1)[0].score == expected.max()
