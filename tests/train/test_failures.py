"""What a run is given may be wrong or break: the error has a type and says where, and the last checkpoint is whole."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vultus import train
from vultus.errors import (
    BadArgument,
    BadBatch,
    BadRecipe,
    CheckpointCorrupt,
    CheckpointMismatch,
    CheckpointMissing,
    CheckpointNotSaved,
    DatasetError,
    ImageError,
    NotFinite,
    ShardCorrupt,
    WorldSizeError,
)
from vultus.train import checkpoint as files
from vultus.train import data, distributed, parts, step
from vultus.train.data.codec import encode
from vultus.train.data.shards import write_shards
from vultus.types import UInt8Array

pytestmark = pytest.mark.usefixtures("one_thread")


class Reading(data.Dataset):
    """Drawn faces; a signal arrives while photo number `at`, in the order of reading, is read."""

    def __init__(self, at: int) -> None:
        self.faces, self.at, self.reads = data.DrawnFaces(6, 10), at, 0
        super().__init__(self.faces.labels, self.faces.classes, name=self.faces.name)

    def pixels(self, index: int) -> UInt8Array:
        self.reads += 1
        if self.reads == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.faces.pixels(index)


class Claimed(data.Dataset):
    """Photos without pixels, of the given labels."""

    def __init__(self, labels: list[int]) -> None:
        super().__init__(labels, ("a", "b", "c"), name="claimed")

    def pixels(self, index: int) -> UInt8Array:
        raise AssertionError(index)


def step_left(folder: Path) -> int:
    """The step of the last checkpoint, after all its files were compared with their sums."""
    left = train.open_checkpoint(folder)
    left.verify()
    return left.step


@pytest.mark.parametrize("precision", ["float64", "fp16"])
def test_a_feature_that_is_not_finite_stops_before_the_step(
    small_runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setenv("ALONE", "0")
    config = small_runs.config(tmp_path, "model.options.poison=4", f"run.precision={precision}")
    with pytest.raises(NotFinite, match=r"step 3, rank 0: NaN or infinity in the .*the step was not taken"):
        train.run(config)
    assert step_left(tmp_path) == 2


@pytest.mark.parametrize("wrong", [6, -1, 10**9])
@pytest.mark.parametrize("kind", ["dense", "chunked", "sharded", "none"])
def test_a_label_out_of_range_stops_before_the_step(
    small_runs: ModuleType, tmp_path: Path, wrong: int, kind: str
) -> None:
    added = [{"name": "triplet"}] if kind == "none" else []
    config = small_runs.config(tmp_path, head={"kind": kind}, added=added)
    made = parts.build(config, classes=6, world=distributed.World())
    images, labels = torch.zeros(12, 3, 112, 112, dtype=torch.uint8), torch.arange(12) % 6
    labels[7] = wrong
    before = {name: value.clone() for name, value in made.named_parameters()}
    with pytest.raises(BadBatch, match=f"{wrong}"):
        step.take_step(made, images, labels, step=0, rate=0.1, stop=False)
    assert all(torch.equal(value, before[name]) for name, value in made.named_parameters())


def test_an_empty_class_and_a_single_one_are_refused(small_runs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1 of 3 identities have no photo: 'c'"):
        Claimed([0, 1, 1])
    with pytest.raises(DatasetError, match="labels from 0 to 3; expected 0 to 2"):
        Claimed([0, 1, 2, 3])
    with pytest.raises(DatasetError, match="1 identities; training tells at least two apart"):
        train.run(small_runs.config(tmp_path, "data.classes=1"))
    with pytest.raises(DatasetError, match="hold out two or more"):
        train.run(small_runs.config(tmp_path, "data.hold_out=0.1"))
    assert not any(tmp_path.iterdir())


def test_a_damaged_shard_and_a_damaged_photo_are_named(small_runs: ModuleType, tmp_path: Path) -> None:
    faces = data.InMemory(data.DrawnFaces(6, 10))
    shards, photos = tmp_path / "shards", tmp_path / "photos"
    written = [(encode(faces.pixels(i), "png"), int(faces.labels[i])) for i in range(len(faces))]
    write_shards(shards, written, faces.classes, encoding="png", shard_photos=30, model="m", plan="p")
    for i, (content, label) in enumerate(written):
        (photos / faces.classes[label]).mkdir(parents=True, exist_ok=True)
        (photos / faces.classes[label] / f"{i:03}.png").write_bytes(content)
    again = ("data.hold_out=0", "run.steps=9")
    plain = {
        kind: train.run(small_runs.config(tmp_path / f"whole-{kind}", *again, f"data.train={tmp_path / kind}")).loss
        for kind in ("shards", "photos")
    }
    assert plain["shards"] == plain["photos"]  # the same photos in the same order
    file = shards / "shard-00001.bin"
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    broken = photos / faces.classes[3] / "035.png"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(ShardCorrupt, match="shard-00001"):
        train.run(small_runs.config(tmp_path / "one", *again, f"data.train={shards}"))
    with pytest.raises(ImageError, match=r"035\.png"):
        train.run(small_runs.config(tmp_path / "two", *again, f"data.train={photos}"))


def test_numbers_that_do_not_fit_the_ranks_are_refused(small_runs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(WorldSizeError, match=r"data.accumulate = 5 equal parts"):
        train.run(small_runs.config(tmp_path, "data.accumulate=5"))
    with pytest.raises(BadArgument, match="warm-up"):
        train.run(small_runs.config(tmp_path / "other", "schedule.warmup=9"))
    assert not (tmp_path / "other").exists()
    for environment, said in [
        ({"RANK": "0"}, "WORLD_SIZE is ''"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE is 2"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR"),
    ]:
        with pytest.raises(WorldSizeError, match=said):
            distributed.Place.of(environment)
    assert distributed.Place.of({}) == distributed.Place()


@pytest.fixture(scope="module")
def trained(small_runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps."""
    folder = tmp_path_factory.mktemp("trained")
    train.run(small_runs.config(folder, "run.steps=4"))
    return folder


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.dim=16"], r"dim is 8 in the checkpoint and 16 in this run"),
        (["loss.name=cosface"], r"loss is 'arcface' in the checkpoint and 'cosface'"),
        (["optimizer.name=adamw"], r"optimizer is 'sgd' in the checkpoint"),
        (["head.fused=true"], r"fused is False in the checkpoint"),
        (["head.options.subcenters=2"], r"'weight'|by class|rows|shape"),
        (["average.decay=0"], r"average is True in the checkpoint"),
        (["data.train=generated:6x9"], r"was trained on other photos"),
        (["model.backbone=small"], r"backbone is 'tiny' in the checkpoint"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(trained: Path, tmp_path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises((CheckpointMismatch, CheckpointCorrupt, BadArgument), match=said):
        train.resume(trained, overrides=[f"run.folder={tmp_path}", "run.steps=6", *overrides])
    assert not (tmp_path / "checkpoints").exists()
    assert step_left(trained) == 4


def test_weights_to_start_from_must_be_of_this_network(small_runs: ModuleType, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match=r"'feature\.weight' of the backbone has shape"):
        train.run(small_runs.config(tmp_path, "model.dim=9", f"model.weights={trained}"))
    with pytest.raises(CheckpointMissing, match="no checkpoint at"):
        train.run(small_runs.config(tmp_path, f"model.weights={tmp_path}"))
    one = train.run(small_runs.config(tmp_path / "one", f"model.weights={trained}", "run.steps=3")).loss
    other = train.run(small_runs.config(tmp_path / "other", "run.steps=3")).loss
    assert one != other


def test_a_run_is_not_begun_over_another_but_resumed(small_runs: ModuleType, trained: Path) -> None:
    config = small_runs.config(trained, "run.steps=4")
    with pytest.raises(BadRecipe, match="holds a run already; resume it"):
        train.run(config)
    assert train.run(config, resume=True).steps == 4  # nothing is left to do
    assert step_left(trained) == 4


def test_a_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on_from_it(
    small_runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain"
    train.run(small_runs.config(plain))
    write = files._write

    def full(path: Path, tensors: dict[str, Tensor]) -> dict[str, object]:
        if "step-00000006" in str(path.parent) or "draft-00000006" in str(path.parent):
            raise OSError(28, "No space left on device", str(path))
        return write(path, tensors)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", full)
        with pytest.raises(CheckpointNotSaved, match=r"rank 0 cannot write .*No space left.*the checkpoint before it"):
            train.run(small_runs.config(run))
    assert step_left(run) == 4
    train.resume(run)
    ours, theirs = train.open_checkpoint(run).replicated(), train.open_checkpoint(plain).replicated()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_signal_ends_the_run_after_its_step_and_it_goes_on_bit_for_bit(
    small_runs: ModuleType, tmp_path: Path
) -> None:
    plain, run = tmp_path / "plain", tmp_path / "run"
    train.run(small_runs.config(plain, "data.hold_out=0"), dataset=data.DrawnFaces(6, 10))

    before = signal.getsignal(signal.SIGTERM)
    result = train.run(small_runs.config(run, "data.hold_out=0"), dataset=Reading(4 * 12 + 1))
    assert signal.getsignal(signal.SIGTERM) is before
    assert result.stopped
    assert 4 <= result.steps < small_runs.STEPS
    assert step_left(run) == result.steps
    rest = train.resume(run, dataset=data.DrawnFaces(6, 10))
    assert not rest.stopped
    ours, theirs = train.open_checkpoint(run).replicated(), train.open_checkpoint(plain).replicated()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
