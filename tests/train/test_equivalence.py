"""Two ranks, one process with the whole batch, and two accumulated halves are one run; so is a resumed one."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from vultus import train
from vultus.train.checkpoint import Checkpoint, open_checkpoint

PROGRAM = Path(__file__).with_name("scenarios.py")
SCENARIOS = 14


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vultus_loop_scenarios", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def free_ports(count: int) -> list[str]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [str(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which three ranks have run all scenarios."""
    folder = tmp_path_factory.mktemp("ranks")
    ports = free_ports(SCENARIOS)
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), str(rank), str(folder), *ports],
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(3)
    ]
    outputs = [child.communicate(timeout=240)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], "\n".join(outputs)
    return folder


def said(ranks: Path, rank: int) -> dict[str, str]:
    found: dict[str, str] = json.loads((ranks / f"said-{rank}.json").read_text())
    return found


def tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """All that a checkpoint holds of a run but the random states: rows joined over ranks."""
    classes = int(checkpoint.record["model"]["classes"])
    found = dict(checkpoint.replicated())
    return found | {f"rows.{n}": checkpoint.rows(n, 0, classes) for n in checkpoint.row_names()}


def furthest(one: Checkpoint, other: Checkpoint, *, buffers: bool = True) -> float:
    """Largest difference of any number in two checkpoints, as a share of the largest of its tensor where that is above 1."""
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    skip = () if buffers else ("running_", "num_batches")
    kept = [n for n in a if not any(s in n for s in skip)]
    assert any(n.startswith("rows.") for n in kept) or one.record["model"]["loss"] == "triplet" or not one.row_names()
    return max(
        float((a[n].double() - b[n].double()).abs().max() / a[n].double().abs().max().clamp(min=1.0))
        for n in kept
        if a[n].numel()
    )


def losses(folder: Path) -> list[float]:
    lines = (folder / "steps.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[2]) for line in lines]


@pytest.fixture(scope="module")
def whole(cases: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """One process with the whole batch."""
    folder = tmp_path_factory.mktemp("whole")
    train.run(cases.config(folder))
    return open_checkpoint(folder)


def test_the_run_moves_everything(whole: Checkpoint) -> None:
    first = open_checkpoint(whole.folder.parent / "step-00000002")
    a, b = tensors(first), tensors(whole)
    still = {n for n in a if torch.equal(a[n], b[n])}
    assert {n for n in still if "running_" not in n and "num_batches" not in n} == set()
    assert {n.split(".")[0] for n in b} == {"backbone", "average", "optimizer", "rows"}


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_are_one_process_with_the_whole_batch(ranks: Path, whole: Checkpoint, size: int) -> None:
    folder = ranks / f"plain-{size}"
    assert open_checkpoint(folder).record["world_size"] == size
    assert furthest(open_checkpoint(folder), whole) <= 1e-10
    assert losses(folder) == pytest.approx(losses(whole.folder.parents[1]), abs=1e-4)


@pytest.mark.parametrize("pieces", [2, 4])
def test_accumulated_parts_are_the_whole_batch(
    cases: ModuleType, tmp_path: Path, whole: Checkpoint, pieces: int
) -> None:
    train.run(cases.config(tmp_path, f"data.accumulate={pieces}"))
    assert furthest(open_checkpoint(tmp_path), whole) <= 1e-10


def test_the_same_in_float32_to_1e_6(cases: ModuleType, tmp_path: Path) -> None:
    # centres of length near 1 at once: the gradient of a short one is large, and so is its rounding
    same = ("run.precision=float32", "head.options.deviation=0.5")
    train.run(cases.config(tmp_path / "one", *same))
    train.run(cases.config(tmp_path / "two", *same, "data.accumulate=2"))
    assert furthest(open_checkpoint(tmp_path / "one"), open_checkpoint(tmp_path / "two")) <= 1e-6


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("chunked-2", ("head.kind=chunked",)), ("sync-2", ("model.batch_norm=local",)), ("fused-2", ())],
)
def test_other_heads_and_shared_normalisation_are_one_process_too(
    cases: ModuleType, ranks: Path, tmp_path: Path, name: str, overrides: tuple[str, ...]
) -> None:
    more = {"chunked-2": cases.ADAFACE, "sync-2": (), "fused-2": cases.FUSED}[name]
    train.run(cases.config(tmp_path, *overrides, *more))
    assert furthest(open_checkpoint(ranks / name), open_checkpoint(tmp_path)) <= 1e-9


def test_added_losses_see_the_batch_of_all_ranks(cases: ModuleType, ranks: Path, tmp_path: Path) -> None:
    train.run(cases.config(tmp_path, head={"kind": "none"}, added=[{"name": "triplet"}]))
    assert furthest(open_checkpoint(ranks / "added-2"), open_checkpoint(tmp_path)) <= 1e-10


def test_a_local_normalisation_is_not_the_same(cases: ModuleType, tmp_path: Path) -> None:
    train.run(cases.config(tmp_path / "one", "model.batch_norm=local"))
    train.run(cases.config(tmp_path / "two", "model.batch_norm=local", "data.accumulate=2"))
    assert furthest(open_checkpoint(tmp_path / "one"), open_checkpoint(tmp_path / "two")) > 1e-4


# --- resume -----------------------------------------------------------------------------------------------------------


def same_bits(one: Checkpoint, other: Checkpoint) -> None:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[n], b[n]) for n in a)
    for rank in range(int(one.record["world_size"])):
        assert torch.equal(one.own(rank)["random.cpu"], other.own(rank)["random.cpu"])
    for key in ("sampler", "scaler", "updates", "head_step", "step", "epoch"):
        assert one.record[key] == other.record[key]


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_resumed_run_is_the_same_bit_for_bit(cases: ModuleType, tmp_path: Path, step: int) -> None:
    train.run(cases.config(tmp_path / "whole", *cases.NOISY))
    middle = tmp_path / "whole" / "checkpoints" / f"step-{step:08d}"
    result = train.resume(middle, overrides=[f"run.folder={tmp_path / 'rest'}"])
    assert (result.steps, result.stopped) == (cases.STEPS, False)
    same_bits(open_checkpoint(tmp_path / "whole"), open_checkpoint(tmp_path / "rest"))
    assert losses(tmp_path / "rest") == losses(tmp_path / "whole")[step:]


def test_three_resumed_ranks_are_the_same_bit_for_bit(ranks: Path) -> None:
    same_bits(open_checkpoint(ranks / "noisy-3"), open_checkpoint(ranks / "noisy-3-resumed"))


def test_resuming_in_the_same_folder_cuts_the_log_back(cases: ModuleType, tmp_path: Path) -> None:
    train.run(cases.config(tmp_path))
    before = (tmp_path / "steps.csv").read_text().splitlines()
    train.resume(tmp_path / "checkpoints" / "step-00000004")
    after = (tmp_path / "steps.csv").read_text().splitlines()
    assert len(after) == len(before) == cases.STEPS + 1
    assert [line.split(",")[:4] for line in after] == [line.split(",")[:4] for line in before]


def test_one_then_two_then_three_then_one_rank_keep_rows_and_momentum(
    cases: ModuleType, ranks: Path, tmp_path: Path
) -> None:
    """One rank to step 2, two to step 4, three to step 6 and one to the end; and one throughout."""
    one, parts = open_checkpoint(ranks / "on-1"), [ranks / f"on-{size}" / "checkpoints" for size in (1, 2, 3)]
    train.resume(parts[2] / "step-00000006", overrides=[f"run.folder={tmp_path}"])
    rest = open_checkpoint(tmp_path)
    assert [open_checkpoint(p.parent).record["world_size"] for p in parts] == [1, 2, 3]
    assert one.row_names() == {"weight", "momentum"}
    for step, part in ((4, parts[1]), (6, parts[2])):
        name = f"step-{step:08d}"
        assert furthest(open_checkpoint(part / name), open_checkpoint(parts[0] / name)) <= 1e-10
    assert furthest(rest, one) <= 1e-10
    assert float(tensors(one)["rows.momentum"].abs().max()) > 1e-4


def test_rows_and_momentum_are_loaded_as_they_were_saved(cases: ModuleType, ranks: Path) -> None:
    """No step between: what three ranks saved is what one process then holds, bit for bit."""
    for name in ("on-3", "plain-3"):
        source = open_checkpoint(ranks / name)
        held = cases.reloaded(source)
        assert held.keys() == source.row_names()
        assert len(held) == 2
        for key, tensor in held.items():
            assert torch.equal(tensor, source.rows(key, 0, 4))


# --- failures of ranks ------------------------------------------------------------------------------------------------


def test_a_recipe_that_differs_is_named_with_its_rank_and_key(ranks: Path) -> None:
    for rank in (0, 1):
        found = said(ranks, rank)["differs"]
        assert found.startswith(
            "ranks_disagree: rank 1 differs from rank 0 in the recipe's optimizer.lr: 0.2 against 0.1"
        )
    assert not (ranks / "differs" / "checkpoints").exists()


def test_a_feature_that_is_not_finite_is_named_with_rank_step_and_layer(ranks: Path) -> None:
    for rank in (0, 1):
        found = said(ranks, rank)["poisoned"]
        assert found.startswith("not_finite: step 3, rank 1: ")
    kept = open_checkpoint(ranks / "poisoned")
    kept.verify()
    assert kept.step == 2


def test_a_batch_that_ranks_cannot_share_is_refused(ranks: Path) -> None:
    for rank in (0, 1):
        assert said(ranks, rank)["odd"].startswith("bad_world_size")


def test_scenarios_were_all_run(ranks: Path) -> None:
    found: list[dict[str, Any]] = [said(ranks, r) for r in range(3)]
    assert len(found[0]) == SCENARIOS
    assert len(found[1]) == SCENARIOS - 1  # all but the one of a single process
    assert sum(v == "done" for v in found[0].values()) == SCENARIOS - 3
