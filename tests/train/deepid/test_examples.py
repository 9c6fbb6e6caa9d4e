"""The examples run, and print the figures that they are there for."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"

pytestmark = pytest.mark.usefixtures("one_thread")


def test_deepid(capsys: pytest.CaptureFixture[str]) -> None:
    found = runpy.run_path(str(EXAMPLES / "deepid.py"))["main"](steps=12)
    assert list(found)[-1] == "together"
    assert found.pop("together") <= sum(found.values()) / 3
    assert "together: 960 numbers" in capsys.readouterr().out


def test_joint_bayesian(capsys: pytest.CaptureFixture[str]) -> None:
    found = runpy.run_path(str(EXAMPLES / "joint_bayesian.py"))["main"]([])
    assert found["between"] < 0.08
    assert found["within"] < 0.04
    assert found["joint bayesian"] < found["cosine"] / 2
    assert "EER of 300 others" in capsys.readouterr().out
