"""What an error of Qdrant, or of the way to it, means for a gallery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from vultus.errors import GalleryBusy, GalleryCorrupt, GalleryError, GalleryFull, GalleryReadOnly, GalleryUnavailable
from vultus.gallery.qdrant.address import Address

_LATER = "nothing was acknowledged, try again when it works"
_FULL = ("no space left", "not enough space", "out of disk", "disk full", "disk is full")


def typed(problem: Exception, address: Address) -> GalleryError:
    """The error of vultus that says what an error of the client means for the gallery."""
    where = f"gallery {address.name}"
    if isinstance(problem, QdrantException):  # which is raised for 429 alone
        return GalleryBusy(f"{where}: the server has too much to do; nothing was changed, try again ({problem})")
    if isinstance(problem, UnexpectedResponse):
        words, status = _words(problem, address), problem.status_code or 0
        if any(sign in words.lower() for sign in _FULL):
            return GalleryFull(f"{where}: the server's disk is full; make room and try again, {_LATER} ({words})")
        if status == 401:
            return GalleryUnavailable(f"{where}: the server refuses the API key, or wants one ({words})")
        if status == 403:
            return GalleryReadOnly(f"{where}: the server does not let this API key do so ({words})")
        if status == 404:
            return GalleryCorrupt(
                f"{where}: one of its collections is missing ({words}); restore a snapshot, or make a new gallery from an "
                "archive with `vultus gallery import`"
            )
        if status == 429:
            return GalleryBusy(f"{where}: the server has too much to do; nothing was changed, try again ({words})")
        return GalleryUnavailable(f"{where}: the server failed ({status}: {words}); {_LATER}")
    if isinstance(problem, ResponseHandlingException):
        source = problem.source
        words = f"{type(source).__name__}: {source}".splitlines()[0]
        return GalleryUnavailable(f"{where}: the server cannot be reached, or answers nonsense ({words}); {_LATER}")
    return GalleryUnavailable(f"{where}: {type(problem).__name__}: {problem}; {_LATER}")


def is_conflict(problem: Exception) -> bool:
    """Whether what was to be made is there already."""
    return isinstance(problem, UnexpectedResponse) and (
        problem.status_code == 409 or b"already exists" in problem.content
    )


def _words(problem: UnexpectedResponse, address: Address) -> str:
    """What the server says, in which the key does not occur."""
    try:
        words = str(json.loads(problem.content)["status"]["error"])
    except (ValueError, LookupError, TypeError):
        words = problem.content.decode(errors="replace") or problem.reason_phrase
    words = " ".join(words.split())[:300]
    return words.replace(address.key, "***") if address.key else words


@contextmanager
def errors_typed(address: Address) -> Iterator[None]:
    """Turn what the client raises inside the block into errors of vultus."""
    try:
        yield
    except (ApiException, QdrantException) as problem:
        raise typed(problem, address) from None  # whose text may hold what was sent
