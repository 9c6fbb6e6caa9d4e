"""Checkpoints: whole or not there, by class whatever the ranks, never unpickled, and damage is named."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vultus.errors import CheckpointCorrupt, CheckpointMissing, CheckpointNotSaved
from vultus.train import checkpoint as module
from vultus.train.checkpoint import Content, discard_old, open_checkpoint, save
from vultus.train.distributed import World

RECORD: dict[str, Any] = {"recipe": {}}


def content(*, start: int = 0, stop: int = 10, dim: int = 3, shift: float = 0.0) -> Content:
    rows = torch.arange(start * dim, stop * dim, dtype=torch.float32).view(-1, dim) + shift
    return Content(
        record=RECORD,
        replicated={"backbone.weight": torch.full((2, 2), shift), "count": torch.tensor(3)},
        rows={"weight": rows, "bias": rows[:, 0].clone(), "pairs": rows.repeat_interleave(2, dim=0)},
        span=(start, stop),
        own={"random": torch.arange(4, dtype=torch.uint8)},
    )


def save_on(ranks: int, run: Path, step: int, *, classes: int = 10, shift: float = 0.0) -> list[BaseException]:
    """Save as so many ranks would, each a thread; gives what they raised."""
    store, raised = dist.HashStore(), []  # type: ignore[attr-defined]
    edges = [classes * r // ranks for r in range(ranks + 1)]

    def one(rank: int) -> None:
        world = World(rank, ranks, store=dist.PrefixStore("test", store), timeout=20)  # type: ignore[attr-defined]
        try:
            save(
                run, step, content(start=edges[rank], stop=edges[rank + 1], shift=shift), world, marks=("last", "best")
            )
        except BaseException as problem:  # noqa: BLE001
            raised.append(problem)

    threads = [threading.Thread(target=one, args=(r,)) for r in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 7, content(), World())
    found = open_checkpoint(tmp_path)
    found.verify()
    assert found.step == 7
    assert found.folder.name == "step-00000007"
    assert torch.equal(found.replicated()["backbone.weight"], torch.zeros(2, 2))
    assert int(found.replicated()["count"]) == 3
    assert torch.equal(found.own(0)["random"], torch.arange(4, dtype=torch.uint8))
    assert found.own(1) == {}
    assert found.row_names() == {"weight", "bias", "pairs"}
    assert open_checkpoint(found.folder).step == 7
    assert not list((tmp_path / "checkpoints").glob(".*"))


@settings(max_examples=25, deadline=None)
@given(ranks=st.integers(1, 4), classes=st.integers(4, 12), data=st.data())
def test_rows_come_back_by_class_whatever_ranks_wrote_them(
    tmp_path_factory: pytest.TempPathFactory, ranks: int, classes: int, data: st.DataObject
) -> None:
    run = tmp_path_factory.mktemp("run")
    assert not save_on(ranks, run, 1, classes=classes)
    start = data.draw(st.integers(0, classes - 1))
    stop = data.draw(st.integers(start + 1, classes))
    found, whole = open_checkpoint(run), content(stop=classes).rows
    assert found.record["world_size"] == ranks
    assert torch.equal(found.rows("weight", start, stop), whole["weight"][start:stop])
    assert torch.equal(found.rows("bias", start, stop), whole["bias"][start:stop])
    assert torch.equal(found.rows("pairs", start, stop), whole["pairs"][2 * start : 2 * stop])


def test_expanded_shared_and_strided_tensors_are_saved_as_they_read(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    tensors: dict[str, Tensor] = {
        "expanded": base[:1].expand(2, 3),
        "view": base.view(2, 3).t(),
        "same": base,
        "again": base,
        "last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    save(tmp_path, 1, Content(RECORD, tensors, {}, (0, 0), {}), World())
    found = open_checkpoint(tmp_path).replicated()
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)


def test_marks_point_and_old_ones_go(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step, content(shift=step), World(), marks=("last", "best") if step == 2 else ("last",))
    (tmp_path / "checkpoints" / ".draft-00000009").mkdir()
    discard_old(tmp_path, keep=1)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "best.json",
        "last.json",
        "step-00000002",
        "step-00000004",
    ]
    assert open_checkpoint(tmp_path, which="best").step == 2
    assert open_checkpoint(tmp_path).step == 4


def test_a_step_saved_twice_keeps_the_first_until_the_second_is_whole(tmp_path: Path) -> None:
    save(tmp_path, 5, content(shift=1.0), World())
    save(tmp_path, 5, content(shift=2.0), World())
    assert open_checkpoint(tmp_path).folder.name == "step-00000005-1"
    assert float(open_checkpoint(tmp_path).replicated()["backbone.weight"][0, 0]) == 2.0
    discard_old(tmp_path, keep=1)
    assert not (tmp_path / "checkpoints" / "step-00000005").exists()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_missing_checkpoint_and_a_pickle_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match="no checkpoint at"):
        open_checkpoint(tmp_path)
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path(ran).touch, ())  # type: ignore[return-value]

    (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointCorrupt, match="pickles can run code"):
        open_checkpoint(tmp_path / "model.pt")
    assert not ran.exists()


def damage(found: module.Checkpoint, how: str) -> None:
    path = found.folder / module.REPLICATED
    if how == "flip":
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_a_damaged_file_is_named_when_it_is_read(tmp_path: Path, how: str) -> None:
    save(tmp_path, 1, content(), World())
    found = open_checkpoint(tmp_path)
    damage(found, how)
    with pytest.raises(CheckpointCorrupt, match=r"replicated\.safetensors"):
        found.replicated()
    with pytest.raises(CheckpointCorrupt, match="replicated"):
        found.verify()
    assert found.rows("weight", 0, 10).shape == (10, 3)


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    assert not save_on(2, tmp_path, 1)
    found = open_checkpoint(tmp_path)
    with pytest.raises(CheckpointCorrupt, match="up to class 10 of 11"):
        found.rows("weight", 3, 11)
    with pytest.raises(CheckpointCorrupt, match="nothing"):
        found.rows("nothing", 0, 3)
    (found.folder / "rows-1-of-2.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointCorrupt, match="rows-1-of-2"):
        open_checkpoint(tmp_path).rows("weight", 0, 10)
    assert open_checkpoint(tmp_path).rows("weight", 0, 5).shape == (5, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "format 99"),
        ({"rows": None}, "cannot be read|has no"),
        ({"files": "drop"}, "has no 'files'"),
        ("not json", "cannot be read"),
        ([], "holds a list"),
    ],
)
def test_a_wrong_record_is_refused(tmp_path: Path, change: object, said: str) -> None:
    save(tmp_path, 1, content(), World())
    path = open_checkpoint(tmp_path).folder / module.RECORD
    record = json.loads(path.read_text())
    if isinstance(change, dict):
        record |= change
        record = {k: v for k, v in record.items() if v not in ("drop", None)}
    text = json.dumps(record if isinstance(change, dict) else change) if change != "not json" else "{"
    path.write_text(text)
    with pytest.raises(CheckpointCorrupt, match=said):
        open_checkpoint(tmp_path)


def test_a_pointer_that_leads_nowhere_or_outside_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1, content(), World())
    for name in ("step-00000009", "../../elsewhere", 7):
        (tmp_path / "checkpoints" / "last.json").write_text(json.dumps({"folder": name}))
        with pytest.raises(CheckpointCorrupt, match=r"last\.json names"):
            open_checkpoint(tmp_path)


def test_a_full_disk_on_one_rank_stops_all_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not save_on(2, tmp_path, 1)
    before = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    write = module.save_file  # type: ignore[attr-defined]

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        write(tensors, path)
        if path.name == "rows-1-of-2.safetensors":
            path.write_bytes(path.read_bytes()[:10])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    raised = save_on(2, tmp_path, 2)
    assert len(raised) == 2
    for problem in raised:
        assert isinstance(problem, CheckpointNotSaved)
        assert "rank 1 cannot write the checkpoint step-00000002" in str(problem)
        assert "No space left" in str(problem)
    assert {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    monkeypatch.undo()
    assert not save_on(2, tmp_path, 2)
    assert open_checkpoint(tmp_path).step == 2


@pytest.mark.parametrize("name", ["_commit", "_replace"])
def test_a_failure_while_the_checkpoint_gets_its_name_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save(tmp_path, 1, content(), World())

    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(CheckpointNotSaved, match="Input/output error"):
        save(tmp_path, 2, content(), World())
    found = open_checkpoint(tmp_path)
    found.verify()
    assert found.step == 1


SMALL_DISK = """
import resource, sys, pathlib, torch
from vultus.errors import CheckpointNotSaved
from vultus.train.checkpoint import Content, save, open_checkpoint
from vultus.train.distributed import World
run = pathlib.Path(sys.argv[1])
def content(n): return Content({"recipe": {}}, {"w": torch.ones(n)}, {}, (0, 0), {})
save(run, 1, content(10), World())
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    save(run, 2, content(1_000_000), World())
except CheckpointNotSaved as problem:
    print("not saved", open_checkpoint(run).step, sorted(p.name for p in (run / "checkpoints").iterdir()))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="the system limits no file sizes")
def test_a_write_that_the_system_refuses_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SMALL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "not saved 1 ['last.json', 'step-00000001']"


def test_ranks_that_share_no_folder_are_told(tmp_path: Path) -> None:
    store, raised = dist.HashStore(), []  # type: ignore[attr-defined]

    def one(rank: int) -> None:
        run = tmp_path / str(rank)
        (run / "checkpoints" / ".draft-00000001").mkdir(parents=True)
        try:
            save(run, 1, content(start=5 * rank, stop=5 * rank + 5), World(rank, 2, store=store, timeout=20))
        except BaseException as problem:  # noqa: BLE001
            raised.append(problem)

    threads = [threading.Thread(target=one, args=(r,)) for r in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(raised) == 2
    assert all("all ranks must write into one folder" in str(p) for p in raised)
