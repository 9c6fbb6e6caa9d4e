"""A gallery on Qdrant beside what holds on every engine: making, opening, checking, reading while others change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from tests.gallery.conftest import MODEL
from tests.gallery.qdrant_server import Server

from vultus import Template
from vultus.errors import (
    BadArgument,
    BadTemplate,
    ExtraMissing,
    GalleryBusy,
    GalleryCorrupt,
    GalleryMissing,
    GalleryReadOnly,
    GalleryUnavailable,
    ModelMismatch,
    SubjectUnknown,
)
from vultus.gallery import Gallery
from vultus.gallery.qdrant.address import parse_address
from vultus.gallery.qdrant.head import Heads
from vultus.gallery.qdrant.points import Point, Points
from vultus.gallery.qdrant.reads import Listing, Reads

Make = Callable[..., Template]


@pytest.fixture
def address(on_qdrant: Callable[..., str]) -> str:
    return on_qdrant("engine")


@pytest.fixture
def gallery(address: str) -> Iterator[Gallery]:
    with Gallery.open(address, model=MODEL, near_duplicate=None) as opened:
        yield opened


@pytest.fixture
def heads(address: str, gallery: Gallery) -> Iterator[Heads]:
    points = Points(parse_address(address))
    yield Heads(points)
    points.close()


def test_making_and_opening(address: str, template: Make) -> None:
    with pytest.raises(GalleryMissing, match="vultus gallery create"):
        Gallery.open(address)
    with pytest.raises(GalleryMissing):
        Gallery.open(address, model=MODEL, read_only=True)
    with pytest.raises(BadArgument, match="model_id"):
        Gallery.open(address, model="two\nlines")
    with pytest.raises(BadArgument, match="compress_from"):
        Gallery.open(address, model=MODEL, compress_from=None)
    with Gallery.open(address, model=MODEL) as made:
        assert made.path is None
        assert made.name == address
        made.enrol("ada", template(1))
    with pytest.raises(ModelMismatch, match="open it with that model"):
        Gallery.open(address, model="another")
    with Gallery.open(address, read_only=True) as reader:
        assert reader.model_id == MODEL
        assert reader.identify(template(1), threshold=0.9)[0].subject_id == "ada"
        with pytest.raises(GalleryReadOnly):
            reader.delete("ada")
    with pytest.raises(GalleryUnavailable, match="is closed"):
        len(reader)


def test_a_gallery_that_was_made_half_is_finished(address: str, template: Make) -> None:
    points = Points(parse_address(address))
    points.make_records(points.address.records, words=(), numbers=())
    with Gallery.open(address, model=MODEL) as opened:
        assert opened.enrol("ada", template(1)).revision == 1
    points.close()


def test_another_programs_collection_is_left_alone(address: str) -> None:
    points = Points(parse_address(address))
    name = points.address.records
    points.make_records(name, words=(), numbers=())
    points.insert(name, [Point(3, {"mine": 1})])
    with pytest.raises(GalleryCorrupt, match="another program's and no gallery"):
        Gallery.open(address, model=MODEL)
    assert points.count(name) == 1
    points.close()


def test_without_the_client_the_extra_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vultus\[qdrant\]'"):
        Gallery.open(address, model=MODEL)


def test_a_first_template_decides_the_dimension(gallery: Gallery, template: Make) -> None:
    gallery.enrol_blank("bo")
    assert gallery.stats().dimension is None
    gallery.enrol("ada", template(1, 24))
    with pytest.raises(BadTemplate, match="holds rows of 24"):
        gallery.enrol("cy", template(1, 16))
    with pytest.raises(BadTemplate, match="holds rows of 24"):
        gallery.search(template(1, 16))
    with pytest.raises(BadTemplate, match="at most 65,536"):
        Gallery.open(gallery.name + "-large", model=MODEL).enrol(
            "a", Template(np.eye(1, 65_537, dtype=np.float32)[0], MODEL)
        )
    stats = gallery.stats()
    assert (stats.store_bytes, stats.index_bytes) == (96, 24)


def test_everything_recorded_comes_back(gallery: Gallery, unit: Callable[..., Any]) -> None:
    rows = unit(2, 16, seed=3)
    rows[0, 3] = 0
    rows[0] /= np.linalg.norm(rows[0])
    rows[0, 3] = np.float32(1e-42)  # below the smallest normal number
    quality = 0.1 + 0.2
    gallery.enrol(
        "ada",
        [Template(row, MODEL, samples=3, quality=quality) for row in rows],
        name="Ada \U0001f600",
        consent="form 12",
        photo_sha256=["ab" * 32, None],
    )
    found = gallery.templates("ada")
    assert [t.vector.tobytes() for t in found if t.vector is not None] == [row.tobytes() for row in rows]
    assert [(t.quality, t.samples, t.consent, t.photo_sha256) for t in found] == [
        (quality, 3, "form 12", "ab" * 32),
        (quality, 3, "form 12", None),
    ]
    assert found[0].number < found[1].number


def test_numbers_survive_a_merge(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", template(1))
    gallery.enrol("bo", [template(2), template(3)])
    gallery.enrol_blank("cy")
    before = [t.number for t in gallery.templates("bo")]
    assert gallery.merge("ada", "bo") == 2
    assert gallery.merge("ada", "cy") == 1
    found = gallery.templates("ada")
    assert [t.number for t in found][1:3] == before
    assert gallery.subject("ada").blanks == 1
    assert gallery.verify_integrity().problems == ()
    gallery.delete_template("ada", before[0])
    assert gallery.search(template(2))[0].score < 0.99
    assert gallery.search(template(3))[0].subject_id == "ada"


def tampered(server: Server, name: str, operation: edge.UpdateOperation) -> None:
    server.collections.shard(name).update(operation)


def test_what_is_wrong_is_found(
    gallery: Gallery, template: Make, address: str, qdrant_server: Server, heads: Heads
) -> None:
    gallery.enrol("ada", [template(1), template(2)])
    gallery.enrol_many([])
    for seed in range(3, 6):
        gallery.enrol(f"s{seed}", template(seed))
    assert gallery.verify_integrity() == replace(gallery.verify_integrity(), problems=(), templates=5)
    records, rows = heads.points.address.records, heads.points.address.rows(16)
    first, second, third, *_ = heads.points.scroll(rows, vectors=True)
    change = edge.UpdateOperation
    wrong = template(9).vector.tolist()
    tampered(qdrant_server, rows, change.update_vectors([edge.PointVectors(first.id, wrong)]))
    with pytest.raises(GalleryCorrupt, match="not what was written"):
        gallery.search(Template(np.array(wrong, dtype=np.float32), MODEL))
    with pytest.raises(GalleryCorrupt, match="not what was written"):
        gallery.templates("ada")
    tampered(qdrant_server, rows, change.delete_points([second.id]))
    tampered(qdrant_server, rows, change.set_payload([third.id], {"subject": 5}))
    tampered(qdrant_server, rows, change.upsert_points([edge.Point(third.id + 17, wrong, {"subject": 5})]))
    problems = gallery.verify_integrity().problems
    numbers = {p.id: p.payload["number"] for p in heads.points.scroll(records) if p.payload["kind"] == "template"}
    assert f"the vector of template {numbers[first.id]} is not what was written" in problems
    assert f"template {numbers[second.id]} has no row that is searched" in problems
    assert f"template {numbers[third.id]} is not in the rows as it is in the records" in problems
    assert f"row {third.id + 17} is searched and has no template" in problems
    with pytest.raises(GalleryCorrupt, match=r"not what was written|is missing"):
        gallery.templates("ada")
    tampered(qdrant_server, rows, change.delete_points([third.id + 17]))
    subject = next(p for p in heads.points.scroll(records) if p.payload.get("id") == "s3")
    tampered(qdrant_server, records, change.delete_points([subject.id]))
    problems = gallery.verify_integrity().problems
    assert any("has no subject" in problem for problem in problems)
    assert any("were counted when written" in problem for problem in problems)
    gallery.delete("ada")
    with pytest.raises(GalleryCorrupt, match="others refer to"):
        gallery.search(template(4), max_rank=2)


def test_a_missing_collection_is_named(gallery: Gallery, template: Make, qdrant_server: Server) -> None:
    gallery.enrol("ada", template(1))
    qdrant_server.collections.drop(gallery.name.rpartition("/")[2] + "_rows")
    with pytest.raises(GalleryCorrupt, match="one of its collections is missing"):
        gallery.search(template(1))
    assert not gallery.verify_integrity().ok


def test_a_snapshot_stays_while_others_enrol_and_moves_when_they_remove(
    gallery: Gallery, heads: Heads, template: Make
) -> None:
    gallery.enrol("ada", template(1), name="Ada")
    gallery.enrol("bo", template(2))
    reads = Reads(heads, heads.read(), Listing())
    gallery.enrol("cy", template(3))
    gallery.add("ada", template(4))
    assert reads.totals().subjects == 2
    assert reads.subject("ada").templates == 1
    assert [s.subject_id for s in reads.subjects()] == ["ada", "bo"]
    with pytest.raises(SubjectUnknown):
        reads.subject_number("cy")
    bo = reads.subject_number("bo")
    gallery.rename("ada", "Countess")
    assert reads.subject("ada").name == "Countess"
    gallery.merge("ada", "bo")
    with pytest.raises(SubjectUnknown, match="any more"):
        list(reads.templates(bo))
    assert [s.subject_id for s in reads.subjects()] == ["ada", "cy"]
    everything = reads.everything()
    assert next(everything)[0] == "ada"
    stale = Reads(heads, heads.read(), Listing()).everything()
    gallery.delete("cy")
    with pytest.raises(GalleryBusy, match="changed while everything was read"):
        list(stale)


def test_a_search_during_a_merge_is_of_one_state(
    gallery: Gallery, template: Make, address: str, qdrant_server: Server
) -> None:
    gallery.enrol("ada", template(1))
    gallery.enrol("bo", template(2))
    done: list[str] = []

    def merges(method: str, path: str, body: dict[str, Any]) -> None:
        if path.endswith("/points/query") and not done:
            done.append(path)
            with Gallery.open(address, near_duplicate=None) as other:
                other.merge("ada", "bo")

    qdrant_server.fault_before = merges
    try:
        found = gallery.identify(template(2), threshold=0.99)
    finally:
        qdrant_server.fault_before = None
    assert done
    assert [c.subject_id for c in found] == ["ada"]
    assert found.revision == 3


def test_deletions_without_end_starve_nobody_who_may_write(
    gallery: Gallery, template: Make, address: str, qdrant_server: Server
) -> None:
    gallery.enrol("ada", template(1))
    other = Gallery.open(address, near_duplicate=None, busy_seconds=0)
    count = [0]
    wanted = "/points/query"

    def deletes(method: str, path: str, body: dict[str, Any]) -> None:
        listing = body.get("filter", {}).get("must", [{}, {}])[-1].get("match", {}).get("any") == ["ada"]
        if path.endswith(wanted) and (wanted.endswith("query") or listing):
            count[0] += 1
            try:
                other.enrol(f"x{count[0]}", template(5))
                other.delete(f"x{count[0]}")
            except GalleryBusy:  # the search has taken the turn
                count.append(count[0])

    qdrant_server.fault_before = deletes
    try:
        assert gallery.search(template(1))[0].subject_id == "ada"
        assert len(count) == 2
        with Gallery.open(address, read_only=True) as reader, pytest.raises(GalleryBusy, match="faster than"):
            reader.search(template(1))
        wanted = "/points/scroll"
        assert [s.subject_id for s in gallery.subjects()] == ["ada"]
        with Gallery.open(address, read_only=True) as reader, pytest.raises(GalleryBusy, match="faster than"):
            list(reader.subjects())
    finally:
        qdrant_server.fault_before = None
        other.close()
