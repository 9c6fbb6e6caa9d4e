"""Disks that are full, fail or cannot be written, at every call: typed errors, nothing lost, and all goes on afterwards."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from tests.gallery.gallery_vfs import Fault, watched

from vultus import Template
from vultus.errors import GalleryError, GalleryFull, GalleryReadOnly, GalleryUnavailable
from vultus.gallery import Gallery
from vultus.gallery.index import Index
from vultus.gallery.local import LocalEngine
from vultus.gallery.store import Store

Make = Callable[..., Template]
EXPECTED = {apsw.FullError: GalleryFull, apsw.IOError: GalleryUnavailable, apsw.ReadOnlyError: GalleryReadOnly}


def opened(path: Path, model: str, vfs: str) -> Gallery:
    store = Store.open(path, model=model, vfs=vfs)
    index = Index(store, worth_a_file=10**6)
    return Gallery(
        LocalEngine(store, index), thresholds=(), searches=(), by="max", near_duplicate=None, clock=lambda: 0.0
    )


def enrolled(gallery: Gallery) -> set[str]:
    return {s.subject_id for s in gallery.subjects()}


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Fault]:
    broken = Fault(apsw.FullError)
    with watched("faulty", fault=broken):
        yield broken


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (apsw.FullError, ("write",)),
        (apsw.IOError, ("write",)),
        (apsw.IOError, ("sync",)),
        (apsw.IOError, ("truncate", "delete")),
        (apsw.ReadOnlyError, ("write",)),
    ],
)
def test_every_call_may_fail(
    path: Path, template: Make, fault: Fault, error: type[apsw.Error], kinds: tuple[str, ...], lasting: bool
) -> None:
    model = template(0).model_id
    at, fired = 0, 0
    while True:
        file = path.with_name(f"{at}.db")
        fault.at, fault.seen, fault.lasting = -1, 0, lasting
        gallery = opened(file, model, "faulty")
        gallery.enrol("ada", template(1))
        fault.error, fault.kinds, fault.at, fault.seen, fault.fired = error, kinds, at, 0, False
        acknowledged = {"ada"}
        for number, name in enumerate(("bo", "cy", "di")):
            try:
                gallery.enrol(name, [template(100 + 10 * number + i) for i in range(3)])
                acknowledged.add(name)
            except EXPECTED[error]:
                assert fault.fired
            assert enrolled(gallery) == acknowledged  # reads go on
            assert bool(gallery.identify(template(1), threshold=0.99)) == ("ada" in acknowledged)
            if name == "bo":
                try:
                    gallery.delete("ada")
                    acknowledged.discard("ada")
                except GalleryError:
                    assert fault.fired
        fault.at = -1
        gallery.enrol("later", template(77))  # without opening it again
        acknowledged.add("later")
        assert enrolled(gallery) == acknowledged
        assert gallery.verify_integrity().ok
        gallery.close()
        again = Store.open(file)
        with again.reading() as reads:
            assert {s.subject_id for s in reads.subjects()} == acknowledged
            assert reads.structure() == []
        again.close()
        fired += fault.fired
        if not fault.fired:
            break
        at += 1
    assert fired >= (1 if "truncate" in kinds else 4)


def test_a_gallery_that_cannot_be_made_leaves_a_typed_error(path: Path, template: Make, fault: Fault) -> None:
    at = 0
    while True:
        fault.error, fault.kinds, fault.at, fault.seen, fault.fired = apsw.FullError, ("write",), at, 0, False
        file = path.with_name(f"{at}.db")
        try:
            opened(file, "m", "faulty").close()
        except GalleryFull:
            assert fault.fired
            fault.at = -1
            opened(file, "m", "faulty").close()  # when there is room again
        if not fault.fired:
            break
        at += 1
    assert at > 5


def test_a_file_that_cannot_be_opened_to_write_is_read(
    gallery: Gallery, template: Make, path: Path, fault: Fault
) -> None:
    gallery.enrol("ada", template(1))
    gallery.close()
    fault.error, fault.kinds, fault.at, fault.lasting = apsw.CantOpenError, ("open",), 0, True
    with pytest.raises(GalleryUnavailable):
        opened(path, template(0).model_id, "faulty")
    fault.at = -1
    reader = Gallery.open(path, read_only=True)
    assert reader.identify(template(1), threshold=0.9)
    reader.close()


def test_a_gallery_on_a_medium_where_no_log_can_be_made_is_read(
    gallery: Gallery, template: Make, path: Path, fault: Fault
) -> None:
    gallery.enrol("ada", template(1))
    gallery.close()
    fault.error, fault.kinds, fault.at = apsw.CantOpenError, ("open",), 1  # the log's, not the database's
    store = Store.open(path, read_only=True, vfs="faulty")
    assert fault.fired
    with store.reading() as reads:
        assert [s.subject_id for s in reads.subjects()] == ["ada"]
    store.close()


def test_an_index_that_cannot_be_written_is_done_without(
    store: Store, template: Make, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    index = Index(store, worth_a_file=1)
    gallery = Gallery(
        LocalEngine(store, index), thresholds=(), searches=(), by="max", near_duplicate=None, clock=lambda: 0.0
    )
    gallery.enrol("ada", template(1))
    gallery.enrol("bo", template(2))
    assert gallery.identify(template(2), threshold=0.9)[0].subject_id == "bo"
    assert gallery.delete("bo").erased
    assert not gallery.identify(template(2), threshold=0.9)
    index.save()
    assert not path.with_name("staff.db-index").exists()
    with pytest.raises(GalleryFull):
        gallery.export_archive(path.with_name("x.zip"))
