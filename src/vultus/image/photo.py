"""A photo from wherever it came, decoded no further than is asked."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from vultus._export import export
from vultus.errors import BadArgument, ImageParseError, SourceUnavailable, UnsupportedImage
from vultus.image.decode import (
    WHITE,
    Colour,
    Limits,
    decode,
    from_16_bit,
    grey_to_rgb,
    open_encoded,
    orientation,
    over,
    parsing,
    to_rgb,
    upright,
)
from vultus.image.png import check_png
from vultus.types import UInt8Array


@export("vultus.Photo")
class Photo:
    """One picture whose size is known; pixels are decoded when asked for, at the scale that is needed.

    Coordinates everywhere are of the full picture as it is seen, its EXIF orientation undone.
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        content: bytes | None,
        pixels: UInt8Array | None,
        limits: Limits,
        background: Colour,
    ) -> None:
        self.width = width
        self.height = height
        self._content = content
        self._pixels = pixels
        self._small: tuple[UInt8Array, float] | None = None
        self._limits = limits
        self._background = background

    def __repr__(self) -> str:
        return f"Photo({self.width} x {self.height})"

    def pixels(self) -> UInt8Array:
        """(height, width, 3) uint8 RGB at full size.

        Raises:
            ImageParseError: the content is damaged.
        """
        if self._pixels is None:
            self._pixels, _ = self._decode(None)
        return self._pixels

    def reduced(self, longest: int) -> tuple[UInt8Array, float]:
        """Pixels at the smallest scale that a decoder gives for free and whose longer side is at least `longest`.

        A JPEG is decoded at 1/2, 1/4 or 1/8 of its size; every other format, and a photo that is decoded already, comes
        at full size.

        Returns:
            (h, w, 3) uint8 RGB, and the scale: size in these pixels over size in the photo.

        Raises:
            ImageParseError: the content is damaged.
        """
        if self._pixels is not None:
            return self._pixels, 1.0
        small = self._small  # read once: another thread may put its own there
        if small is None or max(small[0].shape) < longest:
            self._small = small = self._decode(longest)
            if small[1] == 1.0:
                self._pixels = small[0]
        return small

    def _decode(self, longest: int | None) -> tuple[UInt8Array, float]:
        picture = open_encoded(cast("bytes", self._content), self._limits)
        turned = orientation(picture, self._content)
        scale = 1.0
        if longest is not None and picture.format == "JPEG":
            full = max(picture.size)
            factor = next((f for f in (8, 4, 2) if full >= f * longest), 1)
            if factor > 1:
                with parsing("the JPEG"):
                    picture.draft(None, (max(1, picture.size[0] // factor), max(1, picture.size[1] // factor)))
                scale = 1.0 / round(full / max(picture.size))
        pixels = decode(picture, background=self._background)
        if picture.format == "PNG":
            with parsing("the PNG"):
                check_png(cast("bytes", self._content))
        return upright(pixels, turned), scale


ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | npt.NDArray[Any] | Photo
)


def open_photo(source: ImageSource, *, limits: Limits | None = None, background: Colour = WHITE) -> Photo:
    """A photo from a path, bytes, a file object, a PIL image or an array.

    Arrays are uint8 or uint16 of shape (H, W), (H, W, 1), (H, W, 3) in RGB or (H, W, 4) in RGBA, as they are seen.

    Args:
        source: where the photo is.
        limits: caps on bytes, pixels and side.
        background: RGB colour that transparent pixels are laid on.

    Raises:
        SourceUnavailable: a path without a readable file.
        ImageError: the content is damaged, too large or of an unsupported kind.
        BadArgument: a source of another type.
    """
    limits = limits or Limits()
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, limits, background)
    if isinstance(source, Image.Image):
        return _from_picture(source, limits, background)
    if isinstance(source, str | os.PathLike):
        content = _read_file(source, limits)
    elif isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif hasattr(source, "read"):
        content = _read_stream(source, limits)
    else:
        raise BadArgument(
            f"cannot read a photo from {type(source).__name__}; expected a path, bytes, a file object, a PIL image or an array"
        )
    picture = open_encoded(content, limits)
    width, height = picture.size if orientation(picture, content) < 5 else picture.size[::-1]
    return Photo(width=width, height=height, content=content, pixels=None, limits=limits, background=background)


@export("vultus.read_image")
def read_image(source: ImageSource, *, limits: Limits | None = None, background: Colour = WHITE) -> UInt8Array:
    """Decode a picture to RGB as it is seen.

    Args:
        source: a path, bytes, a file object, a PIL image or an array.
        limits: caps on bytes, pixels and side, checked before decoding.
        background: RGB colour that transparent pixels are laid on; white unless told otherwise.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SourceUnavailable: a path without a readable file.
        ImageError: the content is damaged (`ImageParseError`), too large (`ImageTooLarge`) or unsupported
            (`UnsupportedImage`).
        BadArgument: a source of another type.
    """
    return open_photo(source, limits=limits, background=background).pixels()


def _read_file(path: str | os.PathLike[str], limits: Limits) -> bytes:
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SourceUnavailable(f"{os.fspath(path)!r} is not a regular file")
            limits.check_bytes(status.st_size)
            return file.read(min(status.st_size, limits.max_bytes) + 1)
    except (OSError, ValueError) as problem:
        if isinstance(problem, SourceUnavailable) or hasattr(problem, "code"):
            raise
        reason = getattr(problem, "strerror", None) or str(problem)
        raise SourceUnavailable(f"cannot read {os.fspath(path)!r}: {reason}") from problem


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe that nobody writes to does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_stream(stream: BinaryIO, limits: Limits) -> bytes:
    try:
        content = stream.read(limits.max_bytes + 1)
    except (OSError, ValueError) as problem:
        raise SourceUnavailable(f"cannot read the file object: {problem}") from problem
    if not isinstance(content, bytes):
        raise BadArgument("the file object gives text; open it in binary mode")
    return content


def _from_picture(picture: Image.Image, limits: Limits, background: Colour) -> Photo:
    limits.check_size(*picture.size)
    if not all(picture.size):
        raise UnsupportedImage(f"the picture has {picture.size[0]} x {picture.size[1]} pixels")
    turned = orientation(picture)
    with parsing("the PIL image"):
        picture.load()
        pixels = upright(to_rgb(picture, background=background), turned)
    return Photo(
        width=pixels.shape[1], height=pixels.shape[0], content=None, pixels=pixels, limits=limits, background=background
    )


def _from_array(array: npt.NDArray[Any], limits: Limits, background: Colour) -> Photo:
    if array.dtype not in (np.uint8, np.uint16):
        raise UnsupportedImage(
            f"the array has dtype {array.dtype}; expected uint8 or uint16 (scale floats to 0..255 and convert first)"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UnsupportedImage(f"the array has shape {array.shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    height, width = array.shape[:2]
    if not height or not width:
        raise ImageParseError(f"the array has shape {array.shape}: no pixels")
    limits.check_size(width, height)
    pixels = from_16_bit(array) if array.dtype == np.uint16 else array
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = grey_to_rgb(pixels.reshape(height, width))
    elif pixels.shape[2] == 4:
        pixels = over(pixels, background)
    return Photo(
        width=width,
        height=height,
        content=None,
        pixels=np.ascontiguousarray(pixels),
        limits=limits,
        background=background,
    )
