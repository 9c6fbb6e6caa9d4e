"""Points in collections: the few things that this package asks of Qdrant, in one place.

They are those that the server's interface and Qdrant's engine in a process have in common: collections without a graph,
insertion, deletion by number or by filter, payload replaced where a filter holds, retrieval, scrolling in the order of
the numbers, and queries, exact or by the rows in 8 bits.

Every change is asked for with `wait`, so that it is in the server's synced log and applied when the answer comes, and
with strong ordering, so that all of them go through one replica of their shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException

from vultus.errors import GalleryCorrupt, GalleryUnavailable
from vultus.gallery.qdrant.address import Address
from vultus.gallery.qdrant.problems import errors_typed, is_conflict
from vultus.types import FloatArray

Condition = models.FieldCondition
Payload = dict[str, Any]

_PAGE = 1000
_SENT = 500  # a request must stay below the 32 MB that a server takes
_STRONG = models.WriteOrdering.STRONG
_MAJORITY = models.ReadConsistencyType.MAJORITY


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A point: its number, its payload, and where there are such, its vector and its score."""

    id: int
    payload: Payload
    vector: FloatArray | None = None
    score: float = 0.0


def equal(field: str, value: int | str) -> Condition:
    """The field has the value."""
    return Condition(key=field, match=models.MatchValue(value=value))


def among(field: str, values: Sequence[int] | Sequence[str]) -> Condition:
    """The field has one of the values."""
    return Condition(key=field, match=models.MatchAny.model_validate({"any": list(values)}))


def at_most(field: str, value: int) -> Condition:
    """The field has a number that is not above the value."""
    return Condition(key=field, range=models.Range(lte=value))


class Points:
    """The points of one server. Safe for many threads.

    Args:
        address: of the gallery that it serves.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._closed = False
        with errors_typed(address):
            self._client = QdrantClient(
                url=address.url,
                port=None,
                api_key=address.key,
                timeout=address.timeout,
                check_compatibility=False,  # which would ask the server in a thread of its own
            )

    # --- collections --------------------------------------------------------------------------------------------------

    def exists(self, collection: str) -> bool:
        """Whether there is such a collection."""
        with self._asking():
            return self._client.collection_exists(collection)

    def make_records(self, collection: str, *, words: Sequence[str], numbers: Sequence[str]) -> None:
        """Make a collection of points without vectors, unless it is there, with an index on each of the fields."""
        # an engine wants a vector to be named, which no point has
        vectors = {"unused": models.VectorParams(size=1, distance=models.Distance.DOT)}
        self._make(collection, vectors_config=vectors)
        self._index(collection, words, numbers)

    def make_rows(self, collection: str, dimension: int, *, numbers: Sequence[str]) -> None:
        """Make a collection of rows without graph, in 32 and in 8 bits a number, unless it is there."""
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        self._make(
            collection,
            vectors_config=models.VectorParams(size=dimension, distance=models.Distance.DOT),
            quantization_config=models.ScalarQuantization(scalar=scalar),
        )
        self._index(collection, (), numbers)

    def _make(self, collection: str, **parts: Any) -> None:
        with self._asking():
            try:
                self._client.create_collection(
                    collection,
                    hnsw_config=models.HnswConfigDiff(m=0),
                    shard_number=self.address.shards,
                    replication_factor=self.address.replicas,
                    write_consistency_factor=self.address.replicas,
                    on_disk_payload=True,
                    **parts,
                )
            except ApiException as problem:
                if not is_conflict(problem):
                    raise

    def _index(self, collection: str, words: Sequence[str], numbers: Sequence[str]) -> None:
        kinds = {**dict.fromkeys(words, models.PayloadSchemaType.KEYWORD)}
        kinds |= dict.fromkeys(numbers, models.PayloadSchemaType.INTEGER)
        with self._asking():
            for field, kind in kinds.items():
                self._client.create_payload_index(collection, field, field_schema=kind, ordering=_STRONG)

    # --- changes ------------------------------------------------------------------------------------------------------

    def insert(self, collection: str, points: Sequence[Point]) -> None:
        """Insert points, whose numbers must be new."""
        for first in range(0, len(points), _SENT):
            part = [
                models.PointStruct(id=p.id, vector={} if p.vector is None else p.vector.tolist(), payload=p.payload)
                for p in points[first : first + _SENT]
            ]
            with self._asking():
                self._client.upsert(collection, part, ordering=_STRONG)

    def insert_unless_there(self, collection: str, point: Point) -> None:
        """Insert a point without a vector, and leave one of that number as it is."""
        never = models.Filter(must=[equal("never", "true")])
        made = models.PointStruct(id=point.id, vector={}, payload=point.payload)
        with self._asking():
            self._client.upsert(collection, [made], ordering=_STRONG, update_filter=never)

    def replace_where(self, collection: str, number: int, payload: Payload, *conditions: Condition) -> None:
        """Replace the payload of a point where the conditions hold, in one step; nothing else happens otherwise."""
        where = models.Filter(must=[models.HasIdCondition(has_id=[number]), *conditions])
        with self._asking():
            self._client.overwrite_payload(collection, payload, points=where, ordering=_STRONG)

    def delete(self, collection: str, numbers: Sequence[int]) -> None:
        """Delete points; those that are not there are no error."""
        for first in range(0, len(numbers), _PAGE):
            with self._asking():
                self._client.delete(collection, list(numbers[first : first + _PAGE]), ordering=_STRONG)

    def delete_where(self, collection: str, *conditions: Condition) -> None:
        """Delete all points for which the conditions hold."""
        with self._asking():
            self._client.delete(collection, models.Filter(must=list(conditions)), ordering=_STRONG)

    # --- questions ----------------------------------------------------------------------------------------------------

    def count(self, collection: str, *conditions: Condition) -> int:
        """How many points there are for which the conditions hold."""
        with self._asking():
            where = models.Filter(must=list(conditions)) if conditions else None
            return self._client.count(collection, where, exact=True).count

    def latest(self, collection: str, number: int) -> Point | None:
        """One point, as most replicas have it."""
        with self._asking():
            found = self._client.retrieve(collection, [number], consistency=_MAJORITY)
        return self._point(found[0]) if found else None

    def with_vectors(self, collection: str, numbers: Sequence[int]) -> dict[int, Point]:
        """Those of the points that are there, by number."""
        points = []
        for first in range(0, len(numbers), _SENT):
            with self._asking():
                points += self._client.retrieve(collection, list(numbers[first : first + _SENT]), with_vectors=True)
        return {p.id: p for p in map(self._point, points)}

    def scroll(
        self, collection: str, *conditions: Condition, fields: Sequence[str] | bool = True, vectors: bool = False
    ) -> Iterator[Point]:
        """All points for which the conditions hold, in the order of their numbers, with these fields of their payload."""
        offset: Any = None
        while True:
            with self._asking():
                page, offset = self._client.scroll(
                    collection,
                    models.Filter(must=list(conditions)) if conditions else None,
                    limit=_SENT if vectors else _PAGE,
                    offset=offset,
                    with_payload=fields if isinstance(fields, bool) else list(fields),
                    with_vectors=vectors,
                )
            yield from map(self._point, page)
            if offset is None:
                return

    def nearest(
        self, collection: str, probe: FloatArray, count: int, *, above: float | None, oversampling: int | None
    ) -> list[Point]:
        """Points by their product with the probe, highest first.

        Args:
            collection: to search.
            probe: (d,) float32.
            count: how many at most.
            above: leave out products that are lower.
            oversampling: by the rows in 8 bits, this many times as many of them scored again; None to score all rows.
        """
        quick = None
        if oversampling is not None:
            quick = models.QuantizationSearchParams(ignore=False, rescore=True, oversampling=float(oversampling))
        with self._asking():
            found = self._client.query_points(
                collection,
                query=probe.tolist(),
                search_params=models.SearchParams(exact=oversampling is None, quantization=quick),
                limit=count,
                score_threshold=above,
                with_vectors=True,
            ).points
        return [self._point(p) for p in found]

    def close(self) -> None:
        """Close the connections; whatever is asked afterwards raises `GalleryUnavailable`."""
        self._closed = True
        self._client.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if self._closed:
            raise GalleryUnavailable(f"gallery {self.address.name} is closed; open it again")
        with errors_typed(self.address):
            yield

    def _point(self, found: models.Record | models.ScoredPoint) -> Point:
        if not isinstance(found.id, int):
            raise GalleryCorrupt(f"gallery {self.address.name}: a point {found.id!r} is another program's")
        vector = None
        if isinstance(found.vector, list):
            vector = np.array(found.vector, dtype=np.float32)
        score = found.score if isinstance(found, models.ScoredPoint) else 0.0
        return Point(found.id, found.payload or {}, vector, score)
