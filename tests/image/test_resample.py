"""Resizing, padding and warping against plain versions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument
from vultus.image import pad_to, resize, warp
from vultus.types import Float64Array, UInt8Array


def noise(height: int, width: int, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plain_warp(pixels: UInt8Array, matrix: Float64Array, size: tuple[int, int]) -> Float64Array:
    """Bilinear sampling where each pixel of the crop comes from, black outside."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    sx, sy, _ = np.einsum("ij,jhw->ihw", inverse, np.stack([x, y, np.ones_like(x)]))
    x0, y0 = np.floor(sx).astype(int), np.floor(sy).astype(int)
    total = np.zeros((*size, 3))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dx - (sx - x0)) * np.abs(1 - dy - (sy - y0))
            inside = (x0 + dx >= 0) & (x0 + dx < pixels.shape[1]) & (y0 + dy >= 0) & (y0 + dy < pixels.shape[0])
            at = (np.clip(y0 + dy, 0, pixels.shape[0] - 1), np.clip(x0 + dx, 0, pixels.shape[1] - 1))
            total += (weight * inside)[..., None] * pixels[at]
    return total


def similarity(angle: float, zoom: float, x: float, y: float) -> Float64Array:
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


# --- warp -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(0.5, 3), st.floats(-40, 60), st.floats(-40, 60), st.integers(0, 99))
def test_warp_is_bilinear_sampling(angle: float, zoom: float, x: float, y: float, seed: int) -> None:
    smooth = cv2.GaussianBlur(noise(40, 50, seed), (0, 0), 2)
    matrix = similarity(angle, zoom, x, y)
    (crop,) = warp(smooth, matrix[None], (30, 34))
    assert np.abs(crop - plain_warp(smooth, matrix, (30, 34))).max() <= 6  # coordinates are rounded to 1/32 pixel


def test_the_identity_is_the_picture() -> None:
    pixels = noise(20, 30)
    assert np.array_equal(warp(pixels, similarity(0, 1, 0, 0)[None], (20, 30))[0], pixels)
    assert np.array_equal(warp(pixels, similarity(0, 1, -3, -2)[None], (18, 27))[0], pixels[2:, 3:])


@pytest.mark.parametrize("factor", [2, 3, 4, 8, 11])
def test_strong_reductions_average_first(factor: int) -> None:
    """A checkerboard of single pixels has no business in a reduced crop: all of it becomes grey."""
    y, x = np.mgrid[: 64 * factor, : 64 * factor]
    board = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    (crop,) = warp(board, similarity(0.3, 1 / factor, 20, -10)[None], (48, 48))
    middle = crop[16:32, 24:40].astype(float)
    assert abs(middle.mean() - 127.5) < 4
    assert middle.std() < (50 if factor < 3 else 6)  # 127.5 where pixels are skipped


@pytest.mark.parametrize("factor", [2.5, 4, 7.3, 8])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_reductions_do_not_move_the_picture(factor: float, angle: float) -> None:
    """A soft dot comes to where the map takes its middle, however the pixels were averaged."""
    centre = np.array([337.0, 291.0])
    y, x = np.mgrid[:600, :700]
    dot = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (3 * factor) ** 2)) * 255
    matrix = similarity(angle, 1 / factor, 0, 0)
    matrix[:, 2] = [40, 36] - matrix[:, :2] @ centre
    (crop,) = warp(np.repeat(dot.astype(np.uint8)[..., None], 3, axis=2), matrix[None], (80, 80))
    weight = crop[..., 0].astype(float)
    cy, cx = np.mgrid[:80, :80]
    assert (weight * cx).sum() / weight.sum() == pytest.approx(40, abs=0.06)
    assert (weight * cy).sum() / weight.sum() == pytest.approx(36, abs=0.06)


def test_a_batch_is_warped_one_by_one() -> None:
    pixels = noise(300, 300)
    matrices = np.stack([similarity(0.1, 1.5, 2, 3), similarity(-1, 0.1, 20, 9), similarity(2, 0.4, 50, 60)])
    together = warp(pixels, matrices, (20, 24))
    assert together.shape == (3, 20, 24, 3)
    assert np.array_equal(together, np.concatenate([warp(pixels, m[None], (20, 24)) for m in matrices]))


@pytest.mark.parametrize("zoom", [1.0, 0.1, 1e-5])
def test_a_crop_beside_the_picture_is_black(zoom: float) -> None:
    assert not warp(np.full((50, 60, 3), 255, np.uint8), similarity(0, zoom, 9_000, 0)[None], (8, 8)).any()


def test_warp_leaves_the_picture_alone() -> None:
    pixels = noise(64, 64)
    given_pixels = pixels.copy()
    given_pixels.flags.writeable = False
    warp(given_pixels, np.stack([similarity(0.2, 0.1, 0, 0), similarity(0.2, 2, 0, 0)]), (16, 16))
    assert np.array_equal(given_pixels, pixels)


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 3), (1, 2, 2)])
def test_other_matrices_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match=r"expected \(n, 2, 3\)"):
        warp(noise(4, 4), np.ones(shape), (4, 4))


def test_no_matrices_give_no_crops() -> None:
    assert warp(noise(4, 4), np.zeros((0, 2, 3)), (5, 6)).shape == (0, 5, 6, 3)


# --- resize and pad ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_takes_the_mean_of_each_area(factor: int) -> None:
    pixels = noise(6 * factor, 8 * factor)
    expected = pixels.reshape(6, factor, 8, factor, 3).mean(axis=(1, 3))
    assert np.abs(resize(pixels, (6, 8)) - expected).max() <= 0.51


def test_growing_keeps_a_ramp_a_ramp() -> None:
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(4, axis=0)
    grown = resize(ramp, (8, 40)).astype(float)
    assert np.abs(grown[0, 1:-1, 0] - (np.arange(1, 39) * 5 - 2.5)).max() <= 1


def test_the_same_size_is_passed_through() -> None:
    pixels = noise(5, 6)
    assert resize(pixels, (5, 6)) is pixels
    assert pad_to(pixels, (5, 6)) is pixels


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.integers(0, 9))
def test_padding_adds_black_below_and_to_the_right(height: int, width: int, more: int, wider: int) -> None:
    pixels = noise(height, width) | np.uint8(1)
    padded = pad_to(pixels, (height + more, width + wider))
    assert padded.shape == (height + more, width + wider, 3)
    assert np.array_equal(padded[:height, :width], pixels)
    assert np.count_nonzero(padded) == pixels.size
