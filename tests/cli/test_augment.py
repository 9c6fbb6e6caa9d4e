"""`vultus augment` as a user meets it: a sheet that can be opened, or a message that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.augment import OPERATIONS
from vultus.cli.app import run
from vultus.types import UInt8Array

POLICY = '[[steps]]\noperation = "mirror"\nchance = 0.5\n\n[[steps]]\noperation = "brightness"\n'


@pytest.fixture
def photo(tmp_path: Path, astronaut: UInt8Array) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(path)
    return str(path)


def opened(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_operations_on_a_sheet(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["augment", photo, "--operation", "mask", "--operation", "patches"]
    assert run([*arguments, "--out", str(tmp_path / "a.png"), "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert len(cells) == 12
    assert cells[0] == "mask\nas it is"
    assert cells[7] == f"1\n{OPERATIONS['patches'].amount(1):g} of the face"
    assert sum("*" in cell for cell in cells) == 2
    first = opened(tmp_path / "a.png")
    assert first.std() > 20
    for option in (["--seed", "5"], ["--marks"], ["--side", "96"]):
        assert run([*arguments, *option, "--out", str(tmp_path / "b.png")]) == 0
        assert not np.array_equal(opened(tmp_path / "b.png"), first)
    assert opened(tmp_path / "b.png").shape[0] < first.shape[0]
    assert "contact sheet" in capsys.readouterr().out


def test_draws_of_a_policy(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    arguments = ["augment", photo, "--policy", str(tmp_path / "policy.toml"), "--out", str(tmp_path / "sheet.jpg")]
    assert run([*arguments, "--count", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == [str(i) for i in range(7)]
    first = opened(tmp_path / "sheet.jpg")
    assert run([*arguments, "--count", "7"]) == 0
    assert np.array_equal(opened(tmp_path / "sheet.jpg"), first)
    assert run([*arguments, "--count", "7", "--seed", "1"]) == 0
    assert not np.array_equal(opened(tmp_path / "sheet.jpg"), first)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--operation", "fog"], "bad_policy"),
        (["--policy", "none.toml"], "bad_policy"),
        (["--policy", "none.toml", "--operation", "blur"], "bad_argument"),
        (["--operation", "blur", "--out", "none/sheet.png"], "source_unavailable"),
        (["--operation", "blur", "--out", "sheet.xyz"], "source_unavailable"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    code: str,
    photo: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in arguments else ["--out", "sheet.png"]
    assert run(["augment", photo, *arguments, *out]) == 2
    assert code in capsys.readouterr().err
    assert not (tmp_path / "sheet.png").exists()


def test_a_photo_without_a_face_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (200, 200), (90, 120, 90)).save(tmp_path / "grass.png")
    assert run(["augment", str(tmp_path / "grass.png"), "--out", str(tmp_path / "sheet.png")]) == 2
    assert "no_face" in capsys.readouterr().err
