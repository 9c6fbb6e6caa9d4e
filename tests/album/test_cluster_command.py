"""`vultus cluster`, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vultus import Gallery
from vultus.cli.app import run

HOSTILE = "h\"><script>alert(1)<\u2215script>&amp;'.png"


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def group_with(record: Any, file: str) -> Any:
    (found,) = [g for g in record["groups"] if any(Path(f["files"][0]).name == file for f in g["faces"])]
    return found


def test_a_collection_becomes_an_album_and_decisions_come_back(
    photos: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = ["cluster", str(photos), "--out", str(folder), "--threads", "1"]
    assert run([*make, "--json"]) == 2
    record = document(capsys)
    assert [(Path(f["file"]).name, f["code"]) for f in record["failures"]] == [("broken.jpg", "parse_error")]
    assert [Path(f).name for f in record["without_face"]] == ["meadow.jpg"]
    assert (record["photos"], record["faces"], record["looked_at"]) == (8, 8, 1)
    assert [len(g["faces"]) for g in record["groups"]] == [4, 4]
    assert record["unsure"] == []
    assert 0 < record["threshold"] < 1
    hopper = group_with(record, HOSTILE)["group"]
    collins = group_with(record, "a0.png")["group"]
    face = next(f["face"] for f in group_with(record, "h0.jpg")["faces"] if f["files"][0].endswith("h0.jpg"))
    (photos / "broken.jpg").unlink()
    assert run([*make, "--split", face, "--name", f"{collins}=Ei=leen", "--json"]) == 0
    record = document(capsys)
    assert group_with(record, "a0.png")["name"] == "Ei=leen"
    assert group_with(record, "h0.jpg")["group"] not in {hopper, collins}
    changes = tmp_path / "album-changes.json"
    changes.write_text(json.dumps({"format": 1, "changes": [{"kind": "name", "who": [str(hopper)], "name": "Grace"}]}))
    assert run([*make, "--apply", str(changes), "--merge", f"Grace,{face}", "--forget", "Ei=leen", "--json"]) == 0
    record = document(capsys)
    assert {g["name"] for g in record["groups"]} == {"Grace", None}
    assert group_with(record, "h0.jpg")["name"] == "Grace"
    assert run([*make, "--title", "[b]Summer[/b]"]) == 0
    streams = capsys.readouterr()
    assert "2 people" in streams.out
    assert str(folder / "index.html") in streams.out.replace("\n", "")
    assert "[b]Summer[/b]" in (folder / "index.html").read_text("utf-8")


def test_named_people_are_enrolled_once(
    photos: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = ["cluster", str(photos), "--out", str(folder), "--threads", "1", "--json"]
    file = str(tmp_path / "people.db")
    assert run([*make, "--enrol", file]) == 2
    assert document(capsys)["error"]["code"] == "gallery_missing"
    assert run(["gallery", "create", file, "--json"]) == 0
    capsys.readouterr()
    assert run([*make, "--name", "1=Eileen", "--enrol", file, "--consent", "form 7"]) == 2
    assert document(capsys)["enrolled"] == [{"subject_id": "Eileen", "templates": 4, "similar": []}]
    assert run([*make, "--enrol", file]) == 2
    assert document(capsys)["enrolled"] == []
    (photos / "together.jpg").rename(tmp_path / "together.jpg")
    with Gallery.open(file) as gallery:
        assert [s.subject_id for s in gallery.subjects()] == ["Eileen"]
        assert {t.consent for t in gallery.templates("Eileen")} == {"form 7"}
        gallery.delete_template("Eileen", gallery.templates("Eileen")[0].number)
    assert run([*make[:-1], "--enrol", file]) == 2
    assert "templates of Eileen enrolled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--merge", "1,99"], "bad_argument"),
        (["--merge", ","], "bad_argument"),
        (["--name", "1"], "bad_argument"),
        (["--split", "1"], "bad_argument"),
        (["--apply", "/nowhere.json"], "source_unavailable"),
        (["--min-face", "8"], "model_mismatch"),
        (["--threshold", "7"], "bad_argument"),
        (["--rate", "7"], "bad_argument"),
        (["--mirror"], "model_mismatch"),
    ],
)
def test_what_makes_no_sense_has_a_code(
    photos: Path, folder: Path, options: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cluster", str(photos), "--out", str(folder), "--threads", "1", "--json", *options]) == 2
    assert document(capsys)["error"]["code"] == code


def test_names_that_are_no_text_are_spelt_out(photos: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = photos / "h\udcff.jpg"
    (photos / "h0.jpg").rename(strange)
    (photos / "broken.jpg").rename(photos / "b\udcff.jpg")
    assert run(["cluster", str(photos), "--out", str(folder), "--threads", "1", "--json"]) == 2
    record = document(capsys)
    assert any(f["files"] == [f"{photos}/h\\udcff.jpg"] for g in record["groups"] for f in g["faces"])
    assert run(["cluster", str(photos), "--out", str(folder), "--threads", "1"]) == 2
    assert "b\\udcff.jpg" in capsys.readouterr().err
    (photos / "notes").mkdir()
    assert run(["cluster", str(photos / "notes"), "--out", str(folder), "--threads", "1"]) == 2
    assert "bad_argument" in capsys.readouterr().err
