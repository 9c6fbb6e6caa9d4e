"""The process that decodes pictures for the service: reads a file from its input, writes pixels, and can do little else.

Run as `python -m vultus.service.decode_worker MEGABYTES MAX_BYTES`. A message in is 8 bytes of length and the content. A
message out is one byte, `P` or `E`, and 8 bytes of length: then 8 bytes of height and width with the pixels, or the code and
the words of an error.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from typing import BinaryIO

from vultus.errors import VultusError
from vultus.image import Limits, read_image

LENGTH, SIZE = struct.Struct(">Q"), struct.Struct(">II")


def serve(source: BinaryIO, sink: BinaryIO, limits: Limits) -> None:
    """Answer messages until the input ends."""
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        content = source.read(LENGTH.unpack(head)[0])
        try:
            pixels = read_image(content, limits=limits)
        except VultusError as problem:
            words = f"{problem.code} {problem}".encode("utf-8", "replace")[:2000]
            sink.write(b"E" + LENGTH.pack(len(words)) + words)
        else:
            sink.write(b"P" + LENGTH.pack(SIZE.size + pixels.nbytes) + SIZE.pack(*pixels.shape[:2]))
            sink.write(pixels.data.cast("B"))
        sink.flush()


def confine(megabytes: int) -> None:
    """Give up what decoding does not need: memory beyond the limit, writing files, dumping core, new files."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; time is limited by the parent
        return
    size = megabytes << 20
    for kind, value in ((resource.RLIMIT_AS, size), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (value, value))


def main() -> None:
    """Serve the parent process."""
    megabytes, most = (int(a) for a in sys.argv[1:3])
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with suppress(VultusError):
        read_image(b"")  # loads what the first picture would load, before the limits
    confine(megabytes)
    serve(sys.stdin.buffer, sink, Limits(max_bytes=most))


if __name__ == "__main__":
    main()
