"""Prepared shards: what is written is read, and every kind of damage is found and named."""

from __future__ import annotations

import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from vultus.errors import BadArgument, DatasetError, ImageParseError, ShardCorrupt
from vultus.train.data import InMemory, ShardManifest, Shards, Tolerant, open_dataset, verify_shards
from vultus.train.data.codec import ENCODINGS, Encoding, decode, encode
from vultus.train.data.shards import write_shards


def written(root: Path, faces: InMemory, encoding: Encoding = "png", shard_photos: int = 5) -> Shards:
    photos = ((encode(faces.pixels(i), encoding), int(faces.labels[i])) for i in range(len(faces)))
    write_shards(root, photos, faces.classes, encoding=encoding, shard_photos=shard_photos, model="m", plan="p")
    return Shards(root)


@pytest.fixture
def root(tmp_path: Path, faces: InMemory) -> Path:
    written(tmp_path / "set", faces)
    return tmp_path / "set"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_written_is_read(tmp_path: Path, faces: InMemory, encoding: Encoding) -> None:
    shards = written(tmp_path, faces, encoding)
    assert (shards.classes, shards.labels.tolist()) == (faces.classes, faces.labels.tolist())
    for i in range(len(faces)):
        image, label = shards[i]
        error = (image.double() - faces[i][0].double()).abs()
        assert label == faces.labels[i]
        assert error.max() == 0 if encoding != "jpeg" else error.mean() < 4


def test_the_encodings_are_these() -> None:
    assert ENCODINGS == ("jpeg", "png", "webp", "raw")


def test_the_manifest_says_what_there_is(root: Path, faces: InMemory) -> None:
    manifest = ShardManifest.load(root)
    assert manifest == verify_shards(root)
    assert [s.photos for s in manifest.shards] == [5, 5, 2]
    assert (manifest.photos, manifest.classes, manifest.model, manifest.plan) == (12, faces.classes, "m", "p")
    assert (manifest.template, manifest.alignment, manifest.encoding) == ("arcface-112", 2, "png")
    assert sorted(p.name for p in root.iterdir()) == sorted(
        ["manifest.json", *(f"shard-{i:05d}.{e}" for i in range(3) for e in ("bin", "npy"))]
    )


def test_the_bytes_are_those_that_were_written(root: Path, faces: InMemory) -> None:
    shards = Shards(root)
    contents = [shards.content(i) for i in range(12)]
    assert b"".join(contents[:5]) == (root / "shard-00000.bin").read_bytes()
    assert np.array_equal(decode(contents[7], name="x"), faces.pixels(7))


def test_progress_counts_bytes(root: Path) -> None:
    seen: list[int] = []
    verify_shards(root, progress=seen.append)
    assert seen == [s.bytes for s in ShardManifest.load(root).shards]


def test_an_open_set_can_be_pickled(root: Path) -> None:
    shards = Shards(root)
    assert shards[3]
    copy = pickle.loads(pickle.dumps(shards))
    shards.files.close()
    for i in (0, 6, 11):
        assert torch.equal(copy[i][0], shards[i][0])


def test_many_files_are_not_all_open_at_once(tmp_path: Path, faces: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = written(tmp_path, faces, shard_photos=1)
    monkeypatch.setattr("vultus.train.data.files._MOST_OPEN", 3)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for i in (*range(12), 0, 11, 5):
        assert torch.equal(shards[i][0], faces[i][0])
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3
    shards.files.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_threads_read_together(root: Path, faces: InMemory) -> None:
    shards = Shards(root)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(shards.pixels, [i % 12 for i in range(200)]))
    assert all(np.array_equal(pixels, faces.pixels(i % 12)) for i, pixels in enumerate(read))


def test_reading_ahead_asks_for_each_region_once(root: Path, faces: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda handle, offset, length, advice: asked.append((offset, length)))
    ahead = open_dataset(root, read_ahead=50_000)
    for _ in range(2):
        assert all(torch.equal(ahead[i][0], faces[i][0]) for i in range(12))
    sizes = [s.bytes for s in ShardManifest.load(root).shards]
    places = Shards(root).places
    regions = set(zip(places.file.tolist(), (places.offset // 50_000).tolist(), strict=True))
    assert len(asked) == len(regions) > len(sizes)
    asked.clear()
    assert open_dataset(root)[0]
    assert asked == []
    with pytest.raises(BadArgument, match="read_ahead is -1"):
        open_dataset(root, read_ahead=-1)


# --- damage -------------------------------------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def test_a_changed_byte_is_found_in_its_photo(root: Path, faces: InMemory) -> None:
    shards = Shards(root)
    start = int(shards.places.offset[6])
    flip(root / "shard-00001.bin", start + 100)
    assert torch.equal(shards[5][0], faces[5][0])
    with pytest.raises(ShardCorrupt, match=r"shard-00001\.bin, record 1: its bytes changed"):
        shards[6]
    with pytest.raises(ShardCorrupt, match=r"shard-00001\.bin' has sha256"):
        verify_shards(root)
    tolerant = open_dataset(root, damaged="skip")
    assert isinstance(tolerant, Tolerant)
    assert torch.equal(tolerant[6][0], faces[7][0])
    assert tolerant.damaged.tolist() == [6]


def test_a_file_cut_off_is_found_when_opened(root: Path) -> None:
    shards = Shards(root)
    path = root / "shard-00002.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardCorrupt, match=r"shard-00002\.bin' has \d+ bytes; its manifest says"):
        open_dataset(root)
    with pytest.raises(ShardCorrupt, match=r"record 1: the file ends after"):
        shards[11]


@pytest.mark.parametrize(
    ("name", "message"),
    [("shard-00001.npy", "shard-00001.npy' has sha256"), ("manifest.json", "manifest.json")],
)
def test_a_changed_index_or_manifest_is_found(root: Path, name: str, message: str) -> None:
    flip(root / name, 0)
    with pytest.raises(ShardCorrupt, match=message):
        open_dataset(root)


@pytest.mark.parametrize("name", ["shard-00001.npy", "shard-00001.bin"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    shards = Shards(root)
    (root / name).unlink()
    with pytest.raises(ShardCorrupt, match="shard-00001"):
        open_dataset(root)
    if name.endswith("bin"):
        with pytest.raises(ShardCorrupt, match=r"cannot read .*shard-00001\.bin"):
            shards[6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "vultus-faces/9"}, "has the format 'vultus-faces/9'"),
        ({"photos": 13}, "holds 12 photos; its manifest says 13"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"encoding": "gif"}, "'gif' is none of"),
        ({"shards": [{"name": "../x", "photos": 1, "bytes": 1, "sha256": "", "index": ""}]}, "no name of a file"),
    ],
)
def test_a_wrong_manifest_is_refused(root: Path, change: dict[str, object], message: str) -> None:
    path = root / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ShardCorrupt, match=message):
        Shards(root)


def test_a_manifest_that_is_no_table_is_refused(root: Path) -> None:
    (root / "manifest.json").write_text("[]")
    with pytest.raises(ShardCorrupt, match="has the format None"):
        Shards(root)


def test_an_identity_without_a_photo_is_refused(root: Path) -> None:
    path = root / "manifest.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {"classes": [*table["classes"], "nobody"]}))
    with pytest.raises(DatasetError, match="'nobody'"):
        Shards(root)
    path.write_text(json.dumps(table | {"classes": table["classes"][:2]}))
    with pytest.raises(DatasetError, match="labels from 0 to 2; expected 0 to 1"):
        Shards(root)


def test_a_disk_that_is_full_leaves_no_data_set(tmp_path: Path, faces: InMemory) -> None:
    def photos() -> object:
        for i in range(7):
            yield encode(faces.pixels(i), "png"), int(faces.labels[i])
        raise OSError(28, "No space left on device")

    with pytest.raises(DatasetError, match=r"cannot write .*shard-00001.*No space left"):
        write_shards(tmp_path, photos(), faces.classes, encoding="png", shard_photos=5)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "manifest.json").exists()


def test_raw_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(ImageParseError, match="has 100 bytes; expected 37632"):
        decode(bytes(100), "raw", name="x")
