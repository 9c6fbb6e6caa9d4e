"""One change at a time, whole or not at all: whoever dies, whatever arrives late, whatever is not answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.gallery.conftest import MODEL
from tests.gallery.qdrant_server import Server

from vultus import Template
from vultus.errors import GalleryBusy, GalleryCorrupt, GalleryTooNew, GalleryUnavailable, SubjectExists, VultusError
from vultus.gallery import Gallery
from vultus.gallery.qdrant.address import parse_address
from vultus.gallery.qdrant.head import HEAD, PLACES, Head, Heads, new_head
from vultus.gallery.qdrant.points import Point, Points, equal
from vultus.gallery.qdrant.turns import Turns
from vultus.gallery.qdrant.writes import Writes
from vultus.gallery.records import NewTemplate

Make = Callable[..., Template]


@pytest.fixture
def address(on_qdrant: Callable[..., str]) -> str:
    return on_qdrant("turns")


@pytest.fixture
def gallery(address: str) -> Iterator[Gallery]:
    with Gallery.open(address, model=MODEL, near_duplicate=None, busy_seconds=0.3) as opened:
        yield opened


@pytest.fixture
def heads(address: str, gallery: Gallery) -> Iterator[Heads]:
    """Of the same gallery, as another process has it."""
    points = Points(parse_address(address))
    yield Heads(points)
    points.close()


def written(heads: Heads, templates: list[NewTemplate], subject: str = "late") -> Head:
    """What a process leaves that dies after it has written everything but the head."""
    turn = Turns(heads, busy_seconds=1)._take(time.monotonic() + 1)  # and it is never given back
    writes = Writes(heads, turn, time.time)
    writes.enrol(subject, templates, name=None, request=None)
    made = writes.finish()
    assert made is not None
    return made


def run_out(heads: Heads) -> None:
    """The time of whoever has the head is over."""
    head = heads.read()
    assert heads.replace(head, replace(head.changed(), held_until=time.time() - 1))


def rows_of(heads: Heads, ticket: int) -> int:
    return sum(heads.points.count(name, equal("ticket", ticket)) for name in collections(heads))


def collections(heads: Heads) -> list[str]:
    dimension = heads.read().dimension
    assert dimension is not None
    return [heads.points.address.records, heads.points.address.rows(dimension)]


def test_what_was_not_committed_does_not_show_and_is_cleared(
    gallery: Gallery, heads: Heads, template: Make, new: Callable[..., list[NewTemplate]]
) -> None:
    gallery.enrol("ada", template(1))
    left = written(heads, new(2, seed=7))
    assert rows_of(heads, left.given) == 5
    assert [s.subject_id for s in gallery.subjects()] == ["ada"]
    assert [c.subject_id for c in gallery.search(template(7))] == ["ada"]
    with pytest.raises(GalleryBusy, match=r"another process has been changing it for 0\.3 s"):
        gallery.enrol("bo", template(2))
    run_out(heads)
    gallery.enrol("late", template(2))
    assert rows_of(heads, left.given) == 0
    assert heads.read().void == {left.given}
    assert sorted(s.subject_id for s in gallery.subjects()) == ["ada", "late"]
    assert gallery.verify_integrity().problems == ()


def test_what_arrives_late_does_not_show(gallery: Gallery, heads: Heads, template: Make) -> None:
    gallery.enrol("ada", template(1))
    left = written(heads, [NewTemplate(template(8).vector.tobytes())])
    records = list(heads.points.scroll(heads.points.address.records, equal("ticket", left.given)))
    rows = list(heads.points.scroll(heads.points.address.rows(16), equal("ticket", left.given), vectors=True))
    run_out(heads)
    gallery.enrol("bo", template(2))
    assert rows_of(heads, left.given) == 0
    heads.points.insert(heads.points.address.rows(16), rows)
    heads.points.insert(heads.points.address.records, records)
    heads.offer(left, left)  # and the commit of a process that has lost its turn
    assert [c.subject_id for c in gallery.search(template(8))] != ["late"]
    assert "late" not in gallery
    assert len(gallery) == 2
    assert gallery.verify_integrity().problems == ()
    gallery.erase()
    assert rows_of(heads, left.given) == 0


def test_a_turn_that_was_lost_changes_nothing(gallery: Gallery, heads: Heads, template: Make) -> None:
    gallery.enrol("ada", template(1))
    with Turns(heads, busy_seconds=1).taken() as turn:
        writes = Writes(heads, turn, time.time)
        writes.enrol("slow", [NewTemplate(template(3).vector.tobytes())], name=None, request=None)
        made = writes.finish()
        assert made is not None
        run_out(heads)
        gallery.delete("ada")
        with pytest.raises(GalleryBusy, match="another process has taken over"):
            turn.commit(made)
    assert list(gallery.subjects()) == []
    assert gallery.enrol("ada", template(1)).revision == 3
    assert gallery.verify_integrity().problems == ()


def test_a_deletion_that_was_committed_is_finished_by_the_next(
    gallery: Gallery, heads: Heads, template: Make, address: str, qdrant_server: Server
) -> None:
    gallery.enrol("ada", [template(1), template(2)])
    gallery.enrol("bo", template(3))

    def fails(method: str, path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        return (503, "the server goes down") if path.endswith("points/delete") else None

    qdrant_server.fault_before = fails
    try:
        assert gallery.delete("ada").templates == 2
        assert heads.points.count(heads.points.address.rows(16)) == 3
        assert [c.subject_id for c in gallery.search(template(1))] == ["bo"]
        assert [s.subject_id for s in gallery.subjects()] == ["bo"]
        assert gallery.verify_integrity().problems == ()
    finally:
        qdrant_server.fault_before = None
    run_out(heads)
    gallery.rename("bo", "Bo")
    assert heads.points.count(heads.points.address.rows(16)) == 1
    assert heads.read().removed == frozenset()
    assert heads.read().void == frozenset()


@pytest.mark.parametrize("applied", [False, True])
def test_a_commit_without_an_answer_is_looked_up(
    gallery: Gallery, template: Make, qdrant_server: Server, applied: bool
) -> None:
    gallery.enrol("ada", template(1))
    failed: list[str] = []

    def fails(method: str, path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        if path.endswith("points/payload") and body["payload"]["subjects"] == 2 and not failed:
            failed.append(path)
            return -1, ""  # the connection is lost
        return None

    if applied:
        qdrant_server.fault_after = fails
    else:
        qdrant_server.fault_before = fails
    try:
        if applied:
            assert gallery.enrol("bo", template(2)).revision == 2
        else:
            with pytest.raises(GalleryUnavailable, match="cannot be reached"):
                gallery.enrol("bo", template(2))
    finally:
        qdrant_server.fault_before = qdrant_server.fault_after = None
    assert failed
    assert ("bo" in gallery) is applied
    if not applied:
        gallery.enrol("bo", template(2))
    assert gallery.verify_integrity().problems == ()
    assert len(gallery) == 2


def test_a_commit_that_cannot_be_looked_up_says_so(gallery: Gallery, template: Make, qdrant_server: Server) -> None:
    gallery.enrol("ada", template(1))
    down: list[str] = []

    def fails(method: str, path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        if down or (path.endswith("points/payload") and body["payload"]["subjects"] == 2):
            down.append(path)
            return 500, "Service internal error: down"
        return None

    qdrant_server.fault_after = fails
    try:
        with pytest.raises(GalleryUnavailable, match="is not known; repeat it with its idempotency key"):
            gallery.enrol("bo", template(2), idempotency_key="bo-1")
    finally:
        qdrant_server.fault_after = None
    again = gallery.enrol("bo", template(2), idempotency_key="bo-1")
    assert again.replayed
    assert again.revision == 2


@pytest.mark.parametrize("part", ["rows", "records"])
def test_a_change_that_fails_in_its_middle_is_none(
    gallery: Gallery, heads: Heads, template: Make, qdrant_server: Server, part: str
) -> None:
    def fails(method: str, path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        wrong = method == "PUT" and part in path and path.endswith("/points")
        return (500, "Service internal error: No space left on device: WAL buffer size") if wrong else None

    for first in (True, False):  # the first change of all makes the collection of the rows as well
        qdrant_server.fault_before = fails
        try:
            with pytest.raises(VultusError) as problem:
                gallery.enrol("ada" if first else "bo", [template(1), template(2)])
            assert problem.value.code == "gallery_full"
        finally:
            qdrant_server.fault_before = None
        assert len(gallery) == (0 if first else 1)
        gallery.enrol("ada" if first else "bo", [template(1), template(2)])
        assert heads.points.count(heads.points.address.rows(16)) == (2 if first else 4)
        assert gallery.verify_integrity().problems == ()


def test_a_change_that_is_refused_costs_no_ticket(gallery: Gallery, heads: Heads, template: Make) -> None:
    gallery.enrol("ada", template(1))
    before = heads.read()
    for _ in range(3):
        with pytest.raises(SubjectExists):
            gallery.enrol("ada", template(2))
    assert gallery.purge().templates == 0
    after = heads.read()
    assert (after.given, after.void, after.holder) == (before.given, before.void, "")


def test_a_long_change_keeps_its_turn(gallery: Gallery, heads: Heads, template: Make) -> None:
    with Turns(heads, busy_seconds=1).taken() as turn:
        before = turn.head
        turn.extend()
        assert turn.head is before
        turn.head = replace(before, held_until=time.time() + 1)
        turn.extend()
        assert turn.head.held_until > time.time() + 10
        assert heads.read().held_until == pytest.approx(turn.head.held_until, abs=1e-3)


def test_a_clock_that_is_wrong_holds_nobody_up(gallery: Gallery, heads: Heads, template: Make) -> None:
    head = heads.read()
    assert heads.replace(head, replace(head.changed(), holder="x", held_until=time.time() + 86_400))
    assert gallery.enrol("ada", template(1)).revision == 1


def test_threads_take_turns(gallery: Gallery, template: Make, address: str) -> None:
    with Gallery.open(address, near_duplicate=None, busy_seconds=30) as patient:
        threads = [
            threading.Thread(target=lambda i=i: [patient.enrol(f"{i}-{k}", template(i)) for k in range(4)])
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(patient) == 16
        assert patient.stats().revision == 16


def test_the_head_is_checked(heads: Heads) -> None:
    name, head = heads.points.address.records, heads.read()
    payload: dict[str, Any] = {"stamp": "x", "format": 2}
    heads.points.replace_where(name, HEAD, payload, equal("stamp", head.stamp))
    with pytest.raises(GalleryTooNew, match="version 2"):
        heads.read()
    heads.points.replace_where(name, HEAD, {"stamp": "y", "format": 1}, equal("stamp", "x"))
    with pytest.raises(GalleryCorrupt, match="head is damaged"):
        heads.read()
    heads.points.delete(name, [HEAD])
    with pytest.raises(GalleryCorrupt, match="head is missing"):
        heads.read()


def test_what_a_head_shows() -> None:
    head = replace(new_head("m"), committed=3, given=4, void=frozenset({2}), removed=frozenset({(1 << PLACES) + 7}))
    shown = [ticket for ticket in range(6) if head.shows((ticket << PLACES) + 5)]
    assert shown == [1, 3]
    assert not head.shows((1 << PLACES) + 7)
    assert not head.shows(HEAD)
    assert head.changed().stamp != head.stamp


def test_a_change_of_too_many_points_is_refused(
    gallery: Gallery, template: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vultus.errors import BadArgument

    monkeypatch.setattr("vultus.gallery.qdrant.writes.MOST", 3)
    with pytest.raises(BadArgument, match="divide it"):
        gallery.enrol("ada", [template(i) for i in range(3)])
    assert gallery.enrol("ada", [template(i) for i in range(2)]).revision == 1


def test_points_of_one_change_are_sent_in_portions(
    gallery: Gallery, template: Make, monkeypatch: pytest.MonkeyPatch, heads: Heads
) -> None:
    from vultus.gallery import NewSubject

    monkeypatch.setattr("vultus.gallery.qdrant.writes._GATHERED", 5)
    gallery.enrol_many([NewSubject(f"s{i}", [template(i)]) for i in range(12)])
    assert len(gallery) == 12
    with pytest.raises(SubjectExists):
        gallery.enrol_many([NewSubject(f"s{i}", [template(i)]) for i in range(30, 10, -1)])
    assert len(gallery) == 12
    assert heads.points.count(heads.points.address.rows(16)) == 12
    with pytest.raises(SubjectExists):
        gallery.enrol_many([NewSubject(f"t{i % 10}", [template(i)]) for i in range(12)])
    assert gallery.verify_integrity().problems == ()


def test_one_point_that_is_no_records(heads: Heads) -> None:
    heads.make(new_head("another"))  # there is one already
    assert heads.read().model_id == MODEL
    assert Point(1, {}).vector is None
