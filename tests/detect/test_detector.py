"""Faces in real photos: of every size, turned, mirrored, many at once, and none."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from vultus import Detector, Faces, Recognizer, load_manifest
from vultus.errors import BadArgument, ImageParseError, ManifestError, WeightsMissing
from vultus.geometry import box_iou
from vultus.image import open_photo
from vultus.types import UInt8Array
from vultus.weights import find_weights

ASTRONAUT = np.array([[178, 63, 268, 176]], np.float32)
HOPPER = np.array([[183, 120, 353, 332]], np.float32)


@pytest.fixture(scope="session")
def detector(recognizer: Recognizer) -> Detector:
    return recognizer.detector


def scaled(pixels: UInt8Array, factor: float) -> UInt8Array:
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))


def overlap(faces: Faces, box: np.ndarray) -> float:
    return float(box_iou(faces.boxes, box.astype(np.float32)).max(initial=0))


def same(one: Faces, other: Faces, *, tolerance: float = 0.0) -> bool:
    return len(one) == len(other) and all(
        np.abs(getattr(one, k) - getattr(other, k)).max(initial=0) <= tolerance
        for k in ("boxes", "landmarks", "scores")
    )


# --- portraits --------------------------------------------------------------------------------------------------------


def test_the_portraits_show_one_face_each(detector: Detector, astronaut: UInt8Array, hopper: UInt8Array) -> None:
    for photo, box in ((astronaut, ASTRONAUT), (hopper, HOPPER)):
        faces = detector(photo)
        assert len(faces) == 1
        assert overlap(faces, box) > 0.8
        assert faces.scores[0] > 0.8
        right_eye, left_eye, nose, right_mouth, left_mouth = faces.landmarks[0]
        assert right_eye[0] < nose[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("face", [400, 770, 1_200, 2_000])
def test_a_face_that_fills_the_photo_is_found(face: int, detector: Detector, astronaut: UInt8Array) -> None:
    x0, y0, x1, y1 = 148, 45, 298, 195
    factor = face / 113
    photo = scaled(np.ascontiguousarray(astronaut[y0:y1, x0:x1]), factor)
    expected = (ASTRONAUT - [x0, y0, x0, y0]) * factor
    for min_face in (16, face / 4):
        faces = detector(photo, min_face=min_face)
        assert overlap(faces[0], expected) > 0.7
        assert len(faces) == 1


@pytest.mark.parametrize("side", [640, 2_000])
def test_a_photo_that_is_all_face_is_looked_at_small(side: int, detector: Detector, hopper: UInt8Array) -> None:
    """At 640 pixels the detector is unsure of it (0.7), at 256 it is sure."""
    photo = scaled(np.ascontiguousarray(hopper[120:332, 183:353]), side / 212)
    (face,) = detector(photo, min_face=side / 4)
    assert face.scores[0] > 0.9


def test_a_face_of_2000_pixels_in_a_larger_photo_is_found(detector: Detector, astronaut: UInt8Array) -> None:
    factor = 2_000 / 113
    photo = scaled(np.ascontiguousarray(astronaut[20:260, 90:330]), factor)
    faces = detector(photo, min_face=200)
    assert overlap(faces, (ASTRONAUT - [90, 20, 90, 20]) * factor) > 0.7


@pytest.mark.parametrize("face", [16, 18, 20, 24, 40])
def test_a_small_face_is_found_by_the_default_call(face: int, detector: Detector, astronaut: UInt8Array) -> None:
    factor = (face + 0.5) / 113
    faces = detector(scaled(astronaut, factor))
    assert len(faces) == 1
    assert overlap(faces, ASTRONAUT * factor) > 0.5


def test_small_faces_are_found_anywhere_in_a_large_photo(detector: Detector, astronaut: UInt8Array) -> None:
    """Also where the tiles of the fine search meet."""
    small = scaled(astronaut, 24 / 113)
    side = len(small)
    photo = np.full((1_400, 1_900, 3), 128, np.uint8)
    places = [(x, y) for y in range(3, 1_400 - side, 173) for x in range(5, 1_900 - side, 181)]
    assert len(places) >= 80
    for x, y in places:
        photo[y : y + side, x : x + side] = small
    faces = detector(photo)
    factor = 24 / 113
    found = [overlap(faces, ASTRONAUT * factor + [x, y, x, y]) > 0.4 for x, y in places]
    assert np.mean(found) >= 0.95
    assert len(faces) <= len(places) * 1.03  # none twice


# --- options ----------------------------------------------------------------------------------------------------------


def test_min_face_drops_smaller_faces(detector: Detector, astronaut: UInt8Array) -> None:
    assert len(detector(astronaut, min_face=100)) == 1
    assert len(detector(astronaut, min_face=130)) == 0
    assert len(detector(scaled(astronaut, 24 / 113), min_face=40)) == 0


@pytest.mark.parametrize("min_face", [0, 0.5, -1, float("nan")])
def test_min_face_is_a_pixel_or_more(min_face: float, detector: Detector, astronaut: UInt8Array) -> None:
    with pytest.raises(BadArgument, match="min_face is"):
        detector(astronaut, min_face=min_face)


def test_score_drops_less_certain_faces(detector: Detector, astronaut: UInt8Array) -> None:
    certain = float(detector(astronaut).scores[0])
    assert len(detector(astronaut, score=certain - 0.01)) == 1
    assert len(detector(astronaut, score=min(1.0, certain + 0.01))) == 0
    assert len(detector(astronaut, score=0.05)) >= 1


@pytest.mark.parametrize("score", [0, -0.1, 1.1, float("nan")])
def test_score_lies_between_0_and_1(score: float, detector: Detector, astronaut: UInt8Array) -> None:
    with pytest.raises(BadArgument, match="score is"):
        detector(astronaut, score=score)


# --- laws -------------------------------------------------------------------------------------------------------------


def test_a_mirrored_photo_gives_the_mirrored_face(detector: Detector, hopper: UInt8Array) -> None:
    (plain,), (mirrored,) = detector(hopper), detector(np.ascontiguousarray(hopper[:, ::-1]))
    assert overlap(mirrored, 511 - plain.boxes[:, [2, 1, 0, 3]] * [1, -1, 1, -1] - [0, 511, 0, 511]) > 0.85
    back = mirrored.landmarks[0, [1, 0, 2, 4, 3]] * [-1, 1] + [511, 0]
    assert np.abs(back - plain.landmarks[0]).max() < 0.05 * plain.sizes[0]


@pytest.mark.parametrize("angle", [-30, -15, 15, 30])
def test_a_tilted_face_is_found_with_tilted_landmarks(angle: int, detector: Detector, hopper: UInt8Array) -> None:
    turn = cv2.getRotationMatrix2D((268, 226), angle, 1.0)
    (face,) = detector(cv2.warpAffine(hopper, turn, (512, 600), borderMode=cv2.BORDER_REFLECT_101))
    expected = detector(hopper).landmarks[0] @ turn[:, :2].T + turn[:, 2]
    assert np.abs(face.landmarks[0] - expected).max() < 0.12 * face.sizes[0]


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_blank_photo_shows_no_face(shade: int, detector: Detector) -> None:
    faces = detector(np.full((300, 400, 3), shade, np.uint8))
    assert len(faces) == 0
    assert faces.boxes.shape == (0, 4)
    assert faces.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (700, 1), (5, 3_000), (31, 33)])
def test_photos_of_odd_sizes(size: tuple[int, int], detector: Detector) -> None:
    assert len(detector(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8), score=0.9)) == 0


def test_faces_come_best_first_and_within_the_photo(
    detector: Detector, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    photo = np.zeros((600, 1_024, 3), np.uint8)
    photo[:512, :512], photo[:, 512:] = astronaut, hopper
    cut = photo[80:, 190:]  # through a face
    for pixels in (photo, np.ascontiguousarray(cut)):
        faces = detector(pixels)
        assert len(faces) == 2
        assert (np.diff(faces.scores) <= 0).all()
        assert (faces.boxes >= 0).all()
        assert (faces.boxes[:, [0, 2]] <= pixels.shape[1]).all()
        assert (faces.boxes[:, [1, 3]] <= pixels.shape[0]).all()


def test_many_photos_give_what_each_gives(detector: Detector, astronaut: UInt8Array, hopper: UInt8Array) -> None:
    photos = [astronaut, hopper, scaled(astronaut, 0.2), np.zeros((40, 50, 3), np.uint8), hopper, scaled(hopper, 1.7)]
    together = detector.many(photos)
    assert len(together) == 6
    for faces, photo in zip(together, photos, strict=True):
        assert same(faces, detector(photo), tolerance=1e-2)
    assert detector.many([]) == []


def test_options_reach_every_photo_of_many(detector: Detector, astronaut: UInt8Array, hopper: UInt8Array) -> None:
    assert [len(f) for f in detector.many([astronaut, hopper], min_face=150)] == [0, 1]
    assert [len(f) for f in detector.many([astronaut, hopper], score=1.0)] == [0, 0]


def test_every_source_gives_the_same_faces(detector: Detector, astronaut: UInt8Array) -> None:
    encoded = io.BytesIO()
    Image.fromarray(astronaut).save(encoded, "PNG")
    expected = detector(astronaut)
    for source in (encoded.getvalue(), Image.fromarray(astronaut), open_photo(astronaut)):
        assert same(detector(source), expected)


def test_detection_is_the_same_every_time(detector: Detector, hopper: UInt8Array) -> None:
    before = hopper.copy()
    assert same(detector(hopper), detector(hopper))
    assert np.array_equal(hopper, before)


def test_one_damaged_photo_of_many_is_an_error(detector: Detector, astronaut: UInt8Array) -> None:
    with pytest.raises(ImageParseError):
        detector.many([astronaut, b"garbage"])


def test_an_embedder_is_no_detector() -> None:
    with pytest.raises(ManifestError, match="'sface-2021dec' is no detector"):
        Detector("sface-2021dec")


def test_the_id_names_the_weights(detector: Detector) -> None:
    assert detector.id == f"yunet-2023mar@{detector.manifest.sha256[:12]}"


# --- a second detector ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def second_detector() -> Detector:
    try:
        find_weights(load_manifest("centerface"))
    except WeightsMissing as problem:
        pytest.skip(f"the weights of CenterFace are not here: {problem}")
    return Detector("centerface", threads=1)


def test_two_detectors_agree(
    second_detector: Detector, detector: Detector, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    for photo in (astronaut, hopper):
        (one,), (other,) = detector(photo), second_detector(photo)
        assert box_iou(one.boxes, other.boxes)[0, 0] > 0.5
        assert np.abs(one.landmarks - other.landmarks).max() < 0.15 * one.sizes[0]
