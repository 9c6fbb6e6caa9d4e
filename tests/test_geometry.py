"""Similarity transforms, overlap and suppression against plain reference versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vultus import fit_similarity
from vultus.errors import BadArgument
from vultus.geometry import apply_affine, box_area, box_iou, nms
from vultus.types import Float64Array, FloatArray

angles = st.floats(-np.pi, np.pi)
scales = st.floats(0.01, 100)
shifts = st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000))


def similarity_matrix(angle: float, scale: float, shift: tuple[float, float]) -> Float64Array:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def points(seed: int, *shape: int) -> Float64Array:
    return np.random.default_rng(seed).uniform(-100, 100, (*shape, 2))


def umeyama(source: Float64Array, target: Float64Array) -> Float64Array:
    """The least-squares similarity by singular values, with the reflection case (Umeyama 1991, eq. 38 to 43)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean, target - target_mean
    u, d, vt = np.linalg.svd(t.T @ s / len(s))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / (s**2).sum(axis=1).mean()
    linear = scale * rotation
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


# --- similarity -------------------------------------------------------------------------------------------------------


@given(angles, scales, shifts, st.integers(2, 9), st.integers(0, 10**6))
def test_a_similarity_is_recovered(
    angle: float, scale: float, shift: tuple[float, float], count: int, seed: int
) -> None:
    true, source = similarity_matrix(angle, scale, shift), points(seed, count)
    fitted = fit_similarity(source, apply_affine(true, source))
    assert np.abs(fitted - true).max() <= 1e-6 * max(1.0, np.abs(true).max())


@given(st.lists(st.tuples(angles, scales, shifts), min_size=1, max_size=8), st.integers(0, 10**6))
def test_a_batch_is_fitted_row_by_row(transforms: list[tuple[float, float, tuple[float, float]]], seed: int) -> None:
    true = np.stack([similarity_matrix(*t) for t in transforms])
    source = points(seed, len(true), 5)
    fitted = fit_similarity(source, apply_affine(true, source))
    assert fitted.shape == true.shape
    assert np.abs(fitted - true).max() <= 1e-6 * max(1.0, np.abs(true).max())


@given(st.integers(0, 10**6), st.integers(3, 12))
def test_noisy_points_agree_with_umeyama(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    source = points(seed, count)
    noisy = apply_affine(similarity_matrix(rng.uniform(-3, 3), rng.uniform(0.1, 9), (3, -8)), source)
    target = noisy + rng.normal(0, 5, noisy.shape)
    assert np.allclose(fit_similarity(source, target), umeyama(source, target), rtol=1e-9, atol=1e-8)


def test_mirrored_points_agree_with_umeyama_and_are_not_reflected() -> None:
    source = points(3, 7)
    fitted = fit_similarity(source, source * [-1, 1])
    assert np.allclose(fitted, umeyama(source, source * [-1, 1]))
    assert np.linalg.det(fitted[:, :2]) > 0


def test_one_target_serves_a_batch() -> None:
    source, target = points(1, 4, 5), points(2, 5)
    fitted = fit_similarity(source, target)
    assert np.allclose(fitted, [fit_similarity(one, target) for one in source])


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.ones((5, 2)), np.eye(5, 2), "coincide"),
        (np.full((5, 2), 1e5), np.eye(5, 2), "coincide"),
        (np.ones((1, 2)), np.ones((1, 2)), "k >= 2"),
        (np.ones(2), np.ones(2), "k >= 2"),
        (np.eye(5, 3), np.eye(5, 3), "expected"),
        (np.eye(5, 2), np.eye(4, 2), r"\(5, 2\) to \(4, 2\)"),
        (np.full((5, 2), np.nan), np.eye(5, 2), "NaN"),
        (np.eye(5, 2), np.full((5, 2), np.inf), "NaN or infinity"),
    ],
)
def test_degenerate_points_raise(source: Float64Array, target: Float64Array, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        fit_similarity(source, target)


def test_one_degenerate_face_in_a_batch_raises() -> None:
    source = points(1, 3, 5)
    source[1] = 7.0
    with pytest.raises(BadArgument, match="coincide"):
        fit_similarity(source, points(2, 5))


def test_apply_affine_is_the_matrix_product() -> None:
    matrix, where = points(5, 3, 3).swapaxes(1, 2), points(6, 3, 8)
    expected = [[m[:, :2] @ p + m[:, 2] for p in ps] for m, ps in zip(matrix, where, strict=True)]
    assert np.allclose(apply_affine(matrix, where), expected)


# --- boxes ------------------------------------------------------------------------------------------------------------

# whole corners on a small grid: many boxes touch, nest, coincide or have no area, and areas are exact
corners = hnp.arrays(np.int64, st.tuples(st.integers(0, 24), st.just(4)), elements=st.integers(0, 12))


def as_boxes(grid: Float64Array) -> FloatArray:
    return np.concatenate([np.minimum(grid[:, :2], grid[:, 2:]), np.maximum(grid[:, :2], grid[:, 2:])], axis=1).astype(
        np.float32
    )


def plain_iou(a: FloatArray, b: FloatArray) -> float:
    """Counted cell by cell on the grid."""
    cells = [{(x, y) for x in range(int(k[0]), int(k[2])) for y in range(int(k[1]), int(k[3]))} for k in (a, b)]
    union = len(cells[0] | cells[1])
    return len(cells[0] & cells[1]) / union if union else 0.0


def plain_nms(boxes: FloatArray, scores: FloatArray, iou: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(plain_iou(boxes[i], boxes[k]) <= iou + 1e-7 for k in kept):
            kept.append(i)
    return kept


@settings(max_examples=60)
@given(corners, corners)
def test_iou_counts_cells(one: Float64Array, other: Float64Array) -> None:
    a, b = as_boxes(one), as_boxes(other)
    expected = np.array([[plain_iou(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    assert np.allclose(box_iou(a, b), expected, atol=1e-6)
    assert np.array_equal(box_iou(a, b), box_iou(b, a).T)


def test_a_box_turned_inside_out_has_no_area() -> None:
    boxes = np.array([[0, 0, 2, 3], [2, 0, 0, 3], [1, 1, 1, 9]], np.float32)
    assert box_area(boxes).tolist() == [6, 0, 0]
    assert box_iou(boxes, boxes)[0].tolist() == [1, 0, 0]


@settings(max_examples=100)
@given(corners, st.integers(0, 10**6), st.sampled_from([0.0, 0.21, 0.33, 0.47, 0.9, 1.0]))
def test_nms_equals_the_plain_loop_and_is_idempotent(grid: Float64Array, seed: int, iou: float) -> None:
    boxes = as_boxes(grid)
    scores = (np.random.default_rng(seed).integers(0, 8, len(boxes)) / 8).astype(np.float32)  # with ties
    kept = nms(boxes, scores, iou=iou)
    assert kept.tolist() == plain_nms(boxes, scores, iou)
    assert nms(boxes[kept], scores[kept], iou=iou).tolist() == list(range(len(kept)))


def test_the_overlap_option_of_nms_acts() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 5, 10, 15]], np.float32)  # a third in common
    scores = np.array([0.5, 0.9], np.float32)
    assert nms(boxes, scores, iou=0.3).tolist() == [1]
    assert nms(boxes, scores, iou=0.4).tolist() == [1, 0]
    assert nms(boxes, scores).tolist() == [1]
