"""The second look: landmarks become exact, and nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vultus import Detector, Faces, Recognizer
from vultus.detect import steady
from vultus.detect.steady import second_look
from vultus.image import open_photo
from vultus.types import FloatArray, UInt8Array


@pytest.fixture(scope="session")
def detector(recognizer: Recognizer) -> Detector:
    return recognizer.detector


def shifted(faces: Faces, by: float) -> Faces:
    return Faces(faces.boxes, faces.landmarks + np.float32(by), faces.scores)


@pytest.mark.parametrize("mirror", [False, True])
def test_landmarks_move_a_little_and_boxes_stay(
    mirror: bool, detector: Detector, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    for pixels in (astronaut, hopper):
        faces = detector(pixels)
        again = second_look(detector, open_photo(pixels), faces, mirror=mirror)
        moved = np.abs(again.landmarks - faces.landmarks).max()
        assert 0 < moved < 0.06 * faces.sizes[0]
        assert np.array_equal(again.boxes, faces.boxes)
        assert np.array_equal(again.scores, faces.scores)


def test_the_second_look_does_not_depend_on_the_first(detector: Detector, astronaut: UInt8Array) -> None:
    """The result is the mean of both, so that it moves by half of what the first look moves."""
    faces, photo = detector(astronaut), open_photo(astronaut)
    expected = second_look(detector, photo, faces).landmarks + np.float32(25 / 2)
    np.testing.assert_allclose(second_look(detector, photo, shifted(faces, 25)).landmarks, expected, atol=1e-3)


def test_the_mirror_option_makes_landmarks_symmetric(detector: Detector, hopper: UInt8Array) -> None:
    mirrored_pixels = np.ascontiguousarray(hopper[:, ::-1])
    faces = detector(hopper)
    order, flip, width = [1, 0, 2, 4, 3], np.array([-1, 1], np.float32), np.array([511, 0], np.float32)
    boxes = 511 - faces.boxes[:, [2, 3, 0, 1]]
    boxes[:, [1, 3]] = faces.boxes[:, [1, 3]]
    opposite = Faces(boxes, faces.landmarks[:, order] * flip + width, faces.scores)
    symmetric = second_look(detector, open_photo(mirrored_pixels), opposite, mirror=True)
    back = symmetric.landmarks[:, order] * flip + width
    both = second_look(detector, open_photo(hopper), faces, mirror=True)
    assert np.abs(back - both.landmarks).max() < 0.3
    plain = second_look(detector, open_photo(hopper), faces)
    assert np.abs(plain.landmarks - both.landmarks).max() > 0.01


@pytest.mark.parametrize("size", [30, 60, 230, 700])
def test_landmarks_do_not_depend_on_the_size_of_the_photo(size: int, detector: Detector, hopper: UInt8Array) -> None:
    """All sizes are brought to one before the second look."""
    factor = size / 212
    pixels = np.asarray(
        cv2.resize(hopper, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    )
    faces, unit = detector(hopper), np.float32(factor)
    expected = second_look(detector, open_photo(hopper), faces).landmarks
    enlarged = Faces(faces.boxes * unit, faces.landmarks * unit, faces.scores)
    found = second_look(detector, open_photo(pixels), enlarged).landmarks / unit
    assert np.abs(found - expected).max() < (0.08 if size < 60 else 0.05) * 212


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_face_at_the_border(side: str, detector: Detector, hopper: UInt8Array) -> None:
    cut = {
        "left": hopper[:, 178:],
        "top": hopper[115:],
        "right": hopper[:, :358],
        "bottom": hopper[:338],
    }[side]
    pixels = np.ascontiguousarray(cut)
    faces = detector(pixels)
    assert len(faces) == 1
    again = second_look(detector, open_photo(pixels), faces, mirror=True)
    assert np.abs(again.landmarks - faces.landmarks).max() < 0.08 * faces.sizes[0]


def test_several_faces_each_get_their_own(detector: Detector, astronaut: UInt8Array, hopper: UInt8Array) -> None:
    pixels = np.zeros((600, 1_024, 3), np.uint8)
    pixels[:512, :512], pixels[:, 512:] = astronaut, hopper
    faces, photo = detector(pixels), open_photo(pixels)
    assert len(faces) == 2
    together = second_look(detector, photo, faces)
    for i in range(2):
        alone = second_look(detector, photo, faces[i])
        assert np.abs(alone.landmarks[0] - together.landmarks[i]).max() < 0.5
    assert np.array_equal(second_look(detector, photo, faces[::-1]).boxes, faces.boxes[::-1])


def test_a_face_that_is_not_found_again_keeps_its_landmarks(detector: Detector) -> None:
    landmarks: FloatArray = np.random.default_rng(0).uniform(0, 90, (1, 5, 2)).astype(np.float32)
    face = Faces(np.array([[10, 10, 80, 90]], np.float32), landmarks, np.ones(1, np.float32))
    again = second_look(detector, open_photo(np.full((100, 100, 3), 90, np.uint8)), face, mirror=True)
    assert np.array_equal(again.landmarks, landmarks)


def test_another_face_in_the_window_is_not_taken_for_it(
    detector: Detector, astronaut: UInt8Array, astronaut_face: Faces
) -> None:
    """A box beside the face shows no face of its own, though the window around it shows one."""
    aside = np.array([100, 0, 100, 0], np.float32)
    beside = Faces(astronaut_face.boxes + aside, astronaut_face.landmarks + aside[:2], astronaut_face.scores)
    again = second_look(detector, open_photo(astronaut), beside)
    assert np.array_equal(again.landmarks, beside.landmarks)


def test_no_faces_stay_none(detector: Detector, astronaut: UInt8Array) -> None:
    assert len(second_look(detector, open_photo(astronaut), Faces.none())) == 0


def test_windows_hold_the_face_in_the_middle_at_one_size() -> None:
    boxes = np.array([[10, 20, 110, 140], [0, 0, 1_500, 1_000], [5, 5, 17, 21]], np.float32)
    faces = Faces(boxes, np.zeros((3, 5, 2), np.float32), np.ones(3, np.float32))
    for matrix, box in zip(steady._windows(faces), boxes, strict=True):
        corners = box.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
        assert np.allclose(corners.mean(axis=0), (steady.WINDOW - 1) / 2)
        assert (corners[1] - corners[0]).max() == pytest.approx(steady.FACE)
