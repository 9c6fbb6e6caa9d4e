"""`vultus restore` as a user meets it: before and after on a sheet, or a message that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.cli.app import run
from vultus.restore import LIGHTING
from vultus.types import UInt8Array


@pytest.fixture
def photo(tmp_path: Path, astronaut: UInt8Array) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(path)
    return str(path)


def shown(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_every_way_on_a_sheet(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["restore", photo, "--out", str(tmp_path / "a.png"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert list(scores) == ["frontal", *LIGHTING]
    assert all(-1 <= s <= 1 for s in scores.values())
    assert scores["balance"] > 0.8
    assert shown(tmp_path / "a.png").std() > 20


def test_a_harmed_photo_a_single_way_and_the_side(
    photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["restore", photo, "--way", "balance"]
    assert run([*arguments, "--harm", "light:3", "--out", str(tmp_path / "lit.png"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["scores"]) == ["balance"]
    assert run([*arguments, "--out", str(tmp_path / "plain.png")]) == 0
    assert run([*arguments, "--side", "80", "--out", str(tmp_path / "small.png")]) == 0
    assert "sheet:" in capsys.readouterr().out
    plain = shown(tmp_path / "plain.png")
    assert not np.array_equal(shown(tmp_path / "lit.png"), plain)
    assert shown(tmp_path / "small.png").shape[0] < plain.shape[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--way", "sunshine"], "no way 'sunshine'"),
        (["--harm", "light"], "expected FACTOR:SEVERITY"),
        (["--harm", "fog:3"], "no degradation 'fog'"),
        (["--restorer", "missing.toml"], "missing.toml"),
    ],
)
def test_what_cannot_be_done_is_said(
    photo: str, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["restore", photo, "--out", str(tmp_path / "a.png"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
