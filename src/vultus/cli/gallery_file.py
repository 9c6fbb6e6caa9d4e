"""What every gallery command shares: the gallery's address, and the key of one that is encrypted."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.output import console, print_json

if TYPE_CHECKING:
    from typing import Any

    from vultus.gallery import Gallery
    from vultus.recognizer import Recognizer

KEY, NEW_KEY = "VULTUS_GALLERY_KEY", "VULTUS_GALLERY_NEW_KEY"
_LARGEST = 4096

GalleryFile = Annotated[
    str,
    typer.Argument(
        metavar="GALLERY", help="The gallery's file, postgresql://HOST/DATABASE?gallery=NAME, or qdrant://HOST/NAME."
    ),
]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help=f"File with the key of an encrypted gallery. Default: ${KEY}.")
]
NewKeyFile = Annotated[Path | None, typer.Option("--new-key-file", help=f"File with the new key. Default: ${NEW_KEY}.")]


def existing(gallery: str, key_file: Path | None, *, read_only: bool = False) -> Gallery:
    """A gallery that there is."""
    from vultus.gallery import Gallery

    return Gallery.open(gallery, read_only=read_only, key=key_of(gallery, key_file))


def opened_for(gallery: str, recognizer: Recognizer, key_file: Path | None) -> Gallery:
    """An existing gallery, with what was measured for this recognizer."""
    from vultus.errors import GalleryMissing
    from vultus.gallery import Gallery
    from vultus.gallery.opening import name_of

    if not is_there(gallery, key_file):
        name = name_of(gallery)
        raise GalleryMissing(f"there is no gallery at {name}; make one with: vultus gallery create {name}")
    known = recognizer.calibration
    return Gallery.open(
        gallery,
        model=recognizer.model_id,
        thresholds=known.thresholds if known else (),
        searches=known.searches if known else (),
        key=key_of(gallery, key_file),
    )


def is_there(gallery: str, key_file: Path | None) -> bool:
    """Whether there is a gallery at the path or address."""
    from vultus.errors import GalleryMissing
    from vultus.gallery import Gallery
    from vultus.gallery.opening import is_served

    if not is_served(gallery):
        return Path(gallery).exists()
    try:
        Gallery.open(gallery, read_only=True, key=key_of(gallery, key_file)).close()
    except GalleryMissing:
        return False
    return True


def key_of(gallery: str, key_file: Path | None) -> bytes | str | None:
    """The key in the file, or in the environment; of a gallery that a server keeps only where a file is named."""
    from vultus.gallery.opening import is_served

    return None if key_file is None and is_served(gallery) else read_key(key_file, KEY)


def read_key(key_file: Path | None, variable: str) -> bytes | str | None:
    """The first line of the file or the variable: 64 hexadecimal digits are 32 bytes, all else is a passphrase.

    Raises:
        SourceUnavailable: the file cannot be read.
        BadArgument: the file or the variable is empty, or no text.
    """
    from vultus.errors import BadArgument, SourceUnavailable

    if key_file is None:
        where, text = f"${variable}", os.environ.get(variable)
        if text is None:
            return None
    else:
        where = str(key_file)
        try:
            with key_file.open("rb") as file:
                text = file.read(_LARGEST).decode()
        except OSError as problem:
            raise SourceUnavailable(f"cannot read the key file {key_file}: {problem}") from problem
        except UnicodeDecodeError:
            raise BadArgument(
                f"{where} is no text; write a key as 64 hexadecimal digits (openssl rand -hex 32)"
            ) from None
    line = text.rstrip("\r\n")
    if not line or "\n" in line or len(text) >= _LARGEST:
        raise BadArgument(f"{where} is empty or has several lines; expected one line with a key")
    return bytes.fromhex(line) if re.fullmatch(r"[0-9a-fA-F]{64}", line) else line


def say(json: bool, record: dict[str, Any], words: str) -> None:
    """The record as JSON, or the words."""
    if json:
        print_json(record)
    else:
        console.print(words, markup=False)
