"""The few things asked of Qdrant do what the rest relies on: asked of Qdrant's own engine, through the server's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.gallery.qdrant_server import Server

from vultus.errors import GalleryCorrupt, GalleryUnavailable
from vultus.gallery.qdrant.address import parse_address
from vultus.gallery.qdrant.points import Point, Points, among, at_most, equal
from vultus.gallery.search import rounding
from vultus.types import FloatArray


@pytest.fixture
def points(on_qdrant: Callable[..., str]) -> Iterator[Points]:
    made = Points(parse_address(on_qdrant("points")))
    yield made
    made.close()


@pytest.fixture
def records(points: Points) -> str:
    name = points.address.records
    assert not points.exists(name)
    points.make_records(name, words=("kind", "stamp"), numbers=("subject",))
    points.make_records(name, words=("kind", "stamp"), numbers=("subject",))  # harmless where it is there
    assert points.exists(name)
    return name


def test_what_is_written_is_read(points: Points, records: str) -> None:
    payload = {"kind": "a", "subject": (1 << 62) + 1, "text": "ä\U0001f600\u200d\n'\"", "none": None, "list": [1 << 62]}
    points.insert(records, [Point((1 << 62) + 3, payload), Point(7, {"kind": "b"})])
    assert [(p.id, p.payload) for p in points.scroll(records)] == [(7, {"kind": "b"}), ((1 << 62) + 3, payload)]
    assert [p.payload for p in points.scroll(records, equal("kind", "a"), fields=["text"])] == [
        {"text": payload["text"]}
    ]
    assert points.count(records) == 2
    assert points.count(records, among("subject", [(1 << 62) + 1, 5])) == 1
    found = points.latest(records, 7)
    assert found is not None
    assert found.payload == {"kind": "b"}
    assert points.latest(records, 8) is None


def test_pages_and_parts_hold_everything(points: Points, records: str) -> None:
    points.insert(records, [Point(i, {"kind": "n", "subject": i}) for i in range(2301)])
    assert [p.id for p in points.scroll(records, equal("kind", "n"))] == list(range(2301))
    assert [p.id for p in points.scroll(records, at_most("subject", 2))] == [0, 1, 2]
    points.delete(records, list(range(1, 2301)))
    points.delete(records, [5])  # gone already
    assert [p.id for p in points.scroll(records)] == [0]
    points.delete_where(records, equal("subject", 0))
    assert points.count(records) == 0


def test_a_replacement_happens_where_the_condition_holds(points: Points, records: str) -> None:
    points.insert_unless_there(records, Point(0, {"stamp": "a"}))
    points.insert_unless_there(records, Point(0, {"stamp": "z"}))
    points.insert(records, [Point(1, {"stamp": "a"})])
    points.replace_where(records, 0, {"stamp": "b", "n": 1}, equal("stamp", "a"))
    points.replace_where(records, 0, {"stamp": "c", "n": 2}, equal("stamp", "a"))
    assert [p.payload for p in points.scroll(records)] == [{"stamp": "b", "n": 1}, {"stamp": "a"}]


def test_collections_are_made_as_the_address_says(on_qdrant: Callable[..., str], qdrant_server: Server) -> None:
    points = Points(parse_address(on_qdrant("made", shards="6", replicas="3")))
    bodies: list[dict[str, Any]] = []

    def seen(method: str, path: str, body: dict[str, Any]) -> None:
        if method == "PUT" and path.count("/") == 2:
            bodies.append(body)

    qdrant_server.fault_before = seen
    try:
        points.make_records(points.address.records, words=(), numbers=())
        points.make_rows(points.address.rows(4), 4, numbers=())
    finally:
        qdrant_server.fault_before = None
        points.close()
    for body in bodies:
        assert (body["shard_number"], body["replication_factor"], body["write_consistency_factor"]) == (6, 3, 3)
        assert body["hnsw_config"]["m"] == 0
    assert bodies[1]["vectors"] == {"size": 4, "distance": "Dot"}
    assert bodies[1]["quantization_config"]["scalar"]["type"] == "int8"
    assert len(bodies) == 2


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=arrays(np.float32, 8, elements=st.floats(-4, 4, width=32, allow_subnormal=True)))
def test_rows_come_back_to_the_bit(points: Points, row: FloatArray) -> None:
    name = points.address.rows(8)
    points.make_rows(name, 8, numbers=())
    points.insert(name, [Point(5, {}, row)])
    found = points.with_vectors(name, [5, 6])
    assert list(found) == [5]
    assert found[5].vector is not None
    assert found[5].vector.tobytes() == row.tobytes()


@pytest.mark.parametrize("dimension", [8, 128, 512])
def test_products_are_off_by_less_than_the_bound(
    points: Points, unit: Callable[..., FloatArray], dimension: int
) -> None:
    rows, probe = unit(400, dimension, seed=1), unit(1, dimension, seed=2)[0]
    name = points.address.rows(dimension)
    points.make_rows(name, dimension, numbers=())
    points.insert(name, [Point(i, {"subject": i}, row) for i, row in enumerate(rows)])
    exact = rows.astype(np.float64) @ probe.astype(np.float64)
    found = points.nearest(name, probe, 400, above=None, oversampling=None)
    assert [p.id for p in found] == sorted(range(400), key=lambda i: -found_score(found, i))
    assert len(found) == 400
    assert max(abs(p.score - exact[p.id]) for p in found) < rounding(dimension)
    limit = float(np.sort(exact)[-20])
    above = points.nearest(name, probe, 400, above=limit - 2 * rounding(dimension), oversampling=None)
    assert {p.id for p in above} >= set(np.flatnonzero(exact >= limit).tolist())
    assert len(above) <= 22
    assert all(p.vector is not None and p.vector.tobytes() == rows[p.id].tobytes() for p in above)


def found_score(found: list[Point], number: int) -> float:
    return next(p.score for p in found if p.id == number)


def test_after_closing_nothing_is_answered(points: Points, records: str) -> None:
    points.close()
    with pytest.raises(GalleryUnavailable, match="is closed; open it again"):
        points.count(records)


def test_a_point_of_another_program_is_named(points: Points, records: str, qdrant_server: Server) -> None:
    import qdrant_edge as edge

    other = edge.Point("5c56c793-69f3-4fbf-87e6-c4bf54c28c26", {}, {})
    qdrant_server.collections.shard(records).update(edge.UpdateOperation.upsert_points([other]))
    with pytest.raises(GalleryCorrupt, match="another program's"):
        list(points.scroll(records))
