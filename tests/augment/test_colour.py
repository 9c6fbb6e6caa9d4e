"""Colour: against Pillow, scikit-image and plain floating point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.color
import skimage.exposure
from PIL import Image, ImageEnhance
from tests.augment.conftest import wrong

from vultus.augment import adjust, brightness, contrast, gamma, hue, lookup, saturation, white_balance
from vultus.errors import BadArgument
from vultus.types import UInt8Array

CHANGES: dict[str, Callable[[UInt8Array], UInt8Array]] = {
    "brightness": lambda x: brightness(x, 1.3),
    "contrast": lambda x: contrast(x, 1.4),
    "less contrast": lambda x: contrast(x, 0.3),
    "saturation": lambda x: saturation(x, 1.5),
    "grey": lambda x: saturation(x, 0.0),
    "hue": lambda x: hue(x, 0.7),
    "white_balance": lambda x: white_balance(x, 0.3),
    "gamma": lambda x: gamma(x, 1.7),
    "all": lambda x: adjust(x, brightness=1.1, contrast=0.8, saturation=1.2, hue=-0.3, gains=(1.1, 0.9, 1.0)),
}


def worst(one: UInt8Array, other: np.ndarray[Any, Any]) -> float:
    return float(np.abs(one.astype(float) - other).max())


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_brightness_and_saturation_are_pillows(factor: float, face: UInt8Array) -> None:
    picture = Image.fromarray(face)
    assert worst(brightness(face, factor), np.asarray(ImageEnhance.Brightness(picture).enhance(factor))) <= 1
    # Pillow blends with a grey that is rounded first, so an error of half a level grows with the distance from 1.
    assert worst(saturation(face, factor), np.asarray(ImageEnhance.Color(picture).enhance(factor))) <= 2


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.6])
def test_contrast_stretches_about_the_mean(factor: float, face: UInt8Array) -> None:
    mean = face[:: len(face) // 32].mean()
    assert worst(contrast(face, factor), np.clip((face - mean) * factor + mean, 0, 255)) <= 0.51


@pytest.mark.parametrize("exponent", [0.4, 1.0, 2.2])
def test_gamma_is_scikit_images(exponent: float, face: UInt8Array) -> None:
    assert worst(gamma(face, exponent), skimage.exposure.adjust_gamma(face, exponent)) <= 1
    assert gamma(np.array([[[0, 255, 0]]], dtype=np.uint8), exponent).tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize("angle", [-1.2, 0.4, math.pi])
def test_hue_turns_the_chroma_and_leaves_the_luma(angle: float) -> None:
    soft = np.random.default_rng(0).integers(90, 160, (20, 20, 3), dtype=np.uint8)
    before, after = skimage.color.rgb2ycbcr(soft), skimage.color.rgb2ycbcr(hue(soft, angle))
    assert np.abs(before[..., 0] - after[..., 0]).max() < 1
    turned = (before[..., 1] - 128 + 1j * (before[..., 2] - 128)) * np.exp(1j * angle)
    assert np.abs(turned - (after[..., 1] - 128 + 1j * (after[..., 2] - 128))).max() < 1.5


def test_saturation_leaves_the_luma(face: UInt8Array) -> None:
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(saturation(face, 0.4) @ luma - face @ luma).max() < 0.8
    assert np.ptp(saturation(face, 0.0).astype(int), axis=2).max() == 0


def test_white_balance_is_warm_or_cold() -> None:
    grey = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert white_balance(grey, 0.2)[0, 0].tolist() == [122, 100, 82]
    assert white_balance(grey, -0.2)[0, 0].tolist() == [82, 100, 122]


def test_all_at_once_is_one_after_another_without_rounding_between(face: UInt8Array) -> None:
    soft = (face.astype(float) * 0.4 + 70).astype(np.uint8)
    once = adjust(soft, brightness=1.1, contrast=0.9, saturation=0.7, hue=0.3, gains=(1.1, 1.0, 0.9))
    values = soft.astype(float)
    luma = values @ np.array([0.299, 0.587, 0.114])
    chroma = ((values[..., 2] - luma) / 1.772 + 1j * (values[..., 0] - luma) / 1.402) * np.exp(0.3j) * 0.7
    red, blue = luma + 1.402 * chroma.imag, luma + 1.772 * chroma.real
    values = np.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue], axis=-1)
    mean = soft[:: len(soft) // 32].mean()
    values = ((values - mean) * 0.9 + mean) * 1.1 * np.array([1.1, 1.0, 0.9])
    assert worst(once, values) < 0.75


@pytest.mark.parametrize("name", CHANGES)
def test_a_batch_is_changed_as_its_pictures_are(name: str, face: UInt8Array) -> None:
    batch = np.stack([face, face[::-1] // 2, 255 - face])
    before = batch.copy()
    changed = CHANGES[name](batch)
    for one, other in zip(changed, batch, strict=True):
        assert np.array_equal(one, CHANGES[name](other))
    assert np.array_equal(batch, before)
    assert changed.flags.c_contiguous


@pytest.mark.parametrize("name", CHANGES)
def test_views_with_strides_are_taken(name: str, face: UInt8Array) -> None:
    assert np.array_equal(CHANGES[name](face[:, ::-1]), CHANGES[name](np.ascontiguousarray(face[:, ::-1])))


def test_the_quick_look_up_finds_the_same(face: UInt8Array, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        calls = 0

        def translate(self, text: memoryview, table: memoryview, *, inplace: bool) -> None:
            assert inplace
            Package.calls += 1
            text[:] = bytes(text).translate(bytes(table))

    found = {}
    for package in (None, Package()):
        monkeypatch.setattr(lookup, "_QUICK", package)
        found[package is None] = [
            CHANGES[n](face[:, ::-1]) for n in ("brightness", "contrast", "less contrast", "gamma")
        ]
    assert Package.calls == 4
    assert all(np.array_equal(a, b) for a, b in zip(found[True], found[False], strict=True))


def test_stringzilla_finds_the_same(face: UInt8Array, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("stringzilla")
    table = np.random.default_rng(1).integers(0, 256, 256, dtype=np.uint8)
    monkeypatch.setattr(lookup, "_QUICK", package)
    assert np.array_equal(lookup.looked_up(face, table), table[face])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: brightness(x, -1), "brightness is -1"),
        (lambda x: contrast(x, float("nan")), "contrast is nan"),
        (lambda x: saturation(x, wrong("much")), "saturation is 'much'"),
        (lambda x: hue(x, 9), "hue is 9"),
        (lambda x: adjust(x, gains=wrong((1, 2))), "gains are"),
        (lambda x: adjust(x, gains=(1, 2, -1)), "a gain is -1"),
        (lambda x: white_balance(x, 2), "warmth is 2"),
        (lambda x: gamma(x, 0), "exponent is 0"),
        (lambda x: gamma(x[..., 0], 1), "shape"),
        (lambda x: brightness(x / 255, 1), "dtype float64"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[Any], object], message: str, face: UInt8Array) -> None:
    with pytest.raises(BadArgument, match=message):
        make(face)
