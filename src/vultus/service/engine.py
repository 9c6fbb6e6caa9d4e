"""From pictures to samples under load: who is let in, how long it may take, and on which threads it runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vultus.detect import Detector
from vultus.errors import DeadlineExceeded, NotReady, Overloaded, VultusError
from vultus.image import Limits, Photo, open_photo
from vultus.recognizer import Recognizer, Sample
from vultus.runtime import default_threads
from vultus.service.batching import BatchedEmbedder
from vultus.service.decoding import Decoders
from vultus.service.metrics import Metrics
from vultus.service.pad import AttackDetector, PadVerdict, load_detector
from vultus.service.settings import Settings

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The loaded system.

    Args:
        shared: its embeddings go into shared runs.
        alone: each of its pictures is a run of its own, so that a repeated request gives the same bits.
    """

    shared: Recognizer
    alone: Recognizer


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was seen in one picture.

    Args:
        photo: the decoded picture.
        sample: of the face that is meant.
        pad: the attack detector's verdict; None without one.
    """

    photo: Photo
    sample: Sample
    pad: PadVerdict | None


class Engine:
    """The model behind a bounded number of requests.

    Args:
        settings: of the service.
        metrics: counts what happens.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        cores = settings.threads or default_threads()
        self.cores = cores
        limits = Limits(max_bytes=settings.max_body_bytes)
        count = settings.decoders or cores
        self.decoders = Decoders(
            count,
            megabytes=settings.decode_megabytes,
            seconds=settings.decode_seconds,
            limits=limits,
            on_death=metrics.decoder_deaths.inc,
        )
        self._decode = ThreadPoolExecutor(count, thread_name_prefix="vultus-decode")
        # one thread more than cores, so that a face finds company while another thread looks for faces
        self._look = ThreadPoolExecutor(cores + 1, thread_name_prefix="vultus-look")
        self._guard = threading.Lock()
        self._inside = 0
        self._open = True
        self.models: Models | None = None
        self.detector: AttackDetector | None = None
        self.failure: VultusError | None = None

    def load(self) -> None:
        """Load and test the model; refuses one whose weights or answers are wrong.

        Raises:
            WeightsError, ProviderUnavailable, BadSettings: the model or the attack detector cannot be had.
        """
        wanted = self.settings
        try:
            self.detector = load_detector(wanted.pad)
            alone = Recognizer.load(
                wanted.model,
                detector=wanted.detector,
                mirror=wanted.mirror,
                threads=1,
                accept_licence=wanted.accept_licence,
            )
            finder = Detector(alone.detector.manifest, threads=1)
            batched = BatchedEmbedder(
                alone.embedder.manifest,
                runs=self.cores,
                most=wanted.batch,
                threads=1,
                on_run=self._metrics.batch.observe,
            )
            self.decoders.warm()
            finder(np.zeros((64, 64, 3), dtype=np.uint8))  # what is loaded when first used is loaded now
            self.models = Models(Recognizer(finder, batched, mirror=wanted.mirror, threads=1), alone)
        except VultusError as problem:
            self.failure = problem
            raise

    @property
    def ready(self) -> Models:
        """The loaded system.

        Raises:
            NotReady: it is loading, has failed to load, or the service is stopping.
        """
        if self.models is None or not self._open:
            raise NotReady("the service is starting or stopping; ask /readyz")
        return self.models

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Inside is a request with pictures; at most `queue` of them at once.

        Raises:
            Overloaded: there are as many already.
            NotReady: the service is starting or stopping.
        """
        self.ready  # noqa: B018 - raises
        with self._guard:
            if self._inside >= self.settings.queue:
                self._metrics.rejected.inc()
                raise Overloaded(f"{self._inside} requests are being worked on; try again")
            self._inside += 1
            self._metrics.inside.set(self._inside)
        try:
            yield
        finally:
            with self._guard:
                self._inside -= 1
                self._metrics.inside.set(self._inside)

    async def photo(self, content: bytes) -> Photo:
        """A picture's file decoded in a worker process."""
        until = time.monotonic() + self.settings.deadline_seconds
        pixels = await self._run(self._decode, until, lambda: self.decoders.decode(content, wait=_left(until)))
        return open_photo(pixels)

    async def look(self, work: Callable[[Recognizer], _T], *, alone: bool = False) -> _T:
        """Work with the model on one of its threads.

        Args:
            work: what to do.
            alone: with the recognizer that repeats itself to the bit.

        Raises:
            DeadlineExceeded: no thread came free in time.
        """
        models = self.ready
        until = time.monotonic() + self.settings.deadline_seconds
        return await self._run(self._look, until, lambda: work(models.alone if alone else models.shared))

    async def seen(self, contents: Sequence[bytes], *, one: bool = False, alone: bool = False) -> list[Seen]:
        """The face that is meant in each picture, as a sample, with what the attack detector says of it.

        Args:
            contents: the pictures' files.
            one: refuse a picture that shows several faces.
            alone: see `look`.

        Raises:
            VultusError: of the first picture that fails.
        """

        async def see(content: bytes) -> Seen:
            photo = await self.photo(content)

            def work(recognizer: Recognizer) -> Seen:
                sample = recognizer.sample(photo, policy="one" if one else "largest")
                return Seen(photo, sample, None if self.detector is None else self.detector(photo, sample.face))

            return await self.look(work, alone=alone)

        return list(await asyncio.gather(*(see(c) for c in contents)))

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, and wait for those who are inside."""
        self._open = False
        until = time.monotonic() + seconds
        while self._inside and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """End threads and worker processes."""
        self._open = False
        self._decode.shutdown(wait=False, cancel_futures=True)
        self._look.shutdown(wait=False, cancel_futures=True)
        self.decoders.close()

    async def _run(self, pool: ThreadPoolExecutor, until: float, work: Callable[[], _T]) -> _T:
        def attempt() -> _T:
            if time.monotonic() > until:  # its turn came too late: the caller has gone
                raise DeadlineExceeded("the request waited too long; try again")
            return work()

        future = pool.submit(attempt)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.cancel()
            raise


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
