"""`vultus gallery` takes an address of a Qdrant server wherever it takes a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image

from vultus.cli.app import run


def test_a_gallery_on_qdrant_by_command(
    on_qdrant: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str, code: int = 0) -> Any:
        assert run(["gallery", *arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    address, moved = on_qdrant("g", shards="2", replicas="1"), on_qdrant("moved")
    photo, archive = str(tmp_path / "collins.png"), str(tmp_path / "staff.zip")
    Image.fromarray(skimage.data.astronaut()).save(photo)
    assert said("list", address, code=2)["error"]["code"] == "gallery_missing"
    assert said("create", address)["gallery"] == address.partition("?")[0]
    assert said("create", address, code=2)["error"]["code"] == "bad_argument"
    assert said("enrol", address, photo, "--subject", "collins", "--name", "Eileen")["templates"] == 1
    assert said("enrol", address, photo, "--subject", "collins")["known"] == 1
    assert said("identify", address, photo)["photos"][0]["candidates"][0]["subject_id"] == "collins"
    assert said("export", address, archive)["subjects"] == 1
    assert said("import", moved, archive)["subjects"] == 1
    assert said("import", str(tmp_path / "moved.db"), archive)["subjects"] == 1
    assert said("stats", moved)["subjects"] == 1
    assert said("delete", moved, "collins")["deleted"] == [
        {"subject_id": "collins", "templates": 1, "revision": 2, "erased": False}
    ]
    assert said("check", address)["ok"]
    assert said("check", moved)["ok"]
