"""Alignment brings landmarks to where the template has them."""

from __future__ import annotations

import io
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vultus import Faces, Photo
from vultus.align import TEMPLATES, align
from vultus.errors import BadArgument, ImageParseError
from vultus.geometry import apply_affine
from vultus.image import open_photo
from vultus.types import Float64Array, UInt8Array

TEMPLATE = TEMPLATES["arcface-112"]


def placed(angle: float, scale: float, shift: tuple[float, float]) -> Float64Array:
    """Where the template's landmarks come to lie in a photo."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return apply_affine(np.array([[c, -s, shift[0]], [s, c, shift[1]]]), TEMPLATE - TEMPLATE.mean(axis=0))


def faces_at(*landmarks: Float64Array) -> Faces:
    points = np.stack(landmarks).astype(np.float32)
    return Faces(
        np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1), points, np.ones(len(points), np.float32)
    )


def drawn(landmarks: Float64Array, *, radius: float, size: tuple[int, int] = (480, 640)) -> UInt8Array:
    """A photo with a soft white dot at each landmark."""
    y, x = np.arange(size[0])[:, None], np.arange(size[1])
    photo = np.zeros(size)
    for px, py in landmarks:
        photo += np.exp(-((y - py) ** 2) / (2 * radius**2)) * np.exp(-((x - px) ** 2) / (2 * radius**2))
    return np.repeat((np.minimum(photo, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def offsets(crop: UInt8Array) -> Float64Array:
    """(5, 2) how far the middle of each dot is from where the template has it, in units of the template."""
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    zoom = crop.shape[0] / 112
    found = []
    for px, py in TEMPLATE * zoom:
        weight = crop[..., 0].astype(float) ** 2 * (np.hypot(x - px, y - py) < 10 * zoom)
        found.append([(weight * (x - px)).sum(), (weight * (y - py)).sum()] / weight.sum() / zoom)
    return np.array(found)


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(0.5, 6), st.tuples(st.floats(310, 330), st.floats(230, 250)))
def test_landmarks_come_to_the_template(angle: float, scale: float, shift: tuple[float, float]) -> None:
    landmarks = placed(angle, scale, shift)
    crops = align(drawn(landmarks, radius=2.5 * scale), faces_at(landmarks))
    assert crops.shape == (1, 112, 112, 3)
    assert crops.dtype == np.uint8
    assert np.abs(offsets(crops[0])).max() < 0.5


@pytest.mark.parametrize("divisor", [1, 2, 4, 8])
def test_a_reduced_decode_does_not_move_the_crop(divisor: int) -> None:
    landmarks = placed(0.2, 1.4 * divisor, (1100, 900))
    photo = drawn(landmarks, radius=3 * divisor, size=(1800, 2200))
    encoded = io.BytesIO()
    Image.fromarray(photo).save(encoded, "JPEG", quality=95, subsampling=0)
    opened = open_photo(encoded.getvalue())
    crops = align(opened, faces_at(landmarks))
    assert np.abs(offsets(crops[0])).max() < 0.15
    assert _was_reduced(opened) == (divisor > 1)


def _was_reduced(photo: Photo) -> bool:
    return photo._pixels is None


def test_the_size_option_scales_the_template() -> None:
    landmarks = placed(0.4, 2, (320, 240))
    photo = drawn(landmarks, radius=6)
    for side in (56, 224):
        (crop,) = align(photo, faces_at(landmarks), size=(side, side))
        assert crop.shape == (side, side, 3)
        assert np.abs(offsets(crop)).max() < 0.5


def test_faces_are_cut_in_their_order() -> None:
    one, other = placed(0.0, 0.8, (150, 200)), placed(1.0, 1.1, (450, 240))
    photo = np.maximum(drawn(one, radius=3), drawn(other, radius=3))
    both = align(photo, faces_at(one, other))
    assert np.array_equal(both, np.concatenate([align(photo, faces_at(one)), align(photo, faces_at(other))]))
    assert not np.array_equal(both[0], both[1])


def test_a_plain_crop_is_cut_as_opencv_cuts_it(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    (crop,) = align(astronaut, astronaut_face)
    exact = cv2.warpAffine(astronaut, _least_squares(astronaut_face.landmarks[0]), (112, 112))
    assert np.abs(crop.astype(int) - exact).max() <= 2


def _least_squares(landmarks: np.ndarray) -> Float64Array:
    """The similarity of least squares from its normal equations."""
    rows = []
    for x, y in landmarks.astype(np.float64):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), TEMPLATE.reshape(-1), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])


def test_outside_of_the_photo_is_black() -> None:
    landmarks = placed(0, 1, (0, 0))
    (crop,) = align(np.full((200, 200, 3), 255, np.uint8), faces_at(landmarks))
    assert crop[0, 0].tolist() == [0, 0, 0]
    assert crop[-1, -1].tolist() == [255, 255, 255]


def test_no_faces_give_no_crops() -> None:
    assert align(np.zeros((9, 9, 3), np.uint8), Faces.none()).shape == (0, 112, 112, 3)
    assert align(np.zeros((9, 9, 3), np.uint8), Faces.none(), size=(5, 7)).shape == (0, 5, 7, 3)


def test_unknown_templates_and_degenerate_landmarks_are_refused(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    with pytest.raises(BadArgument, match="'arcface-113'; expected one of arcface-112"):
        align(astronaut, astronaut_face, template="arcface-113")
    with pytest.raises(BadArgument, match="coincide"):
        align(astronaut, faces_at(np.full((5, 2), 7.0)))


def test_a_damaged_photo_is_a_typed_error(astronaut_face: Faces) -> None:
    with pytest.raises(ImageParseError):
        align(b"", astronaut_face)


def test_the_template_is_a_face() -> None:
    """Right eye left of the left eye, nose between and below, mouth below that, corners in the same order."""
    (right_eye, left_eye, nose, right_mouth, left_mouth) = TEMPLATE
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    for upper, lower in pairwise([right_eye[1], nose[1], right_mouth[1]]):
        assert upper < lower


def test_a_margin_shows_more_around_the_same_crop(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    plain, wide = align(astronaut, astronaut_face), align(astronaut, astronaut_face, margin=0.25)
    assert wide.shape == (1, 168, 168, 3)
    np.testing.assert_allclose(wide[:, 28:140, 28:140].astype(int), plain, atol=1)
    assert align(astronaut, Faces.none(), margin=0.5).shape == (0, 224, 224, 3)
    with pytest.raises(BadArgument, match="margin is -1"):
        align(astronaut, astronaut_face, margin=-1)
