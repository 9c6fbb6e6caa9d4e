"""Blur, noise and coding: against SciPy, Pillow, and the statistics that they promise."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from PIL import Image
from tests.augment.conftest import wrong

from vultus.augment import coding, defocus, gaussian_blur, jpeg, low_resolution, motion_blur, sensor_noise
from vultus.augment.sensing import standard_normal
from vultus.errors import BadArgument
from vultus.types import Float64Array, UInt8Array

CHANGES: dict[str, Callable[[UInt8Array], UInt8Array]] = {
    "gaussian_blur": lambda x: gaussian_blur(x, 1.7),
    "defocus": lambda x: defocus(x, 2.6),
    "motion_blur": lambda x: motion_blur(x, 9, 0.6),
    "jpeg": lambda x: jpeg(x, 30),
    "small jpeg": lambda x: jpeg(x, 30, scale=0.4),
    "low_resolution": lambda x: low_resolution(x, 0.3),
}


@pytest.mark.parametrize("sigma", [0.4, 1.3, 3.7])
def test_gaussian_blur_is_scipys(sigma: float, face: UInt8Array) -> None:
    expected = scipy.ndimage.gaussian_filter(face.astype(float), (sigma, sigma, 0), mode="mirror", truncate=3.0)
    assert np.abs(gaussian_blur(face, sigma) - expected).max() <= 1.5


@pytest.mark.parametrize("radius", [0.0, 0.5, 1.0, 2.4, 6.0])
def test_defocus_spreads_a_point_over_a_disk(radius: float) -> None:
    edge = np.zeros((60, 60, 3), dtype=np.uint8)
    edge[:, 30:] = 255
    profile = defocus(edge, radius)[30, :, 0] / 255.0
    r = max(radius, 0.5)
    x = np.arange(60) - 29.5  # the edge lies between two pixels

    def covered(at: Float64Array) -> Float64Array:
        t = np.clip(at / r, -1, 1)
        return 0.5 + (np.arcsin(t) + t * np.sqrt(1 - t**2)) / math.pi

    fine = np.mean([covered(x + d) for d in (np.arange(8) + 0.5) / 8 - 0.5], axis=0)
    assert np.abs(profile - (fine if radius > 0.5 else (x > 0))).max() < 0.03


@pytest.mark.parametrize(
    ("length", "angle"), [(1, 0.3), (5, 0.0), (8, math.pi / 2), (9, math.pi / 4), (12, -0.4), (12, 2.0)]
)
def test_motion_spreads_a_point_over_a_line(length: float, angle: float) -> None:
    dot = np.zeros((41, 41, 3), dtype=np.uint8)
    dot[20, 20] = 255
    seen = motion_blur(dot, length, angle)[..., 0].astype(float)
    rows, columns = np.nonzero(seen)
    weight = seen[rows, columns] / seen.sum()
    assert seen.sum() == pytest.approx(255, rel=0.05)
    assert (weight @ columns, weight @ rows) == pytest.approx((20, 20), abs=0.1)
    along = (columns - 20) * math.cos(angle) + (rows - 20) * math.sin(angle)
    across = (rows - 20) * math.cos(angle) - (columns - 20) * math.sin(angle)
    assert np.abs(across).max() <= 0.72
    assert weight @ along**2 == pytest.approx((length**2 - 1) / 12, rel=0.12, abs=0.05)


def test_nothing_is_blurred_by_nothing(face: UInt8Array) -> None:
    assert np.array_equal(motion_blur(face, 0, 1.0), face)
    assert np.array_equal(defocus(face, 0), face)


# --- noise ------------------------------------------------------------------------------------------------------------


def linear(values: Any) -> Float64Array:
    return np.asarray((np.asarray(values) / 255.0) ** 2.2, dtype=np.float64)


@pytest.mark.parametrize("value", [100, 150, 200])
@pytest.mark.parametrize(
    ("exposure", "full_well", "read"), [(1.0, 4000.0, 8.0), (0.1, 4000.0, 8.0), (0.5, 900.0, 10.0)]
)
def test_noise_has_the_mean_and_the_variance_of_a_sensor(
    value: int, exposure: float, full_well: float, read: float
) -> None:
    flat = np.full((120, 120, 3), value, dtype=np.uint8)
    seen = linear(sensor_noise(flat, 5, exposure=exposure, full_well=full_well, read=read)) * full_well * exposure
    electrons = float(linear(value)) * full_well * exposure
    expected = math.sqrt(electrons + read**2)
    rounding = 2.2 * electrons / value / math.sqrt(12)  # of writing a whole level
    assert seen.mean() == pytest.approx(electrons, abs=0.05 * expected + 0.01 * electrons)
    assert seen.std() == pytest.approx(math.hypot(expected, rounding), rel=0.06)


def test_less_light_leaves_the_mean_and_gain_one_leaves_the_dark() -> None:
    flat = np.full((80, 80, 3), 128, dtype=np.uint8)
    bright, dim = sensor_noise(flat, 1, exposure=0.2), sensor_noise(flat, 1, exposure=0.2, gain=1.0)
    assert linear(bright).mean() == pytest.approx(float(linear(128)), rel=0.02)
    assert linear(dim).mean() == pytest.approx(0.2 * float(linear(128)), rel=0.02)


def test_noise_follows_the_seed_and_differs_within_a_batch() -> None:
    flat = np.full((2, 20, 20, 3), 128, dtype=np.uint8)
    first = sensor_noise(flat, 3)
    assert np.array_equal(first, sensor_noise(flat, 3))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, sensor_noise(flat, 4))


def test_the_quick_numbers_are_normal() -> None:
    numbers = standard_normal(np.random.default_rng(2), 200_000)
    assert numbers.dtype == np.float32
    assert scipy.stats.kstest(numbers, "norm").pvalue > 1e-3
    assert scipy.stats.kurtosis(numbers) == pytest.approx(0, abs=0.06)


# --- coding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [5, 30, 90])
def test_jpeg_is_pillows(quality: int, face: UInt8Array) -> None:
    stream = io.BytesIO()
    Image.fromarray(face).save(stream, "JPEG", quality=quality, subsampling=2)
    with Image.open(stream) as decoded:
        assert np.abs(jpeg(face, quality).astype(int) - np.asarray(decoded)).max() <= 3


@pytest.mark.parametrize("quality", [5, 30, 90])
def test_simplejpeg_decodes_the_same(quality: int, face: UInt8Array, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("simplejpeg")
    found = []
    for one in (package, None):
        monkeypatch.setattr(coding, "_QUICK", one)
        found.append(jpeg(face, quality, scale=0.6))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], face)


def test_a_smaller_scale_makes_larger_blocks(face: UInt8Array) -> None:
    def steps(picture: UInt8Array, period: int) -> float:
        jump = np.abs(np.diff(picture[..., 1].astype(float), axis=1)).mean(axis=0)
        return float(jump[period - 1 :: period].mean() / jump.mean())

    smooth = np.repeat(np.linspace(60, 200, 256)[None, :, None], 256, axis=0).repeat(3, axis=2).astype(np.uint8)
    assert steps(jpeg(smooth, 5), 8) > 2
    assert (
        np.abs(jpeg(face, 40, scale=0.25).astype(float) - face).mean()
        > np.abs(jpeg(face, 40).astype(float) - face).mean()
    )


def test_low_resolution_keeps_what_a_small_picture_holds(face: UInt8Array) -> None:
    assert np.array_equal(low_resolution(face, 1.0), face)
    tiny = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.ptp(low_resolution(tiny, 0.1).reshape(-1, 3), axis=0).max() == 0
    errors = [np.abs(low_resolution(face, scale).astype(float) - face).mean() for scale in (0.8, 0.4, 0.2, 0.1)]
    assert errors == sorted(errors)
    blocks = low_resolution(face, 0.1, down="area", up="nearest")
    assert len(np.unique(blocks.reshape(-1, 3), axis=0)) <= 30 * 26
    mean = face.reshape(30, 10, 26, 10, 3).mean(axis=(1, 3))
    assert np.abs(blocks[5::10, 5::10] - mean).max() <= 0.51
    ways = [
        low_resolution(face, 0.3, down=d, up=u)
        for d in ("nearest", "linear", "cubic", "area")
        for u in ("nearest", "linear")
    ]
    assert len({way.tobytes() for way in ways}) == 8


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_a_batch_is_changed_as_its_pictures_are(name: str, face: UInt8Array) -> None:
    batch = np.stack([face, face[::-1]])
    before = batch.copy()
    changed = CHANGES[name](batch)
    assert changed.shape == batch.shape
    for one, other in zip(changed, batch, strict=True):
        assert np.array_equal(one, CHANGES[name](other))
    assert np.array_equal(batch, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: gaussian_blur(x, 0), "sigma is 0"),
        (lambda x: defocus(x, -1), "radius is -1"),
        (lambda x: motion_blur(x, float("inf"), 0), "length is inf"),
        (lambda x: motion_blur(x, 3, float("nan")), "angle is nan"),
        (lambda x: sensor_noise(x, 0, exposure=0), "exposure is 0"),
        (lambda x: sensor_noise(x, 0, gain=0), "gain is 0"),
        (lambda x: sensor_noise(x, 0, full_well=0), "full_well is 0"),
        (lambda x: sensor_noise(x, 0, read=-1), "read is -1"),
        (lambda x: sensor_noise(x, -1), "seed is -1"),
        (lambda x: jpeg(x, 0), "quality is 0"),
        (lambda x: jpeg(x, 50, scale=2), "scale is 2"),
        (lambda x: low_resolution(x, 0), "scale is 0"),
        (lambda x: low_resolution(x, 0.5, up=wrong("best")), "no resampling 'best'"),
        (lambda x: jpeg(x[0], 50), "shape"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[Any], object], message: str, face: UInt8Array) -> None:
    with pytest.raises(BadArgument, match=message):
        make(face)
