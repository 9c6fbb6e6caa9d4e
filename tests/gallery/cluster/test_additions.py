"""Additions: what is there stays, and new faces go where grouping everything would put them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gallery.cluster.people import faces_of

from vultus.errors import BadArgument, BadTemplate
from vultus.gallery.cluster import add, group
from vultus.types import FloatArray

T = 0.45
ROWS, PERSON = faces_of(4, 6, 1, 9, 1, 3, spread=0.6, d=64)
OLD = np.flatnonzero(PERSON < 4)[::2]
NEW = np.setdiff1d(np.arange(len(PERSON)), OLD)


@st.composite
def piles(draw: st.DrawFn) -> tuple[FloatArray, FloatArray]:
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    rows, _ = faces_of(*sizes, spread=draw(st.sampled_from([0.5, 0.9, 1.3])), seed=draw(st.integers(0, 1000)))
    order = np.random.default_rng(draw(st.integers(0, 9))).permutation(len(rows))
    cut = draw(st.integers(0, len(rows)))
    return rows[order[:cut]], rows[order[cut:]]


@settings(max_examples=60)
@given(piles(), st.booleans())
def test_what_is_there_keeps_its_number_and_its_faces(pile: tuple[FloatArray, FloatArray], dim: bool) -> None:
    old, new = pile
    quality = np.linspace(0, 1, len(old) + len(new)) if dim else None
    first = group(old, threshold=T, quality=None if quality is None else quality[: len(old)], min_quality=0.3)
    grown = add(first, old, new, quality=quality, min_quality=0.3)
    placed = first.labels >= 0
    assert np.array_equal(grown.labels[: len(old)][placed], first.labels[placed])
    assert set(grown.labels) <= set(first.labels) | set(range(first.next_label, grown.next_label)) | {-1}
    assert (grown.threshold, grown.method) == (first.threshold, first.method)
    again = add(grown, np.concatenate(pile), new[:0], quality=quality, min_quality=0.3)
    assert np.array_equal(again.labels[grown.labels >= 0], grown.labels[grown.labels >= 0])


def test_new_faces_join_their_people_and_open_groups() -> None:
    first = group(ROWS[OLD], threshold=T)
    grown = add(first, ROWS[OLD], ROWS[NEW])
    person = np.concatenate([PERSON[OLD], PERSON[NEW]])
    assert len(grown.ids) == len(np.unique(person))
    for label in grown.ids:
        assert len(np.unique(person[grown.members(label)])) == 1
    opened = set(person[grown.labels >= first.next_label])
    assert opened == set(person) - set(PERSON[OLD])


def test_groups_that_are_there_are_not_joined_by_what_comes_between() -> None:
    rows, _ = faces_of(6, spread=0.6, d=64)
    apart = group(
        rows[:4], threshold=T, cannot_link=[(i, j) for i in (0, 1) for j in (2, 3)], must_link=[(0, 1), (2, 3)]
    )
    assert len(apart.ids) == 2
    grown = add(apart, rows[:4], rows[4:])
    assert len(grown.ids) == 2
    assert len(group(rows, threshold=T, known=apart).ids) == 1


def test_links_join_groups_and_name_the_larger() -> None:
    first = group(ROWS, threshold=T)
    a, b = np.flatnonzero(PERSON == 0), np.flatnonzero(PERSON == 1)
    for options in ({"must_link": [(a[0], b[0])]}, {"persons": np.isin(np.arange(len(ROWS)), [a[0], b[0]]) - 1}):
        grown = add(first, ROWS, ROWS[:0], **options)
        assert set(grown.labels[[*a, *b]]) == {first.labels[b[0]]}


def test_new_faces_obey_links_and_photos() -> None:
    first = group(ROWS[OLD], threshold=T)
    twin = np.repeat(ROWS[OLD[:1]], 2, axis=0)
    n = len(OLD)
    both = add(first, ROWS[OLD], twin)
    assert both.labels[n] == both.labels[n + 1] == first.labels[0]
    photos = add(first, ROWS[OLD], twin, photos=[*range(n), n, n])
    assert sorted(np.equal(photos.labels[n:], first.labels[0]).tolist()) == [False, True]
    apart = add(first, ROWS[OLD], twin, cannot_link=[(n, 0)])
    assert apart.labels[n] != first.labels[0]


def test_unsure_faces_are_looked_at_again() -> None:
    a, b, c = np.eye(3)
    between = 0.55 * a + np.sqrt(1 - 0.55**2) * c
    rows = np.array([a, a, b, b, between], dtype=np.float32)
    first = group(rows, threshold=0.56)
    assert first.labels.tolist() == [0, 0, 1, 1, -1]
    more = np.array([0.5 * a + np.sqrt(0.75) * c], dtype=np.float32)
    assert add(first, rows, more).labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_faces_that_stay_are_as_sure_as_before() -> None:
    a, b = np.eye(2)
    rows = np.array([a, 0.8 * a + 0.6 * b, b, b], dtype=np.float32)  # the second face is like both groups
    between = group(rows, threshold=0.5)
    again = add(between, rows, rows[:0])
    assert between.labels.tolist() == again.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(again.confidences, between.confidences, atol=1e-6)
    told = group(rows, threshold=0.5, cannot_link=[(1, 2), (1, 3)])
    assert between.confidences[1] < told.confidences[1]  # nobody said that the other group is no choice


def test_quality_and_confidence_act() -> None:
    first = group(ROWS[OLD], threshold=T)
    quality = np.array([1.0] * len(OLD) + [0.0] * len(NEW))
    dim = add(first, ROWS[OLD], ROWS[NEW], quality=quality)
    assert dim.next_label == first.next_label
    assert len(dim.unsure) > 0
    assert len(add(first, ROWS[OLD], ROWS[NEW], quality=quality, min_quality=-1.0).unsure) == 0
    assert len(add(first, ROWS[OLD], ROWS[NEW], min_confidence=0.999999).unsure) > 0


@pytest.mark.parametrize("empty", [True, False])
def test_additions_to_nothing_are_a_first_run(empty: bool) -> None:
    rows = ROWS[:0] if empty else ROWS
    first = group(rows[:0], threshold=T)
    assert np.array_equal(add(first, rows[:0], rows).labels, group(rows, threshold=T).labels)


def test_bad_input() -> None:
    first = group(ROWS[OLD], threshold=T)
    with pytest.raises(BadArgument, match="5 rows for"):
        add(first, ROWS[:5], ROWS[NEW])
    with pytest.raises(BadTemplate, match=r"expected \(n, 64\)"):
        add(first, ROWS[OLD], np.eye(3))
    with pytest.raises(BadTemplate, match="NaN"):
        add(first, ROWS[OLD], np.full((1, 64), np.nan))
    cases: list[dict[str, Any]] = [{"cannot_link": [(0, 1)]}, {"persons": [1, 2] + [-1] * (len(ROWS) - 2)}]
    for options in cases:
        with pytest.raises(BadArgument, match="group everything again"):
            add(first, ROWS[OLD], ROWS[NEW], **options)
