"""`vultus gallery` takes an address wherever it takes a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

from vultus.cli.app import run


def test_a_gallery_on_a_server_by_command(
    on_server: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str, code: int = 0) -> Any:
        assert run(["gallery", *arguments, "--json"]) == code
        streams = capsys.readouterr()
        assert "s3cret" not in streams.out + streams.err
        return json.loads(streams.out) if not code else streams.out + streams.err

    address = on_server("g").replace("postgres@", "postgres:s3cret@")
    photo, moved = str(tmp_path / "collins.png"), on_server("moved")
    Image.fromarray(skimage.data.astronaut()).save(photo)
    assert "gallery_missing" in said("list", address, code=2)
    name = said("create", address)["gallery"]
    assert name.startswith("postgresql://")
    assert "bad_argument" in said("create", address, code=2)
    assert said("enrol", address, photo, "--subject", "collins")["templates"] == 1
    assert said("identify", address, photo)["photos"][0]["candidates"][0]["subject_id"] == "collins"
    assert run(["gallery", "recall", address, photo]) == 0
    assert "1 of 1 candidates found" in capsys.readouterr().out
    archive = str(tmp_path / "staff.zip")
    assert said("export", address, archive)["subjects"] == 1
    assert said("import", moved, archive)["subjects"] == 1
    assert said("import", str(tmp_path / "moved.db"), archive)["subjects"] == 1
    assert said("delete", moved, "collins")["deleted"] == [
        {"subject_id": "collins", "templates": 1, "revision": 2, "erased": False}
    ]
    assert said("erase", moved) == {"erased": True}
    assert said("stats", moved)["subjects"] == 0
    assert said("check", address)["ok"]
    assert run(["gallery", "erase", address]) == 0
    assert "erased" in capsys.readouterr().out
