"""Rows, stores and a clock that the tests of the gallery share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vultus import Template, Threshold
from vultus.gallery import Gallery
from vultus.gallery.records import NewTemplate
from vultus.gallery.store import Store
from vultus.types import FloatArray

if TYPE_CHECKING:
    from tests.gallery.postgres_server import Server
    from tests.gallery.qdrant_server import Server as QdrantServer

Place = Callable[[str], str | Path]

MODEL = "net@0123456789ab+finder@0123456789ab+arcface-112/1"


@pytest.fixture
def now() -> list[float]:
    """The time that the store sees, as its only element; a test may move it."""
    return [1_800_000_000.0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staff.db"


@pytest.fixture
def store(path: Path, now: list[float]) -> Iterator[Store]:
    opened = Store.open(path, model=MODEL, clock=lambda: now[0])
    yield opened
    opened.close()


@pytest.fixture
def unit() -> Callable[..., FloatArray]:
    """(n, d) random unit rows."""

    def make(n: int, d: int = 16, *, seed: int = 0) -> FloatArray:
        rows = np.random.default_rng(seed).standard_normal((n, d))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    return make


@pytest.fixture
def new(unit: Callable[..., FloatArray]) -> Callable[..., list[NewTemplate]]:
    """Templates on their way into a store."""

    def make(n: int = 1, d: int = 16, *, seed: int = 0, expires: int | None = None) -> list[NewTemplate]:
        return [NewTemplate(row.tobytes(), expires=expires) for row in unit(n, d, seed=seed)]

    return make


@pytest.fixture
def template(unit: Callable[..., FloatArray]) -> Callable[..., Template]:
    """A template of the tests' model."""

    def make(seed: int = 0, d: int = 16, *, model_id: str = MODEL) -> Template:
        return Template(unit(1, d, seed=seed)[0], model_id)

    return make


@pytest.fixture
def thresholds() -> tuple[Threshold, ...]:
    """Measured false match rates, made up."""
    rates = ((0.55, 1e-2), (0.7, 1e-3), (0.8, 1e-4), (0.85, 1e-5))
    return tuple(Threshold(value, fmr, 10_000_000, fmr / 2, fmr * 2, "made up") for value, fmr in rates)


@pytest.fixture
def gallery(path: Path, thresholds: tuple[Threshold, ...], now: list[float]) -> Iterator[Gallery]:
    with Gallery.open(path, model=MODEL, thresholds=thresholds, clock=lambda: now[0]) as opened:
        yield opened


# --- engines ----------------------------------------------------------------------------------------------------------

_NUMBERS = count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server with pgvector, of this run or worker alone."""
    from tests.gallery.postgres_server import running_server

    with running_server() as running:
        yield running


@pytest.fixture
def on_server(server: Server) -> Callable[..., str]:
    """Addresses of galleries on the server that no other test uses."""
    number = next(_NUMBERS)

    def address(name: str, **parameters: str) -> str:
        return server.address(f"t{number}_{name}", **parameters)

    return address


@pytest.fixture(scope="session")
def qdrant_server() -> Iterator[QdrantServer]:
    """Qdrant's engine behind the server's interface, in a thread of this run or worker."""
    from tests.gallery.qdrant_server import folder_in_memory, running_server

    with folder_in_memory() as folder, running_server(folder) as running:
        yield running


@pytest.fixture
def on_qdrant(qdrant_server: QdrantServer) -> Iterator[Callable[..., str]]:
    """Addresses of galleries on Qdrant that no other test uses."""
    number = next(_NUMBERS)

    def address(name: str, **parameters: str) -> str:
        return qdrant_server.address(f"t{number}_{name}", **parameters)

    yield address
    qdrant_server.collections.drop(f"t{number}_")


@pytest.fixture(params=["file", "postgres", "qdrant"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a test makes its galleries, by name: whatever uses it runs on every engine."""
    if request.param == "file":
        return lambda name: tmp_path / f"{name}.db"
    address: Callable[..., str] = request.getfixturevalue(
        {"postgres": "on_server", "qdrant": "on_qdrant"}[request.param]
    )
    return address
