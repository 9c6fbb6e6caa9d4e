"""The example runs, draws its picture, and says what it is there to say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "face3d.py"


@pytest.mark.usefixtures("cache")
def test_the_portrait_is_turned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = runpy.run_path(str(EXAMPLE))["main"](str(tmp_path / "out.jpg"))
    assert abs(found["yaw"]) < 10
    assert 0.1 < found["hidden 45"] < 0.5
    assert "pixels a millimetre" in capsys.readouterr().out
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.size == (6 * 144, 2 * 144)
