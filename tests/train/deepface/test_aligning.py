"""Faces turned to the front: from photos, from crops that are aligned already, and as a data set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vultus import Detector, Faces, Recognizer, face3d
from vultus.align import align
from vultus.errors import BadArgument
from vultus.train import data
from vultus.train.deepface import Aligned3D, align3d, recut
from vultus.types import UInt8Array


@pytest.fixture(scope="module")
def detector(cache: object) -> Detector:
    return Detector(threads=1)


def turned(astronaut: UInt8Array, face: Faces, degrees: float) -> tuple[UInt8Array, Faces]:
    """The portrait from the side, and the landmarks that the pose gives it."""
    pose = face3d.fit(face.landmarks[0])
    away = face3d.view(astronaut, pose, pose.turned(yaw=math.radians(degrees)), border="reflect")
    change = away.pose.project(face3d.mean_face().landmarks) - pose.project(face3d.mean_face().landmarks)
    return away.pixels, Faces(face.boxes, (face.landmarks + change).astype(np.float32), face.scores)


def test_a_photo_gives_frontal_crops(astronaut: UInt8Array, astronaut_face: Faces, detector: Detector) -> None:
    side, face = turned(astronaut, astronaut_face, 35)
    crops = align3d(side, face)
    assert crops.shape == (1, 152, 152, 3)
    assert crops.dtype == np.uint8
    plain = align(side, face, size=(152, 152))
    found = [detector(np.pad(c[0], ((60, 60), (60, 60), (0, 0)))) for c in (crops, plain)]
    yaws = [abs(math.degrees(face3d.fit(f.landmarks[0]).yaw)) for f in found]
    assert yaws[0] < 10 < 20 < yaws[1]
    assert (align3d(side, face, symmetry=0.0) != crops).any()
    assert align3d(side, Faces.none(), size=(30, 40)).shape == (0, 30, 40, 3)


def test_an_aligned_crop_is_turned_anew(
    astronaut: UInt8Array, astronaut_face: Faces, detector: Detector, recognizer: Recognizer
) -> None:
    side, face = turned(astronaut, astronaut_face, 30)
    before = align(side, face)[0]
    after = recut(before, detector)
    known = recognizer.embed(align(astronaut, astronaut_face))[0]
    scores = recognizer.embed(np.stack([before, after])) @ known
    assert scores[1] > 0.6
    pads = [np.pad(c, ((56, 56), (56, 56), (0, 0))) for c in (before, after)]
    yaws = [abs(face3d.fit(detector(p).landmarks[0]).yaw) for p in pads]
    assert yaws[1] < 0.7 * yaws[0]
    assert (recut(before, detector, symmetry=0.0) != after).any()


def test_where_no_face_is_found_the_crop_stays(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(recut(noise, detector), noise)
    with pytest.raises(BadArgument, match="112"):
        recut(noise[:100], detector)


def test_a_data_set_is_turned_photo_by_photo(detector: Detector) -> None:
    drawn = data.open_dataset("generated:3x2")
    aligned = Aligned3D(drawn, detector, symmetry=0.5)
    assert aligned.classes == drawn.classes
    np.testing.assert_array_equal(aligned.labels, drawn.labels)
    for i in (0, 5):
        np.testing.assert_array_equal(aligned.pixels(i), recut(drawn.pixels(i), detector, symmetry=0.5))
