"""`vultus gallery` from folders of photos to answers, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from PIL import Image

from vultus.cli import gallery as commands
from vultus.cli.app import app, run
from vultus.gallery import Gallery


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    if all(group.name != "gallery" for group in app.registered_groups):
        commands.register(app)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, one of them with a photo that shows no face, and somebody without any face."""
    root = tmp_path_factory.mktemp("people")
    hopper = np.asarray(Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))
    for name, pixels in {"collins": skimage.data.astronaut(), "[red]hopper": hopper}.items():
        (root / name).mkdir()
        Image.fromarray(pixels).save(root / name / "0.png")
    (root / "nobody").mkdir()
    Image.new("RGB", (300, 300), (80, 120, 80)).save(root / "nobody" / "field.png")
    return root


@pytest.fixture
def mirrored(tmp_path: Path) -> Path:
    file = tmp_path / "mirrored.png"
    Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[:, ::-1])).save(file)
    return file


@pytest.fixture
def enrolled(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    file = str(tmp_path / "staff.db")
    assert run(["gallery", "create", file]) == 0
    assert run(["gallery", "enrol", file, str(people), "--consent", "form 1", "--blanks"]) == 2
    capsys.readouterr()
    return file


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_enrolling_a_folder_reports_failures_and_can_be_repeated(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "staff.db")
    assert run(["gallery", "create", file, "--json"]) == 0
    assert "sface" in document(capsys)["model_id"]
    assert run(["gallery", "enrol", file, str(people), "--json"]) == 2
    report = document(capsys)
    assert (report["subjects"], report["templates"], report["known"]) == (2, 2, 0)
    assert [f["code"] for f in report["failures"]] == ["no_face"]
    assert run(["gallery", "enrol", file, str(people), "--json"]) == 2
    report = document(capsys)
    assert (report["templates"], report["known"]) == (0, 2)
    with Gallery.open(file) as gallery:
        assert [s.subject_id for s in gallery.subjects()] == ["[red]hopper", "collins"]


def test_identify_names_the_right_person_or_nobody(
    enrolled: str, people: Path, mirrored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gallery", "identify", enrolled, str(mirrored), "--fpir", "0.001", "--json"]) == 0
    (photo,) = document(capsys)["photos"]
    assert photo["candidates"][0]["subject_id"] == "collins"
    assert photo["candidates"][0]["score"] >= photo["threshold"]
    assert photo["fpir"] <= 0.001
    assert photo["compared"] == 2
    assert "LFW" in photo["basis"]
    assert run(["gallery", "identify", enrolled, str(mirrored), "--threshold", "1.0", "--json"]) == 1
    assert document(capsys)["photos"][0]["candidates"] == []
    assert run(["gallery", "identify", enrolled, str(mirrored), str(people / "nobody" / "field.png")]) == 2
    streams = capsys.readouterr()
    assert "collins" in streams.out
    assert "no_face" in streams.err
    assert run(["gallery", "identify", enrolled, str(mirrored), "--threshold", "1"]) == 1
    assert "nobody" in capsys.readouterr().out


def test_listing_shows_names_as_they_are(enrolled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gallery", "list", enrolled, "--json"]) == 0
    subjects = document(capsys)
    assert [(s["subject_id"], s["templates"], s["blanks"]) for s in subjects] == [
        ("[red]hopper", 1, 0),
        ("collins", 1, 0),
        ("nobody", 1, 1),
    ]
    assert run(["gallery", "list", enrolled]) == 0
    assert "[red]hopper" in capsys.readouterr().out
    assert run(["gallery", "list", enrolled, "collins", "--json"]) == 0
    (template,) = document(capsys)["templates"]
    assert template["consent"] == "form 1"
    assert len(template["photo_sha256"]) == 64
    assert "vector" not in template
    assert run(["gallery", "list", enrolled, "collins"]) == 0
    assert "form 1" in capsys.readouterr().out


def test_one_subject_by_its_photos(enrolled: str, mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--subject", "someone", "--name", "Some One", "--expires", "2999-01-31", "--json"]
    assert run(["gallery", "enrol", enrolled, str(mirrored), *options]) == 0
    report = document(capsys)
    assert report["similar"][0]["like"] == "collins"
    with Gallery.open(enrolled) as gallery:
        assert gallery.subject("someone").name == "Some One"
        expires = gallery.templates("someone")[0].expires
        assert expires is not None
        assert expires.year in {2998, 2999}
    assert run(["gallery", "merge", enrolled, "collins", "someone", "--json"]) == 0
    assert document(capsys)["templates"] == 1
    assert run(["gallery", "rename", enrolled, "collins", "Eileen Collins"]) == 0
    assert "Eileen Collins" in capsys.readouterr().out


def test_looking_after_a_gallery(enrolled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive, other = str(tmp_path / "staff.zip"), str(tmp_path / "other.db")
    assert run(["gallery", "export", enrolled, archive, "--json"]) == 0
    assert document(capsys)["subjects"] == 3
    assert run(["gallery", "import", other, archive, "--json"]) == 0
    assert document(capsys)["subjects"] == 3
    assert run(["gallery", "delete", other, "collins", "nobody", "--json"]) == 0
    assert [d["templates"] for d in document(capsys)["deleted"]] == [1, 1]
    assert run(["gallery", "stats", other, "--json"]) == 0
    assert document(capsys)["subjects"] == 1
    assert run(["gallery", "stats", other]) == 0
    assert "subjects" in capsys.readouterr().out
    assert run(["gallery", "check", other, "--json"]) == 0
    assert document(capsys)["ok"] is True
    assert run(["gallery", "purge", other, "--json"]) == 0
    assert document(capsys)["templates"] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list", "missing.db"], "gallery_missing"),
        (["enrol", "missing.db", "."], "gallery_missing"),
        (["enrol", "staff.db", "a.jpg"], "bad_argument"),
        (["enrol", "staff.db", "a.jpg", "--subject", "x", "--expires", "tomorrow"], "bad_argument"),
        (["create", "staff.db"], "bad_argument"),
        (["delete", "staff.db", "who"], "subject_unknown"),
        (["list", "staff.db", "who"], "subject_unknown"),
        (["rename", "staff.db", "collins", "a\nb"], "bad_argument"),
        (["merge", "staff.db", "collins", "collins"], "bad_argument"),
        (["import", "staff.db", "staff.db"], "bad_archive"),
        (["import", "staff.db", "none.zip"], "source_unavailable"),
        (["list", "garbage.db"], "gallery_corrupt"),
    ],
)
def test_errors_are_typed_with_exit_code_2(
    enrolled: str,
    people: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
) -> None:
    folder = Path(enrolled).parent
    monkeypatch.chdir(folder)
    (folder / "garbage.db").write_bytes(b"garbage" * 5000)
    arguments = [str(people) if a == "." else a for a in arguments]
    assert run(["gallery", *arguments, "--json"]) == 2
    assert document(capsys)["error"]["code"] == code
    assert not (folder / "missing.db").exists()


def test_a_damaged_gallery_is_reported_with_exit_code_1(enrolled: str, capsys: pytest.CaptureFixture[str]) -> None:
    import apsw

    raw = apsw.Connection(enrolled)
    raw.execute("UPDATE templates SET checksum = 1 WHERE vector IS NOT NULL")
    raw.close()
    assert run(["gallery", "check", enrolled]) == 1
    assert "not what was written" in capsys.readouterr().err
