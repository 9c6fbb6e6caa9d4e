"""Moves: landmarks and boxes go where drawn marks are seen to go, and pixels are what they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.augment.conftest import BOX, POINTS, centre_of, dotted, found_after, wrong

from vultus.augment import Views, crop, mirror, move, rescale, rotate, shift
from vultus.errors import BadArgument
from vultus.types import FloatArray, UInt8Array

SWAPPED = [1, 0, 2, 4, 3]
MOVES: dict[str, Callable[[Views], Views]] = {
    "mirror": mirror,
    "rotate": lambda v: rotate(v, 0.4),
    "rotate back": lambda v: rotate(v, -0.7, border="black"),
    "larger": lambda v: rescale(v, 1.3),
    "smaller": lambda v: rescale(v, 0.7),
    "much smaller": lambda v: rescale(v, 0.4, border="black"),
    "shift": lambda v: shift(v, 13.6, -9.2),
    "shift whole": lambda v: shift(v, -17, 8),
    "crop": lambda v: crop(v, [60.5, 30.5, 240.5, 230.5]),
    "crop parts": lambda v: crop(v, [61.2, 30.9, 241.4, 229.7]),
    "crop smaller": lambda v: crop(v, [60.5, 30.5, 240.5, 230.5], size=(120, 90)),
    "crop beyond": lambda v: crop(v, [-20.5, 30.5, 240.5, 330.5]),
    "any": lambda v: move(v, [[1.1, 0.3, -40], [-0.2, 0.9, 33]], size=(320, 280)),
}


@pytest.mark.parametrize("name", MOVES)
def test_landmarks_go_where_marks_are_seen(name: str) -> None:
    change = MOVES[name]
    # Landmarks hold still, so that a turn is about the same point for every mark.
    seen = found_after(lambda picture: change(Views(picture, POINTS)).images, POINTS)
    said = change(Views(np.zeros((300, 260, 3), dtype=np.uint8), POINTS)).landmarks
    assert said is not None
    if name == "mirror":
        seen = seen[SWAPPED]
    assert np.abs(seen - said).max() < 0.35
    assert np.abs(seen - POINTS).max() > 3


@pytest.mark.parametrize("name", MOVES)
def test_boxes_hold_the_ellipse_that_they_held(name: str) -> None:
    change = MOVES[name]
    picture = np.zeros((300, 260, 3), dtype=np.uint8)
    centre, half = (BOX[:2] + BOX[2:]) / 2, (BOX[2:] - BOX[:2]) / 2
    cv2.ellipse(
        picture,
        tuple(np.rint(centre * 16).astype(int).tolist()),
        tuple(np.rint(half * 16).astype(int).tolist()),
        0, 0, 360, (255, 255, 255), -1, cv2.LINE_AA, 4,
    )  # fmt: skip
    moved = change(Views(picture, POINTS, BOX))
    rows, columns = np.nonzero(moved.images[..., 0] > 127)
    seen = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    assert moved.boxes is not None
    height, width = moved.size
    said = np.clip(moved.boxes, 0, [width - 1, height - 1] * 2)
    assert np.abs(seen - said).max() <= 1


@pytest.mark.parametrize("name", MOVES)
def test_a_batch_is_moved_as_its_pictures_are(name: str, face: UInt8Array, points: FloatArray) -> None:
    batch = np.stack([face, face[::-1], face[:, ::-1]])
    landmarks = np.stack([points, points + 3, points * 0.9])
    moved = MOVES[name](Views(batch, landmarks, BOX))
    for i in range(3):
        one = MOVES[name](Views(batch[i], landmarks[i], BOX))
        assert np.array_equal(moved.images[i], one.images)
        for of_batch, alone in ((moved.landmarks, one.landmarks), (moved.boxes, one.boxes)):
            assert np.abs(np.asarray(of_batch)[i] - np.asarray(alone)).max() < 1e-3


def test_mirror_is_its_own_inverse(face: UInt8Array, points: FloatArray) -> None:
    once = mirror(Views(face, points, BOX))
    assert np.array_equal(once.images, face[:, ::-1])
    assert once.landmarks is not None
    assert once.landmarks[0, 0] < once.landmarks[1, 0]  # the right eye stays on the left of the picture
    twice = mirror(once)
    assert np.array_equal(twice.images, face)
    assert np.abs(np.asarray(twice.landmarks) - points).max() < 1e-4
    assert np.abs(np.asarray(twice.boxes) - BOX).max() < 1e-4


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(0.5, 2), st.floats(-30, 30), st.floats(-30, 30))
def test_points_come_back(angle: float, factor: float, x: float, y: float) -> None:
    views = Views(np.zeros((60, 50, 3), dtype=np.uint8), POINTS)
    there = shift(rescale(rotate(views, angle), factor), x, y)
    back = rotate(rescale(shift(there, -x, -y), 1 / factor), -angle)
    assert np.abs(np.asarray(back.landmarks) - POINTS).max() < 2e-2


def test_a_shift_by_whole_pixels_copies_them(face: UInt8Array) -> None:
    moved = shift(Views(face), 20, -11).images
    assert np.array_equal(moved[:289, 20:], face[11:, :240])
    warped = cv2.warpAffine(
        face,
        np.array([[1, 0, 20.0], [0, 1, -11.0]]),
        (260, 300),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    assert np.array_equal(moved, warped)


def test_a_crop_of_whole_pixels_is_what_is_cut_out(face: UInt8Array) -> None:
    assert np.array_equal(crop(Views(face), [9.5, 19.5, 109.5, 139.5], size=(120, 100)).images, face[20:140, 10:110])
    exact = crop(Views(face), [9.5, 19.5, 109.5, 139.5], size=(180, 150)).images
    parts = crop(Views(face), [9.5001, 19.5001, 109.5, 139.5], size=(180, 150)).images
    assert np.abs(exact.astype(int) - parts)[2:-2, 2:-2].max() <= 3


@pytest.mark.parametrize(
    ("border", "code"), [("reflect", cv2.BORDER_REFLECT_101), ("edge", cv2.BORDER_REPLICATE), ("black", 0)]
)
def test_borders_show_what_they_say(border: Any, code: int, face: UInt8Array) -> None:
    expected = cv2.copyMakeBorder(face, 0, 0, 30, 0, code)[:, :260]
    assert np.array_equal(shift(Views(face), 30, 0, border=border).images, expected)
    beyond = crop(Views(face), [-30.5, -0.5, 229.5, 299.5], border=border).images
    assert np.array_equal(beyond, expected)
    for change in (rotate(Views(face), 0.5, border=border), rescale(Views(face), 0.5, border=border)):
        assert (change.images[0, 0] == 0).all() == (border == "black")


def test_small_pictures_are_not_jagged() -> None:
    stripes = np.zeros((240, 240, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = rescale(Views(stripes), 0.25).images[100:140, 100:140]
    assert small.astype(float).std() < 30


def test_without_landmarks_the_middle_of_the_picture_stays() -> None:
    (dot,) = dotted(np.array([[129.5, 149.5]], dtype=np.float32))
    for turned in (rotate(Views(dot), 1.0), rescale(Views(dot), 1.4)):
        assert centre_of(turned.images) == pytest.approx((129.5, 149.5), abs=0.05)


def test_what_came_is_not_written_to(face: UInt8Array, points: FloatArray) -> None:
    before, kept = face.copy(), points.copy()
    for change in MOVES.values():
        change(Views(face, points, BOX))
    assert np.array_equal(face, before)
    assert np.array_equal(points, kept)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v: rotate(v, float("nan")), "angle is nan"),
        (lambda v: rotate(v, 0.1, border=wrong("wrap")), "no border 'wrap'"),
        (lambda v: rescale(v, 0), "factor is 0"),
        (lambda v: shift(v, float("inf"), 0), "x is inf"),
        (lambda v: shift(v, wrong("1"), 0), "x is '1'"),
        (lambda v: crop(v, [3, 3, 3, 9]), "no area"),
        (lambda v: crop(v, [1, 2, 3]), "the window has shape"),
        (lambda v: move(v, np.zeros((2, 3))), "to a line"),
        (lambda v: move(v, np.eye(3)), "matrices have shape"),
        (lambda v: move(v, wrong([[1, 0, float("nan")], [0, 1, 0]])), "finite"),
        (lambda v: move(v, [[1, 0, 0], [0, 1, 0]], size=(0, 5)), "size is"),
        (lambda v: Views(v.images.astype(float)), "dtype float64"),
        (lambda v: Views(v.images[..., :2]), "shape"),
        (lambda v: Views(v.images[:0]), "no pixels"),
        (lambda v: Views(v.images, wrong(np.zeros((4, 2)))), "landmarks have shape"),
        (lambda v: Views(v.images, wrong(np.full((5, 2), np.inf))), "NaN or infinity"),
        (lambda v: Views(v.images, None, wrong(np.zeros(3))), "boxes have shape"),
        (lambda v: Views(v.images, wrong([["a", 1]] * 5)), "no array of numbers"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[Views], object], message: str, face: UInt8Array) -> None:
    with pytest.raises(BadArgument, match=message):
        make(Views(face))
