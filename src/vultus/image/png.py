"""What Pillow lets pass in a PNG: pixel data that fail their checksum, and fewer rows than the header says.

See the PNG specification (W3C 2003, ISO/IEC 15948), sections 5.3 (chunks), 8 (interlacing) and 11.2.2 (header).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from vultus.errors import ImageParseError

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# (first column, first row, columns, rows between) of each pass of an interlaced picture
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PORTION = 1 << 20
_SIGNATURE = 8


def check_png(content: bytes) -> None:
    """Read the pixel data of a PNG once, without making pixels of them.

    Args:
        content: a file whose header was read already.

    Raises:
        ImageParseError: a checksum does not fit, or rows are missing.
    """
    wanted, found = 0, 0
    inflater = zlib.decompressobj()
    for kind, data, fits in _chunks(content):
        if kind == b"IHDR":
            wanted = _expected(*struct.unpack(">IIBBxxB", data[:13]))
        if kind == b"IDAT":
            if not fits:
                raise ImageParseError("the PNG is damaged: its pixels do not have their checksum")
            rest: bytes | memoryview = data
            while rest and found < wanted:
                found += len(inflater.decompress(rest, _PORTION))
                rest = inflater.unconsumed_tail
    if found < wanted:
        raise ImageParseError(f"the PNG is damaged: {found:,} of {wanted:,} bytes of its pixels are there")


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """(kind, data, whether the checksum fits) of each whole chunk."""
    view, at = memoryview(content), _SIGNATURE
    while at + 12 <= len(view):
        length, kind = struct.unpack(">I4s", view[at : at + 8])
        data, end = view[at + 8 : at + 8 + length], at + 12 + length
        if end > len(view):
            return
        stated = int.from_bytes(view[end - 4 : end], "big")
        yield kind, data, kind != b"IDAT" or zlib.crc32(data, zlib.crc32(kind)) == stated
        at = end


def _expected(width: int, height: int, depth: int, colour: int, interlaced: int) -> int:
    """Bytes of all rows, each with the byte that names its filter."""
    bits = depth * _CHANNELS.get(colour, 1)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total
