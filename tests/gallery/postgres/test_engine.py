"""What only a gallery on a server has: its schema, several services, erasure, standby, and other people's databases."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vultus import Template
from vultus.errors import (
    ExtraMissing,
    GalleryBusy,
    GalleryCorrupt,
    GalleryMissing,
    GalleryReadOnly,
    GalleryTooNew,
    GalleryUnavailable,
)
from vultus.gallery import Gallery
from vultus.gallery.postgres import schema
from vultus.gallery.postgres.engine import PostgresEngine

if TYPE_CHECKING:
    from tests.gallery.postgres_server import Server

Make = Callable[..., Template]
Address = Callable[..., str]
ROOT = Path(__file__).parents[3]


def schema_of(address: str) -> str:
    return address.rpartition("gallery=")[2].partition("&")[0]


@pytest.fixture
def gallery(on_server: Address, template: Make) -> Iterator[Gallery]:
    with Gallery.open(on_server("g"), model=template(0).model_id, near_duplicate=None, busy_seconds=0.2) as opened:
        yield opened


@pytest.fixture
def name(gallery: Gallery) -> str:
    """Of the gallery's schema."""
    return schema_of(gallery.name)


def test_a_gallery_has_a_name_and_no_path(gallery: Gallery, name: str) -> None:
    assert gallery.path is None
    assert gallery.name.startswith("postgresql://")
    assert gallery.name.endswith(f"gallery={name}")
    assert "postgres@" not in gallery.name


def test_several_galleries_in_one_database(on_server: Address, template: Make) -> None:
    with Gallery.open(on_server("a"), model="m1") as one, Gallery.open(on_server("b"), model="m2") as other:
        one.enrol("ada", template(1, model_id="m1"))
        assert (len(one), len(other)) == (1, 0)
        assert (one.model_id, other.model_id) == ("m1", "m2")


def test_what_is_not_there_is_made_only_for_a_model(server: Server, on_server: Address) -> None:
    for options in ({}, {"read_only": True, "model": "m"}):
        with pytest.raises(GalleryMissing, match="vultus gallery create"):
            Gallery.open(on_server("none"), **options)  # type: ignore[arg-type]
    with server.connect() as connection:
        query = "SELECT count(*) FROM pg_namespace WHERE nspname = %s"
        assert connection.execute(query, (schema_of(on_server("none")),)).fetchone() == (0,)


def test_other_peoples_schemas_are_left_alone(server: Server, on_server: Address) -> None:
    address = on_server("other")
    with server.connect() as connection:
        connection.execute(f"CREATE SCHEMA {schema_of(address)} CREATE TABLE facts (a int)")
        with pytest.raises(GalleryCorrupt, match="another program"):
            Gallery.open(address, model="m")
        connection.execute(f"DROP TABLE {schema_of(address)}.facts")
    Gallery.open(address, model="m").close()  # an empty schema that an administrator has made


def test_databases_that_cannot_hold_a_gallery(server: Server, on_server: Address) -> None:
    with server.connect() as connection:
        for database, options in (("bare", ""), ("latin", "ENCODING 'LATIN1' TEMPLATE template0")):
            connection.execute(f"CREATE DATABASE {database} {options}")
            address = on_server("g").replace("/postgres?", f"/{database}?")
            with pytest.raises(GalleryUnavailable, match=r"CREATE EXTENSION vector|UTF8"):
                Gallery.open(address, model="m")
    with pytest.raises(GalleryUnavailable, match="nowhere"):
        Gallery.open(on_server("g").replace("/postgres?", "/nowhere?"), model="m")


def test_versions(
    server: Server, on_server: Address, template: Make, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = on_server("g")
    gallery.enrol("ada", template(1))
    more = (*schema.MIGRATIONS, "ALTER TABLE subjects ADD COLUMN later text")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", more)
        patch.setattr(schema, "VERSION", len(more))
        with pytest.raises(GalleryReadOnly, match="must be written once"):
            Gallery.open(address, read_only=True)
        Gallery.open(address).close()
        with server.connect() as connection:
            connection.execute(f"SELECT later FROM {schema_of(address)}.subjects")
        with Gallery.open(address, read_only=True) as newer:
            assert [s.subject_id for s in newer.subjects()] == ["ada"]
    with pytest.raises(GalleryTooNew, match=f"version {len(more)}"):
        Gallery.open(address)


def test_many_who_create_at_once_make_one_gallery(on_server: Address) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            Gallery.open(on_server("new"), model="m").close()
        except BaseException as problem:  # noqa: BLE001
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with Gallery.open(on_server("new")) as gallery:
        assert len(gallery) == 0


def test_sessions_are_set_up_for_durability_whatever_the_defaults(server: Server, on_server: Address) -> None:
    def settings(**parameters: str) -> list[str]:
        with Gallery.open(on_server("g", **parameters), model="m", busy_seconds=0.2) as gallery:
            assert isinstance(gallery._engine, PostgresEngine)
            with gallery._engine._connections.begun(lambda c: c.execute("BEGIN")) as (connection, _):
                keys = ("synchronous_commit", "jit", "lock_timeout", "max_parallel_workers_per_gather")
                return [str(connection.execute("SELECT current_setting(%s)", (k,)).fetchall()[0][0]) for k in keys]

    with server.connect() as connection:
        for default, expected in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
            connection.execute(f"ALTER ROLE postgres SET synchronous_commit = {default}")
            assert settings() == [expected, "off", "200ms", "2"]
        connection.execute("ALTER ROLE postgres RESET ALL")
    assert settings(workers="5")[3] == "5"


def test_services_in_two_processes_have_one_history(on_server: Address) -> None:
    command = [sys.executable, "-m", "tests.gallery.concurrent_harness", "--address", on_server("g")]
    options = ["--operations", "800", "--subjects", "6"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["operations"], found["violations"]) == (800, [])
    assert min(found["answers"].values()) > 10


def test_another_process_sees_and_makes_changes(gallery: Gallery, on_server: Address, template: Make) -> None:
    code = """
import sys
import numpy as np
from vultus import Gallery, Template
with Gallery.open(sys.argv[1]) as gallery:
    ada = gallery.templates("ada")[0].vector
    print(gallery.identify(Template(ada, gallery.model_id), threshold=0.99)[0].subject_id)
    gallery.enrol("bo", Template(np.roll(ada, 1), gallery.model_id))
    gallery.delete("ada")
"""
    gallery.enrol("ada", template(1))
    done = subprocess.run([sys.executable, "-c", code, on_server("g")], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ada\n", "")
    assert [s.subject_id for s in gallery.subjects()] == ["bo"]
    assert not gallery.identify(template(1), threshold=0.99)


def test_erasure_rewrites_the_tables(server: Server, gallery: Gallery, template: Make) -> None:
    secret = template(7)
    gallery.enrol("unmistakable-id", secret, name="unmistakable name")
    for i in range(20):
        gallery.enrol(f"s{i}", template(100 + i))

    def found(word: bytes) -> bool:
        with server.connect() as connection:
            connection.execute("CHECKPOINT")
        return any(word in f.read_bytes() for f in (server.data / "base").rglob("*") if f.is_file())

    words = (
        secret.vector.tobytes(),
        secret.vector.astype("float16").tobytes(),
        b"unmistakable-id",
        b"unmistakable name",
    )
    assert all(map(found, words))
    assert not gallery.delete("unmistakable-id").erased
    assert any(map(found, words))
    assert gallery.erase()
    assert not any(map(found, words))
    assert len(gallery) == 20
    assert gallery.verify_integrity().ok


def test_erasure_waits_for_others_within_bounds(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", template(1))
    with gallery._engine.reading() as reads:
        assert reads.subject("ada").templates == 1
        list(reads.templates(reads.subject_number("ada")))
        assert not gallery.erase()
    assert gallery.erase()


def test_a_long_transaction_elsewhere_gives_busy_within_bounds(
    server: Server, gallery: Gallery, name: str, template: Make
) -> None:
    gallery.enrol("ada", template(1))
    with server.connect() as connection:
        connection.execute("BEGIN")
        connection.execute(f"SELECT * FROM {name}.state FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(GalleryBusy, match="try again"):
            gallery.enrol("bo", template(2))
        assert time.monotonic() - began >= 0.2
        assert gallery.identify(template(1), threshold=0.9)  # reading goes on
        connection.execute("ROLLBACK")
    gallery.enrol("bo", template(2))


def test_connections_are_bounded(gallery: Gallery, template: Make) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(gallery._engine.reading())
        with pytest.raises(GalleryBusy, match="16 threads"):
            len(gallery)
    assert len(gallery) == 0


def test_readers_keep_their_snapshot(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", template(1))
    with gallery._engine.reading() as before:
        gallery.delete("ada")
        assert before.revision() == 1
        assert before.subject("ada").templates == 1
    assert "ada" not in gallery


def test_integrity_names_what_is_wrong(server: Server, gallery: Gallery, name: str, template: Make) -> None:
    gallery.enrol("ada", [template(1), template(2)])
    gallery.enrol_blank("bo")
    found = gallery.verify_integrity()
    assert (found.problems, found.templates) == ((), 2)
    first, second = (t.number for t in gallery.templates("ada"))
    damages = [
        ("UPDATE templates SET expires = 5 WHERE vector IS NOT NULL", "not in the index as it is in the store", 2),
        (f"UPDATE halves SET subject = 5 WHERE number = {first}", f"template {first} is not in the index", 1),
        (f"UPDATE halves SET half = (SELECT half FROM halves WHERE number = {second})", "not in the index", 1),
        ("UPDATE templates SET checksum = 5", "not what was written", 2),
        ("UPDATE templates SET vector = substr(vector, 1, 8)", "not what was written", 2),
        (f"DELETE FROM halves WHERE number = {first}", f"template {first} is in the store alone", 2),
        ("UPDATE state SET vectors = 7", "7 were counted", 1),
    ]
    with server.connect() as connection:
        connection.execute(f"SET search_path = {name}, public")
        for damage, words, problems in damages:
            connection.execute(damage)
            found = gallery.verify_integrity()
            assert words in found.problems[0]
            assert len(found.problems) == problems
            connection.execute("TRUNCATE templates, halves, state, subjects, operations")
            connection.execute("INSERT INTO state (revision, vectors) VALUES (0, 0)")
            gallery.enrol("ada", [template(1), template(2)])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vultus\[postgres\]'"):
        Gallery.open("postgresql://h/db", model="m")


def test_importing_the_gallery_loads_no_driver() -> None:
    code = "import sys, vultus; vultus.Gallery; print(sorted({'psycopg', 'pgvector'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
