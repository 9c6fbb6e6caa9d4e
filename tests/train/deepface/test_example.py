"""The example runs, and prints the figures that it is there for."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "deepface.py"


def test_the_ensemble_is_at_least_its_mean_member(capsys: pytest.CaptureFixture[str]) -> None:
    found = runpy.run_path(str(EXAMPLE))["main"](epochs=15, people=10)
    assert len([name for name in found if name.endswith(("inner product", "chi-squared", "Siamese"))]) == 9
    assert min(found[name] for name in found if name.endswith(("inner product", "chi-squared", "Siamese"))) > 0.7
    assert found["ensemble"] > found["mean of the three"]
    assert found["gain, low"] > 0
    assert "ensemble above the mean of its members" in capsys.readouterr().out
