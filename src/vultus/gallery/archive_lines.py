"""One subject as a line of JSON, and back; what comes from a file is checked like what comes from a caller."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from vultus.errors import ArchiveRefused, BadArgument
from vultus.gallery.records import NewTemplate, StoredTemplate
from vultus.gallery.text import checked_sha256, checked_text

_YEAR_10000 = 253_402_300_800
_SUBJECT = {"id", "name", "created", "templates"}
_TEMPLATE = {"blank", "samples", "quality", "photo_sha256", "consent", "expires", "created"}


def line_of(subject_id: str, name: str | None, created: int, templates: list[StoredTemplate]) -> bytes:
    """The line of a subject."""
    records = [
        {
            "blank": t.vector is None,
            "samples": t.samples,
            "quality": t.quality,
            "photo_sha256": t.photo_sha256,
            "consent": t.consent,
            "expires": None if t.expires is None else int(t.expires.timestamp()),
            "created": int(t.created.timestamp()),
        }
        for t in templates
    ]
    record = {"id": subject_id, "name": name, "created": created, "templates": records}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def subject_of(line: bytes, take: Callable[[], bytes]) -> tuple[str, str | None, int, list[NewTemplate]]:
    """Id, name, time of enrolment and templates of a line, whose vectors `take` gives one by one.

    Raises:
        ArchiveRefused: it is no such line.
    """
    try:
        record = json.loads(line)
        _require(isinstance(record, dict) and record.keys() == _SUBJECT, "keys of a subject")
        _require(isinstance(record["templates"], list), "a list of templates")
        name = None if record["name"] is None else checked_text(record["name"], what="name")
        templates = [_template(t, take) for t in record["templates"]]
        return checked_text(record["id"], what="id"), name, _seconds(record["created"]), templates
    except (ValueError, RecursionError) as problem:
        raise ArchiveRefused(f"a line of the archive is refused: {problem}") from problem


def _template(record: Any, take: Callable[[], bytes]) -> NewTemplate:
    _require(isinstance(record, dict) and record.keys() == _TEMPLATE, "keys of a template")
    quality, samples, digest = record["quality"], record["samples"], record["photo_sha256"]
    _require(isinstance(record["blank"], bool), "blank as true or false")
    _require(type(samples) is int and 0 < samples < 1 << 31, "a number of samples")
    _require(quality is None or (type(quality) in (int, float) and math.isfinite(quality)), "a quality")
    return NewTemplate(
        None if record["blank"] else take(),
        samples,
        None if quality is None else float(quality),
        None if digest is None else checked_sha256(digest),
        None if record["consent"] is None else checked_text(record["consent"], what="consent"),
        None if record["expires"] is None else _seconds(record["expires"]),
        _seconds(record["created"]),
    )


def _seconds(value: object) -> int:
    if type(value) is not int or not 0 <= value < _YEAR_10000:
        raise BadArgument(f"{value!r} is no number of seconds since 1970")
    return value


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise BadArgument(f"expected {what}")
