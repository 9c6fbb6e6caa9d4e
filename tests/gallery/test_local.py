"""The gallery in a file: what only that engine has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vultus import Template
from vultus.errors import GalleryBusy
from vultus.gallery import Gallery
from vultus.gallery.local import LocalEngine

Make = Callable[..., Template]


@pytest.fixture
def engine(gallery: Gallery) -> LocalEngine:
    assert isinstance(gallery._engine, LocalEngine)
    return gallery._engine


def test_integrity_names_what_is_wrong(gallery: Gallery, engine: LocalEngine, template: Make) -> None:
    gallery.enrol("ada", template(1))
    gallery.search(template(1))
    assert engine.store._writer is not None
    connection = engine.store._writer.connection
    connection.execute("UPDATE templates SET expires = 5")
    assert "not in the index as it is in the store" in gallery.verify_integrity().problems[0]
    connection.execute("UPDATE templates SET checksum = 5")
    assert "not what was written" in gallery.verify_integrity().problems[0]


def test_a_deletion_that_cannot_be_erased_at_once_is_done_all_the_same(
    gallery: Gallery, engine: LocalEngine, template: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enrol("ada", template(1))
    gallery.enrol("bo", template(2))
    with engine.reading() as reads:
        assert reads.revision() == 2  # somebody who still reads the state before
        assert not gallery.delete("ada").erased
    assert "ada" not in gallery
    assert gallery.delete("bo").erased

    def busy(*_: object) -> None:
        raise GalleryBusy("busy")

    gallery.enrol("cy", template(3))
    monkeypatch.setattr(type(engine.index), "erase", busy)
    assert not gallery.delete("cy").erased
    assert "cy" not in gallery
