"""Servers that fail, stop, refuse or only follow: typed errors, nothing lost, and all goes on afterwards."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from vultus import Template
from vultus.errors import (
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryFull,
    GalleryReadOnly,
    GalleryUnavailable,
)
from vultus.gallery import Gallery

if TYPE_CHECKING:
    from tests.gallery.postgres_server import Server

Make = Callable[..., Template]
Address = Callable[..., str]
ENDED = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'vultus'"


@pytest.fixture
def gallery(on_server: Address, template: Make) -> Iterator[Gallery]:
    address = on_server("g", partitions="1")
    with Gallery.open(address, model=template(0).model_id, near_duplicate=None, busy_seconds=0.2) as opened:
        opened.enrol("ada", template(1))
        yield opened


@pytest.fixture
def name(gallery: Gallery) -> str:
    return gallery.name.rpartition("gallery=")[2]


def enrolled(gallery: Gallery) -> set[str]:
    return {s.subject_id for s in gallery.subjects()}


@pytest.mark.parametrize("when", ["at once", "at the commit"])
@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("53100", GalleryFull),
        ("58030", GalleryUnavailable),
        ("57014", GalleryBusy),
        ("25006", GalleryReadOnly),
        ("XX001", GalleryCorrupt),
    ],
)
def test_every_table_may_fail(
    server: Server, gallery: Gallery, name: str, template: Make, state: str, error: type[GalleryError], when: str
) -> None:
    kind, deferred = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if when == "at the commit" else ("", "")
    with server.connect() as connection:
        connection.execute(f"SET search_path = {name}, public")
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'made to fail' USING ERRCODE = '{state}'; END $$"
        )
        for table in ("operations", "subjects", "templates", "halves_0", "requests", "state"):
            connection.execute(
                f"CREATE {kind} TRIGGER broken AFTER INSERT OR UPDATE OR DELETE ON {table} {deferred} "
                "FOR EACH ROW EXECUTE FUNCTION fail()"
            )
            with pytest.raises(error, match="made to fail"):
                gallery.enrol("bo", [template(2), template(3)], idempotency_key="k")
            assert enrolled(gallery) == {"ada"}  # reading goes on
            assert gallery.identify(template(1), threshold=0.99)
            assert not gallery.identify(template(2), threshold=0.99)
            connection.execute(f"DROP TRIGGER broken ON {table}")
    assert not gallery.enrol("bo", [template(2), template(3)], idempotency_key="k").replayed
    assert gallery.stats().revision == 2
    assert gallery.verify_integrity().ok


def test_a_session_that_was_ended_while_idle_is_replaced(server: Server, gallery: Gallery, template: Make) -> None:
    for i in range(3):
        with server.connect() as connection:
            assert connection.execute(ENDED).fetchall()
        gallery.enrol(f"s{i}", template(10 + i))
        with server.connect() as connection:
            connection.execute(ENDED)
        assert gallery.identify(template(10 + i), threshold=0.99)[0].subject_id == f"s{i}"


def test_a_session_that_is_ended_in_the_middle_of_a_change(server: Server, gallery: Gallery, template: Make) -> None:
    def change(writes: object) -> None:
        writes.delete("ada")  # type: ignore[attr-defined]
        with server.connect() as connection:
            connection.execute(ENDED)
        writes.rename("ada", "x")  # type: ignore[attr-defined]

    with pytest.raises(GalleryUnavailable, match="try again"):
        gallery._engine.write(change)
    assert enrolled(gallery) == {"ada"}

    def read() -> None:
        with gallery._engine.reading() as reads, server.connect() as connection:
            connection.execute(ENDED)
            reads.totals()

    with pytest.raises(GalleryUnavailable):
        read()
    assert gallery.delete("ada").templates == 1


def test_a_server_that_stops_and_one_that_crashes(server: Server, gallery: Gallery, template: Make) -> None:
    for number, how in enumerate((signal.SIGINT, signal.SIGQUIT)):
        gallery.enrol(f"s{number}", template(20 + number))
        server.stop(how)
        for attempt in (lambda: len(gallery), lambda: gallery.enrol("bo", template(2)), lambda: gallery.erase()):
            with pytest.raises(GalleryUnavailable):
                attempt()
        assert not gallery.verify_integrity().ok
        server.start()
        assert enrolled(gallery) == {"ada", *(f"s{i}" for i in range(number + 1))}  # what was acknowledged is there
    assert gallery.verify_integrity().ok


def test_a_user_who_may_only_read(
    server: Server, gallery: Gallery, name: str, on_server: Address, template: Make
) -> None:
    with server.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {name} TO reader")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO reader")
    with Gallery.open(on_server("g").replace("postgres@", "reader@")) as reader:
        assert reader.identify(template(1), threshold=0.99)[0].subject_id == "ada"
        with pytest.raises(GalleryReadOnly, match="permission denied"):
            reader.enrol("bo", template(2))
        assert enrolled(reader) == {"ada"}


def test_a_table_that_is_missing(server: Server, gallery: Gallery, name: str, template: Make) -> None:
    with server.connect() as connection:
        connection.execute(f"DROP TABLE {name}.halves")
    for attempt in (lambda: gallery.search(template(1)), lambda: gallery.enrol("bo", template(2))):
        with pytest.raises(GalleryCorrupt, match="restore a backup"):
            attempt()
    assert not gallery.verify_integrity().ok
    with server.connect() as connection:
        connection.execute(f"DELETE FROM {name}.state")
    with pytest.raises(GalleryCorrupt, match="state is missing"):
        gallery.search(template(1))


def test_a_standby_is_read(server: Server, gallery: Gallery, name: str, template: Make) -> None:
    from tests.gallery.postgres_server import Server as Another
    from tests.gallery.postgres_server import binaries, server_folder

    with server_folder() as folder:
        standby = Another(folder, binaries())
        standby.copy_of(server)
        standby.start("-c", "fsync=off")
        try:
            with Gallery.open(standby.address(name), near_duplicate=None) as copy:
                assert copy.identify(template(1), threshold=0.99)[0].subject_id == "ada"
                with pytest.raises(GalleryReadOnly):
                    copy.enrol("bo", template(2))
                gallery.enrol("cy", template(3))
                deadline = time.monotonic() + 20
                while "cy" not in copy and time.monotonic() < deadline:
                    time.sleep(0.02)
                assert copy.identify(template(3), threshold=0.99)[0].subject_id == "cy"
                (problem,) = copy.verify_integrity().problems
                assert "fsync off" in problem
        finally:
            standby.stop(signal.SIGQUIT)
