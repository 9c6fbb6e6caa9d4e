"""The command line as a user meets it: exit codes, JSON documents, messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from PIL import Image

from vultus.cli.app import run
from vultus.cli.sheet import Cell, contact_sheet


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portraits")
    astronaut = Image.fromarray(skimage.data.astronaut())
    astronaut.save(folder / "astronaut.jpg", quality=95)
    astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.png")
    hopper = Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    hopper.save(folder / "hopper.jpg", quality=95)
    hopper.close()
    Image.new("RGB", (320, 240), (90, 120, 90)).save(folder / "empty.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    return folder


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_verify_says_match_with_exit_code_0(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["verify", str(portraits / "astronaut.jpg"), str(portraits / "mirrored.png"), "--json"])
    record = document(capsys)
    assert code == 0
    assert record["match"] is True
    assert record["score"] >= record["threshold"]
    assert record["fmr"] == 1e-4
    assert record["faces"] == [1, 1]
    assert record["basis"]["comparisons"] > 9_000_000
    assert record["basis"]["low"] < 1e-4 < record["basis"]["high"]
    assert "sface" in record["model_id"]
    assert record["pad"] == "not_evaluated"


def test_verify_says_no_match_with_exit_code_1(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["verify", str(portraits / "astronaut.jpg"), str(portraits / "hopper.jpg")])
    assert code == 1
    assert "no match" in capsys.readouterr().out


def test_a_stricter_rate_has_a_higher_threshold(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thresholds = []
    for fmr in ("1e-2", "1e-3", "1e-4", "1e-5"):
        run(["verify", str(portraits / "astronaut.jpg"), str(portraits / "mirrored.png"), "--fmr", fmr, "--json"])
        thresholds.append(document(capsys)["threshold"])
    assert thresholds == sorted(thresholds)
    assert len(set(thresholds)) == 4


def test_an_own_threshold_decides_and_states_no_rate(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = [str(portraits / "astronaut.jpg"), str(portraits / "hopper.jpg")]
    assert run(["verify", *two, "--threshold", "-1", "--json"]) == 0
    record = document(capsys)
    assert record["fmr"] is None
    assert record["basis"] is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing.jpg", "source_unavailable"),
        ("broken.jpg", "parse_error"),
        ("empty.jpg", "no_face"),
        (".", "source_unavailable"),
    ],
)
def test_verify_reports_a_typed_error_with_exit_code_2(
    portraits: Path, capsys: pytest.CaptureFixture[str], name: str, code: str
) -> None:
    assert run(["verify", str(portraits / "astronaut.jpg"), str(portraits / name), "--json"]) == 2
    assert document(capsys)["error"]["code"] == code
    assert run(["verify", str(portraits / "astronaut.jpg"), str(portraits / name)]) == 2
    streams = capsys.readouterr()
    assert code in streams.err
    assert streams.out == ""


def test_a_rate_below_every_measured_one_is_refused(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = [str(portraits / "astronaut.jpg"), str(portraits / "hopper.jpg")]
    assert run(["verify", *two, "--fmr", "1e-9", "--json"]) == 2
    assert document(capsys)["error"]["code"] == "no_threshold"


@pytest.mark.parametrize(
    "arguments", [["verify"], ["verify", "a.jpg"], ["detect", "--nonsense"], ["no-such-command"], ["embed", "a.jpg"]]
)
def test_wrong_usage_has_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err


def test_detect_lists_faces_and_goes_on_after_a_failure(portraits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["astronaut.jpg", "broken.jpg", "empty.jpg"]
    assert run(["detect", *(str(portraits / n) for n in names), "--json"]) == 2
    photos = document(capsys)["photos"]
    assert [len(p.get("faces", [])) for p in photos] == [1, 0, 0]
    assert photos[1]["error"]["code"] == "parse_error"
    x0, y0, x1, y1 = photos[0]["faces"][0]["box"]
    assert x0 < photos[0]["faces"][0]["landmarks"][2][0] < x1
    assert y0 < photos[0]["faces"][0]["landmarks"][2][1] < y1
    assert run(["detect", str(portraits / "astronaut.jpg")]) == 0
    assert "1 face" in capsys.readouterr().out


def test_embed_writes_what_it_could_and_names_what_failed(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.npz"
    files = [str(portraits / n) for n in ("astronaut.jpg", "empty.jpg", "hopper.jpg")]
    assert run(["embed", *files, "--out", str(out), "--json"]) == 2
    assert [f["code"] for f in document(capsys)["failures"]] == ["no_face"]
    with np.load(out) as kept:
        assert kept["rows"].shape == (2, 128)
        np.testing.assert_allclose(np.linalg.norm(kept["rows"], axis=1), 1, atol=1e-5)
        assert [Path(f).name for f in kept["files"]] == ["astronaut.jpg", "hopper.jpg"]
        assert "yunet" in str(kept["model_id"])


def test_embed_into_a_missing_folder_is_refused_before_work(portraits: Path, tmp_path: Path) -> None:
    assert run(["embed", str(portraits / "astronaut.jpg"), "--out", str(tmp_path / "no" / "t.npz")]) == 2


def test_models_check_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "check", "yunet-2023mar", "sface-2021dec", "--json"]) == 0
    assert [r["ok"] for r in document(capsys)] == [True, True]
    assert run(["models", "check", "no-such-model", "--json"]) == 2
    assert document(capsys)[0]["code"] == "bad_manifest"
    assert run(["models", "list", "--json"]) == 0
    assert {r["name"] for r in document(capsys)} >= {"yunet-2023mar", "sface-2021dec", "centerface"}
    assert run(["doctor", "--json"]) == 0
    assert document(capsys)["model_id"]


def test_the_demo_decides_every_probe_and_draws_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--out", str(tmp_path), "--json"]) == 0
    record = document(capsys)
    assert len(record["probes"]) == 16
    assert sum(p["right"] for p in record["probes"]) >= 14
    assert [p["decision"] for p in record["probes"] if "not enrolled" in p["photo"]] == ["nobody", "nobody"]
    with Image.open(record["picture"]) as picture:
        assert picture.size[0] > 600


def test_the_demo_groups_a_folder_of_photos(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", str(portraits), "--out", str(tmp_path), "--json"]) == 0
    person = {Path(p["photo"]).name: p["decision"] for p in document(capsys)["probes"]}
    assert set(person) == {"astronaut.jpg", "mirrored.png", "hopper.jpg"}
    assert person["astronaut.jpg"] == person["mirrored.png"] != person["hopper.jpg"]
    assert run(["demo", str(tmp_path / "missing"), "--json"]) == 2


def test_the_api_file_is_current(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    assert run(["api", "--check", str(root / "api.json")]) == 0
    changed = json.loads((root / "api.json").read_text())
    changed.pop("vultus.Recognizer")
    (tmp_path / "api.json").write_text(json.dumps(changed))
    assert run(["api", "--check", str(tmp_path / "api.json")]) == 2
    assert "vultus.Recognizer" in capsys.readouterr().err


def test_calibrate_writes_thresholds_into_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight variants of two people: enough pairs for a rate of one half, and for no smaller one."""
    people = {"astronaut": skimage.data.astronaut()[:300, 80:380]}
    hopper = np.asarray(Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))
    people["hopper"] = hopper[:420, 60:480]
    for name, pixels in people.items():
        (tmp_path / "people" / name).mkdir(parents=True)
        for i in range(2):
            turned = pixels if i == 0 else pixels[:, ::-1]
            Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "people" / name / f"{i}.png")
    arguments = ["calibrate", str(tmp_path / "people"), "--fmr", "0.01", "--json"]
    assert run(arguments) == 2
    assert document(capsys)["error"]["code"] == "too_few_comparisons"


def test_a_sheet_shows_every_cell_and_cuts_long_captions() -> None:
    pixels = np.full((50, 80, 3), 128, dtype=np.uint8)
    one = contact_sheet([Cell(pixels, None, "short", True)], title="t")
    many = contact_sheet([Cell(pixels, None, "a very long caption " * 9 + "\nsecond", False)] * 13, title="t")
    assert many.size[0] > one.size[0]
    assert many.size[1] > 2 * 216
