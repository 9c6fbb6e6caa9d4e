"""Frontalisation: a turned portrait comes back towards itself, and what is not turned keeps its crop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vultus import Recognizer, face3d
from vultus.align import align
from vultus.errors import BadArgument
from vultus.image import Photo, open_photo
from vultus.restore import Frontal
from vultus.types import Faces, UInt8Array


def seen_from(portrait: UInt8Array, face: Faces, degrees: float) -> tuple[Photo, Faces, UInt8Array]:
    """The portrait with its head turned, where its landmarks come to lie, and its crop."""
    pose = face3d.fit(face.landmarks[0])
    other = pose.turned(yaw=math.radians(degrees))
    mean = face3d.mean_face().landmarks
    landmarks = face.landmarks[0] + other.project(mean) - pose.project(mean)
    photo = open_photo(face3d.view(portrait, pose, other, border="reflect").pixels)
    turned = Faces(face.boxes, landmarks[None].astype(np.float32), face.scores)
    return photo, turned, align(photo, turned)


def distance(a: UInt8Array, b: UInt8Array) -> float:
    """Mean difference of the face's middle."""
    return float(np.abs(a[30:100, 28:84].astype(float) - b[30:100, 28:84]).mean())


@pytest.mark.parametrize("degrees", [-35, 35])
def test_a_turned_face_comes_back_towards_the_untouched_one(
    astronaut: UInt8Array, astronaut_face: Faces, recognizer: Recognizer, degrees: float
) -> None:
    plain = align(astronaut, astronaut_face)
    photo, faces, crops = seen_from(astronaut, astronaut_face, degrees)
    before = crops.copy()
    made = Frontal()(photo, faces, crops)
    np.testing.assert_array_equal(crops, before)
    assert made.shape == crops.shape
    assert distance(made[0], plain[0]) < 0.8 * distance(crops[0], plain[0])
    rows = recognizer.embed(np.concatenate([plain, crops, made]))
    assert rows[2] @ rows[0] > rows[1] @ rows[0]


def test_a_face_that_looks_ahead_or_far_away_keeps_its_crop(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    photo, faces, crops = seen_from(astronaut, astronaut_face, 0)
    assert Frontal()(photo, faces, crops) is crops
    photo, faces, crops = seen_from(astronaut, astronaut_face, 35)
    assert Frontal(to_yaw=math.radians(25))(photo, faces, crops) is crops
    assert Frontal(from_yaw=math.radians(50))(photo, faces, crops) is crops


def test_only_the_turned_faces_of_a_photo_are_changed(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    photo, turned, _ = seen_from(astronaut, astronaut_face, 35)
    both = Faces(
        np.concatenate([turned.boxes, turned.boxes]),
        np.concatenate([astronaut_face.landmarks, turned.landmarks]),
        np.ones(2, np.float32),
    )
    crops = align(photo, both)
    made = Frontal()(photo, both, crops)
    np.testing.assert_array_equal(made[0], crops[0])
    assert not np.array_equal(made[1], crops[1])


def test_symmetry_and_share_act_and_stand_in_the_name(astronaut: UInt8Array, astronaut_face: Faces) -> None:
    photo, faces, crops = seen_from(astronaut, astronaut_face, 35)
    made = {way.name: way(photo, faces, crops) for way in (Frontal(), Frontal(symmetry=0), Frontal(share=0.5))}
    assert list(made) == ["frontal/1/20-60/1/1", "frontal/1/20-60/0/1", "frontal/1/20-60/1/0.5"]
    whole, plain, half = made.values()
    assert not np.array_equal(whole, plain)
    middle = align(astronaut, astronaut_face)[0]
    assert distance(whole[0], middle) < distance(half[0], middle) < distance(crops[0], middle)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"from_yaw": -0.1}, "from_yaw is"),
        ({"from_yaw": 0.5, "to_yaw": 0.4}, "to_yaw is"),
        ({"symmetry": 1.5}, "symmetry is"),
        ({"share": float("nan")}, "share is nan"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        Frontal(**options)
