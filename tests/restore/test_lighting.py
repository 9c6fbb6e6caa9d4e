"""Light: what is even stays, what is uneven is undone, and the classics compute what their papers say."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from vultus.errors import BadArgument
from vultus.restore import LIGHTING, balance, equalise, lit_half, self_quotient, tan_triggs
from vultus.types import Float64Array, FloatArray, UInt8Array

WEIGHTS = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def face() -> UInt8Array:
    """A symmetric pattern with edges, in three tones of colour."""
    y, x = np.mgrid[:112, :112].astype(np.float64)
    across = np.abs(x - 55.5)
    light = 120 + 30 * np.cos(y / 9) + 25 * np.cos(across / 7) - 40 * (np.hypot(across - 20, y - 50) < 7)
    made: UInt8Array = np.rint(np.stack([light, 0.8 * light, 0.7 * light], axis=-1)).astype(np.uint8)
    return made


def lit_from(face: UInt8Array, strength: float) -> UInt8Array:
    ramp = np.exp(strength * np.linspace(-1, 1, face.shape[1]))
    made: UInt8Array = np.clip(np.rint(face * ramp[None, :, None]), 0, 255).astype(np.uint8)
    return made


def error(a: UInt8Array, b: UInt8Array) -> float:
    return float(np.abs(a.astype(float) - b).mean())


# --- balance ---------------------------------------------------------------------------------------------------------


def test_a_symmetric_face_stays(face: UInt8Array) -> None:
    np.testing.assert_array_equal(balance(face), face)


def test_light_from_one_side_is_undone(face: UInt8Array) -> None:
    lit = lit_from(face, 0.3)
    assert error(balance(lit), face) < 0.15 * error(lit, face)


def test_mirrored_light_is_undone_alike(face: UInt8Array) -> None:
    lit = lit_from(face, 0.5)
    np.testing.assert_allclose(balance(lit[:, ::-1]).astype(int), balance(lit)[:, ::-1], atol=1)


def test_colours_keep_their_proportions(face: UInt8Array) -> None:
    made = balance(lit_from(face, 0.3)).astype(float)
    assert np.abs(made[..., 1] / made[..., 0] - 0.8).max() < 0.03


def test_most_bounds_the_change(face: UInt8Array) -> None:
    lit = lit_from(face, 0.8)
    np.testing.assert_array_equal(balance(lit, most=1), lit)
    bright = lit > 60  # where rounding is little
    assert (balance(lit, most=1.25)[bright] / lit[bright]).max() < 1.27
    assert balance(lit, most=4.0).max() != balance(lit, most=1.25).max()


def test_a_wider_smoothing_leaves_smaller_shadows(face: UInt8Array) -> None:
    spot = face.copy()
    spot[40:60, 20:36] //= 2
    assert error(balance(spot, sigma=6), spot) > 1.5 * error(balance(spot, sigma=40), spot)


# --- the lit half ----------------------------------------------------------------------------------------------------


def test_what_lies_in_the_dark_is_shown_as_the_other_half(face: UInt8Array) -> None:
    lit = face.copy()
    lit[:, :56] = 3
    made = lit_half(lit, sigma=2.0)
    assert error(made, face) < 0.15 * error(lit, face)
    np.testing.assert_array_equal(made[:, 70:], face[:, 70:])
    np.testing.assert_array_equal(made[:, :42], face[:, :42])
    np.testing.assert_array_equal(lit_half(lit[:, ::-1], sigma=2.0), made[:, ::-1])


def test_a_face_lit_from_the_front_stays(face: UInt8Array) -> None:
    np.testing.assert_array_equal(lit_half(face), face)
    np.testing.assert_array_equal(lit_half(lit_from(face, 0.15)), lit_from(face, 0.15))


def test_the_ratios_say_how_much_darker_it_has_to_be(face: UInt8Array) -> None:
    lit = face.copy()
    lit[:, :56] = (lit[:, :56] * 0.5).astype(np.uint8)
    np.testing.assert_array_equal(lit_half(lit, ratios=(2.5, 4.0)), lit)
    assert error(lit_half(lit, ratios=(1.1, 1.2), sigma=1.0), face) < 0.2 * error(lit, face)
    assert error(lit_half(lit, ratios=(1.5, 8.0)), lit) < 0.5 * error(lit_half(lit), lit)


# --- self quotient ---------------------------------------------------------------------------------------------------


def slowly(light: FloatArray, sigma: float) -> Float64Array:
    """The filter of the paper, neighbour by neighbour: those on the side of the mean that fewer are on are left out."""
    reach = cv2.getGaussianKernel(2 * round(4 * sigma) + 1, sigma, cv2.CV_64F).size // 2
    kernel = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
    weights = np.outer(kernel, kernel)
    padded = np.pad(light.astype(np.float64), reach, mode="edge")

    def window(values: np.ndarray, y: int, x: int) -> np.ndarray:
        return values[y : y + 2 * reach + 1, x : x + 2 * reach + 1]

    mean = np.zeros(light.shape)
    for y, x in np.ndindex(light.shape):
        mean[y, x] = np.average(window(padded, y, x), weights=weights)
    above = np.pad(light >= mean, reach, mode="edge")
    result = np.zeros(light.shape)
    for y, x in np.ndindex(light.shape):
        side = window(above, y, x)
        keep = side if np.average(side, weights=weights) >= 0.5 else ~side
        result[y, x] = np.average(window(padded, y, x), weights=weights * keep)
    return result


def test_the_filter_of_the_self_quotient_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    light = cv2.GaussianBlur(rng.uniform(20, 220, (112, 24)).astype(np.float32), (0, 0), 2.0)
    light[:, 12:] *= 0.4
    grey = np.repeat(np.rint(light).astype(np.uint8)[..., None], 3, axis=2)
    quotient = np.log((grey[..., 0] + 1.0) / (slowly(grey[..., 0].astype(np.float32), 1.5) + 1.0))
    centred = quotient - quotient.mean()
    expected = np.clip(127.5 + centred * 127.5 / (3 * centred.std()), 0, 255)
    made = self_quotient(grey, sigmas=(1.5,))[..., 0]
    # pixels whose neighbourhood is split into two equal halves may fall either way
    assert np.mean(np.abs(made - expected) > 1.5) < 0.02


def test_the_self_quotient_does_not_see_slow_light(astronaut: UInt8Array) -> None:
    crop = (astronaut[60:172, 170:282] * 0.7).astype(np.uint8)
    lit = lit_from(crop, 0.3)
    assert error(self_quotient(lit), self_quotient(crop)) < 0.25 * error(lit, crop)


def test_scales_act(face: UInt8Array) -> None:
    assert error(self_quotient(face, sigmas=(1.0,)), self_quotient(face, sigmas=(8.0,))) > 5


# --- Tan and Triggs --------------------------------------------------------------------------------------------------


def test_the_chain_of_tan_and_triggs_is_that_of_the_paper(face: UInt8Array) -> None:
    from scipy.ndimage import gaussian_filter

    light = (lit_from(face, 0.2) @ WEIGHTS / 255) ** 0.2
    band = gaussian_filter(light, 1.0, mode="nearest") - gaussian_filter(light, 2.0, mode="nearest")
    band /= np.mean(np.abs(band) ** 0.1) ** 10
    band /= np.mean(np.minimum(np.abs(band), 10) ** 0.1) ** 10
    expected = np.clip(127.5 + 10 * np.tanh(band / 10) * 127.5 / 8, 0, 255)
    made = tan_triggs(lit_from(face, 0.2))[..., 0]
    assert np.abs(made - expected).mean() < 1.0


@pytest.mark.parametrize("option", [{"gamma": 1.0}, {"inner": 1.5}, {"outer": 5.0}, {"alpha": 2.0}, {"tau": 1.0}])
def test_each_option_of_tan_and_triggs_acts(face: UInt8Array, option: dict[str, float]) -> None:
    assert error(tan_triggs(face, **option), tan_triggs(face)) > 1


# --- histograms ------------------------------------------------------------------------------------------------------


def test_one_tile_without_limit_is_the_usual_equalisation() -> None:
    rng = np.random.default_rng(2)
    light = np.clip(rng.normal(90, 15, (112, 112)), 1, 255).astype(np.uint8)
    grey = np.repeat(light[..., None], 3, axis=2)
    made = equalise(grey, limit=1000.0, tiles=1)[..., 0].astype(int)
    share = np.searchsorted(np.sort(light.ravel()), light.ravel(), side="right").reshape(light.shape) / light.size
    assert np.abs(made - 255 * share).max() <= 2


def test_limit_and_tiles_act(face: UInt8Array) -> None:
    dark = (face * 0.3).astype(np.uint8)
    contrast = [float(equalise(dark, limit=limit, tiles=1).std()) for limit in (0.5, 2.0, 8.0)]
    assert contrast == sorted(contrast)
    assert contrast[2] > 1.2 * contrast[0]
    assert error(equalise(dark, tiles=1), equalise(dark, tiles=8)) > 1


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIGHTING)
def test_a_batch_is_its_pictures_one_by_one_and_the_input_stays(name: str, face: UInt8Array) -> None:
    batch = np.stack([face, lit_from(face, 0.4), 255 - face])
    before = batch.copy()
    made = LIGHTING[name](batch)
    np.testing.assert_array_equal(batch, before)
    assert made.shape == batch.shape
    assert made.dtype == np.uint8
    assert not np.shares_memory(made, batch)
    for one, same in zip(batch, made, strict=True):
        np.testing.assert_array_equal(LIGHTING[name](one), same)
    assert LIGHTING[name](batch[:0]).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("name", LIGHTING)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_one_value_stays_of_one_value(name: str, value: int) -> None:
    made = LIGHTING[name](np.full((112, 112, 3), value, np.uint8))
    assert np.ptp(made) == 0


@pytest.mark.parametrize("name", LIGHTING)
def test_what_is_no_picture_is_refused(name: str) -> None:
    wrongs: list[Any] = [np.zeros((112, 112, 3)), np.zeros((112, 112), np.uint8), np.zeros((0, 112, 3), np.uint8)]
    for wrong in wrongs:
        with pytest.raises(BadArgument, match="pictures have"):
            LIGHTING[name](wrong)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (balance, {"sigma": 0.0}, "sigma is"),
        (balance, {"most": 0.5}, "most is"),
        (balance, {"most": float("nan")}, "most is nan"),
        (lit_half, {"sigma": 0.0}, "sigma is"),
        (lit_half, {"ratios": (2.0,)}, "expected two factors"),
        (lit_half, {"ratios": (0.5, 2.0)}, "first of ratios is"),
        (lit_half, {"ratios": (3.0, 2.0)}, "second of ratios is"),
        (self_quotient, {"sigmas": ()}, "sigmas is empty"),
        (self_quotient, {"sigmas": (1.0, -2.0)}, "each of sigmas"),
        (tan_triggs, {"gamma": 0.0}, "gamma is"),
        (tan_triggs, {"inner": 3.0, "outer": 2.0}, "outer is"),
        (tan_triggs, {"tau": "ten"}, "tau is"),
        (equalise, {"limit": 0.0}, "limit is"),
        (equalise, {"tiles": 0}, "tiles is"),
        (equalise, {"tiles": 2.5}, "tiles is"),
    ],
)
def test_numbers_out_of_range_are_refused(function, options, words, face: UInt8Array) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadArgument, match=words):
        function(face, **options)
