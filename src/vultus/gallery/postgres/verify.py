"""Is everything in the database what was written, and does what is scanned say the same?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vultus.errors import GalleryCorrupt
from vultus.gallery.postgres.connections import Connection
from vultus.gallery.postgres.reads import Reads, State
from vultus.gallery.postgres.scan import halved
from vultus.gallery.reads import NEVER
from vultus.gallery.results import Integrity

_MOST = 20
_FETCHED = 2000
_EVERYTHING = """
SELECT coalesce(t.number, h.number), t.subject, t.expires, t.vector, t.checksum, h.subject, h.expires, h.half
FROM (SELECT * FROM templates WHERE vector IS NOT NULL) AS t FULL JOIN halves AS h USING (number)
"""


def verify(connection: Connection, reads: Reads, state: State) -> Integrity:
    """Check the settings that durability needs, the counts, each template, and its row in half precision."""
    problems = list(_settings(connection))
    checked = held = 0
    with connection.cursor("verification") as cursor:
        cursor.itersize = _FETCHED
        for row in cursor.execute(_EVERYTHING, binary=True):
            checked += row[3] is not None
            held += row[7] is not None
            if len(problems) < _MOST:
                problems += _problems(row, reads)
    if not checked == held == state.vectors:
        problems.append(
            f"the store holds {checked} templates, what is scanned {held}, and {state.vectors} were counted when written"
        )
    return Integrity(tuple(problems[:_MOST]), checked)


def _settings(connection: Connection) -> Iterator[str]:
    for name, why in (("fsync", "acknowledged changes"), ("full_page_writes", "pages written half")):
        if connection.execute("SELECT current_setting(%s)", (name,)).fetchone() != ("on",):
            yield f"the server runs with {name} off: {why} do not survive a loss of power"


def _problems(row: tuple[Any, ...], reads: Reads) -> Iterator[str]:
    number, subject, expires, blob, checksum, scanned_subject, scanned_expires, half = row
    if blob is None or half is None:
        yield f"template {number} is in {'what is scanned' if blob is None else 'the store'} alone"
        return
    try:
        vector = reads.vector(number, blob, checksum)
    except GalleryCorrupt as problem:
        yield str(problem)
        return
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not abs(length - 1) <= 1e-3:
        yield f"template {number} has length {length:.6g}; expected 1"
    if (subject, NEVER if expires is None else expires, halved(vector)) != (scanned_subject, scanned_expires, half):
        yield f"template {number} is not in the index as it is in the store"
