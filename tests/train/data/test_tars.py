"""Tars in webdataset's layout, against Python's own tarfile."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from pathlib import Path

import pytest
import torch

from vultus.errors import DatasetError, ShardCorrupt, SourceUnavailable
from vultus.train.data import InMemory, Tars, open_dataset, write_tars
from vultus.train.data.codec import encode

Members = list[tuple[str, bytes]]


def make(path: Path, members: Members, fmt: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=fmt) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def members_of(faces: InMemory, *, suffix: str = "png", prefix: str = "") -> Members:
    """The faces with their labels in .cls members."""
    found: Members = []
    for i in range(len(faces)):
        found.append((f"{prefix}{i:03d}.{suffix}", encode(faces.pixels(i), "png")))
        found.append((f"{prefix}{i:03d}.cls", str(faces.labels[i]).encode()))
    return found


@pytest.fixture
def root(tmp_path: Path, faces: InMemory) -> Path:
    write_tars(faces, tmp_path / "tars", encoding="png", photos=5)
    return tmp_path / "tars"


def test_what_is_written_is_read(root: Path, faces: InMemory) -> None:
    dataset = open_dataset(root)
    assert isinstance(dataset, Tars)
    assert (dataset.classes, dataset.labels.tolist()) == (faces.classes, faces.labels.tolist())
    assert all(torch.equal(dataset[i][0], faces[i][0]) for i in range(12))
    part = open_dataset(root / "shard-000001.tar")
    assert [part.classes[i] for i in part.labels] == [faces.classes[i] for i in faces.labels[5:10]]


def test_other_programs_read_what_is_written(root: Path, faces: InMemory) -> None:
    with tarfile.open(root / "shard-000001.tar") as tar:
        names = tar.getnames()
        contents = [tar.extractfile(name).read() for name in names]  # type: ignore[union-attr]
    assert names[:4] == ["000000005.png", "000000005.json", "000000006.png", "000000006.json"]
    assert contents[0] == encode(faces.pixels(5), "png")
    assert json.loads(contents[1]) == {"label": 1, "identity": "drawn-0001", "crc32": zlib.crc32(contents[0])}


def test_an_order_can_be_given(tmp_path: Path, faces: InMemory) -> None:
    order = [11, 0, 4, 8]
    files = write_tars(faces, tmp_path, order=order, encoding="webp")
    assert [f.name for f in files] == ["shard-000000.tar"]
    dataset = Tars(tmp_path)
    assert [dataset.classes[i] for i in dataset.labels] == [faces.classes[faces.labels[i]] for i in order]
    assert all(torch.equal(dataset[k][0], faces[i][0]) for k, i in enumerate(order))


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_others_are_read(tmp_path: Path, faces: InMemory, fmt: int) -> None:
    prefix = "./" + "long/" * 40 if fmt != tarfile.USTAR_FORMAT else "some/folder/"
    path = make(tmp_path / "x.tar", members_of(faces, suffix="PNG", prefix=prefix), fmt)
    dataset = open_dataset(path)
    assert dataset.classes == ("0", "1", "2")
    assert dataset.labels.tolist() == faces.labels.tolist()
    assert torch.equal(dataset[7][0], faces[7][0])


def test_labels_may_be_names_or_have_gaps(tmp_path: Path, faces: InMemory) -> None:
    photo = encode(faces.pixels(0), "png")
    by_name = [
        ("a.png", photo),
        ("a.json", b'{"identity": "zoe"}'),
        ("b.json", b'{"identity": "ada"}'),
        ("b.png", photo),
    ]
    dataset = Tars(make(tmp_path / "names.tar", by_name))
    assert (dataset.classes, dataset.labels.tolist()) == (("ada", "zoe"), [1, 0])
    gaps = [("a.png", photo), ("a.cls", b"70"), ("b.png", photo), ("b.json", b'{"label": 7, "identity": "x"}')]
    dataset = Tars(make(tmp_path / "gaps.tar", gaps))
    assert (dataset.classes, dataset.labels.tolist()) == (("x", "70"), [1, 0])
    mixed = [("a.png", photo), ("a.cls", b"70"), ("b.png", photo), ("b.json", b'{"identity": "x"}')]
    with pytest.raises(ShardCorrupt, match="some photos have labels"):
        Tars(make(tmp_path / "mixed.tar", mixed))


def test_what_was_found_out_is_kept_and_renewed(
    tmp_path: Path, faces: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "x.tar", members_of(faces))
    first = Tars(path)
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        again = Tars(path)
    assert again.labels.tolist() == first.labels.tolist()
    assert torch.equal(again[3][0], faces[3][0])
    make(path, members_of(faces)[:10])
    assert len(Tars(path)) == 5
    (tmp_path / "x.tar.vultus.npz").write_bytes(b"damaged")
    assert len(Tars(path)) == 5


def test_where_nothing_can_be_kept_reading_goes_on(tmp_path: Path, faces: InMemory) -> None:
    path = make(tmp_path / "x.tar", members_of(faces))
    (tmp_path / "x.tar.vultus.npz").mkdir()
    assert len(Tars(path)) == 12


# --- damage -------------------------------------------------------------------------------------------------------------


def test_a_changed_byte_is_found(root: Path) -> None:
    path = root / "shard-000001.tar"
    dataset = Tars(root)
    content = bytearray(path.read_bytes())
    content[int(dataset.places.offset[6]) + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=r"shard-000001\.tar, record 1: its bytes changed"):
        dataset[6]


def test_damaged_pictures_without_a_crc_are_named(tmp_path: Path, faces: InMemory) -> None:
    members = members_of(faces)
    members[8] = (members[8][0], members[8][1][:200])
    dataset = Tars(make(tmp_path / "x.tar", members))
    with pytest.raises(ShardCorrupt, match=r"x\.tar, record 4"):
        dataset[4]


@pytest.mark.parametrize("left", [-1, -600, -10240, 700])
def test_a_tar_cut_off_anywhere_is_found(tmp_path: Path, faces: InMemory, left: int) -> None:
    path = make(tmp_path / "x.tar", members_of(faces))
    with tarfile.open(path) as tar:
        end = max(m.offset_data + (m.size + 511) // 512 * 512 for m in tar)
    path.write_bytes(path.read_bytes()[: end if left == -1 else end + left if left < 0 else left])
    with pytest.raises(ShardCorrupt, match=r"x\.tar"):
        Tars(path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", b"x")], "has the members png; expected one picture"),
        ([("a.cls", b"1")], "has the members cls"),
        ([("a.png", b"x"), ("a.jpg", b"x"), ("a.cls", b"1")], "has the members cls, jpg, png"),
        ([("a.png", b"x"), ("a.cls", b"one")], "the label of '/a' cannot be read"),
        ([("a.png", b"x"), ("a.cls", b"1.5")], "cannot be read: it says b'1.5'"),
        ([("a.png", b"x"), ("a.cls", b"true")], "cannot be read"),
        ([("a.png", b"x"), ("a.json", b'{"name": "ada"}')], "cannot be read"),
        ([("a.png", b"x"), ("a.cls", b" " * 70_000)], "expected one picture"),
    ],
)
def test_members_that_are_no_photo_are_refused(tmp_path: Path, members: Members, message: str) -> None:
    with pytest.raises(ShardCorrupt, match=message):
        Tars(make(tmp_path / "x.tar", members))


def test_links_are_never_followed(tmp_path: Path, faces: InMemory) -> None:
    path = tmp_path / "x.tar"
    (tmp_path / "secret.png").write_bytes(encode(faces.pixels(0), "png"))
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.png")
        tar.addfile(link)
        label = tarfile.TarInfo("a.cls")
        label.size = 1
        tar.addfile(label, io.BytesIO(b"1"))
    with pytest.raises(ShardCorrupt, match="has the members cls"):
        Tars(path)


def test_compressed_and_missing_tars_are_refused(tmp_path: Path, faces: InMemory) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(make(tmp_path / "inner.tar", members_of(faces)), "inner")
    with pytest.raises(ShardCorrupt, match="cannot be read as a plain tar"):
        Tars(path)
    with pytest.raises(SourceUnavailable, match=r"gone\.tar"):
        open_dataset(tmp_path / "gone.tar")
    (tmp_path / "bare").mkdir()
    with pytest.raises(SourceUnavailable, match=r"holds no \.tar file"):
        Tars(tmp_path / "bare")


def test_raw_pixels_are_not_for_tars(tmp_path: Path, faces: InMemory) -> None:
    with pytest.raises(DatasetError, match="not 'raw'"):
        write_tars(faces, tmp_path, encoding="raw")
