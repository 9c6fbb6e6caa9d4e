"""Every way in which a photo comes, and what is no photo."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vultus import Limits, Photo, read_image
from vultus.errors import (
    BadArgument,
    ImageError,
    ImageParseError,
    ImageTooLarge,
    SourceUnavailable,
    UnsupportedImage,
    VultusError,
)
from vultus.image import open_photo
from vultus.types import UInt8Array

PIXELS: UInt8Array = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)


def png(pixels: UInt8Array = PIXELS) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


# --- what is a photo --------------------------------------------------------------------------------------------------


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    content, path = png(), tmp_path / "photo.png"
    path.write_bytes(content)
    sources: list[Any] = [
        str(path),
        path,
        content,
        bytearray(content),
        memoryview(content),
        io.BytesIO(content),
        PIXELS,
    ]
    sources += [Image.fromarray(PIXELS), open_photo(PIXELS), np.asfortranarray(PIXELS)]
    assert len(sources) == 10
    for source in sources:
        assert np.array_equal(read_image(source), PIXELS), type(source)
    with path.open("rb") as file, Image.open(path) as lazy:
        assert np.array_equal(read_image(file), PIXELS)
        assert np.array_equal(read_image(lazy), PIXELS)


def test_a_path_of_a_class_of_its_own(tmp_path: Path) -> None:
    class Somewhere:
        def __fspath__(self) -> str:
            return str(tmp_path / "x.png")

    (tmp_path / "x.png").write_bytes(png())
    assert np.array_equal(read_image(Somewhere()), PIXELS)


def test_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "really-a.jpg"
    path.write_bytes(png())
    assert np.array_equal(read_image(path), PIXELS)


def test_names_are_not_interpreted(tmp_path: Path) -> None:
    for name in ("-rf", "~root", "$HOME", "a b", "%00", "\u202egnp.exe", "\U0001f600", "a\u0308\n"):
        (tmp_path / name).write_bytes(png())
        assert read_image(tmp_path / name).shape == PIXELS.shape


def test_photos_pass_through_untouched() -> None:
    photo = open_photo(png())
    assert open_photo(photo) is photo
    assert repr(photo) == "Photo(36 x 24)"
    assert (photo.width, photo.height) == (36, 24)


def test_closed_files_are_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png())
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    photos = [open_photo(path) for _ in range(20)]
    for photo in photos:
        photo.pixels()
    after = len(list(descriptors.iterdir())) if before else 0
    assert after <= before + 2


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_grey_arrays_become_three_equal_channels() -> None:
    grey = PIXELS[..., 0]
    for array in (grey, grey[..., None]):
        assert np.array_equal(read_image(array), np.stack([grey] * 3, axis=2))


def test_wide_arrays_are_scaled_and_rounded() -> None:
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(read_image(wide)[..., 0], np.rint(wide / 257).astype(np.uint8))
    colour = np.stack([wide, wide[::-1], wide.T], axis=2)
    assert np.array_equal(read_image(colour), np.rint(colour / 257).astype(np.uint8))


def test_arrays_with_alpha_are_laid_on_the_background() -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (9, 7, 4), np.uint8)
    alpha = rgba[..., 3:] / 255
    for background in ((255, 255, 255), (0, 0, 0), (10, 200, 30)):
        expected = np.rint(rgba[..., :3] * alpha + np.array(background) * (1 - alpha))
        got = read_image(rgba, background=background)
        assert np.abs(got - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(read_image(rgba), read_image(rgba, background=(255, 255, 255)))


def test_wide_alpha_is_scaled_with_the_colours() -> None:
    wide = np.full((4, 4, 4), 65535, np.uint16)
    wide[..., :3] = 257 * 40
    wide[0, 0, 3] = 0
    got = read_image(wide)
    assert got[1, 1].tolist() == [40, 40, 40]
    assert got[0, 0].tolist() == [255, 255, 255]


def test_arrays_are_not_written_to() -> None:
    array = PIXELS.copy()
    array.flags.writeable = False
    photo = open_photo(array)
    photo.reduced(5)
    assert np.array_equal(array, PIXELS)


WRONG_ARRAYS: list[tuple[Any, type[VultusError], str]] = [
    (np.zeros((4, 4, 3), np.float32), UnsupportedImage, "dtype float32; expected uint8 or uint16"),
    (np.full((4, 4, 3), np.nan), UnsupportedImage, "dtype float64"),
    (np.zeros((4, 4, 3), np.int64), UnsupportedImage, "dtype int64"),
    (np.zeros((4, 4, 3), bool), UnsupportedImage, "dtype bool"),
    (np.zeros((4, 4, 3), complex), UnsupportedImage, "dtype complex128"),
    (np.array([["a"]]), UnsupportedImage, "dtype <U1"),
    (np.array([[None]]), UnsupportedImage, "dtype object"),
    (np.array(None), UnsupportedImage, "dtype object"),
    (np.zeros(4, np.uint8), UnsupportedImage, r"shape \(4,\); expected \(H, W\)"),
    (np.array(4, np.uint8), UnsupportedImage, r"shape \(\)"),
    (np.zeros((4, 4, 2), np.uint8), UnsupportedImage, r"shape \(4, 4, 2\)"),
    (np.zeros((4, 4, 5), np.uint8), UnsupportedImage, r"shape \(4, 4, 5\)"),
    (np.zeros((3, 4, 4), np.uint8)[:, :, :0], UnsupportedImage, r"shape \(3, 4, 0\)"),
    (np.zeros((1, 4, 4, 3), np.uint8), UnsupportedImage, r"shape \(1, 4, 4, 3\)"),
    (np.zeros((0, 4, 3), np.uint8), ImageParseError, "no pixels"),
    (np.zeros((4, 0), np.uint8), ImageParseError, "no pixels"),
    (np.zeros((1, 20_000), np.uint8), ImageTooLarge, "20000 x 1 pixels"),
]


@pytest.mark.parametrize(("array", "kind", "message"), WRONG_ARRAYS)
def test_other_arrays_are_refused(array: Any, kind: type[VultusError], message: str) -> None:
    assert len(WRONG_ARRAYS) == 17
    with pytest.raises(kind, match=message):
        read_image(array)


# --- what is no photo -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [None, 3, 2.5, [1, 2], (PIXELS,), {"path": "x"}, object()])
def test_other_types_are_refused(source: Any) -> None:
    with pytest.raises(BadArgument, match="expected a path, bytes, a file object, a PIL image or an array"):
        read_image(source)


@pytest.mark.parametrize(
    "name", ["missing.jpg", "no/such/folder.jpg", "nul\x00byte.jpg", "long" * 3_000, "", "\udcff.jpg"]
)
def test_paths_without_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        read_image(str(tmp_path / name) if name else name)


def test_a_folder_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"cannot read|not a regular file"):
        read_image(tmp_path)


@pytest.mark.timeout(30)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceUnavailable, match="not a regular file"):
        read_image(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_device_is_refused() -> None:
    with pytest.raises(SourceUnavailable, match="not a regular file"):
        read_image("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(png())
    path.chmod(0)
    with pytest.raises(SourceUnavailable, match="Permission denied"):
        read_image(path)


def test_the_name_and_the_reason_stand_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"missing\.jpg': No such file or directory"):
        read_image(tmp_path / "missing.jpg")


class Stream(io.RawIOBase):
    """A file object that fails, or gives what no file gives."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


STREAMS: list[tuple[Any, type[VultusError], str]] = [
    (io.StringIO("text"), BadArgument, "binary mode"),
    (Stream("text"), BadArgument, "binary mode"),
    (Stream(None), BadArgument, "binary mode"),
    (Stream(OSError("the disk is gone")), SourceUnavailable, "the disk is gone"),
    (io.BytesIO(b""), ImageParseError, "0 bytes"),
    (io.BytesIO(b"garbage"), ImageParseError, "no picture"),
]


@pytest.mark.parametrize(("stream", "kind", "message"), STREAMS)
def test_streams_that_give_no_photo(stream: Any, kind: type[VultusError], message: str) -> None:
    assert len(STREAMS) == 6
    with pytest.raises(kind, match=message):
        read_image(stream)


def test_closed_and_text_files_are_refused(tmp_path: Path) -> None:
    closed = io.BytesIO(png())
    closed.close()
    with pytest.raises(SourceUnavailable, match="closed file"):
        read_image(closed)
    (tmp_path / "x.png").write_bytes(png())
    with (tmp_path / "x.png").open(encoding="latin-1") as text, pytest.raises(BadArgument, match="binary mode"):
        read_image(text)  # type: ignore[arg-type]
    with (tmp_path / "x.png").open(encoding="utf-8") as text, pytest.raises((BadArgument, SourceUnavailable)):
        read_image(text)  # type: ignore[arg-type]


def test_a_file_opened_for_writing_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file, pytest.raises(SourceUnavailable, match="cannot read the file object"):
        read_image(file)


def test_a_temporary_file_is_read_from_where_it_stands() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"prefix" + png())
        file.seek(6)
        assert np.array_equal(read_image(file), PIXELS)


# --- PIL images -------------------------------------------------------------------------------------------------------


def test_an_empty_pil_image() -> None:
    for size in ((0, 4), (4, 0), (0, 0)):
        with pytest.raises(UnsupportedImage, match="pixels"):
            read_image(Image.new("RGB", size))


def test_a_closed_pil_image() -> None:
    picture = Image.open(io.BytesIO(png()))
    picture.close()
    with pytest.raises(ImageError):
        read_image(picture)


def test_the_caps_hold_for_pil_images() -> None:
    with pytest.raises(ImageTooLarge, match="36 x 24"):
        read_image(Image.fromarray(PIXELS), limits=Limits(max_side=35))


# --- caps -------------------------------------------------------------------------------------------------------------


def test_each_cap_acts_at_its_value(tmp_path: Path) -> None:
    content = png()
    path = tmp_path / "x.png"
    path.write_bytes(content)
    caps = [
        (Limits(max_bytes=len(content)), Limits(max_bytes=len(content) - 1), "bytes"),
        (Limits(max_pixels=24 * 36), Limits(max_pixels=24 * 36 - 1), "36 x 24 pixels"),
        (Limits(max_side=36), Limits(max_side=35), "36 x 24 pixels"),
    ]
    for enough, too_little, message in caps:
        sources: list[Any] = [content, path, io.BytesIO(content)]
        if message != "bytes":
            sources += [PIXELS, Image.fromarray(PIXELS)]
        for source in sources:
            assert read_image(source, limits=enough).shape == PIXELS.shape
            if hasattr(source, "seek") and not isinstance(source, Image.Image):
                source.seek(0)
            with pytest.raises(ImageTooLarge, match=message):
                read_image(source, limits=too_little)


def test_a_stream_is_read_no_further_than_the_cap() -> None:
    class Endless(Stream):
        asked = 0

        def read(self, size: int = -1) -> bytes:
            self.asked = size
            return b"\xff" * size

    endless = Endless(None)
    with pytest.raises(ImageTooLarge, match="more than 1,000 bytes"):
        read_image(endless, limits=Limits(max_bytes=1_000))  # type: ignore[arg-type]
    assert endless.asked == 1_001


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "max_side"])
def test_caps_are_positive(name: str) -> None:
    with pytest.raises(BadArgument, match="positive"):
        Limits(**{name: 0})


def test_photo_is_what_open_photo_gives() -> None:
    assert isinstance(open_photo(PIXELS), Photo)
