"""Archives: everything comes back, and what is unsafe or damaged is refused before anything has changed."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vultus import Template
from vultus.errors import (
    ArchiveRefused,
    GalleryUnavailable,
    ModelMismatch,
    SourceUnavailable,
    SubjectExists,
    VultusError,
)
from vultus.gallery import Gallery
from vultus.gallery.archive import archive_model

Make = Callable[..., Template]
Place = Callable[[str], str | Path]


@pytest.fixture
def exported(gallery: Gallery, template: Make, tmp_path: Path) -> Path:
    later = datetime(2030, 1, 1, tzinfo=UTC)
    gallery.enrol(
        "zoe", [template(1), template(2)], name="Zoë", consent="c", expires=later, photo_sha256=["ab" * 32, None]
    )
    gallery.enrol_blank("blank")
    gallery.enrol("../ada", template(3))
    gallery.add("zoe", template(4))
    gallery.calibrate([template(100 + i) for i in range(60)], fpir=0.5, data="door")
    file = tmp_path / "staff.zip"
    assert gallery.export_archive(file) == 3
    return file


def contents(gallery: Gallery) -> list[object]:
    return [
        (
            s,
            [
                (
                    None if t.vector is None else t.vector.tobytes(),
                    (t.samples, t.quality, t.photo_sha256, t.consent, t.expires, t.created),
                )
                for t in gallery.templates(s.subject_id)
            ],
        )
        for s in gallery.subjects()
    ]


def parts(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(
    file: Path, members: dict[str, bytes] | list[tuple[Any, bytes]], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return file


def test_everything_comes_back(
    gallery: Gallery, exported: Path, place: Place, tmp_path: Path, now: list[float]
) -> None:
    now[0] += 1e6
    assert archive_model(exported) == gallery.model_id
    with Gallery.open(place("new"), model=gallery.model_id, clock=lambda: now[0]) as new:
        assert new.import_archive(exported) == 3
        assert contents(new) == contents(gallery)
        assert new.stats().search_thresholds == gallery.stats().search_thresholds
        assert new.verify_integrity().ok
        again = tmp_path / "again.zip"
        new.export_archive(again)
        assert parts(again) == parts(exported)


def test_an_archive_holds_no_pickle_and_only_three_members(exported: Path) -> None:
    members = parts(exported)
    assert sorted(members) == ["gallery.json", "rows.npy", "subjects.jsonl"]
    assert np.load(io.BytesIO(members["rows.npy"]), allow_pickle=False).shape == (4, 16)
    assert exported.stat().st_mode & 0o777 == 0o600


def test_a_gallery_without_templates_can_be_moved(gallery: Gallery, place: Place, tmp_path: Path) -> None:
    gallery.export_archive(tmp_path / "none.zip")
    with Gallery.open(place("new"), model=gallery.model_id) as new:
        new.export_archive(tmp_path / "again.zip")
        assert parts(tmp_path / "again.zip") == parts(tmp_path / "none.zip")
        assert new.import_archive(tmp_path / "none.zip") == 0
        assert new.stats().dimension is None


def test_an_import_is_whole_or_nothing(gallery: Gallery, exported: Path, place: Place, template: Make) -> None:
    with Gallery.open(place("new"), model=gallery.model_id) as new:
        new.enrol("../ada", template(9))  # the last of the archive
        before = contents(new)
        with pytest.raises(SubjectExists):
            new.import_archive(exported)
        assert contents(new) == before
        assert new.stats().revision == 1
    damaged = packed(exported.with_name("bad.zip"), npy(parts(exported), ROWS))  # which shows after the last row
    with Gallery.open(place("empty"), model=gallery.model_id) as new:
        with pytest.raises(ArchiveRefused):
            new.import_archive(damaged)
        assert contents(new) == []
        assert new.stats().dimension is None
    with Gallery.open(place("other"), model="other") as other, pytest.raises(ModelMismatch):
        other.import_archive(exported)


Change = Callable[[dict[str, bytes]], dict[str, bytes] | list[tuple[Any, bytes]]]


def head(members: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    facts = json.loads(members["gallery.json"])
    return {**members, "gallery.json": json.dumps({**facts, **changes}).encode()}


def line(members: dict[str, bytes], text: bytes) -> dict[str, bytes]:
    _, _, rest = members["subjects.jsonl"].partition(b"\n")
    return {**members, "subjects.jsonl": text + b"\n" + rest}


def record(members: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    first = json.loads(members["subjects.jsonl"].partition(b"\n")[0])
    return line(members, json.dumps({**first, **changes}).encode())


def npy(members: dict[str, bytes], rows: object) -> dict[str, bytes]:
    out = io.BytesIO()
    np.save(out, rows, allow_pickle=True)  # type: ignore[arg-type]
    return {**members, "rows.npy": out.getvalue()}


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, ("/tmp/vultus-exploited",)


def linked(members: dict[str, bytes]) -> list[tuple[Any, bytes]]:
    link = zipfile.ZipInfo("rows.npy")
    link.external_attr = 0o120777 << 16
    return [(link, b"/etc/passwd"), *((n, c) for n, c in members.items() if n != "rows.npy")]


ROWS = np.eye(4, 16, dtype=np.float32)
REFUSED: list[tuple[str, Change]] = [
    ("no members", lambda m: {}),
    ("one missing", lambda m: {k: v for k, v in m.items() if k != "rows.npy"}),
    ("one more", lambda m: {**m, "extra": b""}),
    ("absolute", lambda m: {**m, "/etc/cron.d/x": b""}),
    ("parent", lambda m: {**m, "../../x": b""}),
    ("twice", lambda m: [*m.items(), ("rows.npy", m["rows.npy"])]),
    ("link", linked),
    ("head no json", lambda m: {**m, "gallery.json": b"{"}),
    ("head a list", lambda m: {**m, "gallery.json": b"[]"}),
    ("head deep", lambda m: {**m, "gallery.json": b"[" * 100_000}),
    ("head large", lambda m: {**m, "gallery.json": b" " * (2 << 20)}),
    ("format", lambda m: head(m, format="other")),
    ("version", lambda m: head(m, version=2)),
    ("rows negative", lambda m: head(m, rows=-1)),
    ("rows more", lambda m: head(m, rows=10**9)),
    ("rows true", lambda m: head(m, rows=True)),
    ("dimension", lambda m: head(m, dimension=8)),
    ("subjects", lambda m: head(m, subjects=2)),
    ("hash", lambda m: head(m, sha256={"subjects.jsonl": "0", "rows.npy": "0"})),
    ("hash missing", lambda m: head(m, sha256={})),
    ("threshold", lambda m: head(m, search_thresholds=[{"value": 7}])),
    ("line no json", lambda m: line(m, b"{")),
    ("line deep", lambda m: line(m, b"[" * 100_000)),
    ("line not utf-8", lambda m: line(m, b'{"id": "\xff"}')),
    ("key unknown", lambda m: record(m, extra=1)),
    ("id empty", lambda m: record(m, id="")),
    ("id control", lambda m: record(m, id="a\x00")),
    ("id number", lambda m: record(m, id=5)),
    ("name long", lambda m: record(m, name="x" * 300)),
    ("created text", lambda m: record(m, created="now")),
    ("created far", lambda m: record(m, created=10**30)),
    ("templates none", lambda m: record(m, templates=[])),
    ("templates text", lambda m: record(m, templates="x")),
    ("template keys", lambda m: record(m, templates=[{}])),
    (
        "quality nan",
        lambda m: line(m, m["subjects.jsonl"].partition(b"\n")[0].replace(b'"quality":null', b'"quality":NaN', 1)),
    ),
    (
        "samples zero",
        lambda m: line(m, m["subjects.jsonl"].partition(b"\n")[0].replace(b'"samples":1', b'"samples":0', 1)),
    ),
    ("changed name", lambda m: record(m, name="Another")),
    ("no end of line", lambda m: {**m, "subjects.jsonl": m["subjects.jsonl"][:-1]}),
    ("rows objects", lambda m: npy(m, np.array([Exploit()], dtype=object))),
    ("rows pickle", lambda m: {**m, "rows.npy": pickle.dumps(Exploit())}),
    ("rows float64", lambda m: npy(m, ROWS.astype(np.float64))),
    ("rows fortran", lambda m: npy(m, np.asfortranarray(ROWS))),
    ("rows nan", lambda m: npy(m, ROWS * np.nan)),
    ("rows zero", lambda m: npy(m, ROWS * 0)),
    ("rows others", lambda m: npy(m, ROWS)),
    ("rows short", lambda m: {**m, "rows.npy": m["rows.npy"][:-5]}),
    ("rows long", lambda m: {**m, "rows.npy": m["rows.npy"] + b"\0"}),
    ("rows empty", lambda m: {**m, "rows.npy": b""}),
]


@pytest.mark.parametrize("change", [pytest.param(c, id=n) for n, c in REFUSED])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_refused(gallery: Gallery, exported: Path, tmp_path: Path, change: Change) -> None:
    bad = packed(tmp_path / "bad.zip", change(parts(exported)))
    before = sorted(tmp_path.iterdir())
    with Gallery.open(tmp_path / "new.db", model=gallery.model_id) as new:
        with pytest.raises(ArchiveRefused):
            new.import_archive(bad)
        assert new.stats().revision == 0
    assert sorted(f for f in tmp_path.iterdir() if not f.name.startswith("new.db")) == before
    assert not Path("/tmp/vultus-exploited").exists()


def test_the_set_of_refused_archives() -> None:
    assert len(REFUSED) == 48


def test_bombs_are_refused_before_they_are_unpacked(gallery: Gallery, exported: Path, tmp_path: Path) -> None:
    members = parts(exported)
    bomb = packed(tmp_path / "bomb.zip", {**members, "subjects.jsonl": b" " * (50 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ArchiveRefused, match="200 times"):
        gallery.import_archive(bomb)
    with pytest.raises(ArchiveRefused, match="at most 1,000"):
        gallery.import_archive(exported, max_bytes=1000)


def test_damaged_and_missing_files(gallery: Gallery, exported: Path, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for place in generator.permutation(len(whole))[:60].tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        exported.write_bytes(damaged)
        with Gallery.open(tmp_path / f"{place}.db", model=gallery.model_id) as new:
            try:
                new.import_archive(exported)
            except VultusError:
                refused += 1
                assert len(new) == 0
            else:
                assert contents(new) == contents(gallery)  # a byte that says nothing, such as a time stamp
    assert refused > 40
    for content in (b"", b"PK", whole[: len(whole) // 2]):
        exported.write_bytes(content)
        with pytest.raises(ArchiveRefused):
            gallery.import_archive(exported)
    for missing in (tmp_path / "none.zip", tmp_path):
        with pytest.raises(SourceUnavailable):
            gallery.import_archive(missing)
    with pytest.raises(GalleryUnavailable):
        gallery.export_archive(tmp_path / "no" / "folder.zip")
