"""The result, and numbers that stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument
from vultus.gallery.cluster import Groups
from vultus.gallery.cluster.stable import matched
from vultus.types import IntArray

LABELS = st.lists(st.integers(-1, 5), max_size=12).map(lambda x: np.array(x, dtype=np.int64))


def groups_of(labels: list[int], next_label: int | None = None) -> Groups:
    n = max([*labels, -1]) + 1 if next_label is None else next_label
    return Groups(np.array(labels), np.linspace(0, 1, len(labels), dtype=np.float32), "average", 0.5, n)


def test_what_it_tells() -> None:
    groups = groups_of([4, -1, 2, 4, -1, 7])
    assert len(groups) == 6
    assert groups.ids.tolist() == [2, 4, 7]
    assert groups.sizes.tolist() == [1, 2, 1]
    assert groups.unsure.tolist() == [1, 4]
    assert groups.members(4).tolist() == [0, 3]
    assert groups.members(5).tolist() == []
    assert groups.partition().tolist() == [4, 8, 2, 4, 9, 7]
    assert groups.labels.tolist() == [4, -1, 2, 4, -1, 7]


def test_at() -> None:
    moved = groups_of([3, -1, 1], 9).at([2, -1, 0, 1])
    assert moved.labels.tolist() == [1, -1, 3, -1]
    assert moved.confidences.tolist() == [1.0, 0.0, 0.0, 0.5]
    assert moved.next_label == 9
    assert len(groups_of([0]).at([])) == 0
    for wrong in ([3], [-2]):
        with pytest.raises(BadArgument, match="expected -1 to 2"):
            groups_of([0, 1, 2]).at(wrong)


@pytest.mark.parametrize(
    ("labels", "confidences", "next_label"),
    [([0, 1], [1.0], 2), ([[0]], [[1.0]], 1), ([0, 2], [1, 1], 2), ([-2], [1], 0), ([0], [1.5], 1), ([0], [np.nan], 1)],
)
def test_what_does_not_belong_together_is_refused(labels: list[int], confidences: list[float], next_label: int) -> None:
    with pytest.raises(BadArgument):
        Groups(np.array(labels), np.array(confidences, dtype=np.float32), "average", 0.5, next_label)


def test_numbers_go_to_the_largest_share() -> None:
    known = np.array([5, 5, 5, 6, 6, -1, -1])
    labels = np.array([0, 0, 1, 1, 2, 2, 3])
    assert matched(labels, known, next_label=9)[0].tolist() == [5, 5, 6, 6, 9, 9, 10]
    merged = np.zeros(7, dtype=np.int64)
    assert matched(merged, known, next_label=9)[0].tolist() == [5] * 7


@given(LABELS, st.data())
def test_matching_keeps_the_partition_and_uses_no_number_twice(labels: IntArray, data: st.DataObject) -> None:
    known = np.array(
        data.draw(st.lists(st.integers(-1, 5), min_size=len(labels), max_size=len(labels))), dtype=np.int64
    )
    found, after = matched(labels, known, next_label=6)
    assert np.array_equal(found == -1, labels == -1)
    assert (
        len({*zip(labels.tolist(), found.tolist(), strict=True)})
        == len(set(labels.tolist()))
        == len(set(found.tolist()))
    )
    assert all(-1 <= x < after for x in found)
    fresh = sorted(x for x in set(found.tolist()) if x >= 6)
    assert fresh == list(range(6, after))


@given(LABELS)
def test_matching_with_itself_changes_nothing(labels: IntArray) -> None:
    found, after = matched(labels, labels, next_label=6)
    assert np.array_equal(found, labels)
    assert after == 6
