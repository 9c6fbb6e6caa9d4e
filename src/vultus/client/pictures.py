"""What a caller may give as a picture: its file's bytes, a path, an open file, or an address that the service fetches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable


@export("vultus.client.Address")
@dataclass(frozen=True, slots=True)
class Address:
    """An https address that the service fetches the picture from, where its operator allows that."""

    url: str


Picture = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
Part = tuple[str, tuple[str, bytes, str]]


def content_of(picture: Picture) -> bytes:
    """The bytes of a picture's file; a `str` is a path.

    Raises:
        SourceUnavailable: a file cannot be read.
        BadArgument: it is nothing that holds a picture.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    try:
        if isinstance(picture, str | os.PathLike):
            return Path(picture).read_bytes()
        content = picture.read() if hasattr(picture, "read") else None
    except (OSError, ValueError) as problem:
        raise SourceUnavailable(f"cannot read the picture: {problem}") from problem
    if not isinstance(content, bytes):
        raise BadArgument(
            f"a picture of the type {type(picture).__name__}; expected bytes, a path or a file opened for reading bytes"
        )
    return content


def part(field: str, picture: Picture) -> Part:
    """The part of a form; the name that the file has here is not told."""
    return field, ("picture", content_of(picture), "application/octet-stream")


def several(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture or many, as a list."""
    if isinstance(pictures, Sequence) and not isinstance(pictures, str | bytes | bytearray | memoryview):
        return list(pictures)
    return [pictures]
