"""`vultus gallery` with keys, and from one model to another, as a user meets it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from vultus.cli.app import run
from vultus.gallery import Gallery

HEX = "0123456789abcdef" * 4
MODEL = "some-model"


@pytest.fixture(autouse=True)
def _no_key_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VULTUS_GALLERY_KEY", "VULTUS_GALLERY_NEW_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def staff(tmp_path: Path) -> str:
    """A plain gallery."""
    with Gallery.open(tmp_path / "staff.db", model=MODEL) as gallery:
        gallery.enrol_blank("unmistakable")
    return str(tmp_path / "staff.db")


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_gallery_is_made_with_a_key_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, key_file = str(tmp_path / "staff.db"), tmp_path / "key"
    assert run(["gallery", "create", file, "--encrypt", "--json"]) == 2
    assert document(capsys)["error"]["code"] == "bad_argument"
    assert not Path(file).exists()
    monkeypatch.setenv("VULTUS_GALLERY_KEY", HEX)
    assert run(["gallery", "create", file, "--encrypt", "--json"]) == 0
    assert document(capsys)["encrypted"] is True
    assert run(["gallery", "stats", file, "--json"]) == 0
    assert document(capsys)["subjects"] == 0
    assert run(["gallery", "create", file]) == 2
    monkeypatch.delenv("VULTUS_GALLERY_KEY")
    assert run(["gallery", "list", file, "--json"]) == 2
    capsys.readouterr()
    key_file.write_text(HEX.upper() + "\n")
    for command in ("list", "stats", "check", "purge"):
        assert run(["gallery", command, file, "--key-file", str(key_file), "--json"]) == 0
    with Gallery.open(file, key=bytes.fromhex(HEX)) as gallery:
        assert len(gallery) == 0


def test_every_command_takes_the_key(
    tmp_path: Path, staff: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VULTUS_GALLERY_NEW_KEY", "a passphrase")
    assert run(["gallery", "rekey", staff, "--json"]) == 0
    assert document(capsys) == {"gallery": staff, "encrypted": True, "templates": 1, "erased": True}
    archive, other = str(tmp_path / "a.zip"), str(tmp_path / "other.db")
    commands = [
        ["list", staff],
        ["list", staff, "unmistakable"],
        ["rename", staff, "unmistakable", "Name"],
        ["export", staff, archive],
        ["import", other, archive],
        ["merge", other, "unmistakable", "unmistakable"],
        ["delete", other, "unmistakable"],
        ["purge", staff],
        ["erase", staff],
        ["check", staff],
        ["stats", staff],
    ]
    monkeypatch.delenv("VULTUS_GALLERY_NEW_KEY")
    for command in commands:
        if command[1] == staff:
            assert run(["gallery", *command, "--json"]) == 2
            assert document(capsys)["error"]["code"] == "gallery_locked"
    monkeypatch.setenv("VULTUS_GALLERY_KEY", "a passphrase")
    for command in commands:
        assert run(["gallery", *command, "--json"]) == (2 if command[0] == "merge" else 0), command
        printed = document(capsys)
        assert command[0] != "merge" or printed["error"]["code"] == "bad_argument"
    assert b"unmistakable" not in Path(other).read_bytes()
    with zipfile.ZipFile(archive) as packed:
        assert b"unmistakable" in packed.read("subjects.jsonl")  # an archive is not encrypted
    monkeypatch.setenv("VULTUS_GALLERY_KEY", "another passphrase")
    capsys.readouterr()
    assert run(["gallery", "list", staff, "--json"]) == 2
    assert document(capsys)["error"]["code"] == "gallery_locked"


def test_rekey_changes_and_removes_the_key(
    tmp_path: Path, staff: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").write_text("the first key")
    (tmp_path / "two").write_text(HEX)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert run(["gallery", "rekey", staff, "--new-key-file", one]) == 0
    assert "is encrypted now" in capsys.readouterr().out
    assert run(["gallery", "rekey", staff, "--key-file", one, "--new-key-file", two, "--json"]) == 0
    assert b"unmistakable" not in Path(staff).read_bytes()
    assert run(["gallery", "rekey", staff, "--key-file", one, "--decrypt", "--json"]) == 2
    monkeypatch.setenv("VULTUS_GALLERY_KEY", HEX)
    assert run(["gallery", "rekey", staff, "--decrypt"]) == 0
    assert "is not encrypted now" in capsys.readouterr().out
    assert b"unmistakable" in Path(staff).read_bytes()
    assert run(["gallery", "list", staff, "--json"]) == 2  # with a key that it has no longer
    assert document(capsys)["error"]["code"] == "gallery_locked"


@pytest.mark.parametrize(
    ("arguments", "content", "code"),
    [
        (["rekey", "staff.db"], None, "bad_argument"),
        (["rekey", "staff.db", "--decrypt", "--new-key-file", "key"], "words", "bad_argument"),
        (["rekey", "staff.db", "--decrypt"], None, "bad_argument"),
        (["rekey", "none.db", "--new-key-file", "key"], "words", "gallery_missing"),
        (["rekey", "staff.db", "--new-key-file", "nowhere"], None, "source_unavailable"),
        (["list", "staff.db", "--key-file", "nowhere"], None, "source_unavailable"),
        (["list", "staff.db", "--key-file", "key"], "words", "gallery_locked"),
        (["list", "staff.db", "--key-file", "key"], "", "bad_argument"),
        (["list", "staff.db", "--key-file", "key"], "\n", "bad_argument"),
        (["list", "staff.db", "--key-file", "key"], "two\nlines", "bad_argument"),
        (["list", "staff.db", "--key-file", "key"], "x" * 5000, "bad_argument"),
        (["list", "staff.db", "--key-file", "key"], b"\xff\xfe" * 16, "bad_argument"),
        (["list", "postgresql://nowhere/x?gallery=y", "--key-file", "key"], "words", "bad_argument"),
        (["migrate", "staff.db", "new.db", "--photos", "nowhere"], None, "source_unavailable"),
    ],
)
def test_errors_are_typed_and_change_nothing(
    staff: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    content: str | bytes | None,
    code: str,
) -> None:
    folder = Path(staff).parent
    monkeypatch.chdir(folder)
    if content is not None:
        (folder / "key").write_bytes(content.encode() if isinstance(content, str) else content)
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert run(["gallery", *arguments, "--json"]) == 2
    assert document(capsys)["error"]["code"] == code
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before


def test_an_empty_variable_is_no_missing_key(
    staff: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VULTUS_GALLERY_KEY", "")
    assert run(["gallery", "list", staff, "--json"]) == 2
    assert "is empty" in document(capsys)["error"]["message"]


def test_moving_to_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the default system to the same one with the mirror option, whose templates are others."""
    people, old, new = tmp_path / "people", str(tmp_path / "old.db"), str(tmp_path / "new.db")
    (people / "collins").mkdir(parents=True)
    Image.fromarray(np.asarray(skimage.data.astronaut())).save(people / "collins" / "0.png")
    monkeypatch.setenv("VULTUS_GALLERY_KEY", HEX)
    assert run(["gallery", "create", old]) == 0
    assert run(["gallery", "enrol", old, str(people), "--consent", "form 1"]) == 0
    assert run(["gallery", "enrol", new, str(people), "--mirror", "--json"]) == 2
    assert run(["gallery", "identify", old, str(people / "collins" / "0.png"), "--mirror", "--json"]) == 2
    with Gallery.open(old, key=bytes.fromhex(HEX)) as gallery:
        gallery.enrol_blank("nobody")
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    assert run(["gallery", "migrate", old, new, "--photos", str(tmp_path / "empty"), "--mirror", "--json"]) == 2
    report = document(capsys)
    assert (report["moved"], [e["code"] for e in report["left"]]) == (0, ["photo_missing"])
    assert run(["gallery", "migrate", old, new, "--photos", str(people), "--mirror"]) == 0
    assert "1 of 1 templates of 2 subjects made anew" in capsys.readouterr().out
    assert run(["gallery", "migrate", old, new, "--photos", str(people), "--mirror", "--json"]) == 0
    assert document(capsys)["known"] == 1
    assert run(["gallery", "identify", new, str(people / "collins" / "0.png"), "--mirror", "--json"]) == 0
    assert document(capsys)["photos"][0]["candidates"][0]["subject_id"] == "collins"
    with Gallery.open(new, key=bytes.fromhex(HEX)) as gallery:  # the key of the old one
        assert "mirror" in gallery.model_id
        assert [t.consent for t in gallery.templates("collins")] == ["form 1"]
        assert [(s.subject_id, s.blanks) for s in gallery.subjects()] == [("collins", 0), ("nobody", 1)]
    assert run(["gallery", "enrol", new, str(people), "--mirror", "--json"]) == 0
    assert document(capsys)["known"] == 1  # its photo's sha256 came along
    other = str(tmp_path / "other.db")
    (tmp_path / "new key").write_text("other words")
    options = ["--skip", "--new-key-file", str(tmp_path / "new key"), "--json"]
    assert run(["gallery", "migrate", old, other, "--photos", str(tmp_path / "empty"), "--mirror", *options]) == 2
    assert document(capsys)["without_template"] == ["collins", "nobody"]
    with Gallery.open(other, key="other words") as gallery:
        assert [s.subject_id for s in gallery.subjects()] == ["nobody"]
