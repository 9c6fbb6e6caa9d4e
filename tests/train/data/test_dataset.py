"""Data sets of photos: folders, drawn faces and views of them, one by one and through loaders."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from vultus.errors import (
    BadArgument,
    DatasetError,
    ImageError,
    ImageParseError,
    ShardCorrupt,
    SourceUnavailable,
    VultusError,
)
from vultus.train import data
from vultus.train.data import Augmented, DrawnFaces, Folder, InMemory, Subset, Tolerant, draw_face, open_dataset
from vultus.train.data.samplers import Batches


@pytest.fixture
def folder(tmp_path: Path, faces: InMemory) -> Path:
    """The drawn faces as PNG files."""
    data.write_faces(tmp_path / "set", identities=3, photos=4, seed=7)
    return tmp_path / "set"


def test_a_data_set_gives_photos_and_labels(faces: InMemory) -> None:
    image, label = faces[5]
    assert (image.dtype, tuple(image.shape), label) == (torch.uint8, (3, 112, 112), 1)
    assert np.array_equal(image.numpy().transpose(1, 2, 0), faces.pixels(5))
    assert faces.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert faces.labels.dtype == np.int64
    assert not faces.labels.flags.writeable
    assert torch.equal(faces[-1][0], faces[11][0])
    assert len(faces) == 12
    with pytest.raises(IndexError, match="photo 12 of 12 in drawn faces"):
        faces[12]


def test_input_is_scaled_to_one_on_both_sides() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    scaled = data.to_input(levels)
    assert scaled.dtype == torch.float32
    assert (float(scaled.min()), float(scaled.max())) == (-1, 1)
    assert torch.allclose(scaled, levels.double().sub(127.5).div(127.5).float(), atol=1e-7)
    assert levels.max() == 255


# --- drawn faces --------------------------------------------------------------------------------------------------------


def test_drawn_faces_are_the_same_every_time() -> None:
    assert np.array_equal(draw_face(3, 1, seed=2), draw_face(3, 1, seed=2))
    assert draw_face(0, 0).shape == (112, 112, 3)


def test_photos_of_an_identity_are_alike_and_others_are_not() -> None:
    dataset = DrawnFaces(6, 5)
    pixels = np.stack([dataset.pixels(i) for i in range(len(dataset))]).astype(np.float64)
    face = pixels[:, 35:95, 35:77]  # without the background, which is nobody's own
    face = face / face.mean(axis=(1, 2, 3), keepdims=True)
    flat = face.reshape(len(face), -1)
    distance = ((flat[:, None] - flat[None]) ** 2).mean(axis=2)
    same = dataset.labels[:, None] == dataset.labels[None]
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    assert (dataset.labels[nearest] == dataset.labels).mean() > 0.7  # a sixth by chance, with pixels alone
    assert np.median(distance[same & np.isfinite(distance)]) < 0.75 * np.median(distance[~same])


def test_drawn_faces_have_names() -> None:
    dataset = open_dataset("generated:4x3@9")
    assert (len(dataset), len(dataset.classes)) == (12, 4)
    assert torch.equal(dataset[4][0], DrawnFaces(4, 3, seed=9)[4][0])
    assert not torch.equal(dataset[4][0], open_dataset("generated:4x3")[4][0])
    for name in ("generated:4", "generated:axb", "generated:4x3@"):
        with pytest.raises(BadArgument, match="IDENTITIESxPHOTOS"):
            open_dataset(name)
    for name in ("generated:1x3", "generated:3x0"):
        with pytest.raises(DatasetError):
            open_dataset(name)


# --- folders ------------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_photos_in_the_order_of_names(folder: Path, faces: InMemory) -> None:
    (folder / ".hidden").mkdir()
    (folder / "notes.txt").write_text("not an identity")
    (folder / "drawn-0000" / "thumbs.db").write_bytes(b"not a photo")
    (folder / "drawn-0000" / ".photo.png").write_bytes(b"nor this")
    dataset = open_dataset(folder)
    assert isinstance(dataset, Folder)
    assert dataset.classes == ("drawn-0000", "drawn-0001", "drawn-0002")
    assert dataset.labels.tolist() == faces.labels.tolist()
    assert all(torch.equal(dataset[i][0], faces[i][0]) for i in range(12))


def test_other_formats_are_read_too(folder: Path, faces: InMemory) -> None:
    target = folder / "drawn-0001" / "0000.png"
    with Image.open(target) as picture:
        picture.save(folder / "drawn-0001" / "0000.WEBP", lossless=True)
    target.unlink()
    assert torch.equal(open_dataset(folder)[4][0], faces[4][0])


def test_photos_that_are_not_aligned_are_refused(folder: Path) -> None:
    Image.new("RGB", (160, 160)).save(folder / "drawn-0001" / "0000.png")
    with pytest.raises(DatasetError, match=r"0000\.png has 160 x 160 pixels.*vultus train prepare"):
        open_dataset(folder)[4]


@pytest.mark.parametrize(
    ("content", "error"), [(b"", ImageParseError), (b"garbage", ImageError), (None, SourceUnavailable)]
)
def test_a_damaged_photo_is_named(folder: Path, content: bytes | None, error: type[VultusError]) -> None:
    dataset = open_dataset(folder)
    photo = folder / "drawn-0001" / "0002.png"
    photo.unlink() if content is None else photo.write_bytes(content)
    with pytest.raises(error, match=r"drawn-0001/0002\.png"):
        dataset[6]


def test_folders_that_cannot_be_trained_on_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DatasetError, match="1 of 4 identities have no photo: 'empty'"):
        open_dataset(folder)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DatasetError, match="no sub-folders"):
        open_dataset(tmp_path / "bare")
    data.write_faces(tmp_path / "one", identities=2, photos=1)
    shutil.rmtree(tmp_path / "one" / "drawn-0001")
    with pytest.raises(DatasetError, match="has 1 identities"):
        open_dataset(tmp_path / "one")
    with pytest.raises(SourceUnavailable, match="nowhere"):
        open_dataset(tmp_path / "nowhere")


# --- views --------------------------------------------------------------------------------------------------------------


def test_a_subset_is_labelled_anew(faces: InMemory) -> None:
    some = Subset(faces, [2, 0])
    assert some.classes == ("drawn-0000", "drawn-0002")
    assert some.labels.tolist() == [0] * 4 + [1] * 4
    assert torch.equal(some[5][0], faces[9][0])
    with pytest.raises(DatasetError):
        Subset(faces, [1])
    for classes in ([0, 3], [0, 0, 1], [-1, 0]):
        with pytest.raises(BadArgument, match="different labels from 0 to 2"):
            Subset(faces, classes)


def test_what_is_in_memory_is_what_was_read() -> None:
    drawn = DrawnFaces(2, 3)
    held = InMemory(drawn)
    assert all(torch.equal(held[i][0], drawn[i][0]) for i in range(6))
    held.pixels(0)[:] = 0  # a copy
    assert torch.equal(held[0][0], drawn[0][0])


def test_damaged_photos_are_replaced_and_counted(folder: Path, faces: InMemory) -> None:
    for name in ("0001", "0002"):
        (folder / "drawn-0001" / f"{name}.png").write_bytes(b"garbage")
    dataset = open_dataset(folder, damaged="skip")
    assert isinstance(dataset, Tolerant)
    assert dataset.damaged.tolist() == []
    shown = [4, 7, 7, 7]
    for _ in range(2):
        for i, other in zip(range(4, 8), shown, strict=True):
            image, label = dataset[i]
            assert label == 1
            assert torch.equal(image, faces[other][0])
    assert dataset.damaged.tolist() == [5, 6]
    shutil.rmtree(folder / "drawn-0001")
    with pytest.raises(ShardCorrupt, match="every photo of 'drawn-0001' is damaged"):
        dataset[5]
    with pytest.raises(BadArgument, match="damaged is 'ignore'"):
        open_dataset(folder, damaged="ignore")  # type: ignore[arg-type]


# --- loaders ------------------------------------------------------------------------------------------------------------


def read(loader: torch.utils.data.DataLoader[tuple[torch.Tensor, int, int]]) -> list[tuple[torch.Tensor, ...]]:
    return [tuple(batch) for batch in loader]


def test_a_loader_gives_what_the_sampler_says(faces: InMemory) -> None:
    order = Batches(faces.labels, batch_size=5, last="wrap")
    order.advance()
    state = torch.get_rng_state()
    batches = read(data.loader(faces, order))
    assert torch.equal(torch.get_rng_state(), state)
    assert [numbers.tolist() for _, _, numbers in batches] == list(order)
    for images, labels, numbers in batches:
        assert (images.dtype, tuple(images.shape), labels.dtype) == (torch.uint8, (5, 3, 112, 112), torch.int64)
        assert labels.tolist() == faces.labels[numbers].tolist()
        assert torch.equal(images[2], faces[int(numbers[2])][0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_change_nothing(faces: InMemory, method: Literal["fork", "spawn"], folder: Path) -> None:
    shutil.rmtree(folder / "drawn-0002")
    (folder / "drawn-0001" / "0002.png").write_bytes(b"garbage")
    tolerant = open_dataset(folder, damaged="skip")
    assert isinstance(tolerant, Tolerant)
    changed = Augmented(tolerant, data.policy("light"), seed=3)
    order = Batches(changed.labels, batch_size=4)
    alone, helped = (
        data.loader(changed, order),
        data.loader(changed, order, workers=2 if method == "fork" else 1, ahead=1),
    )
    helped.multiprocessing_context = method
    try:
        for epoch in (0, 1):  # the same workers see the new epoch
            order.set_epoch(epoch)
            changed.set_epoch(epoch)
            for one, other in zip(read(alone), read(helped), strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    finally:
        del helped
    assert tolerant.damaged.tolist() == [6]


def test_workers_report_damage_to_the_parent(folder: Path) -> None:
    (folder / "drawn-0001" / "0002.png").write_bytes(b"garbage")
    tolerant = open_dataset(folder, damaged="skip")
    assert isinstance(tolerant, Tolerant)
    read(data.loader(tolerant, Batches(tolerant.labels, batch_size=4), workers=1))
    assert tolerant.damaged.tolist() == [6]


def test_data_sets_can_be_pickled(folder: Path, faces: InMemory) -> None:
    for dataset in (Folder(folder), faces, Subset(faces, [0, 1]), Tolerant(faces), DrawnFaces(2, 2)):
        copy = pickle.loads(pickle.dumps(dataset))
        assert copy.classes == dataset.classes
        assert torch.equal(copy[3][0], dataset[3][0])


@pytest.mark.parametrize("options", [{"workers": -1}, {"ahead": 0}])
def test_loaders_that_cannot_be_are_refused(faces: InMemory, options: dict[str, int]) -> None:
    with pytest.raises(BadArgument):
        data.loader(faces, Batches(faces.labels, batch_size=4), **options)
