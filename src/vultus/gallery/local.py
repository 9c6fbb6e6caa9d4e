"""The engine of one machine: a store in one file, and an index in memory that follows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar

from vultus.errors import GalleryError
from vultus.gallery import integrity
from vultus.gallery.engine import Answer, Changing, LimitOf, Searcher
from vultus.gallery.index import Index
from vultus.gallery.rank import By
from vultus.gallery.reads import Reads
from vultus.gallery.records import Written
from vultus.gallery.results import Integrity
from vultus.gallery.store import Store
from vultus.types import FloatArray

_T = TypeVar("_T")


class LocalEngine:
    """See `vultus.gallery.engine.Engine`.

    Args:
        store: the store of record.
        index: derived from it.
    """

    def __init__(self, store: Store, index: Index) -> None:
        self.store = store
        self.index = index

    @property
    def name(self) -> str:
        """The file."""
        return str(self.store.path)

    @property
    def path(self) -> Path | None:
        """The file."""
        return self.store.path

    @property
    def model_id(self) -> str:
        """The model that the templates are of."""
        return self.store.model_id

    def reading(self) -> AbstractContextManager[Reads]:
        """A snapshot for the length of a block."""
        return self.store.reading()

    def write(self, change: Callable[[Changing], _T]) -> _T:
        """Make a change durable, or not at all."""
        return self.store.write(change)

    def search(self, probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float) -> Answer:
        """See `Searcher`."""
        return self.index.search(probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)

    def exactly(self) -> Searcher:
        """An index that reads all rows in every search."""
        return Index(self.store, compress_from=None)

    def erase(self, deleted: Written | None) -> bool:
        """Overwrite rows of deleted templates in the index file, and empty the store's log."""
        if deleted is None:
            return self._erased(after=0)
        with suppress(GalleryError):  # the deletion itself is done and stays so
            return self._erased(after=deleted.revision - 1, upto=deleted.revision)
        return False

    def _erased(self, **revisions: int) -> bool:
        with self.store.reading() as reads:
            numbers = reads.removed(**revisions)
        return self.index.erase(numbers) and self.store.erase()

    def sizes(self) -> tuple[int, int]:
        """Bytes of the file with its log, and of the index file."""
        files = [self.store.path, self.store.path.with_name(self.store.path.name + "-wal")]
        return sum(f.stat().st_size for f in files if f.exists()), (
            self.index.path.stat().st_size if self.index.path.exists() else 0
        )

    def verify(self) -> Integrity:
        """Check the database's structure, each template, and the index's copy of it."""
        return integrity.verify(self.index)

    def close(self) -> None:
        """Bring the index file up to date and close the store."""
        self.index.save()
        self.store.close()
