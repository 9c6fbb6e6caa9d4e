"""An older file becomes a newer one whole, or stays as it was; so it does under a new key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from vultus.errors import GalleryError, GalleryReadOnly, GalleryTooNew
from vultus.gallery import rekey, versions
from vultus.gallery.records import NewTemplate
from vultus.gallery.schema import MIGRATIONS, VERSION
from vultus.gallery.store import Store

New = Callable[..., list[NewTemplate]]
KEY = bytes(range(32))
NEXT = "ALTER TABLE subjects ADD COLUMN note TEXT; CREATE TABLE notes (a TEXT NOT NULL) STRICT;"


def tables(path: Path, key: bytes | None = None) -> tuple[int, set[str], list[str]]:
    """Version, names of tables and ids of subjects."""
    connection = apsw.Connection(str(path))
    if key is not None:
        connection.pragma("hexkey", ("raw:" + key.hex()).encode().hex())
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    ids = [row[0] for row in connection.execute("SELECT id FROM subjects ORDER BY id")]
    version = int(connection.pragma("user_version"))
    connection.close()
    return version, names, ids


@pytest.fixture
def older(path: Path, new: New) -> Path:
    """A file of this version, which the tests' next version finds."""
    store = Store.open(path, model="m")
    store.write(lambda w: w.enrol("ada", new(2), name=None, request=None))
    store.close()
    return path


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a script the step to the next version."""

    def follow(script: str) -> None:
        monkeypatch.setattr(versions, "MIGRATIONS", (*MIGRATIONS, script))
        monkeypatch.setattr(versions, "VERSION", VERSION + 1)

    return follow


def test_an_older_file_becomes_a_newer_one(older: Path, new: New, following: Callable[[str], None]) -> None:
    before = tables(older)
    following(NEXT)
    with pytest.raises(GalleryReadOnly, match="written once"):
        Store.open(older, read_only=True)
    assert tables(older) == before
    store = Store.open(older)
    store.write(lambda w: w.enrol("bo", new(1), name=None, request=None))
    store.close()
    assert tables(older) == (before[0] + 1, before[1] | {"notes"}, ["ada", "bo"])
    fresh = older.with_name("fresh.db")
    Store.open(fresh, model="m").close()
    assert tables(fresh)[:2] == tables(older)[:2]


def test_a_step_that_fails_leaves_the_file_as_it_was(
    older: Path, following: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(older)
    with monkeypatch.context():
        following(NEXT + "INSERT INTO nowhere VALUES (1);")
        with pytest.raises(GalleryError):
            Store.open(older)
    assert tables(older) == before


def test_a_file_that_was_brought_up_is_too_new_for_before(
    older: Path, following: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    following(NEXT)
    Store.open(older).close()
    monkeypatch.undo()
    with pytest.raises(GalleryTooNew):
        Store.open(older)


def test_a_change_of_the_key_brings_the_file_up_too(older: Path, following: Callable[[str], None]) -> None:
    before = tables(older)
    following(NEXT)
    rekey(older, new_key=KEY)
    assert tables(older, KEY) == (before[0] + 1, before[1] | {"notes"}, ["ada"])


def test_many_openers_at_once_make_one_step(older: Path, following: Callable[[str], None]) -> None:
    following(NEXT)
    problems: list[BaseException] = []
    gate = threading.Barrier(6)

    def work() -> None:
        try:
            gate.wait()
            Store.open(older).close()
        except BaseException as problem:  # noqa: BLE001
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert tables(older)[0] == VERSION + 1
