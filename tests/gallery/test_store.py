"""The store of record: what is acknowledged is there, what is refused has changed nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np
import pytest

from vultus.errors import (
    BadArgument,
    BadTemplate,
    GalleryBusy,
    GalleryCorrupt,
    GalleryMissing,
    GalleryReadOnly,
    GalleryTooNew,
    GalleryUnavailable,
    ModelMismatch,
    RequestConflict,
    SubjectExists,
    SubjectUnknown,
)
from vultus.gallery.records import NewTemplate, Request
from vultus.gallery.store import Store

New = Callable[..., list[NewTemplate]]


def enrol(store: Store, subject: str, templates: list[NewTemplate], *, name: str | None = None) -> int:
    return store.write(lambda w: w.enrol(subject, templates, name=name, request=None)).revision


def state(store: Store) -> dict[str, list[bytes]]:
    """Everything that can be searched, by subject."""
    with store.reading() as reads:
        found: dict[str, list[bytes]] = {}
        for subject in list(reads.subjects()):
            number = reads.subject_number(subject.subject_id)
            found[subject.subject_id] = [
                b"" if t.vector is None else t.vector.tobytes() for t in reads.templates(number)
            ]
        return found


def test_what_is_enrolled_comes_back_after_reopening(store: Store, new: New, path: Path) -> None:
    ada, bo = new(2, seed=1), new(1, seed=2)
    assert enrol(store, "ada", ada, name="Ada L.") == 1
    assert enrol(store, "bo", bo) == 2
    expected = {"ada": [t.vector for t in ada], "bo": [bo[0].vector]}
    assert state(store) == expected
    store.close()
    again = Store.open(path)
    assert state(again) == expected
    assert again.model_id == store.model_id
    assert again.identity == store.identity
    with again.reading() as reads:
        assert reads.revision() == 2
        assert reads.subject("ada").name == "Ada L."
        assert reads.subject("ada").templates == 2
        assert reads.dimension() == 16
    again.close()


def test_metadata_comes_back(store: Store, new: New) -> None:
    blob = new()[0].vector
    record = NewTemplate(blob, 3, 0.5, "ab" * 32, "form 12", 1_900_000_000)
    enrol(store, "ada", [record, NewTemplate(None)])
    with store.reading() as reads:
        full, blank = reads.templates(reads.subject_number("ada"))
    assert full.vector is not None
    assert full.vector.tobytes() == blob
    assert (full.samples, full.quality, full.photo_sha256, full.consent) == (3, 0.5, "ab" * 32, "form 12")
    assert full.expires is not None
    assert full.expires.timestamp() == 1_900_000_000
    assert full.created.timestamp() == 1_800_000_000
    assert blank.vector is None
    assert (blank.quality, blank.photo_sha256, blank.consent, blank.expires) == (None, None, None, None)


def test_each_operation_has_a_revision_and_numbers_are_never_used_again(store: Store, new: New) -> None:
    enrol(store, "ada", new(2))
    store.write(lambda w: w.add("ada", new(1, seed=3), request=None))
    store.write(lambda w: w.delete("ada"))
    enrol(store, "ada", new(1))
    with store.reading() as reads:
        assert reads.revision() == 4
        (batch,) = reads.batches(after=0)
        assert batch.numbers.tolist() == [4 << 20]
        assert batch.subjects.tolist() == [4 << 20]
        assert reads.removed(after=0).tolist() == [1 << 20, (1 << 20) + 1, 2 << 20]
        assert len({reads.token(r) for r in (1, 2, 3, 4)}) == 4
        assert reads.token(5) is None


def test_changes_since_a_revision_are_what_a_follower_needs(store: Store, new: New) -> None:
    enrol(store, "ada", new(1, seed=1))
    enrol(store, "bo", new(2, seed=2))
    store.write(lambda w: w.merge("ada", "bo"))
    enrol(store, "cy", [*new(1, seed=3), NewTemplate(None)])
    with store.reading() as reads:
        assert [b.numbers.tolist() for b in reads.batches(after=2)] == [[4 << 20]]
        numbers, subjects = reads.moved(after=2)
        assert numbers.tolist() == [2 << 20, (2 << 20) + 1]
        assert subjects.tolist() == [1 << 20, 1 << 20]
        assert reads.moved(after=3)[0].tolist() == []
        assert [len(b.numbers) for b in reads.batches(after=0, size=3)] == [3, 1]
    assert list(state(store)) == ["ada", "cy"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda w, new: w.enrol("ada", new(1), name=None, request=None), SubjectExists),
        (lambda w, new: w.add("bo", new(1), request=None), SubjectUnknown),
        (lambda w, new: w.delete("bo"), SubjectUnknown),
        (lambda w, new: w.rename("bo", "x"), SubjectUnknown),
        (lambda w, new: w.merge("ada", "bo"), SubjectUnknown),
        (lambda w, new: w.merge("ada", "ada"), BadArgument),
        (lambda w, new: w.add("ada", new(1, d=8), request=None), BadTemplate),
        (lambda w, new: w.enrol("bo", [*new(1), *new(1, d=8)], name=None, request=None), BadTemplate),
        (lambda w, new: w.delete_template("ada", 77), BadArgument),
    ],
)
def test_what_is_refused_changes_nothing(
    store: Store, new: New, change: Callable[..., object], error: type[Exception]
) -> None:
    enrol(store, "ada", new(1))
    before = state(store)
    with pytest.raises(error):
        store.write(lambda w: change(w, new))
    assert state(store) == before
    with store.reading() as reads:
        assert reads.revision() == 1


def test_several_changes_are_made_together_or_not_at_all(store: Store, new: New) -> None:
    enrol(store, "ada", new(1))
    names = ["bo", "cy", "ada", "di"]
    with pytest.raises(SubjectExists):
        store.write_all([lambda w, n=n: w.enrol(n, new(1), name=None, request=None) for n in names])  # type: ignore[misc]
    assert list(state(store)) == ["ada"]
    store.write_all([lambda w, n=n: w.enrol(n, new(1), name=None, request=None) for n in ("bo", "cy")])  # type: ignore[misc]
    assert list(state(store)) == ["ada", "bo", "cy"]


def test_one_refused_change_does_not_disturb_the_others_in_its_group(store: Store, new: New) -> None:
    enrol(store, "ada", new(1))
    outcomes: list[str] = []
    gate = threading.Barrier(9)

    def work(i: int) -> None:
        gate.wait()
        try:
            enrol(store, "ada" if i % 3 == 0 else f"s{i}", new(1, seed=i))
            outcomes.append("done")
        except SubjectExists:
            outcomes.append("exists")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    with store.still():  # so that all of them wait and are committed as one group
        for thread in threads:
            thread.start()
        gate.wait()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done"] * 5 + ["exists"] * 3
    assert set(state(store)) == {"ada", "s1", "s2", "s4", "s5", "s7"}


def test_an_idempotency_key_is_honoured_once(store: Store, new: New) -> None:
    request = Request("req-1", b"digest")

    def ask(asked: Request = request) -> tuple[int, int, bool]:
        done = store.write(lambda w: w.enrol("ada", new(2), name=None, request=asked))
        return done.revision, done.templates, done.replayed

    assert ask() == (1, 2, False)
    assert ask() == (1, 2, True)
    with pytest.raises(RequestConflict, match="req-1"):
        ask(Request("req-1", b"another"))
    with pytest.raises(SubjectExists):
        ask(Request("req-2", b"digest"))
    store.write(lambda w: w.delete("ada"))
    assert ask() == (1, 2, True)
    assert state(store) == {}  # a late repetition does not bring a deleted subject back
    done = store.write(lambda w: w.enrol("bo", new(1), name=None, request=Request("req-2", b"x")))
    assert not done.replayed  # a refused request has not used its key up


def test_purge_removes_what_has_expired(store: Store, new: New, now: list[float]) -> None:
    soon, late = int(now[0]) + 10, int(now[0]) + 1000
    enrol(store, "ada", [*new(1, seed=1, expires=soon), *new(1, seed=2)])
    enrol(store, "bo", new(2, seed=3, expires=soon))
    enrol(store, "cy", new(1, seed=4, expires=late))
    store.write(lambda w: w.enrol("di", new(1), name=None, request=Request("k", b"d")))
    before = store.write(lambda w: w.purge())
    assert (before.revision, before.templates) == (4, 0)
    now[0] += 10
    assert store.write(lambda w: w.purge()).templates == 3
    assert {k: len(v) for k, v in state(store).items()} == {"ada": 1, "cy": 1, "di": 1}
    now[0] += 40 * 86_400
    store.write(lambda w: w.purge())
    assert set(state(store)) == {"ada", "di"}
    assert not store.write(lambda w: w.enrol("ed", new(1), name=None, request=Request("k", b"other"))).replayed


@pytest.mark.parametrize("how", ["delete", "delete_template", "purge"])
def test_deleted_bytes_are_gone_from_the_files(store: Store, new: New, path: Path, now: list[float], how: str) -> None:
    secret = new(1, seed=9, expires=int(now[0]) + 5)
    blob = secret[0].vector
    assert blob is not None
    enrol(store, "someone-else", new(30))
    enrol(store, "unmistakable-id", secret, name="unmistakable name")
    if how == "delete_template":
        store.write(lambda w: w.add("unmistakable-id", new(1, seed=10), request=None))

    def found(word: bytes) -> bool:
        return any(word in f.read_bytes() for f in path.parent.iterdir())

    assert found(blob)
    if how == "purge":
        now[0] += 6
        store.write(lambda w: w.purge())
    elif how == "delete":
        store.write(lambda w: w.delete("unmistakable-id"))
    else:
        store.write(lambda w: w.delete_template("unmistakable-id", 2 << 20))
    assert found(blob)  # in the log, until it is emptied
    assert store.erase()
    assert not found(blob)
    assert found(b"unmistakable-id") == found(b"unmistakable name") == (how == "delete_template")


def test_a_reader_delays_erasure_and_is_not_disturbed(store: Store, new: New, path: Path) -> None:
    enrol(store, "ada", new(1))
    with store.reading() as reads:
        assert reads.revision() == 1
        store.write(lambda w: w.delete("ada"))
        assert not store.erase()
        assert reads.subject("ada").templates == 1
    assert store.erase()
    assert path.with_name("staff.db-wal").stat().st_size == 0


def test_a_reader_keeps_its_snapshot_and_another_sees_the_change(store: Store, new: New, path: Path) -> None:
    other = Store.open(path)
    with store.reading() as before:
        assert before.revision() == 0
        enrol(other, "ada", new(1))
        assert before.revision() == 0
        with store.reading() as after:
            assert after.revision() == 1
    assert list(state(store)) == ["ada"]
    other.close()


def test_a_long_transaction_elsewhere_gives_busy_within_bounds(store: Store, new: New, path: Path) -> None:
    impatient = Store.open(path, busy_seconds=0.05)
    with store.still():
        with pytest.raises(GalleryBusy, match="try again"):
            enrol(impatient, "ada", new(1))
        assert state(impatient) == {}
    enrol(impatient, "ada", new(1))
    impatient.close()


def test_a_long_transaction_in_another_thread_gives_busy_within_bounds(new: New, path: Path) -> None:
    store = Store.open(path, model="m", busy_seconds=0.05)
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.still():
            held.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with pytest.raises(GalleryBusy, match="another thread"):
        enrol(store, "ada", new(1))
    leave.set()
    holder.join()
    assert state(store) == {}
    enrol(store, "bo", new(1))
    assert list(state(store)) == ["bo"]
    store.close()


def test_a_gallery_is_pinned_to_its_model(store: Store, path: Path) -> None:
    with pytest.raises(ModelMismatch, match="another-net"):
        Store.open(path, model="another-net")
    for wrong in ("", "a\nb", "x" * 2000):
        with pytest.raises(BadArgument):
            Store.open(path.with_name("new.db"), model=wrong)
    assert not path.with_name("new.db").exists()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for arguments in ({}, {"read_only": True, "model": "m"}):
        with pytest.raises(GalleryMissing, match=r"none\.db"):
            Store.open(tmp_path / "none.db", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(GalleryUnavailable):
        Store.open(tmp_path, model="m")
    with pytest.raises(GalleryUnavailable):
        Store.open(tmp_path / "no" / "folder.db", model="m")
    with pytest.raises(GalleryUnavailable):
        Store.open(f"{tmp_path}/nul\0byte.db", model="m")
    (tmp_path / "empty.db").touch()
    with pytest.raises(GalleryMissing, match="empty"):
        Store.open(tmp_path / "empty.db")
    Store.open(tmp_path / "empty.db", model="m").close()


def test_files_are_the_owners_alone(store: Store, new: New, path: Path) -> None:
    enrol(store, "ada", new(1))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(GalleryCorrupt, match="another program"):
        Store.open(other, model="m")
    assert other.read_bytes()[100:] == before[100:]


def test_a_newer_version_is_refused(store: Store, path: Path) -> None:
    store.close()
    raw = apsw.Connection(str(path))
    raw.pragma("user_version", 99)
    raw.close()
    with pytest.raises(GalleryTooNew, match="99"):
        Store.open(path)


@pytest.mark.parametrize("damage", ["header", "garbage", "truncated", "zeros", "empty"])
def test_a_damaged_file_is_refused_with_advice(store: Store, new: New, path: Path, damage: str) -> None:
    for i in range(40):
        enrol(store, f"s{i}", new(20, d=64, seed=i))
    store.close()
    whole = path.read_bytes()
    assert len(whole) > 10 * 16_384
    damaged = {
        "header": b"\x00" * 100 + whole[100:],
        "garbage": os.urandom(len(whole)),
        "truncated": whole[: 3 * 16_384 + 5],
        "zeros": whole[:16_384] + bytes(len(whole) - 16_384),
        "empty": b"",
    }[damage]
    path.write_bytes(damaged)
    if damage == "empty":
        path.with_name("staff.db-wal").write_bytes(b"not empty")
    with pytest.raises(GalleryCorrupt, match=r"backup|another program"):
        state(Store.open(path))


def test_a_vector_that_is_not_what_was_written_is_noticed(store: Store, new: New, path: Path) -> None:
    enrol(store, "ada", new(1))
    store.close()
    raw = apsw.Connection(str(path))
    raw.execute("UPDATE templates SET vector = zeroblob(64)")
    raw.close()
    again = Store.open(path)
    with pytest.raises(GalleryCorrupt, match="not what was written"):
        state(again)
    with again.reading() as reads, pytest.raises(GalleryCorrupt):
        list(reads.batches(after=0))
    again.close()


def test_reading_without_writing(store: Store, new: New, path: Path) -> None:
    enrol(store, "ada", new(1))
    reader = Store.open(path, read_only=True)
    assert not reader.writable
    assert list(state(reader)) == ["ada"]
    with pytest.raises(GalleryReadOnly):
        enrol(reader, "bo", new(1))
    with pytest.raises(GalleryReadOnly), reader.still():
        pass
    enrol(store, "cy", new(1))
    assert list(state(reader)) == ["ada", "cy"]
    reader.close()
    store.close()
    assert sorted(f.name for f in path.parent.iterdir()) == ["staff.db"]
    alone = Store.open(path, read_only=True)
    assert list(state(alone)) == ["ada", "cy"]
    alone.close()


def test_a_closed_store_says_so(store: Store, new: New) -> None:
    store.close()
    store.close()
    with pytest.raises(GalleryUnavailable, match="closed"):
        enrol(store, "ada", new(1))
    with pytest.raises(GalleryUnavailable, match="closed"), store.reading():
        pass


def test_two_processes_that_create_at_once_make_one_gallery(path: Path) -> None:
    code = "import sys; from vultus.gallery.store import Store; print(Store.open(sys.argv[1], model='m').identity)"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0] for process in running}
    assert len(said) == 1
    assert len(said.pop()) == 33


def test_sqlite_has_the_settings_that_durability_needs(store: Store) -> None:
    assert store._writer is not None
    connection = store._writer.connection
    assert apsw.sqlite_lib_version() >= "3.51.3"
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1), ("page_size", 16_384)):
        assert connection.pragma(pragma) == value


def test_rows_are_little_endian_float32(store: Store) -> None:
    enrol(store, "ada", [NewTemplate(np.array([1, 0], dtype="<f4").tobytes())])
    with store.reading() as reads:
        (batch,) = reads.batches(after=0)
    assert batch.rows.dtype == np.float32
    assert batch.rows.tolist() == [[1, 0]]
