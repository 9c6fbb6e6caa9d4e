"""Embeddings: unit rows, the mirror option, and the same numbers as OpenCV gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus import Embedder, Faces, Recognizer
from vultus.embed import unit_rows
from vultus.errors import BadArgument, BadTemplate, ManifestError
from vultus.types import FloatArray, UInt8Array

# Made once with OpenCV 4.14.0, which reads the same weights (OpenCV 5 refuses them), from an aligned 112 x 112 RGB crop of
# scikit-image's astronaut that is stored beside the answer:
#   sface = cv2.FaceRecognizerSF.create("face_recognition_sface_2021dec_int8bq.onnx", "")
#   feature = sface.feature(np.ascontiguousarray(crop[:, :, ::-1]))[0]
#   np.savez_compressed("sface_opencv_4_14.npz", crop=crop, feature=feature)
GOLDEN = Path(__file__).parent / "golden" / "sface_opencv_4_14.npz"


@pytest.fixture(scope="session")
def embedder(recognizer: Recognizer) -> Embedder:
    return recognizer.embedder


@pytest.fixture(scope="session")
def crops(recognizer: Recognizer, astronaut: UInt8Array, astronaut_face: Faces) -> UInt8Array:
    """(3, 112, 112, 3): the face, half as bright, and turned upside down."""
    (crop,) = recognizer.align(astronaut, astronaut_face)
    return np.stack([crop, crop // 2, crop[::-1]])


def test_embeddings_equal_those_of_opencv(embedder: Embedder) -> None:
    with np.load(GOLDEN) as golden:
        crop, feature = golden["crop"], golden["feature"].astype(np.float64)
    (row,) = embedder(crop[None])
    assert row @ feature / np.linalg.norm(feature) >= 0.9999
    swapped = embedder(crop[None, :, :, ::-1].copy())[0]
    assert swapped @ feature / np.linalg.norm(feature) < 0.99  # the channel order counts


@pytest.mark.parametrize("mirror", [False, True])
def test_rows_are_unit_float32_of_the_stated_dimension(embedder: Embedder, crops: UInt8Array, mirror: bool) -> None:
    rows = embedder(crops, mirror=mirror)
    assert rows.shape == (3, 128)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_a_batch_gives_what_single_crops_give(embedder: Embedder, crops: UInt8Array) -> None:
    batch = np.concatenate([crops] * 7)  # more than one call of the runtime
    single = np.concatenate([embedder(crop[None]) for crop in crops])
    assert np.allclose(embedder(batch), np.tile(single, (7, 1)), atol=1e-5)


def test_the_mirror_option_acts_and_is_symmetric(embedder: Embedder, crops: UInt8Array) -> None:
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    plain, both = embedder(crops), embedder(crops, mirror=True)
    assert np.allclose(both, embedder(mirrored, mirror=True), atol=1e-5)
    assert not np.allclose(plain, embedder(mirrored), atol=1e-3)
    assert np.allclose(both, unit_rows(plain + embedder(mirrored)), atol=1e-5)


def test_an_empty_batch_gives_no_rows(embedder: Embedder) -> None:
    for mirror in (False, True):
        assert embedder(np.zeros((0, 112, 112, 3), np.uint8), mirror=mirror).shape == (0, 128)


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        (np.zeros((1, 112, 112, 3), np.float32), r"float32 of shape .*; expected uint8 \(n, 112, 112, 3\) in RGB"),
        (np.zeros((112, 112, 3), np.uint8), r"shape \(112, 112, 3\)"),
        (np.zeros((1, 96, 112, 3), np.uint8), r"shape \(1, 96, 112, 3\)"),
        (np.zeros((1, 3, 112, 112), np.uint8), r"shape \(1, 3, 112, 112\)"),
        (np.zeros((1, 112, 112, 4), np.uint8), r"shape \(1, 112, 112, 4\)"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
    ],
)
def test_other_crops_are_refused(embedder: Embedder, crops: UInt8Array, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        embedder(crops)


def test_crops_are_not_written_to(embedder: Embedder, crops: UInt8Array) -> None:
    given = crops.copy()
    given.flags.writeable = False
    embedder(given, mirror=True)
    assert np.array_equal(given, crops)


def test_a_detector_is_no_embedder() -> None:
    with pytest.raises(ManifestError, match="'yunet-2023mar' is no embedder"):
        Embedder("yunet-2023mar")


def test_the_id_names_the_weights(embedder: Embedder) -> None:
    assert embedder.id == f"sface-2021dec@{embedder.manifest.sha256[:12]}"


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_rows_without_direction_are_refused(row: list[float]) -> None:
    rows: FloatArray = np.array([[3.0, 4.0], row], np.float32)
    with pytest.raises(BadTemplate, match="not finite or has no length"):
        unit_rows(rows)


def test_unit_rows_keep_the_direction() -> None:
    assert unit_rows(np.array([[3.0, 4.0], [0, -1e-9]], np.float32)).tolist() == [pytest.approx([0.6, 0.8]), [0, -1]]
