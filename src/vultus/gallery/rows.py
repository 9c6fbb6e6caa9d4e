"""The searchable rows of a gallery in memory, and snapshots of them that later changes do not disturb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vultus.gallery.reads import Batch, Int64Array
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

GONE = -1
BLOCK = 2048
_SPAN = 16 * BLOCK


class Base(Protocol):
    """Rows that lie in a file, checked where the (n,) `subjects` say that they are in use."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int, subjects: Int64Array) -> FloatArray:
        """Rows [start, stop), with start at the beginning of a block."""
        ...

    def take(self, places: IntArray, subjects: Int64Array) -> FloatArray:
        """Rows at ascending places."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The state of the rows at one revision.

    Args:
        revision: of the store.
        base: the first rows, in a file.
        tail: the other rows, (t, d) float32.
        numbers: (n,) of the templates, ascending.
        subjects: (n,) number of each row's subject; -1 where the template was deleted.
        expires: (n,) seconds since 1970.
        live: how many rows were not deleted.
    """

    revision: int
    base: Base
    tail: FloatArray
    numbers: Int64Array
    subjects: Int64Array
    expires: Int64Array
    live: int

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def dimension(self) -> int:
        """Numbers in a row."""
        return int(self.tail.shape[1])

    def blocks(self, start: int = 0) -> Iterator[tuple[int, FloatArray]]:
        """(place, rows) of all rows from `start` on, in portions of whole blocks."""
        first = start
        while first < len(self.base):
            begin = first // BLOCK * BLOCK
            stop = min(begin + _SPAN, len(self.base))
            yield first, self.base.part(begin, stop, self.subjects)[first - begin :]
            first = stop
        skipped = max(0, start - len(self.base))
        for first in range(skipped, len(self.tail), _SPAN):
            yield len(self.base) + first, self.tail[first : first + _SPAN]

    def gather(self, places: IntArray) -> FloatArray:
        """(k, d) rows at ascending places."""
        inside = int(np.searchsorted(places, len(self.base)))
        found = np.empty((len(places), self.dimension), dtype=np.float32)
        found[:inside] = self.base.take(places[:inside], self.subjects)
        found[inside:] = self.tail[places[inside:] - len(self.base)]
        return found

    def usable(self, places: IntArray, now: float) -> BoolArray:
        """Which of the places hold a template that is neither deleted nor expired."""
        usable: BoolArray = (self.subjects[places] != GONE) & (self.expires[places] > now)
        return usable


class RowTable:
    """Rows that follow a store. Snapshots taken before a change keep what they show.

    Args:
        base: rows in a file, and what is known of them.
        batch: numbers, subjects and expiry of those rows.
        revision: of the store at which they were current.
        dimension: numbers in a row.
    """

    def __init__(self, base: Base, batch: Batch, revision: int) -> None:
        self._base = base
        self._size = len(base)
        self._numbers, self._subjects, self._expires = batch.numbers, batch.subjects, batch.expires
        self._tail: FloatArray = np.empty((0, batch.rows.shape[1]), dtype=np.float32)
        self._live = int(np.count_nonzero(batch.subjects != GONE))
        self.revision = revision

    def __len__(self) -> int:
        return self._size

    @property
    def dead(self) -> int:
        """Rows of deleted templates that still take room."""
        return self._size - self._live

    @property
    def unsaved(self) -> int:
        """Rows that are not in the file."""
        return self._size - len(self._base)

    def append(self, batch: Batch) -> None:
        """Take templates whose numbers are above all others."""
        size, added = self._size, len(batch.numbers)
        self._tail = _appended(self._tail, size - len(self._base), batch.rows)
        self._numbers = _appended(self._numbers, size, batch.numbers)
        self._subjects = _appended(self._subjects, size, batch.subjects)
        self._expires = _appended(self._expires, size, batch.expires)
        self._size += added
        self._live += added

    def remove(self, numbers: Int64Array) -> None:
        """Mark templates as deleted; numbers that are not here were deleted before they came."""
        places, _ = self._places(np.unique(numbers))
        if len(places):
            self._subjects = self._subjects.copy()
            self._live -= int(np.count_nonzero(self._subjects[places] != GONE))
            self._subjects[places] = GONE

    def move(self, numbers: Int64Array, subjects: Int64Array) -> None:
        """Give templates to other subjects, the last move of each counting."""
        places, known = self._places(numbers)
        kept = self._subjects[places] != GONE
        if kept.any():
            self._subjects = self._subjects.copy()
            self._subjects[places[kept]] = subjects[known][kept]

    def snapshot(self) -> Rows:
        """The rows as they are now."""
        n, tail = self._size, self._size - len(self._base)
        parts = self._numbers[:n], self._subjects[:n], self._expires[:n]
        return Rows(self.revision, self._base, self._tail[:tail], *parts, self._live)

    def _places(self, numbers: Int64Array) -> tuple[IntArray, BoolArray]:
        """Places of those numbers that are here, and which ones those are."""
        known = self._numbers[: self._size]
        places = np.searchsorted(known, numbers)
        here = places < len(known)
        here[here] = known[places[here]] == numbers[here]
        return places[here], here


class NoRows:
    """A base of no rows."""

    def __init__(self, dimension: int) -> None:
        self._none = np.zeros((0, dimension), dtype=np.float32)

    def __len__(self) -> int:
        return 0

    def part(self, start: int, stop: int, subjects: Int64Array) -> FloatArray:  # noqa: ARG002 - the protocol's
        """None of them."""
        return self._none

    def take(self, places: IntArray, subjects: Int64Array) -> FloatArray:  # noqa: ARG002 - the protocol's
        """None of them."""
        return self._none


def empty_batch(dimension: int) -> Batch:
    """A batch of no templates."""
    none = np.zeros(0, dtype=np.int64)
    return Batch(none, none, none, np.zeros((0, dimension), dtype=np.float32))


def exact_scores(rows: Rows, places: IntArray, probe: FloatArray) -> Float64Array:
    """(k,) cosine of the rows at ascending places with the probe, in double precision.

    This is the one definition of a score that decisions rest on, however a row was found.
    """
    scores = np.empty(len(places))
    for first in range(0, len(places), 4 * BLOCK):
        part = slice(first, first + 4 * BLOCK)
        scores[part] = row_scores(rows.gather(places[part]), probe)
    return scores


def row_scores(rows: FloatArray, probe: FloatArray) -> Float64Array:
    """`exact_scores` of rows that are at hand."""
    scores: Float64Array = np.einsum("ij,j->i", rows.astype(np.float64), probe.astype(np.float64))
    return np.clip(scores, -1.0, 1.0)


def _appended(array: npt.NDArray[_Scalar], size: int, more: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """The first `size` entries with more behind them; room beyond them that no snapshot shows is used where there is."""
    needed = size + len(more)
    if needed > len(array):
        grown = np.empty((max(needed, 2 * size, 256), *array.shape[1:]), dtype=array.dtype)
        grown[:size] = array[:size]
        array = grown
    array[size:needed] = more
    return array
