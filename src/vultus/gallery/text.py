"""What a gallery accepts as words: identifiers, names and references are data, never paths and never markup."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from vultus.errors import BadArgument

LONGEST = 256
# Cc: control; Cs: lone surrogates, which UTF-8 cannot hold; Zl and Zp: line and paragraph separators.
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Embeddings, overrides and isolates reorder the text around them, so that one name can be shown as another.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_text(text: object, *, what: str) -> str:
    """The text in NFC.

    Raises:
        BadArgument: no string, empty, only white space, longer than 256 characters, or with characters that control
            how the text around them is shown.
    """
    if not isinstance(text, str):
        raise BadArgument(f"{what} is {type(text).__name__}; expected a string")
    if len(text) > 8 * LONGEST:  # before any work is done with it
        raise BadArgument(f"{what} has {len(text):,} characters; expected at most {LONGEST}")
    composed = unicodedata.normalize("NFC", text)
    if not composed.strip():
        raise BadArgument(f"{what} is empty; expected 1 to {LONGEST} characters")
    if len(composed) > LONGEST:
        raise BadArgument(f"{what} has {len(composed):,} characters; expected at most {LONGEST}")
    for place, character in enumerate(composed):
        if unicodedata.category(character) in _REFUSED or character in _REORDERING:
            raise BadArgument(
                f"{what} has the character U+{ord(character):04X} at place {place}; control characters, line breaks "
                "and changes of direction are refused"
            )
    return composed


def checked_sha256(digest: object) -> str:
    """64 lower-case hexadecimal digits.

    Raises:
        BadArgument: anything else.
    """
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise BadArgument(f"photo_sha256 is {digest!r}; expected 64 hexadecimal digits")
    return digest.lower()


def checked_expiry(expires: object) -> int:
    """Seconds since 1970 of a moment with a time zone.

    Raises:
        BadArgument: no datetime, or one without a time zone.
    """
    if not isinstance(expires, datetime) or expires.tzinfo is None:
        raise BadArgument(f"expires is {expires!r}; expected a datetime with a time zone")
    return int(expires.timestamp())
