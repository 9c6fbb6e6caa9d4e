"""From encoded bytes to RGB as it is seen: orientations, pixel layouts, frames, reduced decodes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageOps, features

from vultus import Photo, Recognizer, read_image
from vultus.errors import UnsupportedImage
from vultus.image import open_photo
from vultus.image.decode import upright
from vultus.types import UInt8Array

# Where the first row and the first column of the stored picture lie in the picture as it is seen (EXIF 2.32, tag 0x0112).
ORIENTATIONS = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(seen: UInt8Array, orientation: int) -> UInt8Array:
    """How a camera stores a picture, straight from the words of the standard."""
    row, column = ORIENTATIONS[orientation]
    if row in {"left", "right"}:
        lines = seen.swapaxes(0, 1)[:: -1 if row == "right" else 1]
        return np.ascontiguousarray(lines[:, :: -1 if column == "bottom" else 1])
    return np.ascontiguousarray(seen[:: -1 if row == "bottom" else 1, :: -1 if column == "right" else 1])


def encode(
    pixels: npt.NDArray[Any] | Image.Image, kind: str, *, orientation: int | None = None, **options: Any
) -> bytes:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    encoded = io.BytesIO()
    picture.save(encoded, kind, **options)
    return encoded.getvalue()


LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True, "method": 0}}
SMALL: UInt8Array = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)


# --- orientation ------------------------------------------------------------------------------------------------------


def test_upright_undoes_every_orientation() -> None:
    assert len(ORIENTATIONS) == 8
    for orientation in ORIENTATIONS:
        assert np.array_equal(upright(stored(SMALL, orientation), orientation), SMALL)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_orientation_is_applied_to_lossless_files(kind: str, orientation: int) -> None:
    content = encode(stored(SMALL, orientation), kind, orientation=orientation, **LOSSLESS[kind])
    photo = open_photo(content)
    assert (photo.width, photo.height) == (32, 16)
    assert np.array_equal(photo.pixels(), SMALL)
    assert np.array_equal(read_image(Image.open(io.BytesIO(content))), SMALL)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_is_applied_to_jpeg(orientation: int) -> None:
    content = encode(stored(SMALL, orientation), "JPEG", orientation=orientation, quality=90)
    raw = np.asarray(Image.open(io.BytesIO(content)))
    photo = open_photo(content)
    assert (photo.width, photo.height) == (32, 16)
    assert np.array_equal(photo.pixels(), upright(raw, orientation))
    assert np.array_equal(photo.pixels(), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))


def test_an_orientation_after_the_pixels_of_a_png_counts_too() -> None:
    content = encode(stored(SMALL, 6), "PNG", orientation=6)
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    rest = content.replace(chunk, b"")
    end = rest.index(b"IEND") - 4
    moved = rest[:end] + chunk + rest[end:]
    assert moved != content
    assert np.array_equal(read_image(moved), SMALL)
    assert open_photo(moved).width == 32


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_make_no_sense_are_ignored(value: int) -> None:
    assert np.array_equal(read_image(encode(SMALL, "PNG", orientation=value)), SMALL)


def test_damaged_metadata_does_not_cost_the_photo() -> None:
    content = encode(SMALL, "WEBP", lossless=True, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    assert np.array_equal(read_image(content), SMALL)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_eight_orientations_one_decision(kind: str, recognizer: Recognizer, hopper: UInt8Array) -> None:
    photo = np.ascontiguousarray(hopper[40:424, 60:444])
    seen = recognizer.template(photo)
    turned = [
        recognizer.template(encode(stored(photo, k), kind, orientation=k, **LOSSLESS[kind])) for k in ORIENTATIONS
    ]
    scores = [recognizer.compare(seen, t) for t in turned]
    assert len(scores) == 8
    assert min(scores) >= 0.999
    as_stored = recognizer.template(stored(photo, 2))
    assert recognizer.compare(seen, as_stored) < 0.999  # so the test would notice a photo left as it is


def test_eight_orientations_of_a_jpeg_one_decision(recognizer: Recognizer, hopper: UInt8Array) -> None:
    """A JPEG changes pixels a little, and not the same ones after a turn: each is compared with what it holds."""
    photo = np.ascontiguousarray(hopper[40:424, 60:444])
    seen = recognizer.template(photo)
    for orientation in ORIENTATIONS:
        content = encode(stored(photo, orientation), "JPEG", orientation=orientation, quality=98, subsampling=0)
        turned = recognizer.template(content)
        held = upright(np.asarray(Image.open(io.BytesIO(content))), orientation)
        assert recognizer.compare(turned, recognizer.template(held)) >= 0.999
        assert recognizer.compare(turned, seen) >= 0.97


# --- pixel layouts ----------------------------------------------------------------------------------------------------


def grey(pixels: UInt8Array) -> UInt8Array:
    return np.asarray(Image.fromarray(pixels).convert("L"))


def three(plane: UInt8Array) -> UInt8Array:
    return np.repeat(plane[..., None], 3, axis=2)


def few_colours(pixels: UInt8Array) -> Image.Image:
    return Image.fromarray(pixels).quantize(200)


# what is encoded, how, and the RGB pixels that it stands for
MODES: dict[str, tuple[Callable[[UInt8Array], bytes], Callable[[UInt8Array], UInt8Array]]] = {
    "RGB": (lambda p: encode(p, "PNG"), lambda p: p),
    "RGBA, opaque": (lambda p: encode(Image.fromarray(p).convert("RGBA"), "PNG"), lambda p: p),
    "RGBA in WebP, opaque": (lambda p: encode(Image.fromarray(p).convert("RGBA"), "WEBP", lossless=True), lambda p: p),
    "L": (lambda p: encode(grey(p), "PNG"), lambda p: three(grey(p))),
    "LA, opaque": (lambda p: encode(Image.fromarray(grey(p)).convert("LA"), "PNG"), lambda p: three(grey(p))),
    "16-bit grey": (lambda p: encode(grey(p).astype(np.uint16) * 257, "PNG"), lambda p: three(grey(p))),
    "P": (lambda p: encode(few_colours(p), "PNG"), lambda p: np.asarray(few_colours(p).convert("RGB"))),
    "CMYK in JPEG": (
        lambda p: encode(Image.fromarray(p).convert("CMYK"), "JPEG", quality=100, subsampling=0),
        lambda p: p,
    ),
    "L in JPEG": (lambda p: encode(grey(p), "JPEG", quality=100), lambda p: three(grey(p))),
}


@pytest.mark.parametrize("mode", MODES)
def test_pixel_layouts_become_the_rgb_they_stand_for(mode: str, hopper: UInt8Array) -> None:
    assert len(MODES) == 9
    encoder, expected = MODES[mode]
    photo = np.ascontiguousarray(hopper[100:356, 140:396])
    got, want = read_image(encoder(photo)), expected(photo)
    assert got.dtype == np.uint8
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want).max() <= (6 if "JPEG" in mode else 0)


@pytest.mark.parametrize("mode", MODES)
def test_pixel_layouts_do_not_change_the_decision(mode: str, recognizer: Recognizer, hopper: UInt8Array) -> None:
    encoder, expected = MODES[mode]
    photo = np.ascontiguousarray(hopper[60:440, 80:460])
    one, other = recognizer.template(encoder(photo)), recognizer.template(np.ascontiguousarray(expected(photo)))
    assert recognizer.compare(one, other) >= (0.97 if "JPEG" in mode else 0.999)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(read_image(encode(wide, "PNG"))[..., 0], np.rint(wide / 257).astype(np.uint8))


def test_sixteen_bit_colour_is_read_at_eight() -> None:
    wide = np.repeat(np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16, 1), 3, axis=2)
    wide[..., 1] //= 2
    _, content = cv2.imencode(".png", wide[..., ::-1])
    got = read_image(content.tobytes())
    assert np.abs(got.astype(float) - wide / 257).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (13, 9)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(read_image(encode(pixels, "PNG")), pixels)
    assert read_image(encode(pixels, "JPEG")).shape == pixels.shape
    assert np.array_equal(read_image(encode(pixels, "WEBP", lossless=True)), pixels)


def test_black_and_white_is_read() -> None:
    bits = np.random.default_rng(2).integers(0, 2, (8, 8), np.uint8) * 255
    assert np.array_equal(read_image(encode(Image.fromarray(bits).convert("1"), "PNG")), three(bits))


BACKGROUNDS = [(255, 255, 255), (0, 0, 0), (12, 180, 77)]


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_transparent_pixels_show_the_background(background: tuple[int, int, int]) -> None:
    rgba = np.random.default_rng(3).integers(0, 256, (12, 10, 4), np.uint8)
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + np.array(background) * (1 - alpha)
    for content in (encode(rgba, "PNG"), encode(rgba, "WEBP", lossless=True, exact=True)):
        assert np.abs(read_image(content, background=background) - expected).max() <= 0.5 + 1e-9
    assert np.abs(read_image(Image.fromarray(rgba), background=background) - expected).max() <= 0.5 + 1e-9


def test_transparent_pixels_are_laid_on_white_unless_told_otherwise() -> None:
    assert (read_image(encode(np.zeros((4, 4, 4), np.uint8), "PNG")) == 255).all()


def test_one_transparent_colour_is_transparent() -> None:
    pixels = np.full((4, 4, 3), 9, np.uint8)
    pixels[0, 0] = (255, 0, 0)
    content = encode(pixels, "PNG", transparency=(255, 0, 0))
    got = read_image(content, background=(1, 2, 3))
    assert got[0, 0].tolist() == [1, 2, 3]
    assert got[1, 1].tolist() == [9, 9, 9]
    palette = Image.fromarray(pixels).quantize(2)
    seen = read_image(encode(palette, "PNG", transparency=palette.getpixel((0, 0))), background=(1, 2, 3))
    assert seen[0, 0].tolist() == [1, 2, 3]
    assert seen[1, 1].tolist() != [1, 2, 3]


PIL_MODES = [
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "I;16",
    "I;16B",
]


@pytest.mark.parametrize("mode", PIL_MODES)
def test_every_mode_of_pil_gives_rgb(mode: str) -> None:
    got = read_image(Image.new(mode, (5, 3)))
    assert got.shape == (3, 5, 3)
    assert got.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_colours_survive_every_mode_that_has_them(mode: str) -> None:
    assert np.abs(read_image(Image.fromarray(SMALL).convert(mode)).astype(int) - SMALL).max() <= 12


def test_floating_point_pictures_are_refused() -> None:
    with pytest.raises(UnsupportedImage, match="no stated range"):
        read_image(Image.new("F", (4, 4)))


def test_a_cmyk_profile_that_is_none_is_passed_over() -> None:
    picture = Image.fromarray(SMALL).convert("CMYK")
    plain = read_image(encode(picture, "JPEG", quality=100))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (b"garbage", srgb):
        assert np.array_equal(read_image(encode(picture, "JPEG", quality=100, icc_profile=profile)), plain)


def test_colour_profiles_of_rgb_are_not_applied() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(read_image(encode(SMALL, "PNG", icc_profile=profile)), SMALL)


# --- frames and further formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_read(kind: str) -> None:
    other = Image.fromarray(SMALL[::-1].copy())
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    content = encode(SMALL, kind, save_all=True, append_images=[other, other], duration=40, **options)
    assert getattr(Image.open(io.BytesIO(content)), "n_frames", 1) > 1
    assert np.array_equal(read_image(content), SMALL)


def test_the_first_picture_of_several_in_a_jpeg_is_read() -> None:
    first = np.kron(np.random.default_rng(4).integers(0, 256, (4, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    content = encode(first, "MPO", save_all=True, append_images=[Image.new("RGB", (128, 64))], quality=95)
    assert content.startswith(b"\xff\xd8\xff")
    photo = open_photo(content)
    assert (photo.width, photo.height) == (128, 64)
    assert np.array_equal(photo.pixels(), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    pixels, scale = open_photo(content).reduced(16)
    assert pixels.shape[:2] == (round(64 * scale), round(128 * scale))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_read() -> None:
    smooth = cv2.GaussianBlur(SMALL, (0, 0), 4)
    assert np.abs(read_image(encode(smooth, "AVIF", quality=95)).astype(int) - smooth).max() < 24


def heic(pixels: UInt8Array, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra vultus[heif] is not installed")
    encoded = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(encoded, quality=95, **options)
    return encoded.getvalue()


def test_heic_is_read_with_the_extra() -> None:
    smooth = cv2.GaussianBlur(np.kron(SMALL, np.ones((4, 4, 1), np.uint8)), (0, 0), 6)
    photo = open_photo(heic(smooth))
    assert (photo.width, photo.height) == (128, 64)
    assert np.abs(photo.pixels().astype(int) - smooth).max() < 24


def test_heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = heic(SMALL)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedImage, match=r"pip install 'vultus\[heif\]'"):
        read_image(content)


# --- reduced decodes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longest", "divisor"), [(1, 8), (100, 8), (125, 8), (126, 4), (250, 4), (251, 2), (500, 2), (501, 1), (9_999, 1)]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_scale_of_a_reduced_jpeg(longest: int, divisor: int, orientation: int, astronaut: UInt8Array) -> None:
    seen = cv2.resize(astronaut, (1000, 600), interpolation=cv2.INTER_AREA)
    photo = open_photo(encode(stored(seen, orientation), "JPEG", orientation=orientation, quality=95))
    pixels, scale = photo.reduced(longest)
    assert scale == 1 / divisor
    assert pixels.shape == (600 // divisor, 1000 // divisor, 3)
    expected = cv2.resize(seen, pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(float) - expected).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_not_reduced(kind: str) -> None:
    photo = open_photo(encode(SMALL, kind, **LOSSLESS[kind]))
    pixels, scale = photo.reduced(4)
    assert scale == 1
    assert np.array_equal(pixels, SMALL)
    assert photo.pixels() is pixels


@pytest.mark.parametrize("size", [(1001, 333), (5, 4000), (4000, 3)])
def test_sizes_that_do_not_divide_evenly(size: tuple[int, int]) -> None:
    photo = open_photo(encode(np.zeros((size[1], size[0], 3), np.uint8), "JPEG"))
    pixels, scale = photo.reduced(200)
    assert max(pixels.shape) >= 200
    assert abs(pixels.shape[1] - size[0] * scale) <= 1
    assert abs(pixels.shape[0] - size[1] * scale) <= 1


def test_boxes_agree_between_full_and_reduced_decodes(recognizer: Recognizer, astronaut: UInt8Array) -> None:
    content = encode(cv2.resize(astronaut, (2560, 2560), interpolation=cv2.INTER_CUBIC), "JPEG", quality=95)
    reduced = recognizer.detect(content, min_face=200)
    full = recognizer.detect(read_image(content), min_face=200)
    assert len(reduced) == len(full) == 1
    assert np.abs(reduced.boxes - full.boxes).max() < 2
    assert np.abs(reduced.landmarks - full.landmarks).max() < 2


def test_crops_agree_between_full_and_reduced_decodes(recognizer: Recognizer, astronaut: UInt8Array) -> None:
    content = encode(cv2.resize(astronaut, (2560, 2560), interpolation=cv2.INTER_CUBIC), "JPEG", quality=95)
    full = read_image(content)
    faces = recognizer.detect(full, min_face=200)
    one, other = recognizer.embed(np.concatenate([recognizer.align(x, faces) for x in (content, full)]))
    assert one @ other > 0.995


# --- Photo ------------------------------------------------------------------------------------------------------------


def test_pixels_are_decoded_once() -> None:
    photo = open_photo(encode(np.kron(SMALL, np.ones((8, 8, 1), np.uint8)), "JPEG"))
    small = photo.reduced(32)
    assert photo.reduced(20)[0] is small[0]
    assert photo.reduced(33)[0] is not small[0]
    full = photo.pixels()
    assert photo.pixels() is full
    assert photo.reduced(8) == (full, 1.0)


def test_a_finer_reduced_decode_replaces_a_coarser_one() -> None:
    photo = open_photo(encode(np.kron(SMALL, np.ones((8, 8, 1), np.uint8)), "JPEG"))
    assert [photo.reduced(n)[1] for n in (32, 64, 32, 256, 32)] == [1 / 8, 1 / 4, 1 / 4, 1, 1]


class Interrupted(Photo):
    """A photo for which another thread stores a coarse decode right after each decode of this one."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_small" and value is not None:
            super().__setattr__(name, (np.zeros((2, 4, 3), np.uint8), 1 / 8))


def test_another_thread_does_not_change_what_this_one_gets() -> None:
    content = encode(SMALL, "JPEG")
    plain = open_photo(content)
    photo = Interrupted(
        width=32, height=16, content=content, pixels=None, limits=plain._limits, background=plain._background
    )
    assert photo.reduced(32)[0].shape == (16, 32, 3)
    assert photo.pixels().shape == (16, 32, 3)
