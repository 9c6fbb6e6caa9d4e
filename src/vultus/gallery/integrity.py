"""Is everything in the gallery what was written, and does the index say the same?"""

from __future__ import annotations

import numpy as np

from vultus.errors import GalleryError
from vultus.gallery.index import Index
from vultus.gallery.index_file import Damaged
from vultus.gallery.reads import Batch
from vultus.gallery.results import Integrity
from vultus.gallery.rows import Rows

_MOST = 20


def verify(index: Index) -> Integrity:
    """Check the database's structure, every template in it, and the index's copy of each.

    Args:
        index: the index, with the store that it follows.
    """
    problems: list[str] = []
    checked = 0
    try:
        with index.snapshot() as (reads, rows):
            problems += reads.structure()
            for batch in reads.batches(after=-1):
                checked += len(batch.numbers)
                problems += _norms(batch)
                if rows is not None:
                    problems += _copies(batch, rows)
            if rows is not None and rows.live != checked:
                problems.append(f"the index holds {rows.live} rows, the store {checked} templates")
    except GalleryError as problem:
        problems.append(str(problem))
    except Damaged as problem:
        index.discard()
        problems.append(f"the index file is damaged ({problem}); the next search makes it anew")
    return Integrity(tuple(problems[:_MOST]), checked)


def _norms(batch: Batch) -> list[str]:
    lengths = np.linalg.norm(batch.rows.astype(np.float64), axis=1)
    return [
        f"template {batch.numbers[i]} has length {lengths[i]:.6g}; expected 1"
        for i in np.flatnonzero(~(np.abs(lengths - 1) <= 1e-3))
    ]


def _copies(batch: Batch, rows: Rows) -> list[str]:
    """How the index's rows differ from those of the store."""
    places = np.searchsorted(rows.numbers, batch.numbers)
    known = places < len(rows)
    known[known] = rows.numbers[places[known]] == batch.numbers[known]
    at = places[known]
    equal = (rows.gather(at) == batch.rows[known]).all(axis=1)
    equal &= (rows.subjects[at] == batch.subjects[known]) & (rows.expires[at] == batch.expires[known])
    wrong = np.concatenate([batch.numbers[~known], batch.numbers[known][~equal]])
    return [f"template {number} is not in the index as it is in the store" for number in wrong]
