"""Encryption at rest: nothing readable in any file, and typed errors for a key that is wrong, missing or too many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from tests.gallery.gallery_vfs import ENCRYPTING, Fault, Trace, watched

from vultus import Template
from vultus.errors import (
    BadArgument,
    GalleryCorrupt,
    GalleryError,
    GalleryLocked,
    GalleryMissing,
    GalleryUnavailable,
)
from vultus.gallery import Gallery
from vultus.gallery.index import Index
from vultus.gallery.index_file import read_index
from vultus.gallery.keys import checked_key, lock_of, unlock
from vultus.gallery.records import NewTemplate
from vultus.gallery.store import Store

Make = Callable[..., Template]
New = Callable[..., list[NewTemplate]]
KEY = bytes(range(32))
WORDS = "correct horse battery staple"
KEYS = [pytest.param(KEY, id="bytes"), pytest.param(WORDS, id="words")]
CANARIES = (b"unmistakable-id", b"unmistakable name", b"unmistakable consent", b"unmistakable-model")


def fill(gallery: Gallery, template: Make, n: int = 3) -> list[bytes]:
    """Enrol; what must not be readable anywhere."""
    made = [template(seed, model_id="unmistakable-model") for seed in range(n)]
    gallery.enrol(
        "unmistakable-id", made, name="unmistakable name", consent="unmistakable consent", photo_sha256=["ab" * 32] * n
    )
    return [*CANARIES, b"ab" * 32, *(t.vector.tobytes() for t in made)]


def readable(folder: Path, words: list[bytes]) -> list[tuple[str, bytes]]:
    return [(f.name, w[:20]) for f in folder.rglob("*") if f.is_file() for w in words if w in f.read_bytes()]


@pytest.mark.parametrize("key", KEYS)
def test_no_file_holds_anything_readable(path: Path, template: Make, key: bytes | str) -> None:
    with Gallery.open(path, model="unmistakable-model", key=key) as gallery:
        words = fill(gallery, template)
        assert {f.name for f in path.parent.iterdir()} == {"staff.db", "staff.db-wal", "staff.db-shm"}
        assert path.with_name("staff.db-wal").stat().st_size > 10_000
        assert readable(path.parent, words) == []
        assert (
            gallery.identify(template(1, model_id="unmistakable-model"), threshold=0.99)[0].subject_id
            == words[0].decode()
        )
    assert readable(path.parent, words) == []
    assert lock_of(path) == "encrypted"
    with Gallery.open(path, key=key) as again:
        assert again.subject("unmistakable-id").name == "unmistakable name"
        assert again.verify_integrity().ok


def test_the_same_look_finds_it_all_without_a_key(path: Path, template: Make) -> None:
    with Gallery.open(path, model="unmistakable-model") as gallery:
        words = fill(gallery, template)
        assert {w for _, w in readable(path.parent, words)} >= {w[:20] for w in words[:-3]}
    assert lock_of(path) == "plain"
    assert {w for _, w in readable(path.parent, words)} == {w[:20] for w in words}


def test_nothing_readable_passes_through_any_file_on_its_way(path: Path, new: New) -> None:
    """The journal that making a file takes and scratch files too: every byte that SQLite writes is looked at."""
    written: dict[bool, Trace] = {}
    for encrypted in (True, False):
        trace = Trace()
        with watched("seen", trace=trace) as name:
            key, vfs = (KEY, ENCRYPTING + name) if encrypted else (None, name)
            store = Store.open(path.with_name(f"{encrypted}.db"), model="unmistakable-model", key=key, vfs=vfs)
            for i in range(30):
                made = new(40, d=64, seed=i)
                store.write(lambda w, i=i, m=made: w.enrol(f"unmistakable-id {i}", m, name=None, request=None))  # type: ignore[misc]
            for i in range(0, 30, 2):
                store.write(lambda w, i=i: w.delete(f"unmistakable-id {i}"))  # type: ignore[misc]
            assert store.erase()
            store.close()
        written[encrypted] = trace

    def seen(trace: Trace) -> bool:
        return any(event[0] == "write" and b"unmistakable" in event[3] for event in trace.events)

    assert not seen(written[True])
    assert seen(written[False])
    assert sum(event[0] == "write" for event in written[True].events) > 300


def files(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.iterdir() if not f.name.endswith("-shm")}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "wrong", [None, bytes(32), "other words", WORDS.upper()], ids=["none", "bytes", "words", "case"]
)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_key_that_does_not_fit_is_refused_and_changes_nothing(
    path: Path, template: Make, tmp_path: Path, key: bytes | str, wrong: bytes | str | None, read_only: bool
) -> None:
    with Gallery.open(path, model="unmistakable-model", key=key) as gallery:
        fill(gallery, template)
        killed = tmp_path / "killed"  # the files as a process leaves them that was killed: the log holds everything
        killed.mkdir()
        for file in path.parent.glob("staff.db*"):
            (killed / file.name).write_bytes(file.read_bytes())
    before = files(killed)
    assert len(before["staff.db-wal"]) > 10_000
    with pytest.raises(GalleryLocked, match=r"VULTUS_GALLERY_KEY|does not open with this key") as caught:
        Gallery.open(killed / "staff.db", key=wrong, read_only=read_only)
    assert caught.value.code == "gallery_locked"
    assert files(killed) == before
    with Gallery.open(killed / "staff.db", key=key) as again:
        assert len(again) == 1


def test_a_key_for_a_plain_gallery_is_refused_and_changes_nothing(gallery: Gallery, template: Make, path: Path) -> None:
    gallery.enrol("ada", template(1))
    before = files(path.parent)
    for read_only in (False, True):
        with pytest.raises(GalleryLocked, match="vultus gallery rekey"):
            Gallery.open(path, key=KEY, read_only=read_only)
    assert files(path.parent) == before


@pytest.mark.parametrize(
    "key", [b"", b"short", bytes(31), bytes(33), "", "  ", "a\0b", "\ud800", "raw:" + "ab" * 32, 5, True]
)
def test_what_is_no_key_is_refused_before_a_file_is_made(path: Path, key: object) -> None:
    with pytest.raises(BadArgument):
        Gallery.open(path, model="m", key=key)  # type: ignore[arg-type]
    assert list(path.parent.iterdir()) == []
    assert checked_key("raw") == "raw"


def test_a_missing_gallery_and_an_empty_file(path: Path) -> None:
    with pytest.raises(GalleryMissing):
        Gallery.open(path, key=KEY)
    path.touch()
    assert lock_of(path) == "none"
    with pytest.raises(GalleryMissing):
        Gallery.open(path, key=KEY)
    Gallery.open(path, model="m", key=KEY).close()
    assert lock_of(path) == "encrypted"


@pytest.mark.parametrize("damage", ["garbage", "a page", "truncated"])
def test_a_damaged_encrypted_file_is_refused_with_advice(path: Path, template: Make, damage: str) -> None:
    with Gallery.open(path, model="unmistakable-model", key=KEY) as gallery:
        fill(gallery, template, n=600)
    whole = bytearray(path.read_bytes())
    assert len(whole) > 6 * 16_384
    if damage == "garbage":
        whole = bytearray(os.urandom(len(whole)))
    elif damage == "truncated":
        del whole[3 * 16_384 + 5 :]
    else:
        for page in range(2, len(whole) // 16_384):
            whole[page * 16_384 + 5000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(GalleryCorrupt, match="backup"):
        list(Gallery.open(path, key=KEY, read_only=True).templates("unmistakable-id"))


def test_two_handles_and_a_reader_share_an_encrypted_gallery(path: Path, template: Make) -> None:
    model = template(0).model_id
    one, other = Gallery.open(path, model=model, key=KEY), Gallery.open(path, model=model, key=KEY)
    reader = Gallery.open(path, key=KEY, read_only=True)
    one.enrol("ada", template(1))
    other.enrol("bo", template(2))
    for gallery in (one, other, reader):
        assert [gallery.identify(template(s), threshold=0.99)[0].subject_id for s in (1, 2)] == ["ada", "bo"]
    assert one.delete("ada").erased
    assert not reader.identify(template(1), threshold=0.99)
    for gallery in (one, other, reader):
        gallery.close()


def test_an_encrypted_gallery_keeps_no_index_file(path: Path, new: New) -> None:
    def made(file: Path, key: bytes | None) -> Store:
        store = Store.open(file, model="m", key=key)
        store.write(lambda w: w.enrol("ada", new(500), name=None, request=None))
        return store

    for key in (KEY, None):
        file = path.with_name(f"{key is None}.db")
        store = made(file, key)
        index = Index(store, worth_a_file=10)
        with index.snapshot() as (_, rows):
            assert rows is not None
            assert (len(rows), len(rows.base)) == (500, 0 if key else 500)
        index.save()
        assert (read_index(index.path) is not None) == (key is None)
        store.close()
    store = Store.open(path.with_name("False.db"), key=KEY)
    index = Index(store, worth_a_file=10)
    index.path.write_bytes(path.with_name("True.db-index").read_bytes())  # one that somebody puts there is not used
    with index.snapshot() as (_, rows):
        assert rows is not None
        assert len(rows.base) == 0
    store.close()


@pytest.mark.parametrize(("error", "kind"), [(apsw.FullError, "write"), (apsw.IOError, "sync")])
def test_an_encrypted_gallery_survives_a_disk_that_fails_at_any_call(
    path: Path, new: New, error: type[apsw.Error], kind: str
) -> None:
    fault, at = Fault(error), 0
    with watched("failing", fault=fault) as name:
        while True:
            file = path.with_name(f"{at}.db")
            fault.at, fault.seen, fault.fired = -1, 0, False
            store = Store.open(file, model="m", key=KEY, vfs=ENCRYPTING + name)
            fault.kinds, fault.at, acknowledged = (kind,), at, set()
            for i in range(4):
                with suppress(GalleryError):
                    store.write(lambda w, i=i: w.enrol(f"s{i}", new(3, seed=i), name=None, request=None))  # type: ignore[misc]
                    acknowledged.add(f"s{i}")
                if i == 1:
                    store.erase()
            fault.at = -1
            store.write(lambda w: w.enrol("later", new(1), name=None, request=None))
            store.close()
            again = Store.open(file, key=KEY)
            with again.reading() as reads:
                assert {s.subject_id for s in reads.subjects()} == acknowledged | {"later"}
                assert reads.structure() == []
            again.close()
            if not fault.fired:
                break
            at += 1
    assert at >= 4


def test_a_medium_where_no_log_can_be_made_is_read_with_the_key(path: Path, template: Make) -> None:
    with Gallery.open(path, model=template(0).model_id, key=KEY) as gallery:
        gallery.enrol("ada", template(1))
    fault = Fault(apsw.CantOpenError)
    with watched("medium", fault=fault) as name:
        for key in (KEY, bytes(32)):
            fault.kinds, fault.at, fault.seen, fault.fired = ("open",), 1, 0, False  # the log's, not the database's
            if key != KEY:
                with pytest.raises(GalleryLocked):
                    Store.open(path, read_only=True, key=key, vfs=ENCRYPTING + name)
                continue
            store = Store.open(path, read_only=True, key=key, vfs=ENCRYPTING + name)
            assert fault.fired
            with store.reading() as reads:
                assert [s.subject_id for s in reads.subjects()] == ["ada"]
            store.close()


def test_a_sqlite_that_would_ignore_the_key_is_refused() -> None:
    class Ignorant:
        def pragma(self, *_: object) -> None:
            """What SQLite answers to a pragma that it does not know."""

    unlock(Ignorant(), None)  # type: ignore[arg-type]
    for key in (KEY, WORDS):
        with pytest.raises(GalleryUnavailable, match="apsw-sqlite3mc"):
            unlock(Ignorant(), key)  # type: ignore[arg-type]


def test_a_look_at_the_first_bytes_does_not_give_up_locks(path: Path, template: Make) -> None:
    """On Unix closing any file of a process on a database gives up the locks that SQLite holds there."""
    model = template(0).model_id
    with Gallery.open(path, model=model) as gallery:
        gallery.enrol("ada", template(1))
        for _ in range(3):
            assert lock_of(path) == "plain"
            with pytest.raises(GalleryLocked):
                Gallery.open(path, key=KEY)
        # Another process, which could fold the log in and remove it if nobody seemed to use it.
        code = (
            "import apsw, sys; other = apsw.Connection(sys.argv[1]); other.pragma('locking_mode', 'exclusive')\n"
            "try: other.execute('SELECT count(*) FROM templates').fetchall()\n"
            "except apsw.BusyError: print('in use')"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout == "in use\n"
