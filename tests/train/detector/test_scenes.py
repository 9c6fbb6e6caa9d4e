"""Scenes and crops: landmarks and boxes follow what is seen, and the same number gives the same picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.errors import BadArgument, DatasetError
from vultus.train.detector.crops import crop
from vultus.train.detector.scenes import Drawn, Photos, Scene, open_scenes


def marked() -> Scene:
    """A dark picture with one face whose five landmarks are bright squares of different colours."""
    pixels = np.zeros((160, 200, 3), dtype=np.uint8)
    points = np.array([[80, 60], [120, 62], [100, 80], [85, 100], [118, 98]], dtype=np.float32)
    for i, (x, y) in enumerate(points.astype(int)):
        pixels[y - 3 : y + 4, x - 3 : x + 4] = ((i % 2) * 255, (i // 2) * 100 + 55, 255 - 60 * i)
    boxes = np.array([[60, 40, 140, 120], [0, 0, 6, 6]], dtype=np.float32)
    landmarks = np.stack([points, np.full((5, 2), np.nan, dtype=np.float32)])
    return Scene(pixels, boxes, np.array([False, True]), landmarks)


def middle_of(pixels: np.ndarray, x: float, y: float) -> np.ndarray:
    """Centre of mass of the bright square about a place."""
    y0, x0 = max(0, round(y) - 9), max(0, round(x) - 9)
    light = pixels[y0 : y0 + 19, x0 : x0 + 19].astype(np.float64).max(axis=2)
    light -= light.min()
    rows, columns = np.indices(light.shape)
    found: np.ndarray = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum() + (x0, y0)
    return found


def test_landmarks_follow_the_pixels() -> None:
    scene, looked_at = marked(), 0
    before = scene.pixels.copy()
    for seed in range(60):
        cut = crop(scene, np.random.default_rng(seed), side=160, smallest=4, faces=(60, 100), chance=1.0)
        assert cut.pixels.shape == (160, 160, 3)
        face = np.flatnonzero(~cut.ignored)
        if not len(face):
            continue
        points = cut.landmarks[face[0]]
        assert points[0, 0] < points[1, 0]  # also in a mirror the first eye is the one to the left
        for x, y in points:
            if 12 < x < 148 and 12 < y < 148:
                assert np.abs(middle_of(cut.pixels, x, y) - (x, y)).max() < 1.0
                looked_at += 1
    assert looked_at > 100
    assert np.array_equal(scene.pixels, before)


def test_the_face_gets_a_size_that_was_asked_for() -> None:
    sizes = []
    for seed in range(40):
        cut = crop(marked(), np.random.default_rng(seed), side=128, smallest=4, faces=(30, 40))
        whole = cut.boxes[(cut.boxes > 0).all(axis=1) & (cut.boxes < 128).all(axis=1) & ~cut.ignored]
        sizes += list((whole[:, 2:] - whole[:, :2]).max(axis=1))
    assert len(sizes) > 10
    assert 29.9 < min(sizes) < max(sizes) < 40.1


def test_faces_that_are_small_or_cut_off_are_ignored() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cut = crop(marked(), rng, side=96, smallest=60, faces=(30, 50))
        assert cut.ignored.all()
    areas = []
    for seed in range(60):
        cut = crop(marked(), np.random.default_rng(seed), side=96, smallest=1, faces=(80, 80))
        kept = cut.boxes[~cut.ignored]
        areas += list((kept[:, 2:] - kept[:, :2]).prod(axis=1))
    assert min(areas) >= 0.5 * 80 * 80 - 1


def test_drawn_scenes_are_the_same_by_number() -> None:
    scenes, again, others = Drawn(6), open_scenes("generated:6"), open_scenes("generated:6@1")
    assert len(scenes) == 6
    assert np.array_equal(scenes[3].pixels, again[3].pixels)
    assert not np.array_equal(scenes[3].pixels, others[3].pixels)
    for i in range(3):
        assert len(scenes[i].boxes) >= 1
        assert not scenes[i].ignored.any()
        inside = (scenes[i].landmarks > scenes[i].boxes[:, None, :2]) & (
            scenes[i].landmarks < scenes[i].boxes[:, None, 2:]
        )
        assert inside.all()
    with pytest.raises(IndexError):
        scenes[6]


@pytest.mark.parametrize("name", ["generated:", "generated:-1", "generated:3@", "generated:0"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(BadArgument):
        open_scenes(name)


def test_photos_are_read_with_their_marks(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    scene = Drawn(1)[0]
    Image.fromarray(scene.pixels).save(tmp_path / "images" / "a.png")
    entry = {"file": "a.png", "boxes_xywh": [[3, 4, 20, 30], [50, 60, 8, 9]], "invalid": [0, 1]}
    (tmp_path / "annotations.json").write_text(json.dumps([entry]))
    (found,) = (open_scenes(str(tmp_path))[i] for i in range(1))
    assert np.array_equal(found.pixels, scene.pixels)
    assert found.boxes.tolist() == [[3, 4, 23, 34], [50, 60, 58, 69]]
    assert found.ignored.tolist() == [False, True]
    assert np.isnan(found.landmarks).all()
    with pytest.raises(DatasetError, match="without a marked face"):
        Photos([])


def test_a_teacher_places_landmarks(tmp_path: Path, astronaut: np.ndarray) -> None:
    from vultus import Detector
    from vultus.evaluate import MarkedPhoto

    Image.fromarray(astronaut).save(tmp_path / "a.png")
    faces = Detector(threads=1)(astronaut)
    boxes = np.concatenate([faces.boxes[:1], [[0, 0, 30, 30]]]).astype(np.float32)
    photo = MarkedPhoto(str(tmp_path / "a.png"), boxes, np.zeros(2, dtype=np.bool_))
    found = Photos([photo], teacher=Detector(threads=1))[0].landmarks
    assert np.abs(found[0] - faces.landmarks[0]).max() < 2
    assert np.isnan(found[1]).all()
