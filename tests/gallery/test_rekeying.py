"""A change of the key loses nothing, whatever comes between, and leaves nothing of the old file."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from vultus import Template
from vultus.errors import (
    BadArgument,
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryFull,
    GalleryLocked,
    GalleryMissing,
    GalleryUnavailable,
)
from vultus.gallery import Gallery, connection, rekey, rekeying
from vultus.gallery.index import Index
from vultus.gallery.keys import Key, lock_of
from vultus.gallery.records import NewTemplate
from vultus.gallery.store import Store

Make = Callable[..., Template]
New = Callable[..., list[NewTemplate]]
ONE, TWO, WORDS = bytes(range(32)), bytes(range(1, 33)), "a passphrase with ümlaut, 'quotes' and ?&"


def content(path: Path, key: Key | None) -> list[object]:
    """Everything that a gallery holds."""
    store = Store.open(path, key=key)
    try:
        with store.reading() as reads:
            assert reads.structure() == []
            subjects = [
                (id_, name, created, [(t.number, t.vector is None or t.vector.tobytes(), t.consent) for t in templates])
                for id_, name, created, templates in reads.everything()
            ]
            return [store.identity, store.model_id, reads.revision(), reads.search_thresholds(), subjects]
    finally:
        store.close()


def filled(path: Path, new: New, key: Key | None) -> list[object]:
    store = Store.open(path, model="m", key=key)
    for i in range(20):
        made = [*new(20, d=64, seed=i), NewTemplate(None, consent="form 1")]
        store.write(lambda w, i=i, m=made: w.enrol(f"unmistakable-{i}", m, name="unmistakable name", request=None))  # type: ignore[misc]
    store.write(lambda w: w.merge("unmistakable-1", "unmistakable-2"))
    store.write(lambda w: w.delete("unmistakable-7"))
    store.close()
    return content(path, key)


@pytest.mark.parametrize(
    ("old", "new_key"),
    [(None, ONE), (ONE, None), (ONE, TWO), (WORDS, ONE), (ONE, WORDS), (None, WORDS), (WORDS, None), (WORDS, "Words")],
    ids=[
        "encrypt",
        "decrypt",
        "change",
        "words-bytes",
        "bytes-words",
        "encrypt-words",
        "decrypt-words",
        "change-words",
    ],
)
def test_everything_is_there_under_the_new_key_and_nothing_under_the_old(
    path: Path, new: New, old: Key | None, new_key: Key | None
) -> None:
    before = filled(path, new, old)
    path.chmod(0o640)
    done = rekey(path, key=old, new_key=new_key)
    assert (done.encrypted, done.templates, done.erased) == (new_key is not None, 20 * 20 - 20 + 19, True)
    assert [f.name for f in path.parent.iterdir()] == ["staff.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert lock_of(path) == ("plain" if new_key is None else "encrypted")
    assert (b"unmistakable" in path.read_bytes()) == (new_key is None)
    with pytest.raises(GalleryLocked):
        content(path, old)
    assert content(path, new_key) == before
    store = Store.open(path, key=new_key)  # and it goes on
    store.write(lambda w: w.enrol("later", new(1, d=64), name=None, request=None))
    store.close()


def test_what_a_killed_process_left_in_the_log_is_kept(path: Path, new: New) -> None:
    store = Store.open(path, model="m")
    store.write(lambda w: w.enrol("ada", new(3), name=None, request=None))
    copies = {f.name: f.read_bytes() for f in path.parent.iterdir()}
    store.close()
    for name, whole in copies.items():
        path.with_name(name).write_bytes(whole)
    assert path.with_name("staff.db-wal").stat().st_size > 0
    rekey(path, new_key=ONE)
    assert [entry[0] for entry in content(path, ONE)[4]] == ["ada"]  # type: ignore[attr-defined]


def test_the_old_bytes_and_the_index_file_are_overwritten(path: Path, new: New) -> None:
    filled(path, new, None)
    store = Store.open(path)
    index = Index(store, worth_a_file=10)
    with index.snapshot():
        pass
    store.close()
    with path.open("rb") as old, index.path.open("rb") as rows:
        assert b"unmistakable" in old.read()
        assert any(rows.read())
        assert rekey(path, new_key=ONE).erased
        for file in (old, rows):
            file.seek(0)
            left = file.read()
            assert len(left) > 10_000
            assert not any(left)
    assert not index.path.exists()


def test_another_hard_link_keeps_the_old_file_and_that_is_said(path: Path, new: New, tmp_path: Path) -> None:
    before = filled(path, new, None)
    (tmp_path / "backup").mkdir()
    backup = tmp_path / "backup" / "staff.db"
    backup.hardlink_to(path)
    assert not rekey(path, new_key=ONE).erased
    assert content(backup, None) == content(path, ONE) == before


def test_a_symbolic_link_stays_one(path: Path, new: New, tmp_path: Path) -> None:
    before = filled(path, new, None)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    rekey(link, new_key=ONE)
    assert link.is_symlink()
    assert content(path, ONE) == before


def test_nobody_else_may_have_it_open(path: Path, new: New) -> None:
    before = filled(path, new, None)
    for read_only in (False, True):
        store = Store.open(path, read_only=read_only)
        with pytest.raises(GalleryBusy, match="close it in all programs"):
            rekey(path, new_key=ONE, busy_seconds=0.05)
        store.close()
    code = "import sys; from vultus.gallery import Gallery; g = Gallery.open(sys.argv[1]); print(len(g), flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "18\n"
    with pytest.raises(GalleryBusy, match="close it in all programs"):
        rekey(path, new_key=ONE, busy_seconds=0.05)
    other.communicate("\n", timeout=60)
    assert content(path, None) == before
    assert sorted(f.name for f in path.parent.iterdir()) == ["staff.db"]


def test_nobody_can_open_it_meanwhile_and_who_was_waiting_opens_no_ghost(
    path: Path, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled(path, new, None)
    tried: list[str] = []
    copied = rekeying._copied

    def look(*arguments: Any) -> int:
        with pytest.raises(GalleryBusy):
            Store.open(path, busy_seconds=0.05)
        tried.append("open")
        return copied(*arguments)

    monkeypatch.setattr(rekeying, "_copied", look)
    rekey(path, new_key=ONE)
    assert tried == ["open"]
    configure = connection._configure

    def late(*arguments: Any, **options: Any) -> None:
        """What happens to somebody who had opened the file, and gets its turn when the new one is in its place."""
        if not tried[1:]:
            tried.append("moved")
            path.with_name("other").write_bytes(path.read_bytes())
            path.with_name("other").replace(path)
        configure(*arguments, **options)

    monkeypatch.setattr(connection, "_configure", late)
    with pytest.raises(GalleryBusy, match="taken its place"):
        Store.open(path, key=ONE)
    assert tried == ["open", "moved"]
    assert content(path, ONE) == before


def test_what_is_refused(path: Path, new: New, tmp_path: Path) -> None:
    with pytest.raises(GalleryMissing):
        rekey(path, new_key=ONE)
    before = filled(path, new, ONE)
    for old, new_key in ((ONE, ONE), (None, None), (WORDS, WORDS), (b"x", ONE), (ONE, "")):
        with pytest.raises(BadArgument):
            rekey(path, key=old, new_key=new_key)
    for wrong in (None, TWO, WORDS):
        with pytest.raises(GalleryLocked):
            rekey(path, key=wrong, new_key=bytes(32))
    assert content(path, ONE) == before
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE t (a)")
    database.close()
    whole = other.read_bytes()
    with pytest.raises(GalleryCorrupt, match="another program"):
        rekey(other, new_key=ONE)
    assert other.read_bytes() == whole
    (tmp_path / "garbage.db").write_bytes(os.urandom(50_000))
    with pytest.raises(GalleryCorrupt):
        rekey(tmp_path / "garbage.db", new_key=ONE)
    (tmp_path / "empty.db").touch()
    with pytest.raises(GalleryMissing):
        rekey(tmp_path / "empty.db", new_key=ONE)


def test_a_damaged_gallery_is_not_copied(path: Path, new: New) -> None:
    filled(path, new, None)
    raw = apsw.Connection(str(path))
    raw.pragma("writable_schema", True)
    raw.execute("DELETE FROM sqlite_schema WHERE name = 'changes'")
    raw.close()
    whole = path.read_bytes()
    with pytest.raises(GalleryError):
        rekey(path, new_key=ONE)
    assert {f.name for f in path.parent.iterdir() if f.stat().st_size} == {"staff.db"}
    assert lock_of(path) == "plain"
    assert path.read_bytes()[4096:] == whole[4096:]


STEPS = [(os, "open"), (os, "fsync"), (os, "fchmod"), (Path, "replace"), (Path, "unlink"), (rekeying, "connect")]


def test_every_step_may_fail(path: Path, new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th call of each kind, the first time with the old key in place, then wherever the failure left it."""
    before = filled(path, new, None)
    failures = {"old": 0, "new": 0}
    for owner, name in STEPS:
        genuine, at = getattr(owner, name), 0
        while True:
            seen = 0

            def failing(*arguments: Any, genuine: Any = genuine, **options: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen - 1 == at:  # noqa: B023 - called in this round only
                    raise OSError(errno.ENOSPC, "no room")
                return genuine(*arguments, **options)

            old, new_key = (None, ONE) if lock_of(path) == "plain" else (ONE, None)
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, failing)
                try:
                    rekey(path, key=old, new_key=new_key)
                except GalleryFull:
                    assert seen > at
                    fits = old if lock_of(path) == ("plain" if old is None else "encrypted") else new_key
                    failures["old" if fits == old else "new"] += 1
                else:
                    fits = new_key
                    if seen <= at:
                        break
            assert content(path, fits) == before
            assert [f.name for f in path.parent.iterdir()] == ["staff.db"]
            at += 1
    assert failures["old"] >= 6
    assert failures["new"] >= 1  # the folder could not be synced after the renaming


def test_the_copy_is_on_the_disk_before_it_takes_its_place(
    path: Path, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path, new, None)
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        events.append("sync " + Path(f"/proc/self/fd/{handle}").readlink().name)
        sync(handle)

    def replaced(self: Path, target: Path) -> Path:
        events.append(f"replace {self.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    rekey(path, new_key=ONE)
    assert events[:3] == ["sync staff.db-rekey", "replace staff.db-rekey", f"sync {path.parent.name}"]
    assert events[3].startswith("sync staff.db")  # the old bytes, overwritten
    assert len(events) == 4


def test_a_copy_that_was_left_behind_is_removed(path: Path, new: New) -> None:
    before = filled(path, new, None)
    for suffix in ("-rekey", "-rekey-wal", "-rekey-shm"):
        path.with_name(path.name + suffix).write_bytes(b"left behind" * 1000)
    rekey(path, new_key=ONE)
    assert content(path, ONE) == before
    assert [f.name for f in path.parent.iterdir()] == ["staff.db"]


def test_a_full_disk_leaves_the_gallery_as_it_was(path: Path, new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    before = filled(path, new, None)

    def full(*_: Any) -> None:
        raise apsw.FullError("no room")

    monkeypatch.setattr(rekeying, "_count", full)
    with pytest.raises(GalleryFull):
        rekey(path, new_key=ONE)
    monkeypatch.setattr(rekeying, "_count", lambda connection, table: len(table))
    with pytest.raises(GalleryUnavailable, match="not what was written"):
        rekey(path, new_key=ONE)
    assert content(path, None) == before
    assert [f.name for f in path.parent.iterdir()] == ["staff.db"]


def test_a_rekeyed_gallery_answers_as_before(path: Path, template: Make) -> None:
    model = template(0).model_id
    with Gallery.open(path, model=model) as gallery:
        for seed in range(30):
            gallery.enrol(f"s{seed}", template(seed), idempotency_key=f"k{seed}")
        before = [gallery.search(template(100 + k), max_rank=3) for k in range(5)]
    rekey(path, new_key=WORDS)
    with Gallery.open(path, key=WORDS) as gallery:
        assert [gallery.search(template(100 + k), max_rank=3) for k in range(5)] == before
        assert gallery.enrol("s3", template(3), idempotency_key="k3").replayed
        assert gallery.verify_integrity().ok
