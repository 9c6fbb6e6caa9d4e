"""Shared runs give each caller his own rows, and errors to those whom they belong to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vultus import Embedder
from vultus.errors import BadArgument
from vultus.service.batching import BatchedEmbedder


def crops_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 112, 112, 3), np.uint8)


def test_every_caller_gets_his_own_rows(cache: Path) -> None:
    plain = Embedder(threads=1)
    sizes: list[int] = []
    shared = BatchedEmbedder("sface-2021dec", runs=1, most=4, threads=1, on_run=sizes.append)
    asked = [crops_of(1 + i % 3) for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for crops, rows in zip(asked, pool.map(shared, asked), strict=True):
            assert np.abs(rows - plain(crops)).max() < 1e-5
    assert sum(sizes) == sum(map(len, asked))
    assert max(sizes) <= 4
    assert len(sizes) < 24  # some shared a run
    assert shared(crops_of(0)[:0]).shape == (0, 128)
    assert np.abs(shared(crops_of(2), mirror=True) - plain(crops_of(2), mirror=True)).max() < 1e-5


def test_runs_go_at_once(cache: Path) -> None:
    together = threading.Barrier(2, timeout=20)  # breaks unless two runs are under way at once
    shared = BatchedEmbedder("sface-2021dec", runs=2, most=1, threads=1, on_run=lambda _: together.wait())
    with ThreadPoolExecutor(2) as pool:
        assert [r.shape for r in pool.map(shared, [crops_of(1), crops_of(1)])] == [(1, 128)] * 2


def test_an_error_is_told_and_the_run_is_given_back(cache: Path) -> None:
    shared = BatchedEmbedder("sface-2021dec", runs=1, most=4, threads=1)
    for _ in range(3):
        with pytest.raises(BadArgument):
            shared(np.zeros((1, 5, 5, 3), np.uint8))
    assert shared(crops_of(1)).shape == (1, 128)
