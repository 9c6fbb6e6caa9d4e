"""Faces of requests that run at the same time share runs of the embedder, without waiting for more to come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vultus.embed import Embedder
from vultus.types import FloatArray, UInt8Array
from vultus.weights import Manifest


class _Waiting:
    """Crops of one request, and what became of them."""

    __slots__ = ("crops", "done", "problem", "rows")

    def __init__(self, crops: UInt8Array) -> None:
        self.crops = crops
        self.done = threading.Event()
        self.rows: FloatArray | None = None
        self.problem: BaseException | None = None


class BatchedEmbedder(Embedder):
    """An embedder for many threads: who comes while all runs are taken is carried by the next run.

    A thread that finds a run free takes everything that waits with it. So a batch is as large as the load makes it: one
    face on an idle machine. On a CPU, where a larger batch gains nothing, as many runs go at once as there are cores.

    Args:
        model: an embedder's manifest.
        runs: how many runs at once.
        most: how many faces in a run.
        threads, providers, cache: as for `Embedder`.
        on_run: is called with the number of faces of each run.
    """

    def __init__(
        self,
        model: str | Path | Manifest,
        *,
        runs: int,
        most: int,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        cache: Path | None = None,
        on_run: Callable[[int], object] = lambda _: None,
    ) -> None:
        super().__init__(model, threads=threads, providers=providers, cache=cache)
        self._runs, self._most, self._on_run = runs, most, on_run
        self._waiting: deque[_Waiting] = deque()
        self._guard = threading.Lock()

    def __call__(self, crops: UInt8Array, *, mirror: bool = False) -> FloatArray:
        """Embeddings of a batch of crops; see `Embedder`. All callers of one embedder use the same `mirror`."""
        if not len(crops):
            return super().__call__(crops, mirror=mirror)
        mine = _Waiting(crops)
        with self._guard:
            self._waiting.append(mine)
            leads = self._runs > 0
            if leads:
                self._runs -= 1
        if leads:
            self._lead(mirror)
        mine.done.wait()
        if mine.problem is not None:
            raise mine.problem
        assert mine.rows is not None  # noqa: S101 - done without a problem
        return mine.rows

    def _lead(self, mirror: bool) -> None:
        """Run what waits until nothing does, then give the run back."""
        while True:
            with self._guard:
                batch = self._taken()
                if not batch:
                    self._runs += 1
                    return
            try:
                crops = batch[0].crops if len(batch) == 1 else np.concatenate([w.crops for w in batch])
                self._on_run(len(crops))
                rows = super().__call__(crops, mirror=mirror)
                at = 0
                for waiting in batch:
                    waiting.rows = rows[at : at + len(waiting.crops)]
                    at += len(waiting.crops)
            except Exception as problem:  # noqa: BLE001 - belongs to those who asked
                for waiting in batch:
                    waiting.problem = problem
            finally:
                for waiting in batch:
                    waiting.done.set()

    def _taken(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0].crops) <= self._most):
            batch.append(self._waiting.popleft())
            count += len(batch[-1].crops)
        return batch
