"""Bad requests by the hundred over HTTP: each is refused with its code, changes nothing, and harms nobody else."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest
import tests.service.catalogue.bodies
import tests.service.catalogue.names
import tests.service.catalogue.pictures
import tests.service.catalogue.wire  # noqa: F401 - the modules register their classes
from tests.service.catalogue.case import CLASSES, Case
from tests.service.conftest import Running, jpeg, serving

from vultus.gallery import Gallery
from vultus.service import Settings
from vultus.types import UInt8Array


@dataclass(slots=True)
class Target:
    """The service that is attacked.

    Args:
        running: it.
        weak: a key without scopes that matter.
        face, faces: pictures with one face, and with two.
    """

    running: Running
    weak: str
    face: bytes
    faces: bytes

    def filled(self, content: bytes) -> bytes:
        for name, value in (
            ("key", self.running.key),
            ("weak", self.weak),
            ("gallery", "g"),
            ("url", self.running.url),
        ):
            content = content.replace(b"{%s}" % name.encode(), value.encode())
        return content.replace(b"{face}", self.face).replace(b"{faces}", self.faces)

    def text(self, text: str) -> str:
        return self.filled(text.encode("latin-1")).decode("latin-1")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, cache: object, astronaut: UInt8Array) -> Iterator[Target]:
    settings = Settings(
        data=str(tmp_path_factory.mktemp("catalogue")),
        threads=1,
        keep_thumbnails=True,
        max_body_bytes=1_000_000,
        max_parts=8,
        max_field_bytes=5000,
        body_seconds=0.7,
        requests_per_second=0,
        attempts=0,
    )
    for running in serving(settings):
        face = jpeg(astronaut[30:230, 120:320], quality=90)
        running.client.post("/v1/galleries", json={"name": "g"}).raise_for_status()
        for subject, key in (("ada", "taken"), ("zoé", "other")):
            done = running.client.post(
                "/v1/galleries/g/subjects",
                files={"image": face},
                data={"subject_id": subject, "name": "A"},
                headers={"Idempotency-Key": key},
            )
            done.raise_for_status()
        folder = settings.folder / "galleries"
        with Gallery.open(folder / "foreign.db", model="another@1:x"):
            pass
        running.service.state.change("INSERT INTO galleries VALUES ('foreign', 'foreign.db', 0)")
        weak = running.service.keys.create("weak", ["read"])[1]
        two = np.concatenate([astronaut[30:230, 120:320], astronaut[30:230, 120:320]], axis=1)
        yield Target(running, weak, face, jpeg(two))


def state_of(target: Target) -> str:
    """A digest of everything that a request could have changed."""
    at = "/v1/galleries/g"
    paths = (
        f"{at}/subjects",
        f"{at}/subjects/ada",
        f"{at}/subjects/zo%C3%A9",
        at,
        "/v1/keys",
        "/v1/jobs",
        "/v1/reviews",
    )
    found: list[object] = [target.running.client.get(path).raise_for_status().json() for path in paths]
    found += target.running.service.state.rows("SELECT * FROM galleries ORDER BY name")
    page = target.running.client.get("/v1/audit", params={"limit": 1000}).raise_for_status().json()["entries"]
    found.append([e for e in page if e.get("result") == "done"])  # what was tried and refused may be noted
    gallery = target.running.service.gallery("g")
    found.append(
        [[t.vector.tobytes().hex() for t in gallery.templates(s) if t.vector is not None] for s in ("ada", "zoé")]
    )
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def answer_to(case: Case, target: Target) -> tuple[int, str | None, dict[str, str]]:
    """Status, code and headers."""
    at = urlsplit(target.running.url)
    host, port = at.hostname or "", at.port or 0
    if case.wire is not None:
        with socket.create_connection((host, port), timeout=20) as line:
            line.sendall(target.filled(case.wire))
            response = http.client.HTTPResponse(line)
            response.begin()
            return read(response)
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.putrequest(case.method, target.text(case.path), skip_accept_encoding=True)
    usual: dict[str, str | None] = {"Authorization": "Bearer {key}"}
    for name, value in (usual | case.headers).items():
        if value is not None:
            connection.putheader(name, target.text(value))
    content = target.filled(case.content)
    if case.chunks:
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        with suppress(OSError):  # refused before its end
            for piece in case.chunks:
                connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
    else:
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders()
        with suppress(OSError):  # refused before its end
            connection.send(content)
    try:
        return read(connection.getresponse())
    finally:
        connection.close()


def read(response: http.client.HTTPResponse) -> tuple[int, str | None, dict[str, str]]:
    headers = {k.lower(): v for k, v in response.getheaders()}
    content = response.read()
    if headers.get("content-type") != "application/problem+json":
        return response.status, None, headers
    document = json.loads(content)
    assert document["status"] == response.status
    assert document["request_id"] == headers["x-request-id"]
    assert "Traceback" not in document["detail"]
    return response.status, document["code"], headers


def test_there_are_enough() -> None:
    made = {name: list(maker()) for name, maker in CLASSES.items()}
    every = [
        (c.method, c.path, c.content, str(c.headers), c.wire, len(c.chunks)) for cases in made.values() for c in cases
    ]
    assert len(made) >= 40
    assert len(every) >= 400
    assert len(set(every)) > 0.99 * len(every)


@pytest.mark.parametrize("name", CLASSES)
def test_refused_with_its_code_and_nothing_changed(target: Target, name: str) -> None:
    before = state_of(target)
    wrong = []
    for case in CLASSES[name]():
        status, code, headers = answer_to(case, target)
        if (status, code) != case.expected:
            wrong.append(f"{case.name}: {status} {code}, expected {case.expected}")
        assert "x-injected" not in headers
    assert not wrong, "\n".join(wrong)
    assert state_of(target) == before
    alive = target.running.client.post("/v1/detect", files={"image": target.face})
    assert (alive.status_code, len(alive.json()["faces"])) == (200, 1)


@pytest.mark.parametrize("line", [b"X: " + b"a" * 1_000_000, b"X: y\r\n" * 200_000], ids=["long", "many"])
def test_a_header_over_the_cap_ends_its_connection(target: Target, line: bytes) -> None:
    at = urlsplit(target.running.url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=20) as connection:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + line)
            found = connection.recv(100)
        except OSError:  # closed while it was being sent
            found = b""
    assert found == b"" or found.startswith(b"HTTP/1.1 400")
    assert target.running.client.get("/healthz").status_code == 200
