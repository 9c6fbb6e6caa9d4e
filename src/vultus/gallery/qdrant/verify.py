"""Is everything on the server what was written, and does what is searched say the same?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vultus.errors import GalleryCorrupt
from vultus.gallery.qdrant.head import Head, Heads
from vultus.gallery.qdrant.points import Point, equal
from vultus.gallery.qdrant.reads import SUBJECT, TEMPLATE, Listing, Reads
from vultus.gallery.results import Integrity

_MOST = 20
_IN_ROW = ("ticket", "subject", "expires", "checksum")


def verify(heads: Heads) -> Integrity:
    """Check the counts, each record of a template, and the row that is searched in its place.

    Raises:
        GalleryError: the gallery cannot be read.
    """
    head = heads.read()
    problems: list[str] = []
    subjects, twice = _subjects(heads, head)
    problems += [f"subject {subject_id!r} is enrolled twice" for subject_id in twice]
    reads = Reads(heads, head, Listing())
    checked = templates = blanks = 0
    rows = _rows(heads, head)
    row = next(rows, None)
    for record in _shown(heads, head, TEMPLATE):
        templates += 1
        known = record.payload
        blanks += known["blank"]
        if known["subject"] not in subjects:
            problems.append(f"template {known['number']} has no subject")
        while row is not None and row.id < record.id:
            problems.append(f"row {row.id} is searched and has no template")
            row = next(rows, None)
        if not known["blank"] and (row is None or row.id != record.id):
            problems.append(f"template {known['number']} has no row that is searched")
        elif row is not None and row.id == record.id:
            checked += 1
            problems += _differences(reads, record, row)
            row = next(rows, None)
    problems += [f"row {r.id} is searched and has no template" for r in ([row] if row is not None else []) + list(rows)]
    found, counted = (len(subjects), templates, blanks), (head.subjects, head.templates, head.blanks)
    if found != counted:
        problems.append(f"subjects, templates and blanks are {found}, and {counted} were counted when written")
    if problems and heads.read().removals != head.removals:
        problems = ["the gallery was changed while it was read; check it while nobody deletes, merges or renames"]
    return Integrity(tuple(problems[:_MOST]), checked)


def _shown(heads: Heads, head: Head, kind: str) -> Iterator[Point]:
    found = heads.points.scroll(heads.points.address.records, equal("kind", kind))
    return (point for point in found if head.shows(point.id))


def _subjects(heads: Heads, head: Head) -> tuple[set[int], list[str]]:
    """The numbers of all subjects, and ids that stand there twice."""
    numbers: set[int] = set()
    ids: set[str] = set()
    twice = []
    for point in _shown(heads, head, SUBJECT):
        numbers.add(point.payload["subject"])
        if point.payload["id"] in ids:
            twice.append(point.payload["id"])
        ids.add(point.payload["id"])
    return numbers, twice


def _rows(heads: Heads, head: Head) -> Iterator[Point]:
    if head.dimension is None:
        return
    for point in heads.points.scroll(heads.points.address.rows(head.dimension), vectors=True):
        if head.shows(point.id):
            yield point


def _differences(reads: Reads, record: Point, row: Point) -> Iterator[str]:
    number = record.payload["number"]
    if any(row.payload.get(name) != record.payload[name] for name in _IN_ROW):
        yield f"template {number} is not in the rows as it is in the records"
    try:
        length = float(np.linalg.norm(reads.checked(row).astype(np.float64)))
    except GalleryCorrupt:
        yield f"the vector of template {number} is not what was written"
        return
    if not abs(length - 1) <= 1e-3:
        yield f"template {number} has length {length:.6g}; expected 1"
