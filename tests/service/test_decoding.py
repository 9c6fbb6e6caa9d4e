"""A hostile picture costs its own request: bombs, broken files, and workers that die."""

from __future__ import annotations

import io
import os
import signal
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.errors import DeadlineExceeded, ImageParseError, ImageTooLarge, NotReady, UnsupportedImage
from vultus.image import Limits, read_image
from vultus.service.decoding import Decoders


def png(width: int, height: int, *, depth: int = 8) -> bytes:
    """A white PNG that is small as a file, whatever its size."""
    row = b"\0" + bytes([255]) * (width * 3 * depth // 8)
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    pool = Decoders(2, megabytes=768)
    pool.warm()
    yield pool
    pool.close()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pixels_are_those_of_the_library(decoders: Decoders, kind: str) -> None:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)).save(out, kind)
    found = decoders.decode(out.getvalue())
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, read_image(out.getvalue()))


def test_orientation_is_undone(decoders: Decoders) -> None:
    out = io.BytesIO()
    picture = Image.fromarray(np.zeros((10, 20, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(out, "JPEG", exif=exif)
    assert decoders.decode(out.getvalue()).shape == (20, 10, 3)


def test_errors_keep_their_kind(decoders: Decoders) -> None:
    for content, error in ((b"", ImageParseError), (b"x", ImageParseError), (b"GIF89a", UnsupportedImage)):
        with pytest.raises(error):
            decoders.decode(content)
    with pytest.raises(ImageTooLarge):
        decoders.decode(png(20_000, 10))
    with pytest.raises(ImageParseError):
        decoders.decode(png(100, 100)[:-60])


def test_a_bomb_ends_at_the_memory_limit() -> None:
    deaths = []
    limits = Limits(max_pixels=1 << 40, max_side=1 << 20)
    pool = Decoders(1, megabytes=500, limits=limits, on_death=lambda: deaths.append(1))
    bomb = png(12_000, 12_000)
    assert len(bomb) < 4_000_000
    with pytest.raises((ImageTooLarge, ImageParseError)):
        pool.decode(bomb)
    assert pool.decode(png(5, 4)).shape == (4, 5, 3)
    pool.close()


def test_a_picture_that_takes_too_long_ends_its_worker() -> None:
    deaths: list[int] = []
    pool = Decoders(1, megabytes=1024, seconds=0.3, on_death=lambda: deaths.append(1))
    pool.warm()
    worker = pool._idle.queue[0]
    assert worker is not None
    os.kill(worker.process.pid, signal.SIGSTOP)  # as one that computes for ever
    with pytest.raises(ImageTooLarge, match=r"0\.3 s"):
        pool.decode(png(4, 4))
    assert deaths == [1]
    assert worker.process.returncode is not None
    pool._seconds = 30
    assert pool.decode(png(4, 4)).shape == (4, 4, 3)
    pool.close()


def test_a_killed_worker_costs_its_own_request_only(decoders: Decoders) -> None:
    good = png(300, 300)
    stop = threading.Event()
    failures: list[BaseException] = []

    def kill() -> None:
        for _ in range(3):
            for worker in list(decoders._idle.queue):
                if worker is not None:
                    worker.process.kill()
            stop.wait(0.15)

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(decoders.decode, good) for _ in range(40)]:
            try:
                assert future.result().shape == (300, 300, 3)
            except ImageParseError as problem:
                failures.append(problem)
    killer.join()
    assert len(failures) <= 6  # one for each worker that was killed
    assert decoders.decode(good).shape == (300, 300, 3)


def test_a_worker_can_write_no_file_and_knows_no_secret(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_GALLERY_KEY", "canary")
    pool = Decoders(1)
    pool.warm()
    worker = pool._idle.queue[0]
    assert worker is not None
    process = Path(f"/proc/{worker.process.pid}")
    assert b"canary" not in (process / "environ").read_bytes()
    pool.decode(png(4, 4))
    found = {x[:25].strip(): x[25:].split() for x in (process / "limits").read_text().splitlines()}
    assert found["Max file size"][0] == "0"
    assert found["Max address space"][0] == str(1024 << 20)
    pool.close()


def test_waiting_has_an_end_and_so_has_the_pool() -> None:
    pool = Decoders(1)
    taken = pool._idle.get()
    with pytest.raises(DeadlineExceeded):
        pool.decode(png(4, 4), wait=0.05)
    pool._idle.put(taken)
    pool.close()
    with pytest.raises(NotReady):
        pool.decode(png(4, 4))
