"""RecordIO, against a writer made here from the format's description: magic, flag and length, parts, padding, headers."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import DatasetError, ShardCorrupt, SourceUnavailable
from vultus.train.data import InMemory, RecordIO, open_dataset
from vultus.train.data.codec import encode
from vultus.train.data.recordio import joined

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)


def record(content: bytes) -> bytes:
    """One record: cut where the magic number stands at a multiple of 4, each part with its head, the last one padded."""
    cuts = [i for i in range(0, len(content) // 4 * 4, 4) if content[i : i + 4] == WORD]
    parts, start = [], 0
    for i in cuts:
        parts.append(content[start:i])
        start = i + 4
    parts.append(content[start:])
    out = b""
    for k, part in enumerate(parts):
        kind = 0 if len(parts) == 1 else 1 if k == 0 else 3 if k == len(parts) - 1 else 2
        out += WORD + struct.pack("<I", kind << 29 | len(part)) + part
    return out + bytes(-len(out) % 4)


def packed(label: float | list[float], content: bytes, number: int = 0) -> bytes:
    """A photo's header and the photo."""
    if isinstance(label, list):
        return struct.pack("<IfQQ", len(label), 0.0, number, 0) + struct.pack(f"<{len(label)}f", *label) + content
    return struct.pack("<IfQQ", 0, label, number, 0) + content


def write_rec(path: Path, records: dict[int, bytes], *, index: bool = True) -> Path:
    lines, content = "", b""
    for key, inner in records.items():
        lines += f"{key}\t{len(content)}\n"
        content += record(inner)
    path.write_bytes(content)
    if index:
        path.with_suffix(".idx").write_text(lines)
    return path


def insightface(faces: InMemory) -> dict[int, bytes]:
    """The layout of insightface's sets: record 0 with two counts, photos, then the photos' range of each identity."""
    n = len(faces)
    records = {0: packed([n + 1, n + 1 + len(faces.classes)], b"")}
    for i in range(n):
        label = float(faces.labels[i])
        # every other set has labels as arrays
        records[1 + i] = packed([label, 0.0] if i % 2 else label, encode(faces.pixels(i), "jpeg"), i)
    for k in range(len(faces.classes)):
        mine = np.flatnonzero(faces.labels == k)
        records[n + 1 + k] = packed([float(mine[0] + 1), float(mine[-1] + 2)], b"")
    return records


@pytest.fixture
def root(tmp_path: Path, faces: InMemory) -> Path:
    write_rec(tmp_path / "train.rec", insightface(faces))
    return tmp_path


def expect_faces(dataset: RecordIO, faces: InMemory, order: list[int] | None = None) -> None:
    order = order or list(range(len(faces)))
    assert dataset.labels.tolist() == faces.labels[order].tolist()
    for k, i in enumerate(order):
        error = (dataset[k][0].double() - faces[i][0].double()).abs().mean()
        assert error < 4
        assert dataset.content(k) == encode(faces.pixels(i), "jpeg")


@pytest.mark.parametrize("index", [True, False])
def test_a_set_of_insightface_is_read(tmp_path: Path, faces: InMemory, index: bool) -> None:
    write_rec(tmp_path / "train.rec", insightface(faces), index=index)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, RecordIO)
    assert dataset.classes == ("0", "1", "2")
    expect_faces(dataset, faces)
    again = RecordIO(tmp_path / "train.rec")  # from the file beside it
    expect_faces(again, faces)
    expect_faces(pickle.loads(pickle.dumps(again)), faces)


def test_without_record_0_every_record_is_a_photo(tmp_path: Path, faces: InMemory) -> None:
    order = [7, 2, 11, 0, 5]
    records = {9 + k: packed(float(faces.labels[i]), encode(faces.pixels(i), "jpeg")) for k, i in enumerate(order)}
    dataset = open_dataset(write_rec(tmp_path / "shuffled.rec", records))
    assert isinstance(dataset, RecordIO)
    expect_faces(dataset, faces, order)


def test_labels_with_gaps_become_numbers_from_0(tmp_path: Path, faces: InMemory) -> None:
    records = {k: packed(label, encode(faces.pixels(k), "png")) for k, label in enumerate([70.0, 7.0, 70.0])}
    dataset = RecordIO(write_rec(tmp_path / "x.rec", records))
    assert (dataset.classes, dataset.labels.tolist()) == (("7", "70"), [1, 0, 1])
    assert torch.equal(dataset[2][0], faces[2][0])


def test_pictures_that_hold_the_magic_number_are_joined(tmp_path: Path, faces: InMemory) -> None:
    photo = encode(faces.pixels(0), "jpeg")
    comments = [b"at" + WORD * 3, b"x" + WORD + b"yzab" + WORD + WORD, b"at" + WORD + b"abc"]
    commented = [photo[:2] + b"\xff\xfe" + struct.pack(">H", len(c) + 2) + c + photo[2:] for c in comments]
    records = {k: packed(float(k), content) for k, content in enumerate(commented)}
    assert any(record(r)[7] >> 5 == 1 for r in records.values())  # some have several parts
    for index in (True, False):
        path = write_rec(tmp_path / f"{index}.rec", records, index=index)
        dataset = RecordIO(path)
        for k, content in enumerate(commented):
            assert dataset.content(k) == content
            assert torch.equal(dataset[k][0], dataset[0][0])


@given(st.lists(st.sampled_from([b"a", b"bc", WORD, b"defg", WORD[:2], WORD[2:]]), max_size=12).map(b"".join))
def test_joined_is_the_inverse_of_cutting(content: bytes) -> None:
    assert joined(record(content), "x") == content


# --- damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [True, False])
def test_a_file_cut_off_is_found_when_opened(tmp_path: Path, faces: InMemory, index: bool) -> None:
    path = write_rec(tmp_path / "train.rec", insightface(faces), index=index)
    path.write_bytes(path.read_bytes()[:-90])
    with pytest.raises(ShardCorrupt, match=r"train\.rec, record 1[35]: "):
        RecordIO(path)


def test_a_file_cut_off_between_records_is_found_by_the_count(tmp_path: Path, faces: InMemory) -> None:
    records = insightface(faces)
    path = write_rec(tmp_path / "train.rec", {k: records[k] for k in range(8)}, index=False)
    with pytest.raises(ShardCorrupt, match="holds 7 of the 12 photos"):
        RecordIO(path)


def test_a_lost_magic_number_is_found_when_opened(root: Path) -> None:
    path = root / "train.rec"
    offset = int(path.with_suffix(".idx").read_text().splitlines()[5].split("\t")[1])
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match="record 5: no record begins here"):
        RecordIO(path)


def test_a_damaged_picture_is_named(root: Path) -> None:
    dataset = RecordIO(root)
    path = root / "train.rec"
    content = bytearray(path.read_bytes())
    start = int(dataset.places.offset[4]) + 32
    content[start : start + 2] = b"??"
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=r"train\.rec, record 5"):
        dataset[4]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "its last part is missing"),
        (record(b"abcd")[:-1], "do not fit together"),
        (record(b"abcd") + record(b"abcd"), "do not fit together"),
        (WORD + struct.pack("<I", 1 << 29 | 4) + b"abcd", "its last part is missing"),
        (WORD + struct.pack("<I", 2 << 29 | 4) + b"abcd", "do not fit together"),
        (b"nothing!", "no record begins here"),
    ],
)
def test_parts_that_make_no_record_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ShardCorrupt, match=message):
        joined(raw, "x")


def test_wrong_indices_are_refused(root: Path, tmp_path: Path) -> None:
    (root / "train.idx").write_text("0 0\n")
    with pytest.raises(ShardCorrupt, match="no index of records"):
        RecordIO(root)
    (root / "train.idx").write_text("1\t0\n2\t3\n")
    with pytest.raises(ShardCorrupt, match="record 2: no record begins here"):
        RecordIO(root)


def test_records_that_are_no_photos_are_refused(tmp_path: Path, faces: InMemory) -> None:
    with pytest.raises(ShardCorrupt, match="3 bytes are too few"):
        RecordIO(write_rec(tmp_path / "a.rec", {0: b"abc"}))
    with pytest.raises(ShardCorrupt, match="labels that are no numbers"):
        RecordIO(write_rec(tmp_path / "b.rec", {0: packed(float("nan"), b"x")}))
    with pytest.raises(DatasetError, match="has 1 identities"):
        RecordIO(write_rec(tmp_path / "c.rec", {0: packed(1.0, b"x")}))
    with pytest.raises(SourceUnavailable, match=r"gone\.rec"):
        open_dataset(tmp_path / "gone.rec")
    (tmp_path / "empty.rec").write_bytes(b"")
    with pytest.raises(DatasetError, match="has 0 identities"):
        RecordIO(tmp_path / "empty.rec")
