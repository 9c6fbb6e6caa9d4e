"""What a client may send: sizes while they stream, parts and fields, and how long it may take."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.service.conftest import Running, serving

from vultus.service import Settings


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = Settings(
        data=str(tmp_path_factory.mktemp("narrow")),
        threads=1,
        max_body_bytes=200_000,
        max_parts=3,
        max_field_bytes=500,
        header_seconds=0.5,
        body_seconds=0.7,
        attempts=0,
    )
    yield from serving(settings)


def test_a_stated_length_over_the_cap(narrow: Running) -> None:
    found = narrow.client.post("/v1/detect", files={"image": bytes(200_001)})
    assert (found.status_code, found.json()["code"]) == (413, "request_too_large")


def test_a_stream_over_the_cap_without_a_length(narrow: Running) -> None:
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        yield b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n"
        for _ in range(100):
            sent += 10_000
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    found = narrow.client.post("/v1/detect", content=parts(), headers=headers)
    assert (found.status_code, found.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("files", "data"),
    [
        ([("image", b"x")] * 4, {}),
        ([("image", b"x")], {f"field{i}": "x" for i in range(4)}),
        ([("image", b"x")], {"min_face": "1" * 501}),
        ([("image", b"x"), ("image", b"y")], {}),
    ],
)
def test_parts_and_fields(narrow: Running, files: list[tuple[str, bytes]], data: dict[str, str]) -> None:
    found = narrow.client.post("/v1/detect", files=files, data=data)
    assert (found.status_code, found.json()["code"]) == (400, "bad_request")


def raw(running: Running) -> socket.socket:
    at = urlsplit(running.url)
    return socket.create_connection((at.hostname or "", at.port or 0), timeout=10)


def test_a_header_that_never_ends_is_cut_off(narrow: Running) -> None:
    with raw(narrow) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        assert line.recv(100) == b""
        assert time.monotonic() - began < 8


def drip(line: socket.socket) -> None:
    """One more header every 50 ms, for ten seconds."""
    for _ in range(200):
        line.sendall(b"X: y\r\n")
        time.sleep(0.05)


def test_a_header_that_drips_is_cut_off(narrow: Running) -> None:
    with raw(narrow) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"):
            drip(line)


def test_a_second_header_on_a_connection_is_timed_too(narrow: Running) -> None:
    with raw(narrow) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in line.recv(4000)
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        while part := line.recv(4000):
            assert b"HTTP/1.1 200" not in part


def test_a_body_that_is_slow_is_408(narrow: Running) -> None:
    head = (
        f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {narrow.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    with raw(narrow) as line:
        line.sendall(head.encode())
        answer = line.recv(4000)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
    assert narrow.client.get("/healthz").status_code == 200


def test_a_body_without_a_key_is_not_waited_for(narrow: Running) -> None:
    with raw(narrow) as line:
        line.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert line.recv(4000).startswith(b"HTTP/1.1 401")


def test_nonsense_is_no_request(narrow: Running) -> None:
    with raw(narrow) as line:
        line.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert line.recv(4000).startswith(b"HTTP/1.1 400")
