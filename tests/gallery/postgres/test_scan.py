"""The scan: its error has the bound that is claimed, and answers are those of a gallery in a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus import Template
from vultus.errors import BadArgument, BadTemplate
from vultus.gallery import Gallery, NewSubject
from vultus.gallery.postgres.scan import halved, product_error
from vultus.gallery.rank import By
from vultus.types import FloatArray

if TYPE_CHECKING:
    from tests.gallery.postgres_server import Server

Address = Callable[..., str]


def unit(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]], length: float = 1.0) -> FloatArray:
    found: FloatArray = (length * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def test_halves_are_rounded_to_the_nearest() -> None:
    row = np.array([1 / 3, -1e-6, 1e-9, 0.9996, 2**-12], dtype=np.float32)
    assert halved(row).to_numpy().tolist() == row.astype(np.float16).tolist()


@given(
    dimension=st.sampled_from([1, 2, 7, 128, 512, 4096]),
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 2.0, 6.0]),
    lengths=st.tuples(st.sampled_from([0.9991, 1.0, 1.0009]), st.sampled_from([0.9991, 1.0, 1.0009])),
)
def test_the_bound_holds_and_is_not_loose(
    dimension: int, seed: int, spread: float, lengths: tuple[float, float]
) -> None:
    generator = np.random.default_rng(seed)
    scales = np.exp(-spread * generator.random((2, dimension)) * np.log(10))  # many numbers below the normal ones
    row, probe = (
        unit(numbers[None], length)[0]
        for numbers, length in zip(generator.standard_normal((2, dimension)) * scales, lengths, strict=True)
    )
    single = np.float32(0)
    for product in (row.astype(np.float16).astype(np.float32) * probe.astype(np.float16).astype(np.float32)).tolist():
        single = np.float32(single + np.float32(product))
    score = float(row.astype(np.float64) @ probe.astype(np.float64))
    assert abs(float(single) - score) <= product_error(probe) <= 2e-3


@pytest.mark.parametrize("dimension", [1, 16, 512, 3000])
def test_the_bound_holds_for_what_the_server_computes(server: Server, dimension: int) -> None:
    from pgvector.psycopg import register_vector

    generator = np.random.default_rng(dimension)
    rows, probe = unit(generator.standard_normal((200, dimension))), unit(generator.standard_normal((1, dimension)))[0]
    rows[:50] = unit(probe + 0.05 * rows[:50].astype(np.float64))
    with server.connect() as connection:
        register_vector(connection)
        query = "SELECT h <#> %b FROM unnest(%b::halfvec[]) WITH ORDINALITY AS t (h, n) ORDER BY n"
        products = np.array(connection.execute(query, (halved(probe), [halved(row) for row in rows])).fetchall())[:, 0]
    errors = np.abs(products + rows.astype(np.float64) @ probe.astype(np.float64))
    assert errors.max() <= product_error(probe)
    assert errors.max() > 1e-6 or dimension == 1


@pytest.mark.parametrize("by", ["max", "mean"])
def test_answers_equal_those_of_a_file(on_server: Address, tmp_path: Path, by: By) -> None:
    """Many rows crowd around the scores that decide, closer to them than half precision can tell."""
    generator = np.random.default_rng(3)
    probes = unit(generator.standard_normal((12, 32)))
    subjects = []
    for i in range(400):
        scores = np.array([0.5 + 2e-4 * generator.standard_normal(), generator.uniform(-1, 1)])[: 1 + i % 2, None]
        across = generator.standard_normal((len(scores), 32))
        across -= np.outer(across @ probes[i % 3], probes[i % 3])
        rows = unit(scores * probes[i % 3] + np.sqrt(1 - scores**2) * unit(across))
        subjects.append(NewSubject(f"s{i}", [Template(row, "m") for row in rows]))
    subjects.append(NewSubject("twin", subjects[0].templates))
    options = {"model": "m", "by": by, "near_duplicate": None}
    with (
        Gallery.open(tmp_path / "g.db", **options) as file,  # type: ignore[arg-type]
        Gallery.open(on_server("g", partitions="3"), **options) as served,  # type: ignore[arg-type]
    ):
        for gallery in (file, served):
            gallery.enrol_many(subjects)
            gallery.delete("s7")
        named = 0
        for probe in (Template(row, "m") for row in probes):
            for threshold in (0.5, 0.4999, 0.3, -0.999):
                for rank in (1, 3, 60):
                    expected = file.identify(probe, threshold=threshold, max_rank=rank)
                    assert served.identify(probe, threshold=threshold, max_rank=rank).candidates == expected.candidates
                    named += len(expected)
            assert served.search(probe, max_rank=500) == file.search(probe, max_rank=500)
        assert named > 1000


def test_partitions_and_workers(server: Server, on_server: Address) -> None:
    """Both options act, and the server does divide a scan among processes."""
    address = on_server("g", partitions="3") + "&options=-c%20parallel_setup_cost%3D0"
    rows = unit(np.random.default_rng(0).standard_normal((12_000, 128)))
    with Gallery.open(address, model="m", near_duplicate=None) as gallery:
        gallery.enrol_many([NewSubject(f"s{i}", [Template(row, "m")]) for i, row in enumerate(rows)])
    schema = schema_of(address)
    with server.connect() as connection:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'halves\\_%%'"
        assert connection.execute(query, (schema,)).fetchone() == (3,)
        connection.execute(f"ANALYZE {schema}.halves")
        launched = [_launched(connection)]
        for workers in (0, 2):
            with Gallery.open(f"{address}&workers={workers}") as gallery:
                assert gallery.identify(Template(rows[5], "m"), threshold=0.9)[0].subject_id == "s5"
            launched.append(_launched(connection))
    assert launched[0] == launched[1] < launched[2]


def schema_of(address: str) -> str:
    return address.rpartition("gallery=")[2].partition("&")[0]


def _launched(connection: psycopg.Connection[tuple[Any, ...]]) -> int:
    """How many processes have helped with queries so far, once no session is left that could have more to report."""
    others = "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'vultus'"
    helped = "SELECT sum(parallel_workers_launched)::int FROM pg_stat_database"
    for _ in range(500):
        if connection.execute(others).fetchone() == (0,):
            break
        time.sleep(0.01)
    found = connection.execute(helped).fetchone()
    assert found is not None
    return int(found[0])


def test_the_graph_is_used_where_it_is_asked_for(server: Server, on_server: Address) -> None:
    address = on_server("g", partitions="1")
    rows = unit(np.random.default_rng(0).standard_normal((3000, 64)))
    strangers = [Template(row, "m") for row in unit(np.random.default_rng(1).standard_normal((40, 64)))]
    with Gallery.open(address, model="m", near_duplicate=None) as exact:
        exact.enrol_many([NewSubject(f"s{i}", [Template(row, "m")]) for i, row in enumerate(rows)])
        assert exact.recall(strangers, max_rank=5).share == 1
        with Gallery.open(address + "&hnsw=10") as quick:
            with server.connect() as connection:
                connection.execute(f"ANALYZE {schema_of(address)}.halves")
            found = quick.recall(strangers, max_rank=5)
            assert (found.searches, found.candidates) == (40, 200)
            assert 0.1 < found.share < 1
            assert quick.recall([Template(row, "m") for row in rows[:20]]).first >= 18
            quick.enrol("new", strangers[0])
            assert quick.identify(strangers[0], threshold=0.99)[0].subject_id == "new"
            quick.delete("new")
            assert not quick.identify(strangers[0], threshold=0.99)
        assert exact.recall(strangers, max_rank=5).share == 1  # the graph is there, and is not used unasked
        assert exact.verify_integrity().ok


def test_a_graph_is_built_with_the_first_template(on_server: Address) -> None:
    with Gallery.open(on_server("g", hnsw="40"), model="m") as gallery:
        assert gallery.search(Template(unit(np.ones((1, 8)))[0], "m")) == ()
        gallery.enrol("ada", Template(unit(np.ones((1, 8)))[0], "m"))
        assert gallery.search(Template(unit(np.ones((1, 8)))[0], "m"))[0].subject_id == "ada"
        assert gallery.verify_integrity().ok


def test_rows_that_are_too_long_for_a_graph(on_server: Address) -> None:
    long = [Template(row, "m") for row in unit(np.random.default_rng(0).standard_normal((3, 4096)))]
    with Gallery.open(on_server("g", hnsw="40"), model="m") as gallery:
        gallery.enrol("ada", long[0])
        gallery.enrol("bo", long[1])
        assert gallery.identify(long[1], threshold=0.9)[0].subject_id == "bo"
        assert gallery.verify_integrity().ok
    with Gallery.open(on_server("other"), model="m") as gallery:
        gallery.enrol("ada", long[0])
    with pytest.raises(BadArgument, match="4,000"):
        Gallery.open(on_server("other", hnsw="40"))
    with Gallery.open(on_server("third"), model="m") as gallery, pytest.raises(BadTemplate, match="16,000"):
        gallery.enrol("x", Template(unit(np.ones((1, 16_001)))[0], "m"))
