"""`vultus analyze` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from vultus.cli.app import run
from vultus.weights import find_weights, load_manifest


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> str:
    """`small`, under a name that can be given on the command line."""
    import sys
    import types

    module = types.ModuleType("networks_of_a_user")
    module.small, module.number = small, int  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "networks_of_a_user", module)
    return "networks_of_a_user:small"


def test_fields_of_a_module_of_ones_own(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "rf", made, "--size", "20", "24", "--json"]) == 0
    record = document(capsys)
    assert record["model"] == made
    assert record["input_size"] == [3, 20, 24]
    assert [(n["name"], n["size"], n["jump"]) for n in record["nodes"]] == [
        *((name, [3, 3], [2, 2]) for name in "012"),
        ("3", [7, 7], [2, 2]),
    ]
    assert run(["analyze", "rf", made, "--size", "20", "24"]) == 0
    short = capsys.readouterr().out
    assert run(["analyze", "rf", made, "--size", "20", "24", "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(short.splitlines()) + 2
    assert "formula" in short


def test_fields_and_biases_of_every_kind_of_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "rf", "sface-2021dec", "--json"]) == 0
    by_name = document(capsys)["nodes"]
    assert run(["analyze", "rf", str(find_weights(load_manifest("sface-2021dec"))), "--json"]) == 0
    assert document(capsys)["nodes"] == by_name
    assert run(["analyze", "rf", "small", "--json"]) == 0
    assert document(capsys)["nodes"][-1]["size"] == [112, 112]
    assert run(["analyze", "bias", "sface-2021dec", "--json"]) == 0
    assert document(capsys)["cancelled_numbers"] == 1152


def test_biases_of_a_module(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "bias", made, "--size", "20", "24"]) == 0
    printed = capsys.readouterr().out
    assert "cancelled" in printed
    assert "1 of 3 biases do nothing: 4 of 12 numbers" in printed


def test_effective_field_and_picture(made: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "fields.png"
    arguments = ["analyze", "rf", made, "--size", "60", "60", "--picture", str(target), "--effective", "3"]
    assert run([*arguments, "--json"]) == 0
    record = document(capsys)["effective"]
    assert record["name"] == "3"
    assert 1 <= record["pixels"] <= 49
    with Image.open(target) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture).std() > 10
    assert run(arguments) == 0
    assert "effective field" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("iresnet51", "did you mean 'iresnet5"),
        ("nothing.onnx", "cannot read nothing.onnx"),
        ("no_such_package:f", "does not name a function"),
        ("networks_of_a_user:number", "expected a torch.nn.Module"),
        ("networks_of_a_user:small", "pass input_size"),
    ],
)
def test_what_is_no_network_is_refused(made: str, model: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "rf", model]) == 2
    assert message in capsys.readouterr().err
    assert run(["analyze", "rf", model, "--effective", "3"]) == 2
