"""The index: current in every process, kept in a file, never trusted more than the store."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vultus.gallery.decide import Limit
from vultus.gallery.engine import Answer
from vultus.gallery.index import Index
from vultus.gallery.index_file import Damaged, FileBase, read_index, row_checks
from vultus.gallery.records import NewTemplate
from vultus.gallery.rows import BLOCK
from vultus.gallery.store import Store
from vultus.types import FloatArray

New = Callable[..., list[NewTemplate]]
Unit = Callable[..., FloatArray]


def fill(store: Store, n: int, *, d: int = 16, seed: int = 0, prefix: str = "s") -> None:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, d)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store.write_all(
        [
            lambda w, i=i: w.enrol(f"{prefix}{i}", [NewTemplate(rows[i].tobytes())], name=None, request=None)  # type: ignore[misc]
            for i in range(n)
        ]
    )


def row_of(store: Store, subject: str) -> FloatArray:
    with store.reading() as reads:
        (template,) = reads.templates(reads.subject_number(subject))
    assert template.vector is not None
    return template.vector


def best(index: Index, probe: FloatArray, *, max_rank: int = 1, threshold: float = -1.0) -> list[tuple[str, float]]:
    return list(answer(index, probe, max_rank=max_rank, threshold=threshold).found)


def answer(index: Index, probe: FloatArray, *, max_rank: int = 1, threshold: float = -1.0) -> Answer:
    return index.search(probe, limit_of=lambda _, __: Limit(threshold), max_rank=max_rank, by="max", now=0)


def test_an_empty_store_answers_nobody(store: Store, unit: Unit) -> None:
    assert best(Index(store), unit(1)[0]) == []


def test_the_index_follows_the_store(store: Store, unit: Unit) -> None:
    index = Index(store)
    fill(store, 100)
    ada = row_of(store, "s42")
    assert best(index, ada)[0][0] == "s42"
    store.write(lambda w: w.delete("s42"))
    assert best(index, ada)[0][0] != "s42"
    store.write(lambda w: w.enrol("ada", [NewTemplate(ada.tobytes())], name=None, request=None))
    assert best(index, ada)[0][0] == "ada"
    store.write(lambda w: w.merge("s7", "ada"))
    assert best(index, ada)[0][0] == "s7"
    assert (answer(index, ada).compared, answer(index, ada).revision) == (100, 103)


def test_another_process_s_changes_are_seen(store: Store, path: Path) -> None:
    other = Store.open(path)
    index, other_index = Index(store), Index(other)
    fill(other, 10)
    ada = row_of(store, "s3")
    assert best(index, ada)[0][0] == best(other_index, ada)[0][0] == "s3"
    other.write(lambda w: w.delete("s3"))
    assert best(index, ada)[0][0] != "s3"
    other.close()


def test_many_rows_are_kept_in_a_file_that_starts_the_next_process(store: Store, path: Path) -> None:
    fill(store, 3 * BLOCK + 5)
    ada = row_of(store, "s4000")
    assert best(Index(store, worth_a_file=1000), ada)[0][0] == "s4000"
    saved = read_index(path.with_name("staff.db-index"))
    assert saved is not None
    assert len(saved.base) == 3 * BLOCK + 5
    store.write(lambda w: w.delete("s4000"))
    fill(store, 10, seed=1, prefix="t")
    again = Index(store, worth_a_file=1000)
    assert best(again, ada)[0][0] != "s4000"
    assert again._table is not None
    assert (len(again._table), again._table.unsaved, again._table.dead) == (3 * BLOCK + 15, 10, 1)
    assert best(again, row_of(store, "t5"))[0][0] == "t5"


def test_the_file_and_the_memory_give_equal_answers(store: Store, unit: Unit) -> None:
    fill(store, 2 * BLOCK + 100)
    filed, plain = Index(store, worth_a_file=10), Index(store, worth_a_file=10**9)
    best(plain, unit(1)[0])  # before there is a file
    for probe in unit(20, seed=5):
        assert best(filed, probe, max_rank=10) == best(plain, probe, max_rank=10)
    with filed.snapshot() as (_, a), plain.snapshot() as (_, b):
        assert a is not None
        assert b is not None
        assert (len(a.base), len(b.base)) == (2 * BLOCK + 100, 0)


def test_a_deletion_erases_the_row_in_the_file(store: Store, path: Path) -> None:
    fill(store, 3000)
    index = Index(store, worth_a_file=100)
    secret = row_of(store, "s1500")
    best(index, secret)
    file = path.with_name("staff.db-index")
    assert secret.tobytes() in file.read_bytes()
    revision = store.write(lambda w: w.delete("s1500")).revision
    with store.reading() as reads:
        assert index.erase(reads.removed(after=revision - 1))
    assert secret.tobytes() not in file.read_bytes()
    fresh = Index(store, worth_a_file=100)  # the hole is no damage
    assert best(fresh, row_of(store, "s1501"))[0][0] == "s1501"
    assert fresh._table is not None
    assert fresh._table.unsaved == 0


def test_an_erasure_that_a_dying_process_left_undone_is_done_at_the_next_start(store: Store, path: Path) -> None:
    fill(store, 3000)
    secret = row_of(store, "s1500")
    best(Index(store, worth_a_file=100), secret)
    store.write(lambda w: w.delete("s1500"))
    file = path.with_name("staff.db-index")
    assert secret.tobytes() in file.read_bytes()
    best(Index(store, worth_a_file=100), secret)
    assert secret.tobytes() not in file.read_bytes()


def test_erasing_much_removes_the_file(store: Store, path: Path) -> None:
    fill(store, 3000)
    index = Index(store, worth_a_file=100)
    best(index, row_of(store, "s1"))
    with store.reading() as reads:
        (batch,) = reads.batches(after=-1, size=5000)
    assert index.erase(batch.numbers[:1000])
    assert not path.with_name("staff.db-index").exists()
    assert index.erase(batch.numbers[:1])
    assert best(index, row_of(store, "s1"))[0][0] == "s1"


@pytest.mark.parametrize("place", [0, 3, 9, 18, 60, 4096, 4096 + 64 * 1000 + 7, -20_000, -1])
def test_a_damaged_file_is_made_anew(store: Store, path: Path, place: int) -> None:
    fill(store, 3000)
    ada = row_of(store, "s1000")
    best(Index(store, worth_a_file=100), ada)
    file = path.with_name("staff.db-index")
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)
    index = Index(store, worth_a_file=100)
    assert best(index, ada)[0][0] == "s1000"
    repaired = read_index(file)
    assert repaired is not None
    assert len(repaired.base.part(0, 2048, repaired.batch.subjects)) == 2048


@pytest.mark.parametrize("content", [b"", b"vultusIX", os.urandom(10_000), b"vultusIX" + bytes(10_000)])
def test_a_file_that_is_no_index_is_made_anew(store: Store, path: Path, content: bytes) -> None:
    fill(store, 500)
    file = path.with_name("staff.db-index")
    file.write_bytes(content)
    assert best(Index(store, worth_a_file=100), row_of(store, "s1"))[0][0] == "s1"
    assert read_index(file) is not None


def test_truncated_files_are_no_index(store: Store, path: Path) -> None:
    fill(store, 500)
    best(Index(store, worth_a_file=100), row_of(store, "s1"))
    file = path.with_name("staff.db-index")
    whole = file.read_bytes()
    for length in (10, 19, 100, 5000, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert read_index(file) is None


def test_an_index_of_another_history_is_not_used(store: Store, path: Path, tmp_path: Path) -> None:
    fill(store, 300)
    store.erase()
    backup = path.read_bytes()
    fill(store, 50, prefix="lost")
    best(Index(store, worth_a_file=100), row_of(store, "s1"))
    store.close()
    path.write_bytes(backup)  # the index file is now ahead of the store
    restored = Store.open(path)
    fill(restored, 80, seed=9, prefix="new")  # and the store has overtaken it with other operations
    index = Index(restored, worth_a_file=100)
    assert best(index, row_of(restored, "new5"))[0][0] == "new5"
    assert {s for s, _ in best(index, row_of(restored, "s1"), max_rank=1000)} == {
        *(f"s{i}" for i in range(300)),
        *(f"new{i}" for i in range(80)),
    }
    restored.close()


def test_rows_erased_under_a_running_search_lead_to_another_try(store: Store, path: Path) -> None:
    fill(store, 3000)
    index = Index(store, worth_a_file=100)
    probe = row_of(store, "s5")
    best(index, probe)
    stop = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        while not stop.is_set():
            found = best(index, probe, max_rank=3)
            if not found or found[0][0] != "s5" or found[0][1] < 0.999:
                wrong.append(found)

    watcher = threading.Thread(target=look)
    watcher.start()
    for i in range(1000, 1060):
        revision = store.write(lambda w, i=i: w.delete(f"s{i}")).revision  # type: ignore[misc]
        with store.reading() as reads:
            index.erase(reads.removed(after=revision - 1))
    stop.set()
    watcher.join()
    assert wrong == []


def test_a_row_that_is_live_and_erased_is_damage(store: Store, path: Path) -> None:
    fill(store, 300)
    best(Index(store, worth_a_file=100), row_of(store, "s1"))
    found = read_index(path.with_name("staff.db-index"))
    assert found is not None
    with store.reading() as reads:
        (batch,) = reads.batches(after=-1)
    Index(store).erase(batch.numbers[:1])
    with pytest.raises(Damaged):
        found.base.part(0, 300, found.batch.subjects)


def test_row_checks_notice_every_changed_byte(unit: Unit) -> None:
    row = unit(1, 32)
    whole = row_checks(row)[0]
    for place in range(row.nbytes):
        changed = bytearray(row.tobytes())
        changed[place] ^= 1 << (place % 8)
        assert row_checks(np.frombuffer(bytes(changed), dtype=np.float32).reshape(1, -1))[0] != whole


def test_save_writes_what_is_worth_it(store: Store, path: Path) -> None:
    index = Index(store, worth_a_file=5000)
    fill(store, 4000)
    best(index, row_of(store, "s1"))
    fill(store, 6000, prefix="t", seed=4)
    best(index, row_of(store, "s1"))
    file = path.with_name("staff.db-index")
    assert not file.exists()
    index.save()
    saved = read_index(file)
    assert saved is not None
    assert len(saved.base) == 10_000
    fresh = Index(store, worth_a_file=5000)
    assert best(fresh, row_of(store, "t77"))[0][0] == "t77"
    before = file.stat().st_mtime_ns
    fresh.save()
    assert file.stat().st_mtime_ns == before


def test_many_deleted_rows_are_dropped(store: Store) -> None:
    fill(store, 600)
    index = Index(store, worth_a_file=100)
    best(index, row_of(store, "s1"))
    store.write_all([lambda w, i=i: w.delete(f"s{i}") for i in range(400)])  # type: ignore[misc]
    assert best(index, row_of(store, "s500"))[0][0] == "s500"
    assert index._table is not None
    assert (len(index._table), index._table.dead) == (200, 0)


def compressed(store: Store) -> Index:
    return Index(store, worth_a_file=1000, compress_from=2000)


def test_codes_are_kept_in_the_file_and_follow_the_store(store: Store, path: Path, unit: Unit) -> None:
    fill(store, 3000, d=32)
    exact = Index(store, worth_a_file=10**9, compress_from=None)
    probes = [*unit(10, 32, seed=8), row_of(store, "s2000")]
    best(exact, probes[0])  # before there is a file
    first = compressed(store)
    for probe in probes:
        assert best(first, probe, max_rank=4) == best(exact, probe, max_rank=4)
    saved = read_index(path.with_name("staff.db-index"))
    assert saved is not None
    assert "codes" in saved.sections
    again = compressed(store)
    assert best(again, probes[-1])[0][0] == "s2000"
    assert again._codes is not None
    assert again._codes is again._saved_codes
    fill(store, 9000, d=32, seed=5, prefix="t")
    store.write(lambda w: w.delete("s2000"))
    for index in (first, again):
        for probe in probes:
            assert best(index, probe, max_rank=4) == best(exact, probe, max_rank=4)
        assert index._codes is not None
        assert len(index._codes) == 12_000
    again.save()
    fresh = compressed(store)
    for probe in probes:
        assert best(fresh, probe, max_rank=4) == best(exact, probe, max_rank=4)
    assert fresh._codes is not None
    assert fresh._codes is fresh._saved_codes
    assert len(fresh._codes) == 12_000


def test_a_deletion_erases_the_code_in_the_file(store: Store, path: Path) -> None:
    fill(store, 3000, d=32)
    index = compressed(store)
    best(index, row_of(store, "s1"))
    before = read_index(path.with_name("staff.db-index"))
    revision = store.write(lambda w: w.delete("s1500")).revision
    with store.reading() as reads:
        assert index.erase(reads.removed(after=revision - 1))
    after = read_index(path.with_name("staff.db-index"))
    assert before is not None
    assert after is not None
    changed = np.flatnonzero(before.sections["codes"] != after.sections["codes"])
    mask = after.sections["code_masks"][1500 % 32]
    block = 1500 // 32 * len(mask)
    assert len(changed) > 5
    assert set(changed.tolist()) <= set((block + np.flatnonzero(mask)).tolist())
    fresh = compressed(store)
    assert best(fresh, row_of(store, "s7"))[0][0] == "s7"
    assert fresh._codes is fresh._saved_codes


def test_damaged_codes_are_made_anew(store: Store, path: Path) -> None:
    fill(store, 3000, d=32)
    ada = row_of(store, "s9")
    best(compressed(store), ada)
    file = path.with_name("staff.db-index")
    content = bytearray(file.read_bytes())
    found = read_index(file)
    assert found is not None
    content[content.index(found.sections["codes"].tobytes()) + 10_000] ^= 1
    file.write_bytes(content)
    damaged = read_index(file)
    assert damaged is not None
    assert "codes" not in damaged.sections
    index = compressed(store)
    assert best(index, ada)[0][0] == "s9"
    index.save()
    repaired = read_index(file)
    assert repaired is not None
    assert "codes" in repaired.sections


class CountedMap(mmap.mmap):
    """A mapping that counts how often its pages are let go."""

    let_go = 0

    def madvise(self, option: int, *where: int) -> None:
        assert option == mmap.MADV_DONTNEED
        self.let_go += 1
        super().madvise(option, *where)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="the system cannot let mapped pages go")
def test_what_was_mapped_is_let_go_beyond_a_limit_and_reads_the_same(tmp_path: Path, unit: Unit) -> None:
    rows = unit(3 * BLOCK)
    file = tmp_path / "rows"
    file.write_bytes(rows.tobytes())
    subjects = np.arange(len(rows))
    with file.open("rb") as opened:
        mapped = CountedMap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    found: FloatArray = np.frombuffer(mapped, dtype="<f4").reshape(rows.shape)
    for limit, often in ((rows.nbytes, 0), (rows.nbytes // 2, 3)):
        mapped.let_go = 0
        base = FileBase(mapped, found, row_checks(rows), resident=limit)
        for place in (5, BLOCK + 5, 2 * BLOCK + 5):
            assert np.array_equal(base.take(np.array([place]), subjects), rows[[place]])
        assert np.array_equal(base.part(0, len(rows), subjects), rows)
        assert mapped.let_go == often
