"""What every answer carries, what no log holds, and that a fault says nothing."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.conftest import Running

from vultus.errors import BadRequest
from vultus.service import Settings, create_app
from vultus.service.frame import kept_segments
from vultus.service.logs import JsonLines


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/v1/keys", "/openapi.json"])
def test_headers_of_every_answer(running: Running, path: str) -> None:
    found = running.client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in found["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in found["content-security-policy"]
    assert found["x-content-type-options"] == "nosniff"
    assert found["x-frame-options"] == "DENY"
    assert found["referrer-policy"] == "no-referrer"
    assert found["cache-control"] == "no-store"
    assert len(found["x-request-id"]) == 16
    assert "server" not in found


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
def test_segments_stay_what_they_are(names: list[str]) -> None:
    from urllib.parse import quote, unquote

    names = [n.encode("utf-8", "replace").decode() for n in names]
    raw = "/".join(quote(n, safe="") for n in names).encode()
    path = kept_segments({"raw_path": b"/" + raw + b"?q=%2F", "path": "wrong"})
    assert [unquote(part) for part in path[1:].split("/")] == names


def test_an_address_that_is_not_utf8(running: Running) -> None:
    with pytest.raises(BadRequest):
        kept_segments({"raw_path": b"/v1/%ff", "path": ""})
    import socket
    from urllib.parse import urlsplit

    at = urlsplit(running.url)
    with socket.create_connection((at.hostname or "", at.port or 0)) as line:
        line.sendall(b"GET /v1/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: line.recv(4000), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "vultus.service")}
    root.addHandler(handler)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_fault_is_a_500_without_details(tmp_path: Path, log: io.StringIO) -> None:
    app = create_app(Settings(data=str(tmp_path)))

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("canary of a face")

    app.router.routes.insert(0, app.router.routes.pop())  # before the page, which answers all other addresses

    async def run() -> None:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            answer = await client.get("/crash")
            assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
            assert "canary" not in answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            faults = [x for x in map(json.loads, log.getvalue().splitlines()) if x["message"] == "fault"]
            assert [(f["kind"], f["request"]) for f in faults] == [("RuntimeError", answer.headers["x-request-id"])]
            assert faults[0]["at"].rpartition(":")[0].endswith("test_frame")

    asyncio.run(run())
    assert "canary" not in log.getvalue()
    app.state.service.close()


def test_logs_hold_nothing_of_a_person(running: Running, log: io.StringIO, collins: bytes) -> None:
    client, canary = running.client, "Canary-Person"
    client.post("/v1/galleries", json={"name": "logged"})
    fields = {"subject_id": canary, "name": canary, "consent": canary}
    client.post("/v1/galleries/logged/subjects", files={"image": (canary, collins)}, data=fields)
    client.get(f"/v1/galleries/logged/subjects/{canary}", params={"x": canary})
    client.post("/v1/galleries/logged/identify", files={"image": collins}, headers={"Idempotency-Key": canary})
    client.post("/v1/verify", json={"image": base64.b64encode(collins).decode(), canary: canary})
    client.get(f"/{canary}")
    vector = client.post("/v1/embed", files={"image": collins}).json()["faces"][0]["embedding"]
    with running.anonymous() as anonymous:
        anonymous.get("/v1/keys", headers={"Authorization": f"Bearer {canary}"})
    client.delete("/v1/galleries/logged")
    text = log.getvalue()
    lines = [x for x in map(json.loads, text.splitlines()) if x["from"].startswith(("vultus", "uvicorn"))]
    assert len(lines) >= 9
    assert {x["route"] for x in lines if "route" in x} >= {"/v1/galleries/{gallery}/identify", "/v1/embed"}
    own = "\n".join(json.dumps(x) for x in lines)
    for secret in (canary, running.key.rpartition("_")[2], str(vector[0]), base64.b64encode(collins[:60]).decode()):
        assert secret not in own


def test_other_libraries_tell_no_arguments() -> None:
    record = logging.LogRecord("other", logging.WARNING, "", 0, "seen %s in a picture", ("Ada",), None)
    assert json.loads(JsonLines().format(record))["message"] == "seen"


def test_metrics(running: Running) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    running.client.get("/healthz")
    text = running.client.get("/metrics").text
    found = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert {"vultus_requests_total", "vultus_inside", "vultus_ready", "vultus_audit_entries"} <= found
    assert 'route="/healthz"' in text
    with running.with_key("enrol") as client:
        assert client.get("/metrics").status_code == 403


def test_the_contract_names_every_answer(running: Running) -> None:
    document = running.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "Problem" in document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert {"400", "401", "422", "500"} <= set(operation["responses"]), (method, path)
            problem = operation["responses"]["422"]["content"]
            assert list(problem) == ["application/problem+json"]
    form = document["paths"]["/v1/verify"]["post"]["requestBody"]["content"]
    assert set(form) == {"multipart/form-data", "application/json"}
    assert form["multipart/form-data"]["schema"]["properties"]["image"] == {"type": "string", "format": "binary"}
