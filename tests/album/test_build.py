"""Making an album, and making it again: what stays, what goes, what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus import Recognizer
from vultus.album import Album, Change, make_album
from vultus.album.scan import MARK, photo_files
from vultus.errors import AlbumBusy, AlbumError, BadArgument, ModelMismatch, NoThreshold
from vultus.gallery.cluster import Decisions
from vultus.weights.lookup import file_sha256

FACES, PHOTOS = 8, 8


def names(album: Album) -> list[set[str]]:
    """The photos of each group, the largest first."""
    found = [
        {album.photos[int(album.faces.photos[i])].name for i in album.groups.members(g)}
        for g in album.groups.ids.tolist()
    ]
    return sorted(found, key=lambda s: (-len(s), sorted(s)))


def group_of(album: Album, photo: str) -> int:
    (face,) = [i for i in range(len(album.faces)) if album.photos[int(album.faces.photos[i])].name == photo]
    return int(album.groups.labels[face])


def face_of(album: Album, photo: str) -> str:
    (face,) = [f for i, f in enumerate(album.faces.ids) if album.photos[int(album.faces.photos[i])].name == photo]
    return face


def texts(folder: Path) -> str:
    return "".join(p.read_text("utf-8") for p in sorted(folder.rglob("*.html")))


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (f for f in folder.rglob("*") if f.is_file() and f.name != MARK)
    return {str(f.relative_to(folder)): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}


def test_people_are_grouped_and_everything_is_accounted_for(
    photos: Path, tmp_path: Path, recognizer: Recognizer
) -> None:
    steps: list[int] = []
    album = make_album([photos], tmp_path / "new" / "album", recognizer, progress=steps.append)
    collins, hopper = names(album)
    assert {n for n in collins if n.startswith(("a", "trip"))} == {"a0.png", "a1.jpg", "trip/a2.jpg"}
    assert {n[0] for n in hopper - {"together.jpg"}} == {"h"}
    assert len(hopper) == 4
    assert "together.jpg" in collins & hopper
    assert album.groups.ids.tolist() == [1, 2]
    assert (len(album.photos), len(album.faces), album.looked_at) == (PHOTOS, FACES, PHOTOS + 1)
    assert [(f.name, f.code) for f in album.failures] == [("broken.jpg", "parse_error")]
    assert sum(steps) == PHOTOS + 1
    assert album.index.read_text("utf-8").startswith("<!doctype html>")
    assert Decisions.from_json((tmp_path / "new" / "album" / "decisions.json").read_text()) == Decisions()
    assert (tmp_path / "new" / "album" / MARK).stat().st_mode & 0o077 == 0


def test_boxes_are_where_the_detector_sees_the_face(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    album = make_album([photos], folder, recognizer)
    place = next(i for i, p in enumerate(album.photos) if p.name == "h0.jpg")
    with Image.open(photos / "h0.jpg") as picture:
        size = np.array([*picture.size, *picture.size])
    (expected,) = recognizer.samples(photos / "h0.jpg", min_face=32)
    found = album.faces.boxes[album.faces.photos == place][0] * size
    np.testing.assert_allclose(found, expected.face.boxes[0], atol=0.01)
    (face,) = np.flatnonzero(album.faces.photos == place)
    np.testing.assert_array_equal(album.faces.rows[face], expected.template.vector)


def test_making_it_again_does_nothing_twice(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    shutil.rmtree(photos.parent / "elsewhere", ignore_errors=True)
    before = state(folder)
    album = make_album([photos], folder, recognizer)
    assert album.looked_at == 1  # what cannot be read may be readable the next time
    assert state(folder) == before
    moved = photos.rename(photos.parent / "elsewhere")
    assert make_album([moved], folder, recognizer).looked_at == 1


def test_new_photos_join_and_removed_ones_vanish(
    photos: Path, folder: Path, recognizer: Recognizer, another: Image.Image
) -> None:
    first = make_album([photos], folder, recognizer)
    gone = first.photos[[p.name for p in first.photos].index("h0.jpg")].sha256[:20]
    assert gone in texts(folder)
    another.save(photos / "trip" / "h9.jpg")
    (photos / "h0.jpg").unlink()
    second = make_album([photos], folder, recognizer)
    assert second.looked_at == 2
    assert group_of(second, "trip/h9.jpg") == group_of(first, "h1.webp") == group_of(second, "h1.webp")
    assert gone not in texts(folder)
    assert not [f for f in folder.rglob("*") if gone in f.name]
    assert gone.encode() not in (folder / MARK).read_bytes()
    for file in photos.glob("h*"):
        file.unlink()
    (photos / "together.jpg").unlink()
    (photos / "trip" / "h9.jpg").unlink()
    third = make_album([photos], folder, recognizer)
    assert third.groups.ids.tolist() == [group_of(first, "a0.png")]
    assert len(list((folder / "pages").glob("person-*.html"))) == 1
    assert third.groups.next_label == 3  # the number of whoever left is not used again


def test_a_kill_loses_no_more_than_a_moment(photos: Path, tmp_path: Path, recognizer: Recognizer) -> None:
    child = (
        "import sys, time\n"
        "from vultus import Recognizer\n"
        "from vultus.album import make_album\n"
        "done = 0\n"
        "def progress(n):\n"
        "    global done\n"
        "    done += n\n"
        "    print(done, flush=True)\n"
        "    time.sleep(1.1 if done < 3 else 600)\n"
        "make_album([sys.argv[1]], sys.argv[2], Recognizer.load(threads=1), progress=progress)\n"
    )
    folder = tmp_path / "album"
    command = [sys.executable, "-c", child, str(photos), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "3":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (folder / "faces" / ".partial-left").write_bytes(b"half")
    assert not (folder / "index.html").exists()
    album = make_album([photos], folder, recognizer)
    assert album.looked_at == PHOTOS + 1 - 2  # the third that was done is the one that cannot be read
    assert len(album.faces) == FACES
    assert not (folder / "faces" / ".partial-left").exists()
    fresh = make_album([photos], tmp_path / "fresh", recognizer)
    assert names(album) == names(fresh)


def test_decisions_hold_in_later_runs(photos: Path, folder: Path, recognizer: Recognizer, another: Image.Image) -> None:
    album = make_album([photos], folder, recognizer)
    collins, hopper = group_of(album, "a0.png"), group_of(album, "h0.jpg")
    wrong = face_of(album, "h0.jpg")
    named = make_album(
        [photos], folder, recognizer, changes=[Change("name", (str(collins),), "Eileen"), Change("split", (wrong,))]
    )
    assert named.names == {collins: "Eileen"}
    assert group_of(named, "h0.jpg") not in {hopper, collins}
    assert group_of(named, "h1.webp") == hopper
    another.save(photos / "h9.jpg")
    again = make_album([photos], folder, recognizer)
    assert again.names == {collins: "Eileen"}
    assert group_of(again, "h0.jpg") == group_of(named, "h0.jpg")
    assert "Eileen" in (folder / "index.html").read_text("utf-8")
    merged = make_album([photos], folder, recognizer, changes=[Change("merge", ("Eileen", str(hopper)))])
    assert group_of(merged, "h1.webp") == group_of(merged, "a0.png")
    assert group_of(merged, "h0.jpg") != group_of(merged, "h1.webp")
    assert set(merged.names.values()) == {"Eileen"}
    everybody = [Change("forget", tuple(str(g) for g in merged.groups.ids.tolist()))]
    free = make_album([photos], folder, recognizer, changes=everybody)
    assert free.decisions == Decisions()
    assert free.names == {}
    assert names(free) == names(make_album([photos], folder.parent / "fresh", recognizer))


def test_a_face_of_low_quality_that_has_a_name_has_a_place(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    unsure = make_album([photos], folder, recognizer, min_quality=1.01)
    face = face_of(unsure, "h0.jpg")
    album = make_album([photos], folder, recognizer, min_quality=1.01, changes=[Change("name", (face,), "Grace")])
    assert album.names == {group_of(album, "h0.jpg"): "Grace"}
    again = make_album([photos], folder, recognizer, min_quality=1.01)
    assert again.names == album.names


def test_a_face_can_be_given_to_somebody_else(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    album = make_album([photos], folder, recognizer)
    collins, hopper = group_of(album, "a0.png"), group_of(album, "h0.jpg")
    changes = [Change("merge", (str(collins), face_of(album, "h0.jpg")[:12]))]
    moved = make_album([photos], folder, recognizer, changes=changes)
    assert group_of(moved, "h0.jpg") == collins
    assert group_of(moved, "h1.webp") == hopper


def test_changes_that_make_no_sense_change_nothing(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    before = (folder / "decisions.json").read_bytes()
    for change in (Change("merge", ("1", "77")), Change("split", ("2",)), Change("name", ("Nobody",), "x")):
        with pytest.raises(BadArgument):
            make_album([photos], folder, recognizer, changes=[Change("merge", ("1", "2")), change])
    assert (folder / "decisions.json").read_bytes() == before
    with pytest.raises(BadArgument, match="make it first"):
        make_album([photos], folder.parent / "none", recognizer, changes=[Change("merge", ("1", "2"))])


def test_pictures_hold_no_metadata_and_are_upright(
    tmp_path: Path, recognizer: Recognizer, another: Image.Image
) -> None:
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[29] = "SECRET-PLACE"
    another.rotate(90, expand=True).save(
        tmp_path / "photos" / "p.jpg", exif=exif, comment=b"SECRET-COMMENT", icc_profile=b"SECRET-PROFILE" * 9
    )
    assert b"SECRET-PLACE" in (tmp_path / "photos" / "p.jpg").read_bytes()
    album = make_album([tmp_path / "photos"], tmp_path / "album", recognizer)
    assert len(album.faces) == 1
    pictures = list((tmp_path / "album").rglob("*.jpg"))
    assert len(pictures) == 2
    for file in pictures:
        with Image.open(file) as picture:
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert picture.height >= picture.width
            assert max(picture.size) <= 800
    for file in (tmp_path / "album").rglob("*"):
        assert not file.is_file() or b"SECRET" not in file.read_bytes()


def test_lost_pictures_are_made_again(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    before = {name: content for name, (content, _) in state(folder).items()}
    lost = sorted((folder / "faces").rglob("*.jpg"))[0]
    lost.unlink()
    emptied = sorted((folder / "photos").rglob("*.jpg"))[-1]
    emptied.write_bytes(b"")
    stranger = folder / "faces" / "mine.txt"
    stranger.write_text("not the album's")
    album = make_album([photos], folder, recognizer)
    assert 2 <= album.looked_at <= 3
    assert stranger.exists()
    stranger.unlink()
    assert {name: content for name, (content, _) in state(folder).items()} == before


def test_one_content_in_two_files_is_one_photo(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    shutil.copy(photos / "h0.jpg", photos / "trip" / "copy.jpg")
    steps: list[int] = []
    album = make_album([photos], folder, recognizer, progress=steps.append)
    assert len(album.faces) == FACES
    (twice,) = [p for p in album.photos if len(p.files) == 2]
    assert twice.sha256 == file_sha256(photos / "h0.jpg")
    assert sum(steps) == PHOTOS + 2


def test_a_changed_file_is_read_again(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    album = make_album([photos], folder, recognizer)
    shutil.copy(photos / "h0.jpg", photos / "a1.jpg")
    changed = make_album([photos], folder, recognizer)
    assert len(changed.faces) == FACES - 1
    assert group_of(album, "a1.jpg") != group_of(album, "h0.jpg")


def test_a_file_that_cannot_be_read_for_once_keeps_its_place(
    photos: Path, folder: Path, recognizer: Recognizer
) -> None:
    album = make_album([photos], folder, recognizer)
    sources = [photos / p.name for p in album.photos]
    away = (photos / "h0.jpg").rename(photos.parent / "h0.jpg")
    without = make_album(sources, folder, recognizer)
    assert [f.code for f in without.failures] == ["source_unavailable"]
    assert len(without.faces) == FACES - 1
    away.rename(photos / "h0.jpg")
    back = make_album(sources, folder, recognizer)
    assert back.looked_at == 0
    assert group_of(back, "h0.jpg") == group_of(album, "h0.jpg")


def test_sources_are_named_and_found(photos: Path, folder: Path) -> None:
    shutil.copytree(folder, photos / "album")
    (photos / ".cache").mkdir()
    shutil.copy(photos / "h0.jpg", photos / ".cache" / "h0.jpg")
    (photos / "link").symlink_to(photos / "trip")
    found = [f.name for f in photo_files([photos])]
    assert len(found) == PHOTOS + 1
    assert found == sorted(found)
    several = [f.name for f in photo_files([photos / "trip", photos / "h0.jpg", photos / "trip" / "a2.jpg"])]
    assert several == ["trip/a2.jpg", "h0.jpg"]
    with pytest.raises(BadArgument, match="no photos"):
        photo_files([photos / "link" / "..", photos / ".cache"][:0])


def test_threads_change_nothing(photos: Path, folder: Path, tmp_path: Path, cache: Path) -> None:
    two = make_album([photos], tmp_path / "two", Recognizer.load(threads=2))
    pictures = {k: c for k, (c, _) in state(folder).items() if k.endswith(".jpg")}
    assert {k: c for k, (c, _) in state(tmp_path / "two").items() if k.endswith(".jpg")} == pictures
    assert len(two.faces) == FACES


def test_options_act(photos: Path, folder: Path, tmp_path: Path, recognizer: Recognizer) -> None:
    strict = make_album([photos], folder, recognizer, threshold=0.999)
    assert strict.groups.threshold == 0.999
    assert strict.groups.sizes.max() == 1
    usual = make_album([photos], folder, recognizer, title="Summer <3")
    assert usual.groups.sizes.max() == 4
    assert "<title>Summer &lt;3</title>" in (folder / "index.html").read_text("utf-8")
    assert make_album([photos], folder, recognizer, rate=0.5).groups.threshold < usual.groups.threshold
    assert len(make_album([photos], folder, recognizer, min_quality=1.01).groups.unsure) == FACES
    assert len(make_album([photos / "h0.jpg"], tmp_path / "large", recognizer, min_face=2000).faces) == 0


def test_an_album_belongs_to_one_system(
    photos: Path, folder: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored = Recognizer(recognizer.detector, recognizer.embedder, mirror=True, threads=1)
    with pytest.raises(ModelMismatch, match="begun with"):
        make_album([photos], folder, mirrored)
    with pytest.raises(ModelMismatch, match="32 pixels"):
        make_album([photos], folder, recognizer, min_face=20)
    make_album([photos], folder, recognizer, min_face=32)
    monkeypatch.setattr(Recognizer, "calibration", None)
    with pytest.raises(NoThreshold, match="threshold="):
        make_album([photos], folder, recognizer)
    assert make_album([photos], folder, recognizer, threshold=0.4).groups.threshold == 0.4


def _other(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "index.html").write_text("somebody's site")


def _garbage(folder: Path) -> None:
    (folder / MARK).write_bytes(b"garbage " * 999)


def _another_database(folder: Path) -> None:
    (folder / MARK).unlink()
    with sqlite3.connect(folder / MARK) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()


def _newer(folder: Path) -> None:
    with sqlite3.connect(folder / MARK) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()


def _short_rows(folder: Path) -> None:
    with sqlite3.connect(folder / MARK) as db:
        db.execute("UPDATE faces SET row = x'00'")
    db.close()


def _decisions(folder: Path) -> None:
    (folder / "decisions.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_other, "is no album"),
        (_garbage, "remove it"),
        (_another_database, "no album's file"),
        (_newer, "newer vultus"),
        (_short_rows, "damaged"),
        (_decisions, "put it right"),
    ],
)
def test_what_is_no_sound_album_is_refused(
    photos: Path, folder: Path, recognizer: Recognizer, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    before = state(folder)
    with pytest.raises((AlbumError, BadArgument), match=message):
        make_album([photos], folder, recognizer)
    if damage is not _short_rows:
        assert state(folder) == before


def test_without_its_file_an_album_is_made_anew_and_decisions_stay(
    photos: Path, folder: Path, recognizer: Recognizer
) -> None:
    make_album([photos], folder, recognizer, changes=[Change("name", ("1",), "Eileen")])
    (folder / MARK).unlink()
    album = make_album([photos], folder, recognizer)
    assert album.looked_at == PHOTOS + 1
    assert list(album.names.values()) == ["Eileen"]


def test_two_at_once_is_refused(photos: Path, folder: Path, recognizer: Recognizer) -> None:
    with sqlite3.connect(folder / MARK, isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(AlbumBusy):
            make_album([photos], folder, recognizer)
    db.close()


def test_a_full_disk_ends_the_run_and_what_was_done_stays(
    photos: Path, tmp_path: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name.endswith("-1.jpg"):  # the second face of the photo that comes last but one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(AlbumError, match="No space"):
        make_album([photos], tmp_path / "album", recognizer)
    monkeypatch.undo()
    assert not list((tmp_path / "album").rglob(".partial-*"))
    assert make_album([photos], tmp_path / "album", recognizer).looked_at == 3


def test_what_cannot_be_written_is_told(photos: Path, tmp_path: Path, recognizer: Recognizer) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlbumError, match="cannot use"):
        make_album([photos], tmp_path / "file" / "album", recognizer)
    for bad in ({"min_face": 0.0}, {"rate": 2.0}, {"threshold": 1.5}, {"min_face": float("nan")}):
        with pytest.raises(BadArgument):
            make_album([photos], tmp_path / "album", recognizer, **bad)  # type: ignore[arg-type]
    assert not (tmp_path / "album").exists()
