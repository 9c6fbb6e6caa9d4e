"""Photos on a page: small, upright, and inside the page itself."""

from __future__ import annotations

import base64
import io
from pathlib import PurePath

from PIL import Image

from vultus.errors import VultusError
from vultus.image import open_photo

LONGEST = 208


def thumbnail(path: str, *, longest: int = LONGEST) -> bytes | str:
    """A small JPEG of a photo, or why there is none."""
    try:
        pixels, _ = open_photo(path).reduced(longest)
    except VultusError as problem:
        return f"{problem.code}: {problem}"
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=82, optimize=True)
    return content.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    """The content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def short_name(path: str) -> str:
    """The file with the folder that it lies in, which in a folder of people is the subject."""
    return "/".join(PurePath(path).parts[-2:])
