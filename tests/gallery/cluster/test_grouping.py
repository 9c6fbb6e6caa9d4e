"""Grouping: laws that hold whatever the faces, what each option does, and bad input."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from tests.gallery.cluster.people import faces_of

from vultus.errors import BadArgument, BadTemplate, NoThreshold
from vultus.gallery.cluster import Groups, group
from vultus.gallery.cluster.grouping import METHODS, Method
from vultus.types import FloatArray, IntArray, Threshold

T = 0.45
CLEAR, PERSON = faces_of(4, 6, 1, 9, 1, spread=0.6, d=64)
HARD, _ = faces_of(4, 6, 1, 9, 1, 3, spread=1.2, seed=4)


def same(one: IntArray, other: IntArray) -> bool:
    return bool(adjusted_rand_score(one, other) == 1.0)


@st.composite
def piles(draw: st.DrawFn) -> FloatArray:
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    return faces_of(*sizes, spread=draw(st.sampled_from([0.5, 0.9, 1.3])), seed=draw(st.integers(0, 1000)))[0]


@st.composite
def linked_piles(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(piles())
    n = len(rows)
    place = st.integers(0, n - 1)
    pair = st.tuples(place, place)
    must = draw(st.lists(pair, max_size=3))
    party = np.arange(n)
    for one, other in must:
        party[party == party[one]] = party[other]
    cannot = [(a, b) for a, b in draw(st.lists(pair, max_size=6)) if party[a] != party[b]]
    photos = draw(st.lists(st.integers(0, 2 * n), min_size=n, max_size=n))
    return {"vectors": rows, "must_link": must, "cannot_link": cannot, "photos": photos}


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_people_who_are_far_apart_are_found_by_every_method(method: Method) -> None:
    groups = group(CLEAR, threshold=T, method=method, crowd=2)
    assert same(groups.partition(), PERSON)
    assert groups.method == method
    assert len(groups.unsure) == 0
    assert groups.confidences.min() > 0.9


def test_the_list_of_methods_is_complete() -> None:
    assert get_args(Method) == METHODS
    assert len(METHODS) == 5


@settings(max_examples=40)
@given(piles(), st.randoms(use_true_random=False), st.sampled_from(["geometric", "average", "density", "components"]))
def test_the_order_of_the_faces_does_not_matter(rows: FloatArray, random: Any, method: Method) -> None:
    order = np.array(random.sample(range(len(rows)), len(rows)))
    one, other = group(rows, threshold=T, method=method), group(rows[order], threshold=T, method=method)
    assert same(one.partition()[order], other.partition())
    assert np.array_equal(one.labels[order] == -1, other.labels == -1)
    np.testing.assert_allclose(one.confidences[order], other.confidences, atol=1e-4)


@settings(max_examples=40)
@given(piles(), st.data())
def test_copies_of_a_face_join_it(rows: FloatArray, data: st.DataObject) -> None:
    copied = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4)))
    labels = group(np.concatenate([rows, rows[copied]]), threshold=T, min_confidence=0).labels
    assert np.array_equal(labels[copied], labels[len(rows) :])


@settings(max_examples=60)
@given(linked_piles(), st.sampled_from(METHODS), st.booleans())
def test_links_always_hold(pile: dict[str, Any], method: Method, dim: bool) -> None:
    n = len(pile["vectors"])
    quality = np.linspace(0, 1, n) if dim else None
    groups = group(**pile, threshold=0.3, method=method, quality=quality, min_quality=0.5)
    labels = groups.labels
    assert all(labels[a] == labels[b] for a, b in pile["must_link"])
    assert all(labels[a] != labels[b] or labels[a] == -1 for a, b in pile["cannot_link"])
    party = np.arange(n)
    for one, other in pile["must_link"]:
        party[party == party[one]] = party[other]
    photos = np.array(pile["photos"])
    for i in range(n):
        others = (photos == photos[i]) & (labels == labels[i]) & (labels[i] != -1)
        assert set(party[others]) <= {party[i]}


@settings(max_examples=20)
@given(linked_piles(), st.sampled_from(METHODS))
def test_the_same_call_gives_the_same_groups(pile: dict[str, Any], method: Method) -> None:
    one, other = group(**pile, threshold=T, method=method), group(**pile, threshold=T, method=method)
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.confidences, other.confidences)


@settings(max_examples=30)
@given(linked_piles())
def test_a_second_run_keeps_all_numbers(pile: dict[str, Any]) -> None:
    first = group(**pile, threshold=T)
    again = group(**pile, threshold=T, known=first)
    assert np.array_equal(first.labels, again.labels)
    assert again.next_label == first.next_label


# --- options ----------------------------------------------------------------------------------------------------------


def test_faces_of_one_photo_stay_apart_unless_linked() -> None:
    twin = np.repeat(CLEAR[:1], 2, axis=0)
    assert group(twin, threshold=T).labels.tolist() == [0, 0]
    apart = group(twin, threshold=T, photos=["a.jpg", "a.jpg"])
    assert apart.labels.tolist() == [0, 1]
    assert apart.confidences.min() > 0.9  # the other one is no choice, so nothing speaks against it
    mirror = group(twin, threshold=T, photos=["a.jpg", "a.jpg"], must_link=[(0, 1)])
    assert mirror.labels.tolist() == [0, 0]


def test_a_link_joins_strangers_and_their_groups_follow() -> None:
    a, b = np.flatnonzero(PERSON == 0), np.flatnonzero(PERSON == 1)
    every = [(a[0], i) for i in [*a[1:], *b]]
    groups = group(CLEAR, threshold=T, must_link=every)
    assert len(set(groups.labels[[*a, *b]])) == 1
    assert len(groups.ids) == len(np.unique(PERSON)) - 1


def test_persons_are_together_and_apart() -> None:
    persons = np.full(len(PERSON), -1)
    a = np.flatnonzero(PERSON == 0)
    persons[a[:2]], persons[a[2:]] = 7, 3
    labels = group(CLEAR, threshold=T, persons=persons).labels
    assert labels[a[0]] == labels[a[1]] != labels[a[2]] == labels[a[3]]
    lone = np.flatnonzero(PERSON == 2)[0]
    persons[lone] = 7
    assert group(CLEAR, threshold=T, persons=persons).labels[lone] == labels[a[0]]


def test_dim_faces_open_no_group_and_join_what_they_resemble() -> None:
    quality = np.ones(len(PERSON))
    first, lone = np.flatnonzero(PERSON == 1)[0], np.flatnonzero(PERSON == 2)[0]
    quality[[first, lone]] = 0.2
    groups = group(CLEAR, threshold=T, quality=quality, min_quality=0.3)
    assert groups.unsure.tolist() == [lone]
    assert groups.labels[first] == groups.labels[first + 1]
    assert len(group(CLEAR, threshold=T, quality=quality, min_quality=0.1).unsure) == 0
    assert len(group(CLEAR, threshold=T, quality=quality * 0, min_quality=0.1).unsure) == len(PERSON)


def test_dim_faces_do_not_shape_a_group() -> None:
    rows, _ = faces_of(5, 2, spread=0.3, d=64)
    bridge = rows[0] + rows[5]
    pile = np.concatenate([rows, [bridge / np.linalg.norm(bridge)]]).astype(np.float32)
    quality = np.array([1.0] * 7 + [0.0])
    assert len(np.unique(group(pile, threshold=0.5, method="components").labels[:7])) == 1
    assert len(np.unique(group(pile, threshold=0.5, method="components", quality=quality).labels[:7])) == 2


def test_two_dim_faces_of_one_photo_do_not_both_join() -> None:
    rows = np.repeat(CLEAR[:1], 4, axis=0)
    groups = group(rows, threshold=T, quality=[1, 1, 0, 0], photos=[0, 1, 2, 2])
    assert sorted(groups.labels.tolist()) == [-1, 0, 0, 0]


def test_linked_faces_are_grouped_whatever_their_quality() -> None:
    quality = np.zeros(len(PERSON))
    groups = group(CLEAR, threshold=T, quality=quality, must_link=[(0, 1)])
    assert groups.labels[0] == groups.labels[1] != -1


def test_min_confidence_makes_faces_between_groups_unsure() -> None:
    a, b, c = np.eye(3)
    near = 0.55 * a + np.sqrt(1 - 0.55**2) * c  # 0.55 with both faces of a, below the threshold
    rows = np.array([a, a, b, b, near], dtype=np.float32)
    assert group(rows, threshold=0.56).labels.tolist() == [0, 0, 1, 1, -1]
    assert group(rows, threshold=0.56, min_confidence=0.5).labels.tolist() == [0, 0, 1, 1, 2]
    assert group(rows, threshold=0.75).labels.tolist() == [0, 0, 1, 1, 2]
    assert group(rows, threshold=0.75, min_confidence=0.9999).unsure.tolist() == [4]


def test_confidence_is_the_logistic_of_the_margin() -> None:
    a, b, c = np.eye(3)
    own = 0.8 * a + 0.6 * c
    other = 0.9 * b + np.sqrt(1 - 0.81) * a
    rows = np.array([a, own, b, other], dtype=np.float32)
    groups = group(rows, threshold=0.5)
    assert groups.labels.tolist() == [0, 0, 1, 1]
    scores = rows.astype(np.float64) @ rows.T
    for face, mate, rest in ((0, 1, (2, 3)), (1, 0, (2, 3)), (2, 3, (0, 1)), (3, 2, (0, 1))):
        mean = rows[list(rest)].mean(axis=0).astype(np.float64)
        best = rows[face] @ mean / np.sqrt(np.linalg.norm(mean))
        margin = (scores[face, mate] - max(0.5, best)) / 0.05
        assert groups.confidences[face] == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-5)


def test_seed_and_crowd_act() -> None:
    runs = {tuple(group(HARD, threshold=0.2, method="whispers", seed=s).labels.tolist()) for s in range(8)}
    assert len(runs) > 1
    crowds = {tuple(group(HARD, threshold=0.35, method="density", crowd=c).labels.tolist()) for c in (2, 5)}
    assert len(crowds) == 2
    assert len({tuple(group(HARD, threshold=0.35, seed=s, crowd=s + 1).labels.tolist()) for s in range(3)}) == 1


def test_thresholds_come_from_the_model_and_the_number_of_faces(thresholds: tuple[Threshold, ...]) -> None:
    few, many = group(CLEAR[:4], thresholds=thresholds), group(CLEAR, thresholds=thresholds)
    assert few.threshold < many.threshold < 0.9
    assert group(CLEAR, thresholds=thresholds, rate=0.1).threshold < many.threshold
    model = "sface-2021dec@fb143eea0783+yunet-2023mar@49f000ec501f+arcface-112/2"
    assert 0.3 < group(CLEAR, model=model).threshold < 0.47
    with pytest.raises(NoThreshold, match="no thresholds are known for the model 'other'"):
        group(CLEAR, model="other")


def test_numbers_stay_when_faces_come_go_and_move() -> None:
    first = group(CLEAR, threshold=T)
    order = np.array([i for i in np.random.default_rng(0).permutation(len(CLEAR)) if PERSON[i] != 1])
    new, _ = faces_of(3, spread=0.3, d=64, seed=99)
    where = np.concatenate([order, [-1, -1, -1]])
    again = group(np.concatenate([CLEAR[order], new]), threshold=T, known=first.at(where))
    assert np.array_equal(again.labels[: len(order)], first.labels[order])
    assert set(again.labels[len(order) :]) == {first.next_label}  # the number of the person who left is not used again
    assert again.next_label == first.next_label + 1


def test_numbers_after_a_split_and_a_merge() -> None:
    first = group(CLEAR, threshold=T)
    nine = np.flatnonzero(PERSON == 3)
    cannot = [(i, j) for i in nine[:2] for j in nine[2:]]
    split = group(CLEAR, threshold=T, known=first, must_link=[nine[:2]], cannot_link=cannot)
    assert set(split.labels[nine[2:]]) == set(first.labels[nine])
    assert set(split.labels[nine[:2]]) == {first.next_label}
    back = group(CLEAR, threshold=T, known=split)
    assert np.array_equal(back.labels, first.labels)
    assert back.next_label == first.next_label + 1


# --- bad input --------------------------------------------------------------------------------------------------------


def test_nothing_and_one_face() -> None:
    none = group(np.zeros((0, 64), dtype=np.float32), threshold=T)
    assert (len(none), none.next_label) == (0, 0)
    assert none.ids.tolist() == none.sizes.tolist() == none.partition().tolist() == []
    one = group(CLEAR[:1], threshold=T, photos=["x"], quality=[1.0])
    assert (one.labels.tolist(), one.confidences.tolist()) == ([0], [1.0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(4), r"shape \(4,\)"),
        (np.ones((2, 3, 4)), "shape"),
        (np.array([[np.nan, 0.0], [1.0, 0.0]]), "NaN"),
        (np.array([[0.0, 0.0], [1.0, 0.0]]), "length 0"),
        (np.array([[3.0, 4.0]]), "length 5"),
    ],
)
def test_bad_rows(rows: FloatArray, message: str) -> None:
    with pytest.raises(BadTemplate, match=message):
        group(rows, threshold=T)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"method": "kmeans"}, "method is 'kmeans'"),
    ({"threshold": None}, "exactly one of"),
    ({"model": "x"}, "exactly one of"),
    ({"threshold": 1.5}, "threshold is 1.5"),
    ({"photos": [1, 2]}, "photos has shape"),
    ({"quality": [1.0]}, "quality has shape"),
    ({"quality": [np.nan] * 21}, "none of them NaN"),
    ({"min_confidence": 1.0}, "min_confidence is 1.0"),
    ({"seed": -1}, "seed is -1"),
    ({"crowd": 0}, "crowd is 0"),
    ({"must_link": [(0, 21)]}, "must_link names the faces 0 to 21"),
    ({"must_link": [(0, -1)]}, "must_link names the faces -1 to 0"),
    ({"cannot_link": [(0, 1, 2)]}, "cannot_link has shape"),
    ({"cannot_link": [(0.0, 1.0)]}, "cannot_link has shape"),
    ({"cannot_link": [(2, 2)]}, "faces 2 and 2 must be apart"),
    ({"cannot_link": [(2, 4)], "must_link": [(2, 3), (3, 4)]}, "faces 2 and 4 must be apart"),
    ({"persons": [1, 2]}, "persons has shape"),
    ({"persons": [-2] * 21}, "expected"),
    ({"persons": [1, 2] + [-1] * 19, "must_link": [(0, 1)]}, "faces 0 and 1 show two persons"),
    ({"known": Groups(np.zeros(30, dtype=np.int64), np.ones(30, dtype=np.float32), "x", 0.5, 1)}, "known has 30 faces"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        group(CLEAR, **({"threshold": T} | options))


def test_arguments_are_not_written_to() -> None:
    rows, links = CLEAR.copy(), np.array([[0, 1]])
    rows.flags.writeable = links.flags.writeable = False
    group(rows, threshold=T, must_link=links, photos=np.arange(len(rows)))
    assert np.array_equal(rows, CLEAR)
