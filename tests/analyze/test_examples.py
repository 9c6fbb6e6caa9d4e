"""The examples run, and print the figures that they are there for."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / name))["main"]()


def test_autograd(capsys: pytest.CaptureFixture[str]) -> None:
    figures = run("autograd.py")
    assert figures["gradient"] == figures["own"] == [[4.5, 4.5], [4.5, 4.5]]
    assert figures["kept"] is None
    assert figures["seen"] == 25
    assert "mean 27.0" in capsys.readouterr().out


def test_bias(capsys: pytest.CaptureFixture[str]) -> None:
    figures = run("bias.py")
    assert figures["perceptron"] == pytest.approx(figures["calibrated"], abs=2e-3)
    assert figures["difference"] < 1e-5
    assert figures["gradient"] < 1e-3
    assert figures["cancelled"] == 1152
    assert figures["parity"] < 1e-5
    assert "bias None" in capsys.readouterr().out


def test_receptive_field(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["receptive_field.py"])
    figures = run("receptive_field.py")
    assert figures["two"] == (7, 4)
    assert figures["three"] == (15, 4)
    assert figures["pool5"] == (195, (32.0, 32.0))
    assert figures["mobilefacenet"] == 227
    assert 5 < figures["effective side"] < 112
    assert "top down 15" in capsys.readouterr().out
