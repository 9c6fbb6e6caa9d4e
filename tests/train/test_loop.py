"""Each key of a recipe acts, or is known not to change the result; what a run writes; what it leaves as it was."""

from __future__ import annotations

import csv
import itertools
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vultus import train
from vultus.errors import BadRecipe, ExtraMissing
from vultus.train import data

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = "run.steps=4"


def final(folder: Path) -> dict[str, Tensor]:
    found = train.open_checkpoint(folder)
    classes = found.record["model"]["classes"]
    return found.replicated() | {name: found.rows(name, 0, classes) for name in found.row_names()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def plain(small_runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("plain")
    train.run(small_runs.config(folder, STEPS))
    return final(folder)


@pytest.mark.parametrize(
    "override",
    [
        "run.seed=1",
        "run.precision=float32",
        "data.batch=16",
        "data.sampler=balanced",
        "data.sampler=pk",
        "data.classes=3",
        "data.hold_out=0",
        "model.dim=9",
        "model.centred=true",
        "model.batch_norm=local",
        "loss.options.margin=0.4",
        "head.options.deviation=0.5",
        "head.fused=true",
        "head.lr=2.0",
        "head.weight_decay=0.1",
        "optimizer.name=adamw",
        "optimizer.lr=0.03",
        "optimizer.momentum=0.8",
        "optimizer.nesterov=true",
        "optimizer.weight_decay=0.1",
        "optimizer.decay_norms=true",
        "optimizer.clip=0.1",
        "schedule.name=constant",
        "schedule.warmup=0",
        "schedule.final=0.5",
        "augment.policy=mirror",
        "average.decay=0.05",
        "average.warmup=false",
        "added=triplet",
    ],
)
def test_every_key_acts(small_runs: ModuleType, plain: dict[str, Tensor], tmp_path: Path, override: str) -> None:
    if override == "added=triplet":
        config = small_runs.config(tmp_path, STEPS, added=[{"name": "triplet", "share": 0.3}])
    else:
        config = small_runs.config(tmp_path, STEPS, override)
    train.run(config)
    assert not same(final(tmp_path), plain)


@pytest.mark.parametrize(
    "override", ["data.workers=1", "data.in_memory=true", "run.threads=1", "run.log_every=3", "run.keep=1"]
)
def test_where_and_how_a_run_runs_changes_no_bit(
    small_runs: ModuleType, plain: dict[str, Tensor], tmp_path: Path, override: str
) -> None:
    train.run(small_runs.config(tmp_path, STEPS, override))
    assert same(final(tmp_path), plain)


def test_a_run_leaves_the_random_state_and_torchs_settings(small_runs: ModuleType, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    assert not torch.are_deterministic_algorithms_enabled()
    train.run(small_runs.config(tmp_path, STEPS))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_bfloat16_is_near_single(small_runs: ModuleType, tmp_path: Path) -> None:
    found = {}
    for name in ("float32", "bf16"):
        train.run(small_runs.config(tmp_path / name, STEPS, f"run.precision={name}"))
        found[name] = [float(line["loss"]) for line in read(tmp_path / name / "steps.csv")]
    assert found["bf16"] != found["float32"]
    assert found["bf16"] == pytest.approx(found["float32"], rel=0.05)
    assert final(tmp_path / "bf16")["backbone.look.weight"].dtype == torch.float32


def test_a_float16_step_that_overflows_is_left_out_and_the_scale_halves(small_runs: ModuleType, tmp_path: Path) -> None:
    steps = 8
    train.run(small_runs.config(tmp_path, f"run.steps={steps}", "run.precision=fp16"))
    lines = read(tmp_path / "steps.csv")
    scales = [65536.0, *(float(line["scale"]) for line in lines)]
    falls = sum(after < before for before, after in itertools.pairwise(scales))
    assert all(after in (before, before / 2) for before, after in itertools.pairwise(scales))
    assert train.open_checkpoint(tmp_path).record["updates"] == steps - falls  # the average moves with each step taken
    assert 0 < falls < steps
    assert final(tmp_path)["backbone.look.weight"].dtype == torch.float32


def test_the_backbone_is_compiled_where_asked(
    small_runs: ModuleType, plain: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[torch.nn.Module] = []

    def compiled(module: torch.nn.Module) -> torch.nn.Module:
        given.append(module)
        return module

    monkeypatch.setattr(torch, "compile", compiled)
    train.run(small_runs.config(tmp_path, STEPS, "run.compile=true"))
    assert len(given) == 1
    assert same(final(tmp_path), plain)


def test_checkpoints_and_lines_come_as_often_as_asked(small_runs: ModuleType, tmp_path: Path) -> None:
    train.run(small_runs.config(tmp_path / "two", "run.checkpoint_every=3", "run.keep=2", "run.log_every=2"))
    # the end of an epoch is a line and a checkpoint only where the steps fall on it; 4 steps are an epoch here
    kept = sorted(p.name for p in (tmp_path / "two" / "checkpoints").glob("step-*"))
    assert kept == ["step-00000006", "step-00000008"]
    assert [int(line["step"]) for line in read(tmp_path / "two" / "steps.csv")] == [2, 3, 4, 6, 8]
    train.run(small_runs.config(tmp_path / "ends", "run.checkpoint_every=0", "run.keep=9"))
    ends = [int(p.name[5:]) for p in sorted((tmp_path / "ends" / "checkpoints").glob("step-*"))]
    assert ends == [3, 6, 8]


def test_the_average_is_what_is_evaluated_and_the_best_is_kept(small_runs: ModuleType, tmp_path: Path) -> None:
    sets = [{"kind": "held-out", "name": "a"}, {"kind": "held-out", "name": "b"}]
    asked = {"every": 1, "best": "b", "batch": 7, "sets": sets}
    base = ("data.hold_out=0.67", "data.batch=8", "run.steps=7", "run.keep=1")
    result = train.run(small_runs.config(tmp_path / "one", *base, evaluation=asked))
    lines = read(tmp_path / "one" / "evaluations.csv")
    assert [(int(x["step"]), x["set"]) for x in lines] == [(s, n) for s in (2, 4, 6, 7) for n in "ab"]
    assert [f.name for f in result.figures] == ["a", "b"]
    assert result.best is not None
    merits = {int(x["step"]): float(x["accuracy"]) for x in lines if x["set"] == "b"}
    assert result.best[0] == pytest.approx(max(merits.values()), abs=1e-5)
    assert merits[result.best[1]] == max(merits.values())
    assert train.open_checkpoint(tmp_path / "one", which="best").step == result.best[1]
    rarely = train.run(small_runs.config(tmp_path / "two", *base, evaluation={**asked, "every": 2, "mirror": True}))
    assert [int(x["step"]) for x in read(tmp_path / "two" / "evaluations.csv")] == [4, 4, 7, 7]
    assert rarely.figures[0].auc != result.figures[0].auc  # the mirrored crops take part
    assert same(final(tmp_path / "one"), final(tmp_path / "two"))  # evaluation moves nothing
    raw = train.run(small_runs.config(tmp_path / "raw", *base, "average.decay=0", evaluation=asked))
    assert raw.figures[0].auc != result.figures[0].auc


def test_tensorboard_has_the_numbers_of_the_log(small_runs: ModuleType, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train.run(small_runs.config(tmp_path, STEPS, "run.tensorboard=true"))
    events = reading.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(e.step, e.value) for e in events.Scalars("train/loss")]
    lines = [(int(line["step"]), float(line["loss"])) for line in read(tmp_path / "steps.csv")]
    assert [f[0] for f in found] == [x[0] for x in lines]
    assert [f[1] for f in found] == pytest.approx([x[1] for x in lines], rel=1e-4)


def test_a_missing_tensorboard_says_what_to_install(
    small_runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ExtraMissing, match="pip install tensorboard"):
        train.run(small_runs.config(tmp_path, STEPS, "run.tensorboard=true"))


def test_a_loss_on_features_is_no_heads_loss(small_runs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"head.kind = 'none' and name it under \[\[added\]\]"):
        train.run(small_runs.config(tmp_path, loss={"name": "triplet"}))
    with pytest.raises(BadRecipe, match="'cosface' needs a head"):
        train.run(small_runs.config(tmp_path, added=[{"name": "cosface"}]))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss.name=arkface", "loss.options={}"], "ArcFace"),
        (["loss.options.margn=0.1"], "margin"),
        (["model.backbone=iresnet51"], "iresnet50"),
        (["model.options.width=3"], "model: "),
        (["head.options.chunks=3"], "head.options"),
        (["head.options.sample_rate=0.5"], "head.fused = true"),
    ],
)
def test_a_recipe_that_cannot_be_carried_out_says_why(
    small_runs: ModuleType, tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(BadRecipe, match=said):
        train.run(small_runs.config(tmp_path, *overrides))
    assert not any(tmp_path.iterdir())


def test_photos_may_be_given_instead_of_named(small_runs: ModuleType, plain: dict[str, Tensor], tmp_path: Path) -> None:
    train.run(small_runs.config(tmp_path, STEPS, "data.train=nothing"), dataset=data.DrawnFaces(6, 10))
    assert same(final(tmp_path), plain)
