"""The methods against scikit-learn, SciPy, brute force and worked graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score
from tests.gallery.cluster.people import faces_of

from vultus.gallery.cluster.components import components
from vultus.gallery.cluster.constraints import NO_MARKS, Marks, clashes, joined, numbered
from vultus.gallery.cluster.density import density
from vultus.gallery.cluster.graph import Edges, Nodes, similar, sums_by
from vultus.gallery.cluster.linkage import absorbed, average, geometric, linked
from vultus.gallery.cluster.whispers import whispers
from vultus.types import Float64Array, FloatArray, IntArray

T = 0.4
METHODS = (components, whispers, density, average, geometric)


def nodes_of(rows: FloatArray, marks: dict[int, set[int]] | None = None) -> Nodes:
    own = {} if marks is None else marks
    given = tuple(frozenset(own[i]) if i in own else NO_MARKS for i in range(len(rows)))
    return Nodes(rows.astype(np.float64), np.ones(len(rows), dtype=np.intp), given)


def same(one: IntArray, other: IntArray) -> bool:
    """Whether two labellings are one partition."""
    return len(one) == len(other) and (len(one) == 0 or adjusted_rand_score(one, other) == 1.0)


# A blurred border between people, so that the methods have something to decide.
HARD = [faces_of(1, 2, 3, 5, 8, 13, 8, 5, spread=s, seed=i) for i, s in enumerate((0.6, 0.9, 1.1, 1.3))]


# --- the graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "_"), HARD)
def test_edges_are_all_pairs_that_reach_the_floor(rows: FloatArray, _: IntArray) -> None:
    edges = similar(rows, floor=T)
    first, second = np.nonzero(np.triu(rows @ rows.T >= T, 1))
    assert sorted(zip(edges.first, edges.second, strict=True)) == sorted(zip(first, second, strict=True))
    np.testing.assert_allclose(edges.scores, np.einsum("ed,ed->e", rows[edges.first], rows[edges.second]), atol=1e-6)


def test_a_node_with_many_neighbours_looks_at_its_best_ones() -> None:
    rows, _ = HARD[0]
    edges = similar(rows, floor=-1.0, neighbours=3)
    scores = rows @ rows.T
    np.fill_diagonal(scores, -2)
    best = np.argsort(-scores, axis=1)[:, :3]
    wanted = {(min(i, j), max(i, j)) for i in range(len(rows)) for j in best[i].tolist()}
    assert set(zip(edges.first.tolist(), edges.second.tolist(), strict=True)) == wanted


def test_only_leaves_out_pairs_of_unmarked_nodes() -> None:
    rows, _ = HARD[1]
    only = np.arange(len(rows)) % 3 == 0
    every, some = similar(rows, floor=T), similar(rows, floor=T, only=only)
    kept = only[every.first] | only[every.second]
    assert sorted(zip(some.first, some.second, strict=True)) == sorted(
        zip(every.first[kept], every.second[kept], strict=True)
    )
    assert 0 < len(some) < len(every)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = HARD[2]
    whole = similar(rows, floor=T)
    monkeypatch.setattr("vultus.gallery.cluster.graph._BLOCK", 7 * len(rows))
    parts = similar(rows, floor=T)
    assert np.array_equal(whole.first, parts.first)
    assert np.array_equal(whole.second, parts.second)


def test_rows_that_cancel_out_have_no_neighbours() -> None:
    nodes = Nodes(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), np.array([2, 1, 1]), (NO_MARKS,) * 3)
    edges = similar(nodes.templates, floor=0.1)
    assert list(zip(edges.first.tolist(), edges.second.tolist(), strict=True)) == [(1, 2)]


def test_sums_by_label() -> None:
    rows = np.arange(12.0).reshape(6, 2)
    labels = np.array([2, 0, 2, 4, 0, 2])
    wanted = np.zeros((5, 2))
    np.add.at(wanted, labels, rows)
    np.testing.assert_array_equal(sums_by(labels, rows, 5), wanted)
    assert sums_by(labels[:0], rows[:0], 2).tolist() == [[0, 0], [0, 0]]


# --- the methods ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_joined_is_connected_components(count: int, pairs: list[tuple[int, int]]) -> None:
    links = np.array([(a % count, b % count) for a, b in pairs], dtype=np.intp).reshape(-1, 2)
    matrix = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count))
    found = joined(count, links[:, 0], links[:, 1])
    assert same(found, connected_components(matrix, directed=False)[1])
    assert all(found[i] == np.flatnonzero(found == found[i])[0] for i in range(count))


@pytest.mark.parametrize(("rows", "_"), HARD)
@pytest.mark.parametrize("t", [0.3, 0.45, 0.6])
def test_components_are_those_of_scipy(rows: FloatArray, _: IntArray, t: float) -> None:
    wanted = connected_components(rows @ rows.T >= t, directed=False)[1]
    assert same(components(nodes_of(rows), similar(rows, floor=0.2), threshold=t), wanted)


@pytest.mark.parametrize(("rows", "_"), HARD)
@pytest.mark.parametrize("t", [0.3, 0.45, 0.6])
@pytest.mark.parametrize("crowd", [2, 3, 5])
def test_density_is_dbscan_on_cores_and_noise(rows: FloatArray, _: IntArray, t: float, crowd: int) -> None:
    scores = rows @ rows.T
    wanted = DBSCAN(eps=1 - t, min_samples=crowd, metric="precomputed").fit(np.maximum(1 - scores, 0))
    found = density(nodes_of(rows), similar(rows, floor=0.2), threshold=t, crowd=crowd)
    core = wanted.core_sample_indices_
    assert same(found[core], wanted.labels_[core])
    alone = np.bincount(found)[found] == 1
    assert np.array_equal(np.flatnonzero(alone), np.flatnonzero(wanted.labels_ == -1))
    np.fill_diagonal(scores, -2)
    for i in np.setdiff1d(np.flatnonzero(~alone), core):  # DBSCAN leaves it open which crowd they join
        assert found[i] == found[core[np.argmax(scores[i, core])]]


@pytest.mark.parametrize(("with_first", "with_second", "joins"), [(0.5, 0.6, 4), (0.6, 0.5, 0)])
def test_a_node_between_two_crowds_joins_the_more_similar(with_first: float, with_second: float, joins: int) -> None:
    pairs = [(i, j) for crowd in (range(4), range(4, 8)) for i in crowd for j in crowd if i < j]
    first, second = np.array([*pairs, (0, 8), (4, 8)]).T
    scores = np.array([0.9] * len(pairs) + [with_first, with_second], dtype=np.float32)
    found = density(nodes_of(np.eye(9, dtype=np.float32)), Edges(first, second, scores), threshold=0.4, crowd=4)
    assert len(np.unique(found)) == 2
    assert found[8] == found[joins]


@pytest.mark.parametrize(("rows", "_"), HARD)
@pytest.mark.parametrize("t", [0.2, 0.3, 0.45, 0.6])
def test_average_is_the_cut_of_the_whole_tree(rows: FloatArray, _: IntArray, t: float) -> None:
    distances = np.maximum(1 - rows.astype(np.float64) @ rows.T.astype(np.float64), 0)
    wanted = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - t, metric="precomputed", linkage="average"
    ).fit_predict(distances)
    assert same(average(nodes_of(rows), similar(rows, floor=t), threshold=t), wanted)


def link(rows: FloatArray | Float64Array, one: IntArray, other: IntArray, exponent: float) -> float:
    """The link of two groups from the scores of all pairs, their own included."""
    own = [(rows[g] @ rows[g].T).mean() for g in (one, other)]
    return float((rows[one] @ rows[other].T).mean() / (own[0] * own[1]) ** (exponent / 2))


@pytest.mark.parametrize(("rows", "_"), HARD)
@pytest.mark.parametrize("exponent", [0.0, 0.5])
@pytest.mark.parametrize("t", [0.35, 0.5])
def test_linked_is_greedy_agglomeration_by_brute_force(
    rows: FloatArray, _: IntArray, exponent: float, t: float
) -> None:
    rows = rows[::2]
    exact = rows.astype(np.float64)
    groups = [np.array([i]) for i in range(len(rows))]
    while len(groups) > 1:
        pairs = [(link(exact, a, b, exponent), i, j) for j, b in enumerate(groups) for i, a in enumerate(groups[:j])]
        best, i, j = max(pairs)
        if best < t:
            break
        groups[i] = np.concatenate([groups[i], groups.pop(j)])
    wanted = np.zeros(len(rows), dtype=np.intp)
    for number, members in enumerate(groups):
        wanted[members] = number
    found = linked(nodes_of(rows), similar(rows, floor=0.1), threshold=t, exponent=exponent)
    assert same(found, wanted)


def test_neighbours_that_the_graph_left_out_are_found() -> None:
    rows, person = faces_of(40, 40, spread=0.5)
    few = similar(rows, floor=T, neighbours=1)
    assert len(np.unique(components(nodes_of(rows), few, threshold=T))) > 2
    assert same(geometric(nodes_of(rows), few, threshold=T), person)


@pytest.mark.parametrize("t", [0.3, 0.5])
@pytest.mark.parametrize(("rows", "_"), HARD)
def test_no_two_groups_of_the_result_reach_the_threshold(rows: FloatArray, _: IntArray, t: float) -> None:
    found = linked(nodes_of(rows), similar(rows, floor=t), threshold=t, exponent=0.5)
    groups = [np.flatnonzero(found == g) for g in np.unique(found)]
    assert len(groups) > 1
    assert max(link(rows, a, b, 0.5) for j, b in enumerate(groups) for a in groups[:j]) < t + 1e-6


def test_a_face_alone_joins_the_template_of_three() -> None:
    a, b = np.eye(3)[0], np.eye(3)[1]
    group = [a * 0.8 + s * b * 0.6 for s in (1, -1, 1)]  # mean (0.8, 0.2), template score of a: 0.97
    rows = np.array([*group, a], dtype=np.float32)
    three, two = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2])
    assert absorbed(nodes_of(rows), three, threshold=0.9).tolist() == [0, 0, 0, 0]
    assert absorbed(nodes_of(rows), three, threshold=0.98).tolist() == [0, 0, 0, 1]
    assert absorbed(nodes_of(rows), two, threshold=0.9).tolist() == [0, 0, 1, 2]
    assert absorbed(nodes_of(rows, {0: {7}, 3: {7}}), three, threshold=0.9).tolist() == [0, 0, 0, 1]


def test_whispers_on_worked_graphs() -> None:
    bridge = Edges(
        np.array([0, 0, 1, 3, 3, 4, 2]), np.array([1, 2, 2, 4, 5, 5, 3]), np.array([0.9] * 6 + [0.5], dtype=np.float32)
    )
    nodes = nodes_of(np.eye(6, dtype=np.float32))
    assert whispers(nodes, bridge, threshold=0.4).tolist() == [0, 0, 0, 1, 1, 1]
    assert components(nodes, bridge, threshold=0.4).tolist() == [0] * 6
    assert whispers(nodes, bridge, threshold=0.95).tolist() == [0, 1, 2, 3, 4, 5]


def test_whispers_stop_after_their_rounds_and_follow_their_seed() -> None:
    rows, _ = HARD[2]
    nodes, edges = nodes_of(rows), similar(rows, floor=0.25)
    assert np.array_equal(
        whispers(nodes, edges, threshold=0.25, seed=3), whispers(nodes, edges, threshold=0.25, seed=3)
    )
    seeds = [tuple(whispers(nodes, edges, threshold=0.25, seed=s).tolist()) for s in range(8)]
    assert len(set(seeds)) > 1
    none = whispers(nodes, edges, threshold=0.25, rounds=0)
    assert none.tolist() == list(range(len(rows)))


# --- what must stay apart ---------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 5), st.sampled_from(METHODS), st.sampled_from([0.2, 0.4, 0.6]), st.integers(2, 12))
def test_nodes_with_a_common_mark_are_never_together(
    seed: int, method: Callable[..., IntArray], t: float, kinds: int
) -> None:
    rows, _ = faces_of(3, 6, 9, 2, spread=1.0, seed=seed)
    random = np.random.default_rng(seed)
    marks = {int(i): set(random.integers(0, kinds, 2).tolist()) for i in random.permutation(20)[:12]}
    nodes = nodes_of(rows, marks)
    found = method(nodes, similar(rows, floor=t), threshold=t)
    assert not clashes(found, nodes.marks).any()
    assert np.array_equal(found, numbered(found))


def test_a_chain_is_cut_where_it_is_weakest() -> None:
    chain = Edges(np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([0.9, 0.5, 0.8], dtype=np.float32))
    nodes = nodes_of(np.eye(4, dtype=np.float32), {0: {1}, 3: {1}})
    assert components(nodes, chain, threshold=0.4).tolist() == [0, 0, 1, 1]
    other = Edges(chain.first, chain.second, np.array([0.5, 0.9, 0.8], dtype=np.float32))
    assert components(nodes, other, threshold=0.4).tolist() == [0, 1, 1, 1]


def test_clashes_finds_the_groups_that_hold_a_mark_twice() -> None:
    marks: tuple[Marks, ...] = (frozenset({1}), NO_MARKS, frozenset({1, 2}), frozenset({2}), frozenset({2}))
    assert clashes(np.array([0, 0, 0, 1, 2]), marks).tolist() == [True, True, True, False, False]
    assert clashes(np.array([0, 0, 1, 2, 2]), marks).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("method", METHODS)
def test_methods_take_nothing_and_one(method: Callable[..., IntArray]) -> None:
    for n in (0, 1):
        rows = np.eye(4, dtype=np.float32)[:n]
        assert method(nodes_of(rows), similar(rows, floor=T), threshold=T).tolist() == [0][:n]


@pytest.mark.parametrize("method", METHODS)
def test_methods_find_people_who_are_far_apart(method: Callable[..., IntArray]) -> None:
    rows, person = faces_of(4, 6, 3, 9, spread=0.4)
    assert same(method(nodes_of(rows), similar(rows, floor=0.6), threshold=0.6), person)
