"""The index of one gallery in one process: follows the store, and is kept in a file so that others start quickly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from vultus.errors import BadTemplate, GalleryBusy, GalleryError, GalleryFull, GalleryUnavailable
from vultus.gallery.decide import Limit
from vultus.gallery.engine import Answer
from vultus.gallery.index_file import Damaged, Stamp, erase_rows, read_index, write_index
from vultus.gallery.rank import By
from vultus.gallery.reads import Batch, Int64Array, Reads
from vultus.gallery.rows import GONE, NoRows, Rows, RowTable, empty_batch
from vultus.gallery.search import ExactScan, Scan, best_subjects
from vultus.gallery.store import Store
from vultus.types import FloatArray

if TYPE_CHECKING:
    from vultus.gallery.codes import Codes

COMPRESS_FROM = 200_000
_WORTH_A_FILE = 20_000
_UNCODED = 8_192
_TRIES = 4
_TRIES_WITHOUT_LOCK = 40


class Index:
    """Answers searches from rows in memory that are current at the moment when the search starts.

    Args:
        store: what it is derived from.
        worth_a_file: from how many templates on the rows are kept in a file beside the store; never for a store that is
            encrypted, whose rows the file would show.
        compress_from: from how many templates on their codes are scanned first; None for never.
    """

    def __init__(
        self, store: Store, *, worth_a_file: int = _WORTH_A_FILE, compress_from: int | None = COMPRESS_FROM
    ) -> None:
        self.path = store.path.with_name(store.path.name + "-index")
        self._store = store
        self._worth_a_file = worth_a_file
        self._keeps_file = store.writable and not store.encrypted
        self._compress_from = compress_from
        self._lock = threading.RLock()  # taken before the store's turn to write, never after
        self._table: RowTable | None = None
        self._codes: Codes | None = None
        self._saved_codes: Codes | None = None
        self._distrusted = False

    def search(
        self, probe: FloatArray, *, limit_of: Callable[[Reads, int], Limit], max_rank: int, by: By, now: float
    ) -> Answer:
        """The best subjects at or above a limit that may depend on how many templates are compared.

        Raises:
            BadTemplate: the probe has another dimension than the rows.
            NoThreshold: what `limit_of` raises.
            GalleryError: the store cannot be read.
        """
        tries = _TRIES if self._store.writable else _TRIES_WITHOUT_LOCK
        for attempt in range(tries):
            with ExitStack() as stack:
                if attempt == _TRIES - 1 and self._store.writable:
                    stack.enter_context(self._lock)
                    stack.enter_context(self._store.still())
                found = self._attempt(probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)
            if found is not None:
                return found
        raise GalleryBusy(
            f"gallery {self._store.path}: templates are deleted faster than it can be searched; try again"
        )

    def _attempt(
        self, probe: FloatArray, *, limit_of: Callable[[Reads, int], Limit], max_rank: int, by: By, now: float
    ) -> Answer | None:
        """One search; None where it must be repeated.

        A deletion erases rows in the file that a search may be reading. So a search counts only if no deletion was
        acknowledged between its snapshot and its end.
        """
        answer = None
        with self._viewed() as (reads, rows, codes):
            limit = limit_of(reads, 0 if rows is None else rows.live)
            if rows is None:
                return Answer((), limit, 0, reads.revision())
            if len(probe) != rows.dimension:
                raise BadTemplate(
                    f"a template of {len(probe)} numbers; the gallery {self._store.path} holds rows of {rows.dimension}"
                )
            with suppress(Damaged):
                scan = self._scan(rows, codes, probe, limit.value)
                numbers, scores = best_subjects(
                    rows, scan, probe, threshold=limit.value, max_rank=max_rank, by=by, now=now
                )
                found = tuple(zip(reads.subject_ids(numbers), scores, strict=True))
                answer = Answer(found, limit, rows.live, rows.revision)
        if not len(rows.base):
            return answer
        with self._store.reading() as reads:
            disturbed = reads.any_removed(after=rows.revision)
        if answer is None and not disturbed:
            self.discard()
        return None if disturbed else answer

    @staticmethod
    def _scan(rows: Rows, codes: Codes | None, probe: FloatArray, threshold: float) -> Scan:
        if codes is None:
            return ExactScan(rows, probe)
        from vultus.gallery.compressed import CompressedScan

        return CompressedScan(rows, codes, probe, threshold=threshold)

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Reads, Rows | None]]:
        """The store and the rows at one revision, the latest; no rows before the first template."""
        with self._viewed() as (reads, rows, _):
            yield reads, rows

    @contextmanager
    def _viewed(self) -> Iterator[tuple[Reads, Rows | None, Codes | None]]:
        with ExitStack() as stack:
            with self._lock:
                reads = stack.enter_context(self._store.reading())
                rows = self._current(reads)
                codes = self._codes
            yield reads, rows, codes

    def discard(self) -> None:
        """Forget the rows and do not use the file again; the next search makes both anew from the store."""
        with self._lock:
            self._table = self._codes = None
            self._distrusted = True

    def erase(self, numbers: Int64Array) -> bool:
        """Erase the rows of deleted templates from the file; whether none is left there."""
        if not len(numbers) or not self.path.exists():
            return True
        with suppress(GalleryError), self._lock, self._store.still():
            return erase_rows(self.path, numbers)
        return False

    def save(self) -> None:
        """Bring the file up to date where reading the changes from the store would take long."""
        table = self._table
        if table is None or not self._keeps_file or len(table) < self._worth_a_file:
            return
        uncoded = self._codes is not None and self._codes is not self._saved_codes
        if uncoded or table.unsaved > max(5_000, len(table) // 20):
            with suppress(OSError, GalleryError), self._viewed() as (reads, rows, codes):
                if rows is not None:
                    token = reads.token(rows.revision) or 0
                    stamp = Stamp(self._store.identity, rows.dimension, rows.revision, token)
                    self._write(stamp, _batches_of(rows), codes)

    # --- following the store ------------------------------------------------------------------------------------------

    def _current(self, reads: Reads) -> Rows | None:
        revision, dimension = reads.revision(), reads.dimension()
        if dimension is None:
            return None
        table, self._table = self._table, None  # a change that fails half-way leaves no table behind
        if table is None:
            table = self._loaded(reads, dimension) or self._built(reads, dimension, revision)
        if table.revision != revision:
            for batch in reads.batches(after=table.revision):
                table.append(batch)
            table.remove(reads.removed(after=table.revision))
            table.move(*reads.moved(after=table.revision))
            table.revision = revision
        if table.dead > max(self._worth_a_file, len(table) // 2):
            table = self._built(reads, dimension, revision)
        rows = table.snapshot()
        self._codes = self._encoded(rows)
        self._table = table
        return rows

    def _loaded(self, reads: Reads, dimension: int) -> RowTable | None:
        """The rows of the file, where it belongs to this history of this gallery."""
        found = None if self._distrusted or self._store.encrypted else read_index(self.path)
        if found is None or found.stamp.identity != self._store.identity or found.stamp.dimension != dimension:
            return None
        if reads.token(found.stamp.revision) != found.stamp.token:
            return None
        table = RowTable(found.base, found.batch, found.stamp.revision)
        removed = reads.removed(after=found.stamp.revision)
        table.remove(removed)  # their rows may be erased already
        if self._store.writable:
            self.erase(removed)  # a process may have died between a deletion and its erasure
        if self._compresses(dimension, len(found.base)):
            from vultus.gallery.codes import codes_of

            subjects = table.snapshot().subjects
            with suppress(Damaged):
                self._codes = self._saved_codes = codes_of(
                    found.sections, len(found.base), dimension, lambda at: found.base.take(at, subjects)
                )
        return table

    def _built(self, reads: Reads, dimension: int, revision: int) -> RowTable:
        """The rows of the store; kept in a file where there are many."""
        self._codes = self._saved_codes = None
        templates, token = reads.totals().templates, reads.token(revision)
        if self._keeps_file and templates >= self._worth_a_file and token is not None:
            codes = self._new_codes(dimension, templates)
            with suppress(OSError, GalleryBusy, GalleryFull, GalleryUnavailable):
                stamp = Stamp(self._store.identity, dimension, revision, token)
                self._write(stamp, reads.batches(after=-1), codes)
                self._distrusted = False
                table = self._loaded(reads, dimension)
                if table is not None:
                    return table
        table = RowTable(NoRows(dimension), empty_batch(dimension), revision)
        for batch in reads.batches(after=-1):
            table.append(batch)
        return table

    def _compresses(self, dimension: int, rows: int) -> bool:
        """Whether so many rows of this dimension are scanned by their codes."""
        if self._compress_from is None or rows < self._compress_from:
            return False
        from vultus.gallery.codes import LARGEST, SMALLEST

        return SMALLEST <= dimension <= LARGEST

    def _new_codes(self, dimension: int, rows: int) -> Codes | None:
        if not self._compresses(dimension, rows):
            return None
        from vultus.gallery.codes import Codes

        return Codes.empty(dimension)

    def _encoded(self, rows: Rows) -> Codes | None:
        """Codes of nearly all rows: those that are new are few enough to be read one by one."""
        codes = self._codes if self._codes is not None else self._new_codes(rows.dimension, len(rows))
        if codes is None or 0 < len(codes) >= len(rows) - max(_UNCODED, len(rows) // 64):
            return codes
        codes = codes.copy()
        for _, block in rows.blocks(len(codes)):
            codes = codes.append(block)
        return codes

    def _write(self, stamp: Stamp, batches: Iterator[Batch], codes: Codes | None) -> None:
        """Write the file; rows that have no codes yet get theirs."""

        @contextmanager
        def settled() -> Iterator[Int64Array]:
            with self._store.still() as latest:
                yield latest.removed(after=stamp.revision)

        if codes is None:
            write_index(self.path, stamp, batches, settled=settled)
            return
        from vultus.gallery.codes import CodesWriter

        writer = CodesWriter(codes)
        write_index(self.path, stamp, batches, settled=settled, encode=writer.take, sections=writer.sections)


def _batches_of(rows: Rows) -> Iterator[Batch]:
    """All rows in their places, those of deleted templates as zeros."""
    for place, block in rows.blocks():
        part = slice(place, place + len(block))
        gone = rows.subjects[part] == GONE
        kept = np.where(gone[:, None], np.float32(0), block) if gone.any() else block
        yield Batch(rows.numbers[part], rows.subjects[part], rows.expires[part], kept)
