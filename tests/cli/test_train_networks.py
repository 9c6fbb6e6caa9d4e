"""`vultus train detector` and `vultus train restorer` from the recipes that are shipped, shortened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vultus.cli.app import run as vultus

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def given(**changes: object) -> list[str]:
    return [part for key, value in changes.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def test_a_restorer_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = given(
        run__folder=tmp_path / "run",
        run__steps=3,
        run__batch=2,
        data__train="generated:4x2",
        model__width=4,
        loss__identity=0,
    )
    assert vultus(["train", "restorer", "run", str(RECIPES / "restore_small.toml"), *changes, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["stopped"]) == (3, False)
    assert told["losses"]["loss"] == told["losses"]["pixels"] > 0
    assert vultus(["train", "restorer", "run", str(RECIPES / "restore_small.toml"), *changes]) == 2
    assert "holds a run already" in capsys.readouterr().err
    missing = [str(tmp_path / "nothing"), str(tmp_path / "out")]
    assert vultus(["train", "restorer", "export", *missing]) == 2
    assert "checkpoint_missing" in capsys.readouterr().err


def test_a_detector_is_trained_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = given(
        run__folder=tmp_path / "run", run__batch=2, data__train="generated:2", data__side=64, model__width=8
    )
    recipe = str(RECIPES / "detector_small.toml")
    assert vultus(["train", "detector", "run", recipe, *changes, "--set", "run.steps=2"]) == 0
    assert "step 2, loss" in " ".join(capsys.readouterr().out.split())
    assert vultus(["train", "detector", "run", recipe, *changes, "--set", "run.steps=3", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 3
    missing = [str(tmp_path / "nothing"), str(tmp_path / "out")]
    assert vultus(["train", "detector", "export", *missing, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "checkpoint_missing"
    assert vultus(["train", "detector", "export", str(tmp_path / "run"), missing[1], "--name", "No Name"]) == 2
    assert "bad_argument" in capsys.readouterr().err
