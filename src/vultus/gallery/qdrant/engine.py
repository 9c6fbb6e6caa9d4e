"""The engine that keeps a gallery on a Qdrant server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn, TypeVar

from vultus.errors import (
    BadArgument,
    BadTemplate,
    GalleryBusy,
    GalleryCorrupt,
    GalleryError,
    GalleryMissing,
    GalleryReadOnly,
    ModelMismatch,
)
from vultus.gallery.engine import Answer, Changing, LimitOf, Searcher
from vultus.gallery.qdrant.address import Address
from vultus.gallery.qdrant.head import Head, Heads, new_head
from vultus.gallery.qdrant.points import Points, equal
from vultus.gallery.qdrant.reads import Listing, Reads
from vultus.gallery.qdrant.scan import QuickScan, Scan
from vultus.gallery.qdrant.turns import Turns, collections_of
from vultus.gallery.qdrant.verify import verify
from vultus.gallery.qdrant.writes import NUMBERS, WORDS, Writes
from vultus.gallery.rank import By, best_of
from vultus.gallery.records import Written
from vultus.gallery.results import Integrity
from vultus.types import FloatArray

_T = TypeVar("_T")
_TRIES = 8
_LONGEST_MODEL = 1024


class QdrantEngine:
    """See `vultus.gallery.engine.Engine`. Use `QdrantEngine.open`.

    Args:
        heads: of the gallery.
        model_id: the model that the templates are of.
        read_only: never write.
        busy_seconds: how long to wait for others who write.
        clock: seconds since 1970.
    """

    path = None

    def __init__(
        self, heads: Heads, *, model_id: str, read_only: bool, busy_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._heads = heads
        self._points = heads.points
        self._turns = Turns(heads, busy_seconds=busy_seconds)
        self._listing = Listing()
        self._read_only = read_only
        self._clock = clock
        self.model_id = model_id
        self.name = self._points.address.name
        oversampling = self._points.address.oversampling
        self._way = Scan if oversampling is None else partial(QuickScan, oversampling=oversampling)

    @classmethod
    def open(
        cls, address: Address, *, model: str | None, read_only: bool, busy_seconds: float, clock: Callable[[], float]
    ) -> QdrantEngine:
        """Open a gallery, or make one where there is none and a model is named; see `open_qdrant`."""
        points = Points(address)
        heads = Heads(points)
        try:
            head = heads.find() if points.exists(address.records) else None
            if head is None:
                if model is None or read_only:
                    raise GalleryMissing(
                        f"there is no gallery at {address.name}; make one with `vultus gallery create`"
                    )
                head = _made(heads, model)
            if model is not None and model != head.model_id:
                raise ModelMismatch(
                    f"gallery {address.name} holds templates of {head.model_id!r}, not of {model!r}; open it with that model, "
                    "or enrol the photos anew in a gallery of this one"
                )
        except BaseException:
            points.close()
            raise
        return cls(heads, model_id=head.model_id, read_only=read_only, busy_seconds=busy_seconds, clock=clock)

    @contextmanager
    def reading(self) -> Iterator[Reads]:
        """A snapshot for the length of a block, which moves forward when something is removed meanwhile.

        Raises:
            GalleryError: it cannot be read.
        """
        turns = None if self._read_only else self._turns
        yield Reads(self._heads, self._heads.read(), self._listing, turns)

    def write(self, change: Callable[[Changing], _T]) -> _T:
        """Make a change durable, or not at all.

        Raises:
            GalleryReadOnly: the gallery was opened to read, or the server lets it only be read.
            VultusError: what the change raises, or why it could not be made durable.
        """
        self._check_writable()
        with self._turns.taken() as turn:
            writes = Writes(self._heads, turn, self._clock)
            value = change(writes)
            head = writes.finish()
            if head is not None:
                turn.commit(head)
        return value

    def search(self, probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float) -> Answer:
        """See `Searcher`; by the rows in 8 bits where the address asks for it."""
        return self._search(self._way, probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)

    def exactly(self) -> Searcher:
        """Searches by all rows as they are."""
        return _Exact(self)

    def search_exactly(self, probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float) -> Answer:
        """The same, by all rows as they are."""
        return self._search(Scan, probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)

    def _search(
        self, way: Callable[..., Scan], probe: FloatArray, *, limit_of: LimitOf, max_rank: int, by: By, now: float
    ) -> Answer:
        """A search of one state: where something was removed meanwhile, of the next one."""
        for _ in range(_TRIES):
            head = self._heads.read()
            answer = self._attempt(head, way, probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)
            if self._heads.read().removals == head.removals:
                return answer()
        if self._read_only:
            raise GalleryBusy(f"gallery {self.name}: subjects are removed faster than it can be searched; try again")
        with self._turns.taken() as turn:
            return self._attempt(turn.head, way, probe, limit_of=limit_of, max_rank=max_rank, by=by, now=now)()

    def _attempt(
        self,
        head: Head,
        way: Callable[..., Scan],
        probe: FloatArray,
        *,
        limit_of: LimitOf,
        max_rank: int,
        by: By,
        now: float,
    ) -> Callable[[], Answer]:
        """The answer of one state, or the error that it gives, where it remains one."""
        reads = Reads(self._heads, head, self._listing)
        limit = limit_of(reads, head.vectors)
        if head.dimension is None:
            return lambda: Answer((), limit, 0, head.revision)
        if len(probe) != head.dimension:
            raise BadTemplate(
                f"a template of {len(probe)} numbers; the gallery {self.name} holds rows of {head.dimension}"
            )
        try:
            scan = way(reads, head, probe, threshold=limit.value, by=by, now=now)
            numbers, scores = best_of(scan, threshold=limit.value, max_rank=max_rank, by=by)
            found = tuple(zip(reads.subject_ids(numbers), scores, strict=True))
        except (GalleryCorrupt, ValueError) as problem:
            return partial(_raise, problem if isinstance(problem, GalleryCorrupt) else self._dangling())
        return lambda: Answer(found, limit, head.vectors, head.revision)

    def _dangling(self) -> GalleryCorrupt:
        return GalleryCorrupt(f"gallery {self.name}: a record that others refer to is missing; restore a snapshot")

    def erase(self, deleted: Written | None) -> bool:
        """Delete what changes have left behind that were not finished. When a server frees the bytes is its own affair."""
        if deleted is None:
            self._check_writable()
            with self._turns.taken() as turn:
                for ticket in sorted(turn.head.void):
                    for collection in collections_of(self._heads, turn.head):
                        self._points.delete_where(collection, equal("ticket", ticket))
        return False

    def sizes(self) -> tuple[int, int]:
        """Bytes of the vectors, and of their copies in 8 bits; a server does not say what else it takes."""
        head = self._heads.read()
        numbers = head.vectors * (head.dimension or 0)
        return 4 * numbers, numbers

    def verify(self) -> Integrity:
        """Check the counts, each template, and the row that is searched in its place."""
        try:
            return verify(self._heads)
        except GalleryError as problem:
            return Integrity((str(problem),), 0)

    def close(self) -> None:
        """Close the connections."""
        self._points.close()

    def _check_writable(self) -> None:
        if self._read_only:
            raise GalleryReadOnly(f"gallery {self.name} was opened to read; open it without read_only to change it")


def _raise(problem: GalleryCorrupt) -> NoReturn:
    raise problem


class _Exact:
    """See `Searcher`."""

    def __init__(self, engine: QdrantEngine) -> None:
        self.search = engine.search_exactly


def _made(heads: Heads, model: str) -> Head:
    """The head of a new gallery, or of the one that another process makes at this moment."""
    points, address = heads.points, heads.points.address
    if not 0 < len(model) <= _LONGEST_MODEL or not model.isprintable():
        raise BadArgument(f"model is {model!r}; expected the model_id of a recognizer")
    points.make_records(address.records, words=WORDS, numbers=NUMBERS)
    head = heads.find()
    if head is None:
        if points.count(address.records):
            raise GalleryCorrupt(
                f"the collection {address.records} is another program's and no gallery; name another gallery"
            )
        heads.make(new_head(model))
        head = heads.read()
    return head
