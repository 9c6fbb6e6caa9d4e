"""What routes share: the pictures of a request, and names in addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator

from vultus.errors import BadArgument, FetchRefused
from vultus.gallery.text import checked_text
from vultus.service.core import Service
from vultus.service.fetching import fetched
from vultus.service.schemas import Source


def _subject(text: str) -> str:
    try:
        return checked_text(unquote(text), what="subject_id")
    except BadArgument as problem:
        raise ValueError(str(problem)) from None


GalleryName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="A gallery's name.")]
SubjectId = Annotated[str, Path(description="A subject's id, percent-encoded."), AfterValidator(_subject)]
HexId = Annotated[str, Path(pattern=r"^[0-9a-f]{12,16}$")]


async def picture(service: Service, source: Source) -> bytes:
    """The one picture of a request.

    Raises:
        BadArgument: there is none, or two.
        FetchRefused: it is an address that is not fetched.
    """
    if (source.image is None) == (source.image_url is None):
        raise BadArgument("expected one picture: image, or image_url where the service fetches")
    if source.image is not None:
        return source.image
    if not service.settings.image_urls:
        raise FetchRefused("this service fetches no addresses; send the picture itself")
    return await fetched(source.image_url or "", most=service.settings.max_body_bytes)


async def pictures(service: Service, source: Source, more: Sequence[bytes]) -> list[bytes]:
    """The pictures of a request that takes several, at least one.

    Raises:
        BadArgument: there is none.
        FetchRefused: one is an address that is not fetched.
    """
    alone = source.image is not None or source.image_url is not None
    found = ([await picture(service, source)] if alone else []) + list(more)
    if not found:
        raise BadArgument("expected at least one picture: image or images")
    return found
