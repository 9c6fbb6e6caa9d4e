"""`vultus evaluate` on small generated data, and on the shared data where it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from PIL import Image

from vultus import evaluate
from vultus.augment import degrade
from vultus.cli.app import run
from vultus.detect import Detector
from vultus.recognizer import Recognizer

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"the shared photos are not at {SHARED}"),
]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people with five photos each: the portrait, its mirror image and three harmed ones."""
    root = tmp_path_factory.mktemp("people")
    finder = Detector("yunet-2023mar", threads=1)
    hopper = np.asarray(Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))
    for name, pixels in {"collins": skimage.data.astronaut(), "hopper": hopper}.items():
        (root / name).mkdir()
        face = finder(pixels, min_face=32)[0]
        photos = [pixels, pixels[:, ::-1], *(degrade(pixels, face, f, 1) for f in ("jpeg", "dark", "low_resolution"))]
        for i, photo in enumerate(photos):
            Image.fromarray(np.ascontiguousarray(photo)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def pairs(people: Path) -> Path:
    lines = ["a,b,same,light"]
    lines += [
        f"{p}/0.png,{p}/{i}.png,1,{'dim' if i == 3 else 'day'}" for p in ("collins", "hopper") for i in range(1, 5)
    ]
    lines += [f"collins/{i}.png,hopper/{j}.png,0,day" for i in range(5) for j in range(5)]
    lines += ["collins/0.png,hopper/missing.png,0,day"]
    (people / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return people / "pairs.csv"


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_pairs_give_figures_count_failures_and_refuse_what_they_cannot_support(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "pairs", str(pairs), "--json"]) == 0
    record = document(capsys)
    assert (record["n_mated"], record["n_non_mated"], record["failures_to_enrol"]) == (8, 26, 1)
    assert record["eer"] == 0.0
    assert "missing.png" in record["failures"][0]
    assert "0.001" in record["refused"]
    assert run(["evaluate", "pairs", str(pairs), "--fmr", "0.001", "--json"]) == 2
    record = document(capsys)
    assert "30,000" in record["refused"]["0.001"]


def test_a_report_is_written_and_two_models_are_compared(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "pairs", str(pairs), "--report", str(tmp_path / "r"), "--compare", "sface-2021dec+mirror"]
    assert run([*arguments, "--no-pictures"]) == 0
    assert "report:" in capsys.readouterr().out
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "mirror" in page
    assert "http://" not in page
    assert json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))
    assert list((tmp_path / "r").glob("*.png"))


def test_a_kind_that_cannot_be_told_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.dat").write_bytes(b"")
    assert run(["evaluate", "pairs", str(tmp_path / "x.dat"), "--json"]) == 2
    assert document(capsys)["error"]["code"] == "bad_argument"


def test_a_folder_too_small_for_searches_is_refused(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "folder", str(people), "--gallery-size", "1", "--json"]) in {0, 2}
    record = document(capsys)
    if "error" in record:
        assert record["error"]["code"] in {"too_few_comparisons", "bad_argument"}
    else:
        assert set(record["identification"]["refused"]) == {"0.01", "0.001"}


def test_severity_grows_and_is_drawn(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "severity", str(people), "--factor", "blur", "--most", "20", "--json"]
    assert run([*arguments, "--plot", str(tmp_path / "s.png")]) == 0
    cells = document(capsys)["cells"]
    assert [c["severity"] for c in cells] == [0, 1, 2, 3, 4, 5]
    assert cells[-1]["fnmr_at_fmr"]["0.0001"]["fnmr"] >= cells[0]["fnmr_at_fmr"]["0.0001"]["fnmr"]
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size[0] > 300


def test_groups_withhold_what_too_few_errors_support(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("subject,label\ncollins,a\nhopper,b\n", encoding="utf-8")
    assert run(["evaluate", "groups", str(people), "--labels", str(labels), "--json"]) == 0
    record = document(capsys)
    assert [g["label"] for g in record["groups"]] == ["a", "b"]
    assert all(g["fnmr"]["rate"] is None and g["fnmr"]["reason"] for g in record["groups"])


@pytest.mark.usefixtures("pairs")
class TestSharedData:
    pytestmark = needs_data

    def test_two_folds_of_lfw(self) -> None:
        protocol = evaluate.read_lfw(SHARED / "lfw")
        some = np.flatnonzero(protocol.folds == 0) if protocol.folds is not None else np.arange(600)
        used = np.unique(np.concatenate([protocol.first[some], protocol.second[some]]))
        extraction = evaluate.extract([protocol.files[i] for i in used], Recognizer.load(), policy="central")
        assert not extraction.failures
        place = {int(i): k for k, i in enumerate(used)}
        one, other = ([place[int(i)] for i in side[some]] for side in (protocol.first, protocol.second))
        curve = evaluate.roc(extraction.scores(one, other), protocol.mated[some])
        assert curve.eer() <= 0.015
        assert curve.auc() >= 0.998

    def test_faces_of_16_pixels_and_more(self) -> None:
        photos = evaluate.read_marked_photos(SHARED / "detect" / "wider_val200")
        result = evaluate.measure_detection(photos, Detector("yunet-2023mar"))
        assert (result.photos, result.faces) == (200, 972)
        assert result.average_precision >= 0.81

    def test_every_marked_face_of_the_dlib_photos(self) -> None:
        folder = SHARED / "detect" / "dlib_faces"
        photos = [p for name in ("testing", "training") for p in evaluate.read_marked_photos(folder / f"{name}.xml")]
        result = evaluate.measure_detection(photos, Detector("yunet-2023mar"), overlap=0.4, smallest=1)
        assert (result.faces, result.recall) == (43, 1.0)
        assert result.false_positives <= 2
