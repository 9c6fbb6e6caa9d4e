"""From bytes to RGB pixels: format by content, caps before decoding, one stated conversion for every pixel layout.

JPEG, PNG and WebP are read; AVIF where Pillow was built with it, HEIC with the extra `vultus[heif]`. Of animations and
multi-picture files the first frame is read. The conversions: 16-bit samples are scaled to 8, alpha is laid on a
background colour, CMYK goes through its embedded profile where it has one, other colour profiles are not applied.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import AvifImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin, features

from vultus._export import export
from vultus.errors import BadArgument, ImageError, ImageParseError, ImageTooLarge, UnsupportedImage
from vultus.types import UInt8Array

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)

# Each format's own opener: `Image.open` warns and refuses by a cap on pixels of its own, which `Limits` stands in for.
_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"Orientation")
_AVIF_BRANDS = {b"avif", b"avis"}
_REFUSED = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"SIMPLE  =", "FITS"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG or XML"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"PK\x03\x04", "a zip archive"),
)


@export("vultus.Limits")
@dataclass(frozen=True, slots=True)
class Limits:
    """Caps that are checked before pixels are decoded.

    Args:
        max_bytes: of the encoded picture.
        max_pixels: width times height, from the header.
        max_side: the longer side, from the header.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 40_000_000
    max_side: int = 16_384

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_pixels, self.max_side) < 1:
            raise BadArgument(f"limits must be positive; got {self}")

    def check_bytes(self, size: int) -> None:
        """Raise ImageTooLarge where the encoded picture is over the cap."""
        if size > self.max_bytes:
            raise ImageTooLarge(
                f"the picture has more than {self.max_bytes:,} bytes; raise Limits.max_bytes if you trust it"
            )

    def check_size(self, width: int, height: int) -> None:
        """Raise ImageTooLarge where width and height are over the caps."""
        if max(width, height) > self.max_side or width * height > self.max_pixels:
            raise ImageTooLarge(
                f"the picture has {width} x {height} pixels; at most {self.max_pixels:,} and {self.max_side:,} a side are "
                "read; scale it down, or raise Limits.max_pixels and max_side if you trust it"
            )


def sniff(content: bytes) -> str:
    """The format that the content itself shows: JPEG, PNG, WEBP, AVIF or HEIF.

    Raises:
        ImageParseError: no bytes, or none that any picture starts with.
        UnsupportedImage: a known format that vultus does not read.
    """
    if not content:
        raise ImageParseError("the picture has 0 bytes")
    head = content[:32]
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(content[i : i + 4] for i in range(16, min(len(content), 64), 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIC_BRANDS:
            return "HEIF"
    text = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, name in _REFUSED:
        if head.startswith(magic) or text.startswith(magic):
            raise UnsupportedImage(f"this is {name}; vultus reads JPEG, PNG and WebP: convert it first")
    raise ImageParseError(f"these {len(content):,} bytes are no picture: they start with {head[:8]!r}")


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged bytes into typed errors."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as problem:
        raise ImageTooLarge(f"{what} is too large to decode: {problem}") from problem
    except Exception as problem:
        raise ImageParseError(f"{what} is damaged: {problem}") from problem


def open_encoded(content: bytes, limits: Limits) -> Image.Image:
    """The picture with its header read and its caps checked, not decoded yet."""
    limits.check_bytes(len(content))
    kind = sniff(content)
    if kind == "HEIF":
        picture = _open_heif(content)
    else:
        if kind == "AVIF" and not features.check("avif"):
            raise UnsupportedImage("this Pillow reads no AVIF: install one that does, or convert the picture")
        with parsing(f"the {kind}"):
            picture = _OPENERS[kind](io.BytesIO(content))
    limits.check_size(*picture.size)
    return picture


def _open_heif(content: bytes) -> Image.Image:
    if importlib.util.find_spec("pillow_heif") is None:
        raise UnsupportedImage("this is HEIC; install the extra that reads it: pip install 'vultus[heif]'")
    import pillow_heif

    with parsing("the HEIC"):
        heif = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
        picture: Image.Image = _HeifPicture(heif)
        return picture


class _HeifPicture(Image.Image):
    """A HEIC whose size is known and whose pixels are decoded when asked for, upright."""

    def __init__(self, heif: object) -> None:
        super().__init__()
        self._heif = heif
        self._size = heif.size  # type: ignore[attr-defined]
        self._mode = heif.mode  # type: ignore[attr-defined]

    def decoded(self) -> Image.Image:
        picture: Image.Image = self._heif.to_pillow()  # type: ignore[attr-defined]
        return picture


def orientation(picture: Image.Image, content: bytes | None = None) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or none that makes sense."""
    if isinstance(picture, _HeifPicture):
        return 1  # the library has turned it already
    if picture.format == "PNG" and content is not None and not any(mark in content for mark in _PNG_METADATA):
        return 1  # asking the library would decode all pixels, after which metadata may stand
    try:
        value = picture.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - damaged metadata is no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: UInt8Array, exif: int) -> UInt8Array:
    """Undo an EXIF orientation, so that the picture stands as it was seen."""
    if exif in {5, 6, 7, 8}:
        pixels = pixels.swapaxes(0, 1)
    if exif in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if exif in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def decode(picture: Image.Image, *, background: Colour = WHITE) -> UInt8Array:
    """(H, W, 3) uint8 RGB pixels of an opened picture, not yet turned upright."""
    with parsing(f"the {picture.format or 'picture'}"):
        if isinstance(picture, _HeifPicture):
            picture = picture.decoded()
        picture.load()
        return to_rgb(picture, background=background)


def to_rgb(picture: Image.Image, *, background: Colour = WHITE) -> UInt8Array:
    """(H, W, 3) uint8 RGB pixels of a loaded picture in any mode.

    Raises:
        UnsupportedImage: a mode without a stated range, such as floating point.
    """
    mode = picture.mode
    if mode == "RGB" and "transparency" not in picture.info:
        return np.asarray(picture)
    if mode.startswith("I"):
        wide = np.clip(np.asarray(picture).astype(np.int64), 0, 65535)
        return grey_to_rgb(from_16_bit(wide))
    if mode == "F":
        raise UnsupportedImage("floating-point pictures have no stated range; convert to 8 bit first")
    if mode == "CMYK":
        return np.asarray(_from_cmyk(picture))
    if mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
        if mode in {"La", "RGBa"}:
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        return over(np.asarray(picture.convert("RGBA")), background)
    return np.asarray(picture.convert("RGB"))


def _from_cmyk(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return picture.convert("RGB")


def from_16_bit(wide: np.ndarray) -> UInt8Array:
    """Samples of 0..65535 as 0..255, rounded."""
    return ((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def grey_to_rgb(grey: UInt8Array) -> UInt8Array:
    """(H, W) as (H, W, 3)."""
    return np.repeat(grey[..., None], 3, axis=2)


def over(rgba: UInt8Array, background: Colour) -> UInt8Array:
    """(H, W, 4) with straight alpha laid on a colour."""
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + np.asarray(background, dtype=np.uint32) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
