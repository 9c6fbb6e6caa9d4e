"""Words that come from outside: composed, bounded, and never able to pass for others."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument
from vultus.gallery.text import checked_expiry, checked_sha256, checked_text

ODD_BUT_FINE = [
    "../../etc/passwd",
    "C:\\Windows\\system32",
    "a/b",
    "'; DROP TABLE subjects; --",
    "<script>alert(1)</script>",
    "مريم",
    "👩‍👩‍👧",
    "é" * 256,
    "-rf",
    ".",
    "%00",
    "NULL",
    "\ufeffada",
]


@pytest.mark.parametrize("text", ODD_BUT_FINE)
def test_odd_text_is_data(text: str) -> None:
    assert checked_text(text, what="name") == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "a\u0085b",
        "\ud800",
        "a\u2028b",
        "\u202eoviv",
        "x\u2066y",
        "x" * 257,
        "x" * 10_000,
        5,
        None,
        b"a",
    ],
)
def test_text_that_is_refused(text: object) -> None:
    with pytest.raises(BadArgument, match="name"):
        checked_text(text, what="name")


def test_decomposed_and_composed_text_is_one() -> None:
    assert checked_text("Zoe\u0308", what="name") == checked_text("Zo\u00eb", what="name") == "Zo\u00eb"
    assert len(checked_text("e\u0301" * 256, what="name")) == 256


@given(st.text(min_size=1, max_size=300))
def test_what_is_accepted_is_accepted_again_unchanged(text: str) -> None:
    try:
        once = checked_text(text, what="name")
    except BadArgument:
        return
    assert checked_text(once, what="name") == once
    assert once.encode() == unicodedata.normalize("NFC", text).encode()


def test_sha256_is_lower_case_hexadecimal() -> None:
    assert checked_sha256("AB" * 32) == "ab" * 32
    for wrong in ("ab", "zz" * 32, "ab" * 33, None, b"ab" * 32, "ab" * 32 + "\n"):
        with pytest.raises(BadArgument):
            checked_sha256(wrong)


def test_expiry_needs_a_time_zone() -> None:
    moment = datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert checked_expiry(moment) == checked_expiry(moment.astimezone(timezone(timedelta(hours=5)))) == 1_800_000_000
    for wrong in (datetime(2027, 1, 15), 1_800_000_000, "2027-01-15", None):
        with pytest.raises(BadArgument):
            checked_expiry(wrong)
