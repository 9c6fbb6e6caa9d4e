"""The service keeps to its own OpenAPI document: Schemathesis, a bounded run; `benchmarks/service/fuzz.py` is the long one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.service.conftest import Running, serving
from tests.service.schemathesis_run import EXCLUDED, command, configure, failures, generated

from vultus.service import Settings


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, cache: object) -> Iterator[Running]:
    """A service of its own: its galleries and keys come and go at random."""
    folder = tmp_path_factory.mktemp("contract")
    yield from serving(Settings(data=str(folder), threads=1, requests_per_second=0, attempts=0))


def test_no_fault_and_no_broken_promise(alone: Running, tmp_path: Path) -> None:
    configure(tmp_path)
    call = command(alone.url, alone.key, seed=1, examples=2, phases="examples,coverage,fuzzing")
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert failures(done.stdout) == [], done.stdout[-6000:]
    assert generated(done.stdout) > 1000, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.returncode == 0, done.stdout[-6000:]
    assert alone.client.get("/readyz").status_code == 200
    lines = alone.client.get("/metrics").text.splitlines()
    assert [x for x in lines if 'status="5' in x and 'status="503"' not in x] == []  # /readyz at first
    assert alone.client.get("/v1/audit/verify").json()["ok"]


def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    """The checks are on: a server that answers otherwise than its document says fails them."""
    code = (
        "from fastapi import FastAPI; import uvicorn\n"
        "app = FastAPI()\n"
        "schema = {200: {'content': {'application/json': {'schema': {'type': 'integer'}}}}}\n"
        "@app.get('/n', response_model=None, responses=schema)\n"
        "def n(x: int) -> object:\n"
        "    return 1 / 0 if x == 0 else 'no integer'\n"
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "uvicorn.Server(uvicorn.Config(app, log_config=None)).run(sockets=[s])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        configure(tmp_path)
        call = command(url, "none", seed=1, examples=5, phases="coverage,fuzzing")
        done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=False)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    said = " ".join(failures(done.stdout))
    assert "Server error" in said
    assert "Response violates schema" in said
    assert done.returncode == 1


def test_the_check_that_is_left_out_would_ask_for_what_the_document_says_in_words(alone: Running) -> None:
    assert EXCLUDED == "positive_data_acceptance"
    body = {"image": "aGVsbG8="}  # of the right schema, and no picture
    found: httpx.Response = alone.client.post("/v1/detect", json=body)
    assert (found.status_code, found.json()["code"]) == (422, "parse_error")
