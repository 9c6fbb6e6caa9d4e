"""`vultus train prepare` and `check`, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.cli import train as commands
from vultus.cli.app import app, run
from vultus.train import data


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    if all(group.name != "train" for group in app.registered_groups):
        commands.register(app)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn people with two photos each, and one file that is no photo."""
    root = tmp_path_factory.mktemp("photos")
    for person in (2, 3):
        (root / f"p{person}").mkdir()
        for photo in range(2):
            face = np.pad(data.draw_face(person, photo), ((20, 20), (20, 20), (0, 0)), mode="edge")
            assert cv2.imwrite(str(root / f"p{person}" / f"{photo}.png"), face[..., ::-1])
    (root / "p2" / "broken.png").write_bytes(b"garbage")
    return root


def test_photos_become_shards(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "set"
    assert run(["train", "prepare", str(photos), str(target), "--encoding", "png", "--ordered", "--threads", "1"]) == 0
    assert capsys.readouterr().out == (target / "report.txt").read_text()
    dataset = data.open_dataset(target)
    assert isinstance(dataset, data.Shards)
    assert (dataset.classes, dataset.labels.tolist()) == (("p2", "p3"), [0, 0, 1, 1])
    assert dataset.manifest.encoding == "png"
    assert run(["train", "check", str(target)]) == 0
    assert "4 photos of 2 identities, as written" in capsys.readouterr().out
    content = bytearray((target / "shard-00000.bin").read_bytes())
    content[50] ^= 1
    (target / "shard-00000.bin").write_bytes(content)
    assert run(["train", "check", str(target)]) == 2
    assert "vultus: shard_corrupt:" in capsys.readouterr().err


def test_json_is_one_document(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "set"
    assert run(["train", "prepare", str(photos), str(target), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kept"], report["dropped"]) == (4, {"parse_error": 1})
    assert run(["train", "check", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photos"] == 4


def test_every_option_reaches_the_preparation(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[data.Preparation] = []

    def stop(*where: object, options: data.Preparation, **rest: object) -> None:
        seen.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "prepare", stop)
    told = [
        "--face",
        "one",
        "--min-quality",
        "0.5",
        "--min-eyes",
        "20",
        "--duplicate-cosine",
        "0.8",
        "--duplicate-bits",
        "2",
        "--min-photos",
        "3",
    ]
    told += ["--encoding", "jpeg", "--shard-photos", "9", "--ordered", "--seed", "4", "--strict"]
    assert run(["train", "prepare", str(photos), str(tmp_path / "set")]) == 130
    assert run(["train", "prepare", str(photos), str(tmp_path / "set"), *told]) == 130
    assert seen == [
        data.Preparation(),
        data.Preparation(
            policy="one",
            min_quality=0.5,
            min_eyes=20.0,
            duplicate_cosine=0.8,
            duplicate_bits=2,
            min_photos=3,
            encoding="jpeg",
            shard_photos=9,
            shuffle=False,
            seed=4,
            damaged="error",
        ),
    ]


def test_errors_have_codes(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "prepare", str(photos), str(tmp_path / "set"), "--strict"]) == 2
    assert "vultus: parse_error:" in capsys.readouterr().err
    assert run(["train", "prepare", str(photos), str(tmp_path / "set"), "--min-quality", "2"]) == 2
    assert "min_quality is 2.0" in capsys.readouterr().err
    assert run(["train", "check", str(photos), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "shard_corrupt"
