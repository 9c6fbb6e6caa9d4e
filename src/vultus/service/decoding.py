"""Pictures are decoded in processes of their own, with limits: a hostile one ends its worker and its request, nothing else."""

from __future__ import annotations

import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from vultus import errors
from vultus.errors import DeadlineExceeded, ImageError, ImageParseError, ImageTooLarge, NotReady
from vultus.image import Limits
from vultus.service.decode_worker import LENGTH, SIZE
from vultus.types import UInt8Array

_KINDS: dict[str, type[ImageError]] = {
    k.code: k for k in (ImageError, ImageParseError, ImageTooLarge, errors.UnsupportedImage)
}
_PIECE = 1 << 20
_NO_PICTURE, _FIRST_SECONDS = b"?", 60.0


class _Worker:
    """One process; it answers one picture at a time."""

    def __init__(self, megabytes: int, max_bytes: int) -> None:
        command = [sys.executable, "-m", "vultus.service.decode_worker", str(megabytes), str(max_bytes)]
        alone = {k: os.environ[k] for k in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if k in os.environ}
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=alone | one,
            bufsize=0,
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: S101, PT018 - both are pipes
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        _widen(self._in)
        _widen(self._out)

    def decode(self, content: bytes, seconds: float) -> UInt8Array:
        """Pixels of a picture.

        Raises:
            TimeoutError, OSError: the worker is of no use any more.
            ImageError: the picture is refused.
        """
        until = time.monotonic() + seconds
        self._send(LENGTH.pack(len(content)) + content, until)
        kind = bytes(self._receive(1, until))
        size = LENGTH.unpack(self._receive(LENGTH.size, until))[0]
        if kind == b"E":
            code, _, words = bytes(self._receive(size, until)).decode("utf-8", "replace").partition(" ")
            raise _KINDS.get(code, ImageParseError)(words)
        height, width = SIZE.unpack(self._receive(SIZE.size, until))
        if kind != b"P" or size != SIZE.size + height * width * 3:
            raise OSError("the worker answered nonsense")
        return np.frombuffer(self._receive(height * width * 3, until), dtype=np.uint8).reshape(height, width, 3)

    def end(self) -> None:
        """Kill the process and wait for it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _send(self, content: bytes, until: float) -> None:
        view = memoryview(content)
        while view:
            _, ready, _ = select.select((), (self._in,), (), _left(until))
            if not ready:
                raise TimeoutError
            view = view[os.write(self._in, view[:_PIECE]) :]

    def _receive(self, size: int, until: float) -> bytearray:
        found = bytearray(size)
        view = memoryview(found)
        while view:
            ready, _, _ = select.select((self._out,), (), (), _left(until))
            if not ready:
                raise TimeoutError
            count = os.readv(self._out, [view[:_PIECE]])
            if not count:
                raise BrokenPipeError
            view = view[count:]
        return found


class Decoders:
    """A pool of workers. A worker that dies or takes too long is replaced.

    Args:
        count: how many.
        megabytes: address space of each.
        seconds: for one picture.
        limits: caps on the encoded picture.
        on_death: is called for each worker that had to be replaced.
    """

    def __init__(
        self,
        count: int,
        *,
        megabytes: int = 1024,
        seconds: float = 10.0,
        limits: Limits | None = None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._megabytes, self._seconds, self._limits = megabytes, seconds, limits or Limits()
        self._on_death = on_death
        self._closed = threading.Event()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)  # started when first needed

    def warm(self) -> None:
        """Start all workers now, and wait until they answer: the first requests find them ready."""
        taken = [self._idle.get() for _ in range(self._idle.qsize())]
        workers = [worker or self._start() for worker in taken]
        for worker in workers:
            try:
                with suppress(ImageError):
                    worker.decode(_NO_PICTURE, _FIRST_SECONDS)
                self._idle.put(worker)
            except OSError:  # replaced when it is needed; TimeoutError is one
                self._ended(worker)
                self._idle.put(None)

    def decode(self, content: bytes, *, wait: float | None = None) -> UInt8Array:
        """(H, W, 3) uint8 RGB pixels of a picture's file, upright.

        Args:
            content: the file.
            wait: seconds until a worker must be free.

        Raises:
            ImageError: the picture is damaged, too large, of an unsupported kind, or ended its worker.
            DeadlineExceeded: no worker came free in time.
            NotReady: the pool is closed.
        """
        if not content:
            raise ImageParseError("the picture has 0 bytes")
        self._limits.check_bytes(len(content))
        if self._closed.is_set():
            raise NotReady("the service is stopping")
        try:
            worker = self._idle.get(timeout=wait)
        except queue.Empty:
            raise DeadlineExceeded("no decoder came free in time; try again") from None
        try:
            worker = worker or self._start()
            return worker.decode(content, self._seconds)
        except TimeoutError:
            self._ended(worker)
            worker = None
            raise ImageTooLarge(f"the picture took more than {self._seconds:g} s to decode") from None
        except OSError:
            self._ended(worker)
            worker = None
            raise ImageParseError("the picture ended the process that decoded it: it is damaged or too large") from None
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all workers that are idle; those at work end with their picture."""
        self._closed.set()
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                return
            if worker is not None:
                worker.end()

    def _start(self) -> _Worker:
        return _Worker(self._megabytes, self._limits.max_bytes)

    def _ended(self, worker: _Worker | None) -> None:
        if worker is not None:
            worker.end()
        self._on_death()


def _widen(pipe: int) -> None:
    """Let a pipe hold a picture's pixels or most of them: each refill costs two processes a switch."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl
    except ImportError:  # Linux has it
        return
    with suppress(OSError):  # the system's limit for a user may be lower, or reached
        fcntl(pipe, F_SETPIPE_SZ, _PIECE)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
