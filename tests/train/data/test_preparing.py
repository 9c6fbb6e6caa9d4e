"""Preparation, from photos with drawn faces to shards: what is kept, what is dropped and why, and what survives a kill."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vultus import Recognizer
from vultus.align import align
from vultus.errors import BadArgument, DatasetError, ImageError, SourceUnavailable
from vultus.train import data
from vultus.train.data import Preparation, PreparationReport, Shards, cutting, draw_face, prepare, preparing
from vultus.train.data.cutting import Cuts
from vultus.train.data.judging import KEPT, judge
from vultus.train.data.report import histogram
from vultus.types import UInt8Array

PEOPLE = (2, 3, 4)  # drawn identities in whom the detector sees a face


def photo_of(identity: int, photo: int, *, side: int = 150) -> UInt8Array:
    """A drawn face with its background around it, as in a photo."""
    face = draw_face(identity, photo)
    return cv2.resize(np.pad(face, ((20, 20), (20, 20), (0, 0)), mode="edge"), (side, side))  # type: ignore[no-any-return]


def save(path: Path, pixels: UInt8Array, *options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1], list(options))


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three people, among them one of each kind that is dropped."""
    root = tmp_path_factory.mktemp("photos")
    for person in PEOPLE:
        for photo in range(4):
            save(root / f"p{person}" / f"{photo}.png", photo_of(person, photo))
    save(root / "p2" / "again.jpg", photo_of(2, 1), cv2.IMWRITE_JPEG_QUALITY, 70)
    save(root / "p3" / "tiny.png", cv2.resize(photo_of(3, 2), (40, 40), interpolation=cv2.INTER_AREA))
    save(root / "p3" / "wall.png", np.full((120, 120, 3), 128, dtype=np.uint8))
    save(root / "p4" / "dark.png", (photo_of(4, 1) * 0.1).astype(np.uint8))
    save(root / "p4" / "of p2.png", photo_of(2, 2))
    (root / "p4" / "broken.jpg").write_bytes((root / "p2" / "again.jpg").read_bytes()[:500])
    (root / "nobody").mkdir()
    save(root / "nobody" / "wall.png", np.full((120, 120, 3), 90, dtype=np.uint8))
    return root


@pytest.fixture(scope="session")
def prepared(original: Path, recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos prepared with the default options."""
    target = tmp_path_factory.mktemp("prepared") / "set"
    prepare(original, target, recognizer=recognizer, workers=2)
    return target


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two people with two photos each."""
    for person in PEOPLE[:2]:
        for photo in range(2):
            save(tmp_path / "photos" / f"p{person}" / f"{photo}.png", photo_of(person, photo))
    return tmp_path / "photos"


WRITTEN = ("manifest.json", "report.json", "report.txt")
LABELS = np.repeat([0, 1, 2, 3], [1, 5, 6, 7])  # of the original photos, in the order of their names


@pytest.fixture(scope="session")
def cuts(original: Path, recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Cuts:
    """What became of the original photos before anything is judged."""
    photos = sorted(original.glob("*/*"))
    assert [p.parent.name for p in photos] == [("nobody", "p2", "p3", "p4")[i] for i in LABELS]
    shop = cutting.Workshop(tmp_path_factory.mktemp("work"), photos)
    assert list(shop.work(recognizer, workers=1, policy="largest", encoding="raw", tolerant=True)) == [19]
    return shop.cuts()


def outcomes(target: Path) -> dict[str, dict[str, str]]:
    with (target / "photos.csv").open(newline="") as file:
        return {row["photo"]: row for row in csv.DictReader(file)}


def test_every_photo_has_an_outcome(prepared: Path) -> None:
    found = {photo: row["outcome"] for photo, row in outcomes(prepared).items() if row["outcome"] != "kept"}
    assert found == {
        "nobody/wall.png": "no_face",
        "p2/again.jpg": "duplicate",
        "p3/tiny.png": "small",
        "p3/wall.png": "no_face",
        "p4/broken.jpg": "parse_error",
        "p4/dark.png": "low_quality",
    }


def test_the_report_adds_up(prepared: Path) -> None:
    report = PreparationReport.of_json((prepared / "report.json").read_text())
    assert (report.photos, report.kept, report.identities, report.kept_identities) == (19, 13, 4, 3)
    assert report.dropped == {"duplicate": 1, "low_quality": 1, "no_face": 2, "parse_error": 1, "small": 1}
    assert report.lost == ("nobody",)
    assert sum(row[1] for row in report.histogram) == 4
    assert sum(row[2] for row in report.histogram) == 3
    assert report.shared in ((("p2/2.png", "p4/of p2.png"),), (("p4/of p2.png", "p2/2.png"),))
    text = (prepared / "report.txt").read_text()
    assert text == str(report)
    assert "kept              13 photos of 3 identities" in text
    assert "p4/of p2.png" in text
    assert report.options["min_quality"] == Preparation().min_quality


def test_the_shards_hold_the_aligned_faces(prepared: Path, original: Path, recognizer: Recognizer) -> None:
    dataset = data.open_dataset(prepared)
    assert isinstance(dataset, Shards)
    assert dataset.classes == ("p2", "p3", "p4")
    assert np.bincount(dataset.labels).tolist() == [4, 4, 5]
    assert dataset.manifest.model == recognizer.model_id
    kept = {photo: row for photo, row in outcomes(prepared).items() if row["outcome"] == "kept"}
    assert sorted(int(row["record"]) for row in kept.values()) == list(range(13))
    for photo, row in kept.items():
        i = int(row["record"])
        assert dataset.classes[dataset.labels[i]] == photo.split("/")[0]
        sample = recognizer.sample(original / photo)
        assert np.array_equal(dataset.pixels(i), align(original / photo, sample.face)[0])
        assert float(row["quality"]) == pytest.approx(float(sample.quality.overall[0]), abs=1e-4)
    data.verify_shards(prepared)
    assert not list(prepared.glob(".work*"))


def test_a_complete_target_is_left_as_it_is(prepared: Path, original: Path, recognizer: Recognizer) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in prepared.iterdir()}
    seen: list[Any] = []
    report = prepare(original, prepared, recognizer=recognizer, progress=lambda *step: seen.append(step))
    assert report == PreparationReport.of_json((prepared / "report.json").read_text())
    assert {p.name: p.stat().st_mtime_ns for p in prepared.iterdir()} == before
    assert seen == []
    with pytest.raises(DatasetError, match="holds shards of other photos, another model or other options"):
        prepare(original, prepared, recognizer=recognizer, options=Preparation(min_photos=2))


def test_workers_change_nothing(prepared: Path, original: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    prepare(original, tmp_path / "set", recognizer=recognizer, workers=1)
    assert (tmp_path / "set" / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()


# --- options ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Preparation(min_quality=0.0), {"low_quality": 0}),
        (Preparation(min_eyes=0.0), {"small": 0}),
        (Preparation(duplicate_bits=-1), {"duplicate": 0}),
        (Preparation(duplicate_cosine=1.0), {"duplicate": 0}),
        (Preparation(min_photos=5), {"few_photos": 8}),
    ],
)
def test_limits_act(options: Preparation, expected: dict[str, int], cuts: Cuts, prepared: Path) -> None:
    default, other = (judge(cuts, LABELS, o) for o in (Preparation(), options))
    counted = {reason: int((other == reason).sum()) for reason in expected}
    assert counted == expected
    assert (other == KEPT).sum() == (5 if options.min_photos == 5 else 14)
    kept = [row["outcome"] == "kept" for row in outcomes(prepared).values()]
    assert (default == KEPT).tolist() == kept


def test_too_high_limits_are_refused(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"0 identities keep a photo \({'few_photos': 4}\); loosen min_quality"):
        prepare(source, tmp_path / "set", recognizer=recognizer, options=Preparation(min_photos=3))


def test_encoding_shards_and_order_can_be_chosen(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    plain = Preparation(encoding="png", shard_photos=3, shuffle=False, duplicate_bits=-1)
    prepare(source, tmp_path / "a", recognizer=recognizer, options=plain)
    dataset = Shards(tmp_path / "a")
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert [s.photos for s in dataset.manifest.shards] == [3, 1]
    assert dataset.content(0).startswith(b"\x89PNG")
    rows = outcomes(tmp_path / "a")
    assert [(rows[f"p3/{i}.png"]["shard"], rows[f"p3/{i}.png"]["record"]) for i in (0, 1)] == [("0", "2"), ("1", "0")]
    for seed in (0, 1):
        mixed = Preparation(encoding="raw", seed=seed, duplicate_bits=-1)
        prepare(source, tmp_path / f"b{seed}", recognizer=recognizer, options=mixed)
    orders = [Shards(tmp_path / f"b{seed}").labels.tolist() for seed in (0, 1)]
    assert sorted(orders[0]) == [0, 0, 1, 1]
    assert orders[0] != orders[1]


def test_the_policy_says_which_face(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    two = np.concatenate([photo_of(2, 3, side=220), np.pad(photo_of(3, 3), ((0, 70), (0, 0), (0, 0)))], axis=1)
    save(source / "p2" / "two.png", two)
    report = prepare(source, tmp_path / "set", recognizer=recognizer, options=Preparation(policy="one"))
    assert report.dropped == {"many_faces": 1}
    prepare(source, tmp_path / "large", recognizer=recognizer, options=Preparation())
    assert outcomes(tmp_path / "large")["p2/two.png"]["faces"] == "2"


def test_a_damaged_photo_can_stop_it(original: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"p4/broken\.jpg"):
        prepare(original, tmp_path / "set", recognizer=recognizer, options=Preparation(damaged="error"))
    assert not (tmp_path / "set" / "manifest.json").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "all"},
        {"encoding": "gif"},
        {"damaged": "ignore"},
        {"min_quality": 1.5},
        {"min_eyes": -1},
        {"duplicate_cosine": 2},
        {"duplicate_bits": 65},
        {"min_photos": 0},
        {"shard_photos": 0},
        {"seed": -1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=f"{next(iter(options))} is "):
        Preparation(**options)


# --- sources and targets that cannot be ---------------------------------------------------------------------------------


def test_sources_that_cannot_be_are_refused(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="gone"):
        prepare(tmp_path / "gone", tmp_path / "set", recognizer=recognizer)
    shutil.rmtree(source / "p3")
    (source / "p9").mkdir()
    with pytest.raises(DatasetError, match="fewer than two identities"):
        prepare(source, tmp_path / "set", recognizer=recognizer)
    assert not (tmp_path / "set").exists()


def test_targets_that_cannot_be_are_refused(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match="is a file"):
        prepare(source, tmp_path / "file", recognizer=recognizer)
    with pytest.raises(DatasetError, match="cannot make the folder"):
        prepare(source, tmp_path / "file" / "set", recognizer=recognizer)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_no_data_set_and_the_next_run_goes_on(
    source: Path, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "set"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        with pytest.raises(DatasetError, match="No space left on device"):
            prepare(source, target, recognizer=recognizer)
    assert not (target / "manifest.json").exists()
    assert prepare(source, target, recognizer=recognizer).kept == 4


def _full(handle: int) -> None:
    raise OSError(28, "No space left on device")


def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cutting, preparing):
        monkeypatch.setattr(module, "PART", 1)


# --- interruption -------------------------------------------------------------------------------------------------------


def test_finished_parts_are_not_done_again(
    source: Path, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_parts(monkeypatch)
    target, seen = tmp_path / "set", []

    def stop(step: str, done: int, total: int) -> None:
        seen.append((step, done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, target, recognizer=recognizer, progress=stop)
    assert seen == [("faces", 1, 4), ("faces", 2, 4)]
    (damaged,) = target.glob(".work*/part-000001.npz")
    damaged.write_bytes(b"garbage")
    looked: list[str] = []
    cut = cutting.cut

    def watched(path: Path, *args: Any, **options: Any) -> cutting.Cut:
        looked.append(path.name)
        return cut(path, *args, **options)

    monkeypatch.setattr(cutting, "cut", watched)
    report = prepare(source, target, recognizer=recognizer)
    assert (report.kept, len(looked)) == (4, 3)
    assert {p.name for p in target.iterdir()} == {"photos.csv", "shard-00000.bin", "shard-00000.npy", *WRITTEN}
    monkeypatch.undo()
    prepare(source, tmp_path / "at once", recognizer=recognizer)
    assert (tmp_path / "at once" / "shard-00000.bin").read_bytes() == (target / "shard-00000.bin").read_bytes()


def test_what_an_interrupted_run_left_is_removed(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    target = tmp_path / "set"
    (target / ".work-0").mkdir(parents=True)
    for name in ("shard-00007.bin", "shard-00000.npy", "shard-00000.bin.99.part", ".work-0/part-000000.bin"):
        (target / name).write_bytes(b"left")
    (target / "notes.txt").write_bytes(b"mine")
    prepare(source, target, recognizer=recognizer)
    left = {p.name for p in target.iterdir()}
    assert left == {"notes.txt", "photos.csv", "shard-00000.bin", "shard-00000.npy", *WRITTEN}
    data.verify_shards(target)


def test_names_are_data(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    names = (os.fsdecode(b"\xff\xfe"), 'new\nline, "quoted"', "\u202eemoji \U0001f600")
    for name, old in zip(names, ("p2", "p3", "p2"), strict=True):
        shutil.copytree(source / old, source / name)
    report = prepare(source, tmp_path / "set", recognizer=recognizer)
    dataset = data.open_dataset(tmp_path / "set")
    assert set(names) < set(dataset.classes)
    assert PreparationReport.of_json((tmp_path / "set" / "report.json").read_text()) == report
    data.write_tars(dataset, tmp_path / "tars", encoding="webp")
    assert set(data.open_dataset(tmp_path / "tars").classes) == set(dataset.classes)


def test_changed_photos_are_done_again(source: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    target = tmp_path / "set"

    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, target, recognizer=recognizer, progress=stop)
    save(source / "p2" / "0.png", photo_of(2, 3))
    prepare(source, target, recognizer=recognizer, options=Preparation(shuffle=False))
    expected = recognizer.sample(source / "p2" / "0.png")
    assert np.array_equal(Shards(target).pixels(0), align(source / "p2" / "0.png", expected.face)[0])


SCRIPT = """
import sys
from vultus import Recognizer
from vultus.train.data import cutting, prepare, preparing
cutting.PART = preparing.PART = 1
print("ready", flush=True)
prepare(sys.argv[1], sys.argv[2], recognizer=Recognizer.load(threads=1), workers=1, progress=lambda *s: print(*s, flush=True))
"""


def test_a_killed_run_is_gone_on_with(
    original: Path, prepared: Path, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "set"
    command = [sys.executable, "-c", SCRIPT, str(original), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("faces 3 "):
                child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert not (target / "manifest.json").exists()
    (parts,) = target.glob(".work*")
    assert len(list(parts.glob("*.npz"))) in (3, 4)
    _small_parts(monkeypatch)
    assert prepare(original, target, recognizer=recognizer).kept == 13
    assert (target / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()
    assert not list(target.glob("*.part"))
    assert not list(target.glob(".work*"))


# --- reports ------------------------------------------------------------------------------------------------------------


def test_the_histogram_counts_identities() -> None:
    before, after = np.array([1, 2, 2, 7, 12, 4000]), np.array([0, 2, 1, 7, 4, 3999])
    rows = histogram(before, after)
    assert rows[:5] == ((1, 1, 1), (2, 2, 1), (3, 0, 1), (5, 1, 1), (10, 1, 0))
    assert rows[-1] == (1000, 1, 1)


def test_reports_survive_json(prepared: Path) -> None:
    text = (prepared / "report.json").read_text()
    report = PreparationReport.of_json(text)
    assert report.to_json() == text
    for broken in ("[]", "{}", text.replace('"kept"', '"held"'), "nothing"):
        with pytest.raises(DatasetError, match="no report of a preparation"):
            PreparationReport.of_json(broken)
    assert json.loads(text)["kept"] == 13


def test_batches_come_from_prepared_shards(prepared: Path) -> None:
    dataset = data.open_dataset(prepared)
    order = data.samplers.ClassBatches(dataset.labels, batch_size=6, photos=2)
    images, labels, _ = next(iter(data.loader(dataset, order, workers=1)))
    assert images.shape == (6, 3, 112, 112)
    assert torch.equal(labels[::2], labels[1::2])
