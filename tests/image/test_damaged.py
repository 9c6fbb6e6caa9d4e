"""Bytes that are no picture, that are damaged, or that are made to cost more than they should."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vultus import Limits, read_image
from vultus.errors import ImageError, ImageParseError, ImageTooLarge, UnsupportedImage
from vultus.image import open_photo
from vultus.image.decode import sniff
from vultus.types import UInt8Array

PIXELS: UInt8Array = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


def encode(kind: str, pixels: UInt8Array = PIXELS, **options: Any) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, kind, **options)
    return encoded.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, *, before: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG put together by hand, so that its header can lie."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# --- what is no picture -----------------------------------------------------------------------------------------------

NO_PICTURE = {
    "nothing": b"",
    "one byte": b"\xff",
    "zeros": bytes(1_000),
    "text": b"this is no picture" * 20,
    "random": np.random.default_rng(1).integers(0, 256, 4_000, np.uint8).tobytes(),
    "half a PNG signature": b"\x89PNG",
    "a PNG signature alone": b"\x89PNG\r\n\x1a\n",
    "a JPEG signature alone": b"\xff\xd8\xff",
    "a WebP signature alone": b"RIFF\x00\x00\x00\x00WEBP",
    "sound": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "a film": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "HTML": b"<!DOCTYPE html><html></html>",
    "a PNG after a newline": b"\n" + encode("PNG"),
    "a JPEG with another magic": b"\xff\xd9" + encode("JPEG")[2:],
    "JSON": b'{"image": "x"}',
}


@pytest.mark.parametrize("name", NO_PICTURE)
def test_what_is_no_picture_is_a_parse_error(name: str) -> None:
    assert len(NO_PICTURE) == 15
    with pytest.raises(ImageParseError) as caught:
        read_image(NO_PICTURE[name])
    assert caught.value.code == "parse_error"


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("face.png", encode("PNG"))
    return content.getvalue()


UNSUPPORTED: dict[str, tuple[bytes, str]] = {
    "GIF": (encode("GIF"), "GIF"),
    "TIFF": (encode("TIFF"), "TIFF"),
    "TIFF of the other order": (b"MM\x00*" + bytes(40), "TIFF"),
    "BMP": (encode("BMP"), "BMP"),
    "ICO": (encode("ICO"), "ICO"),
    "PDF": (encode("PDF"), "PDF"),
    "EPS": (encode("EPS"), "EPS"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "SVG after a byte order mark": (b"\xef\xbb\xbf \n<svg/>", "SVG"),
    "XML": (b"<?xml version='1.0'?><svg/>", "SVG or XML"),
    "FITS": (b"SIMPLE  =                    T" + bytes(90), "FITS"),
    "Photoshop": (b"8BPS\x00\x01" + bytes(40), "Photoshop"),
    "JPEG 2000": (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000"),
    "JPEG XL": (b"\xff\x0a" + bytes(40), "JPEG XL"),
    "pickle": (pickle.dumps({"a": 1}, protocol=4), "pickle"),
    "a later pickle": (pickle.dumps({"a": 1}, protocol=5), "pickle"),
    "zip": (archive(), "zip"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_other_formats_are_named_and_refused(name: str) -> None:
    assert len(UNSUPPORTED) == 17
    content, named = UNSUPPORTED[name]
    with pytest.raises(UnsupportedImage, match=f"this is .*{named}.* convert it first") as caught:
        read_image(content)
    assert caught.value.code == "unsupported"


def test_a_polyglot_is_what_its_first_bytes_say() -> None:
    assert np.array_equal(read_image(encode("PNG") + archive()), PIXELS)
    with pytest.raises(UnsupportedImage, match="zip"):
        read_image(archive() + encode("PNG"))


@given(st.binary(max_size=64))
def test_sniffing_never_fails_in_another_way(head: bytes) -> None:
    with suppress(ImageParseError, UnsupportedImage):
        assert sniff(head) in {"JPEG", "PNG", "WEBP", "AVIF", "HEIF"}


# --- truncated and damaged --------------------------------------------------------------------------------------------

SEEDS: dict[str, bytes] = {
    "JPEG": encode("JPEG", quality=90),
    "progressive JPEG": encode("JPEG", progressive=True),
    "PNG": encode("PNG"),
    "grey PNG": encode("PNG", PIXELS[..., 0]),
    "WebP": encode("WEBP", quality=80),
    "lossless WebP": encode("WEBP", lossless=True),
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_truncated_picture_is_an_error_or_lacks_no_pixel(name: str) -> None:
    assert len(SEEDS) == 6
    content = SEEDS[name]
    whole, whole_without_end = read_image(content), 0
    cuts = {*range(0, len(content), 7), *range(max(0, len(content) - 40), len(content))}
    assert len(cuts) > 40
    for cut in sorted(cuts):
        try:
            assert np.array_equal(read_image(content[:cut]), whole)
            whole_without_end += 1
        except ImageParseError:
            continue
    assert whole_without_end <= 22  # an end marker and a checksum may be missing, no more


@pytest.mark.parametrize("name", SEEDS)
def test_a_truncated_picture_is_not_looked_at_reduced_either(name: str) -> None:
    with pytest.raises(ImageParseError):
        open_photo(SEEDS[name][: len(SEEDS[name]) * 3 // 4]).reduced(5)


def test_a_png_whose_header_fails_its_checksum_is_damaged() -> None:
    content = bytearray(SEEDS["PNG"])
    content[content.index(b"IHDR") + 7] ^= 1
    with pytest.raises(ImageParseError):
        read_image(bytes(content))


def test_a_png_whose_pixels_fail_their_checksum_is_damaged() -> None:
    content = bytearray(SEEDS["PNG"])
    content[content.index(b"IEND") - 5] ^= 1  # the last byte of the chunk before: of its checksum
    with pytest.raises(ImageParseError, match="checksum"):
        read_image(bytes(content))


@pytest.mark.parametrize(("depth", "colour", "row"), [(8, 2, 31), (8, 0, 11), (1, 0, 3), (16, 6, 81), (4, 3, 6)])
def test_a_png_without_its_last_row_is_damaged(depth: int, colour: int, row: int) -> None:
    palette = chunk(b"PLTE", bytes(48)) if colour == 3 else b""
    for rows in (7, 6):
        content = png(10, 7, zlib.compress(bytes(rows * row)), before=palette, depth=depth, colour=colour)
        if rows == 7:
            assert read_image(content).shape == (7, 10, 3)
        else:
            with pytest.raises(ImageParseError, match="bytes of its pixels"):
                read_image(content)


def test_an_interlaced_png_is_counted_by_its_passes() -> None:
    # ten by seven grey: passes of 2x1, 1x1, 3x1, 2x2, 5x2, 5x4 and 10x3 pixels, each row with a byte more
    for lacking in (0, 1):
        data = zlib.compress(bytes(3 + 2 + 4 + 2 * 3 + 2 * 6 + 4 * 6 + 3 * 11 - lacking))
        content = bytearray(png(10, 7, data, colour=0))
        start = content.index(b"IHDR")
        content[start + 16] = 1
        content[start + 17 : start + 21] = zlib.crc32(content[start : start + 17]).to_bytes(4, "big")
        if not lacking:
            assert read_image(bytes(content)).shape == (7, 10, 3)
        else:
            with pytest.raises(ImageParseError, match="damaged"):
                read_image(bytes(content))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_flipped_bytes_give_pixels_or_a_typed_error(name: str, data: st.DataObject) -> None:
    content = bytearray(SEEDS[name])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] ^= data.draw(st.integers(1, 255))
    try:
        pixels = read_image(bytes(content), limits=Limits(max_pixels=1_000_000))
    except ImageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size


# --- made to cost -----------------------------------------------------------------------------------------------------


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(encode("JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is as large as its header says."""
    frame = encode("WEBP", lossless=True)[12:]
    size = b"\x10\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + size + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


SMALL_DATA = zlib.compress(bytes(3_000))
BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG of 60000 x 60000": lambda: png(60_000, 60_000, SMALL_DATA),
    "PNG of 2^31 - 1 a side": lambda: png(2**31 - 1, 2**31 - 1, SMALL_DATA),
    "PNG just over the cap": lambda: png(10_000, 4_001, SMALL_DATA),
    "PNG of 95 megapixels": lambda: png(10_000, 9_500, SMALL_DATA),
    "PNG with one long side": lambda: png(16_385, 1, SMALL_DATA),
    "JPEG of 65500 x 65500": lambda: jpeg_of(65_500, 65_500),
    "JPEG with one long side": lambda: jpeg_of(16, 16_400),
}


@pytest.mark.parametrize("name", BOMBS)
def test_headers_over_the_caps_are_refused_before_decoding(name: str) -> None:
    assert len(BOMBS) == 7
    with pytest.raises(ImageTooLarge) as caught:
        open_photo(BOMBS[name]())
    assert caught.value.code == "too_large"


def test_a_refusal_is_no_warning_as_well() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ImageTooLarge):
            open_photo(png(10_000, 9_500, SMALL_DATA))
    assert not seen


def test_caps_may_be_raised_for_pictures_that_are_trusted() -> None:
    large = Limits(max_pixels=10**9, max_side=10**5)
    assert open_photo(jpeg_of(20_000, 15_000), limits=large).width == 20_000


def test_a_webp_whose_canvas_is_a_lie() -> None:
    with pytest.raises(ImageError):
        read_image(webp_of(16_000, 16_000))


def test_pixels_at_the_cap_are_read() -> None:
    assert read_image(png(40, 25, zlib.compress(bytes(121 * 25))), limits=Limits(max_pixels=1_000)).shape == (25, 40, 3)


def test_data_far_beyond_the_header_is_not_inflated() -> None:
    """A hundred megabytes of zeros in a hundred kilobytes, in a picture of eight by eight."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(96)) + packer.flush()
    with suppress(ImageError):
        assert read_image(png(8, 8, data)).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_compressed_metadata_is_not_inflated_without_bound(kind: bytes) -> None:
    packed = zlib.compress(bytes(64 << 20), 9)
    data = {b"zTXt": b"key\x00\x00", b"iCCP": b"key\x00\x00", b"iTXt": b"key\x00\x01\x00\x00\x00"}[kind] + packed
    content = png(8, 8, zlib.compress(bytes(25 * 8)), before=chunk(kind, data))
    with suppress(ImageError):
        assert read_image(content).shape == (8, 8, 3)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0)])
def test_pictures_without_pixels(width: int, height: int) -> None:
    with pytest.raises(ImageError):
        read_image(png(width, height, SMALL_DATA))


@pytest.mark.parametrize(("depth", "colour"), [(3, 2), (16, 3), (8, 7), (255, 255)])
def test_pixel_layouts_that_do_not_exist(depth: int, colour: int) -> None:
    with pytest.raises(ImageError):
        read_image(png(8, 8, SMALL_DATA, depth=depth, colour=colour))
