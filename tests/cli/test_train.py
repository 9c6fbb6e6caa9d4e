"""`vultus train run`, `resume`, `export` and `overfit`, and `python -m vultus.train`, as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vultus import Recognizer, train
from vultus.cli import train as commands
from vultus.cli.app import app, run
from vultus.train import data
from vultus.train.__main__ import main

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = ["--set", "data.train=generated:8x4", "--set", "data.batch=8", "--set", "run.device=cpu"]


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    if all(group.name != "train" for group in app.registered_groups):
        commands.register(app)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_from_a_recipe_to_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "run", tmp_path / "out"
    told = [*SMALL, "--set", f"run.folder={folder}", "--set", "data.hold_out=0.5"]
    assert run(["train", "run", str(RECIPES / "ci.toml"), *told, "--set", "run.steps=3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["steps"], record["stopped"], record["folder"]) == (3, False, str(folder))
    assert [f["name"] for f in record["figures"]] == ["held-out"]
    assert record["best"]["step"] == 2 or record["best"]["step"] == 3
    assert record["photos_per_second"] > 0

    assert run(["train", "run", str(RECIPES / "ci.toml"), *told]) == 2
    assert "vultus: bad_recipe: run.folder" in capsys.readouterr().err

    assert run(["train", "resume", str(folder), "--set", "run.steps=5"]) == 0
    shown = capsys.readouterr().out
    assert f"{folder}: step 5, loss " in shown.replace("\n", "")
    assert "held-out" in shown
    assert train.open_checkpoint(folder).step == 5

    assert run(["train", "export", str(folder), str(out), "--which", "last", "--name", "own", "--raw", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["manifest"] == str(out / "own.toml")
    assert made["difference"] < 1e-5
    assert "no thresholds were measured" in made["statement"]
    crop = data.draw_face(3, 0)[None]
    assert Recognizer.load(out / "own.toml", threads=1).embedder(crop).shape == (1, 32)

    assert run(["train", "export", str(folder), str(out)]) == 0
    assert (out / "ci.onnx").is_file()
    assert "differ by" in capsys.readouterr().out
    assert run(["train", "export", str(tmp_path), str(out)]) == 2
    assert "vultus: checkpoint_missing:" in capsys.readouterr().err


def test_overfit_says_whether_the_recipe_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "losses" / "arcface.toml")
    told = ["train", "overfit", recipe, "--identities", "4", *SMALL]
    assert run([*told, "--steps", "40", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["identities"], found["photos"], found["steps"]) == (4, 16, 40)
    assert found["after"] >= 0.99
    assert run([*told, "--steps", "1"]) == 2
    said = capsys.readouterr()
    assert "16 photos of 4 identities, 1 steps" in said.out.replace("\n", " ")
    assert "did not learn" in said.err.replace("\n", " ")


def test_what_torchrun_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "run"
    told = [
        str(RECIPES / "losses" / "softmax.toml"),
        *SMALL,
        "--set",
        f"run.folder={folder}",
        "--set",
        "schedule.warmup=0",
    ]
    assert main([*told, "--set", "run.steps=2"]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}: step 2, loss ")
    assert main([*told, "--set", "run.steps=2"]) == 2
    assert capsys.readouterr().err.startswith("vultus: rank 0: bad_recipe: run.folder")
    assert main([*told, "--set", "run.steps=3", "--resume"]) == 0
    assert f"{folder}: step 3" in capsys.readouterr().out
    assert main([*told, "--set", "run.sed=3"]) == 2
    assert "did you mean 'seed'" in capsys.readouterr().err
