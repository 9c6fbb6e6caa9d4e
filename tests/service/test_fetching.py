"""Addresses of pictures: public https servers only, the address pinned, no redirects, no more bytes than allowed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.service.conftest import serving

from vultus.errors import FetchRefused
from vultus.service import Settings
from vultus.service.fetching import checked_address, fetched, is_public, pinned_address

# fmt: off
PRIVATE = [
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1",
    "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
    "2002:a00:1::1", "nonsense",
]
# fmt: on
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
REFUSED = [
    "http://example.org/a.jpg",
    "ftp://example.org/a.jpg",
    "file:///etc/passwd",
    "https://user:pass@example.org/a",
    "https://user@example.org/a",
    "https://example.org:8443/a",
    "https://example.org:99999/a",
    "https:///a",
    "https://",
    "//example.org/a",
    "example.org/a",
    "",
    "https://[::1/a",
    "https://example.org/a b",
    "https://example.org\\@evil/a",
    "https://ex\u00e4mple.org/a",
    "https://example.org/\r\nHost: x",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", REFUSED)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(FetchRefused):
        checked_address(url)


def answers(*addresses: str) -> object:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.parametrize("found", [[], ["8.8.8.8", "127.0.0.1"], ["10.0.0.1"], ["::1", "8.8.8.8"]])
def test_one_private_address_refuses_all(found: list[str]) -> None:
    with pytest.raises(FetchRefused):
        asyncio.run(pinned_address("h", 443, answers(*found)))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HTTPServer, ssl.SSLContext]]:
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "c.pem", folder / "k.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pictures.example"]
    more = ["-addext", "subjectAltName=DNS:pictures.example", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(make + more, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"/moved": 302, "/missing": 404}.get(self.path, 200)
            body = bytes(5000) if self.path == "/large" else f"picture of {self.headers['Host']} {self.path}".encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "https://pictures.example/here")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    here = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    here.socket = context.wrap_socket(here.socket, server_side=True)
    thread = threading.Thread(target=here.serve_forever, daemon=True)
    thread.start()
    yield here, ssl.create_default_context(cafile=str(pem))
    here.shutdown()
    here.server_close()


def fetch(server: tuple[HTTPServer, ssl.SSLContext], url: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Fetch from the local server as though it were public: only the port of the last step is another."""
    import httpcore

    plain = httpcore.AnyIOBackend.connect_tcp
    port, asked = server[0].server_address[1], []

    async def connect(self: object, host: str, _: int, **more: object) -> object:
        asked.append(host)
        return await plain(self, "127.0.0.1", port, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    found = asyncio.run(fetched(url, most=1000, resolve=answers("8.8.8.8"), context=server[1]))  # type: ignore[arg-type]
    assert asked == ["8.8.8.8"]  # the address that was checked, not the name
    return found


def test_a_picture_is_fetched(server: tuple[HTTPServer, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    found = fetch(server, "https://pictures.example/a?b=c", monkeypatch)
    assert found == b"picture of pictures.example /a?b=c"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://pictures.example/moved", "302"),
        ("https://pictures.example/missing", "404"),
        ("https://pictures.example/large", "more than 1,000"),
        ("https://other.example/", "cannot be fetched"),  # the certificate is another's
    ],
)
def test_what_is_not_taken(
    server: tuple[HTTPServer, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    with pytest.raises(FetchRefused, match=words):
        fetch(server, url, monkeypatch)


def test_the_option_opens_no_way_inside(tmp_path: Path, cache: Path) -> None:
    for here in serving(Settings(data=str(tmp_path), threads=1, image_urls=True)):
        for url in ("https://127.0.0.1/a", "https://localhost/a", "https://169.254.169.254/latest", "http://8.8.8.8/"):
            found = here.client.post("/v1/detect", json={"image_url": url})
            assert (found.status_code, found.json()["code"]) == (422, "fetch_refused")
