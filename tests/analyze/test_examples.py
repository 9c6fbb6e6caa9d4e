"""The examples run, and print the figures that they are there for."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, **arguments: int) -> Any:
    return runpy.run_path(str(EXAMPLES / name))["main"](**arguments)


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


def test_margins(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["margins.py"])
    figures = run("margins.py")
    assert abs(figures["line"]) < 1e-9
    assert figures["middle"] == pytest.approx(math.pi / 4)
    assert figures["shares"] == pytest.approx({m: (m - 1) / (m + 1) for m in (1, 2, 3, 4)}, abs=1e-6)
    assert figures["worst"] < 1e-6
    assert figures["falls"]
    assert figures["slopes"] == pytest.approx([math.sin(t + 0.5) / math.sin(t) for t in (0.1, 0.3, 1.0)])
    assert "cos t1 = cos t2 at 45.00 degrees" in capsys.readouterr().out


def test_features_2d(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["features_2d.py"])
    figures = run("features_2d.py", epochs=3)
    assert set(figures) == {"softmax", "softmax + Ring", "A-Softmax"}
    assert all(figure["accuracy"] > 0.25 for figure in figures.values())  # chance is a tenth
    assert capsys.readouterr().out.count("of the held-out digits right") == 3
