"""Faces, templates and decisions check themselves once, on construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vultus import Faces, Template
from vultus.errors import BadArgument, BadTemplate
from vultus.types import FloatArray


def some_faces(n: int) -> Faces:
    rng = np.random.default_rng(n)
    low = rng.uniform(0, 100, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 50, (n, 2))], axis=1).astype(np.float32)
    return Faces(boxes, rng.uniform(0, 100, (n, 5, 2)).astype(np.float32), np.linspace(1, 0.5, n, dtype=np.float32))


def same(one: Faces, other: Faces) -> bool:
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in ("boxes", "landmarks", "scores"))


def test_faces_hold_float32_whatever_came() -> None:
    faces = Faces(np.zeros((2, 4)), np.zeros((2, 5, 2), dtype=int), [0.5, 1])  # type: ignore[arg-type]
    assert {faces.boxes.dtype, faces.landmarks.dtype, faces.scores.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("boxes", "landmarks", "scores", "message"),
    [
        ((2, 3), (2, 5, 2), (2,), r"boxes has shape \(2, 3\); expected \(n, 4\)"),
        ((4,), (1, 5, 2), (1,), "boxes has shape"),
        ((1, 2, 4), (1, 5, 2), (1,), "boxes has shape"),
        ((2, 4), (2, 4, 2), (2,), r"landmarks has shape \(2, 4, 2\); expected \(n, 5, 2\)"),
        ((2, 4), (2, 10), (2,), "landmarks has shape"),
        ((2, 4), (2, 5, 2), (2, 1), r"scores has shape \(2, 1\); expected \(n\)"),
        ((2, 4), (2, 5, 2), (), "scores has shape"),
        ((2, 4), (3, 5, 2), (2,), "2 boxes, 3 landmark sets and 2 scores"),
        ((2, 4), (2, 5, 2), (1,), "2 boxes, 2 landmark sets and 1 scores"),
    ],
)
def test_shapes_that_do_not_belong_together(
    boxes: tuple[int, ...], landmarks: tuple[int, ...], scores: tuple[int, ...], message: str
) -> None:
    with pytest.raises(BadArgument, match=message):
        Faces(np.zeros(boxes, np.float32), np.zeros(landmarks, np.float32), np.zeros(scores, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["boxes", "landmarks", "scores"])
def test_faces_are_finite(name: str, value: float) -> None:
    parts = {"boxes": np.zeros((1, 4)), "landmarks": np.zeros((1, 5, 2)), "scores": np.zeros(1)}
    parts[name].flat[0] = value
    with pytest.raises(BadArgument, match=f"{name} holds NaN or infinity"):
        Faces(**parts)  # type: ignore[arg-type]


def test_no_faces_is_empty_and_indexable() -> None:
    none = Faces.none()
    assert len(none) == 0
    assert list(none) == []
    assert len(none[:3]) == 0
    assert none.sizes.shape == (0,)


def test_indexing_agrees_with_numpy() -> None:
    faces = some_faces(5)
    indices: tuple[Any, ...] = (slice(1, 4), [3, 0], [], np.array([4, 4]), np.array([True, False, True, False, False]))
    for index in indices:
        rows = np.arange(5)[index]
        assert np.array_equal(faces[index].boxes, faces.boxes[rows])
        assert np.array_equal(faces[index].landmarks, faces.landmarks[rows])
        assert np.array_equal(faces[index].scores, faces.scores[rows])
    assert same(faces[-1], faces[4])
    assert len(faces[2]) == 1
    with pytest.raises(IndexError):
        faces[5]


def test_iterating_gives_faces_of_one() -> None:
    faces = some_faces(3)
    assert [len(face) for face in faces] == [1, 1, 1]
    assert np.array_equal(np.concatenate([face.boxes for face in faces]), faces.boxes)


def test_sizes_are_the_longer_sides() -> None:
    faces = Faces(np.array([[0, 0, 3, 7], [1, 1, 11, 2]]), np.zeros((2, 5, 2)), np.zeros(2))  # type: ignore[arg-type]
    assert faces.sizes.tolist() == [7, 10]


# --- templates --------------------------------------------------------------------------------------------------------


def test_a_template_holds_float32() -> None:
    template = Template(np.array([0.6, 0.8]), "m")
    assert template.vector.dtype == np.float32
    assert (template.samples, template.quality) == (1, None)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(4), "length 0"),
        (np.ones(4), "length 2; expected 1"),
        (np.full(4, np.nan), "length nan"),
        (np.array([np.inf, 0]), "length inf"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.eye(2), r"shape \(2, 2\)"),
        (np.float32(1), r"shape \(\)"),
    ],
)
def test_a_template_is_one_finite_unit_vector(vector: FloatArray, message: str) -> None:
    with pytest.raises(BadTemplate, match=message):
        Template(vector, "m")


@pytest.mark.parametrize("samples", [0, -1])
def test_a_template_is_made_of_something(samples: int) -> None:
    with pytest.raises(BadTemplate, match="samples"):
        Template(np.array([1.0, 0.0], np.float32), "m", samples)
