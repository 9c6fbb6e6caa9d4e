"""Bytes on the socket: sizes, speeds and what is no HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from tests.service.catalogue.case import BOUNDARY, FORM, REFUSED, Case, kind

HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
START = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'.encode()
LARGE = (413, "request_too_large")


@kind("bodies that are too large")
def _() -> Iterator[Case]:
    for size in (1_000_001, 1_500_000, 2_000_000):
        for name in ("application/json", FORM):
            yield Case(f"{size} of {name[:20]}", LARGE, content=bytes(size), headers={"Content-Type": name})
            yield Case(
                f"{size} of {name[:20]}, in chunks",
                LARGE,
                chunks=[START, *[bytes(50_000)] * (size // 50_000 + 1)],
                headers={"Content-Type": name},
            )
    for stated in (b"1000001", b"9999999999999999", b"99999999999999999999"):
        begin = HEAD + b"Content-Type: application/json\r\nContent-Length: " + stated + b"\r\n\r\n{"
        yield Case(f"{stated.decode()} stated", LARGE, wire=begin)


@kind("bodies that come slowly")
def _() -> Iterator[Case]:
    slow = (408, "request_too_slow")
    begin = HEAD + b"Content-Type: application/json\r\n"
    yield Case("nothing of it", slow, wire=begin + b"Content-Length: 10\r\n\r\n")
    yield Case("a part of it", slow, wire=begin + b"Content-Length: 1000\r\n\r\n" + b'{"image":')
    yield Case("no last chunk", slow, wire=begin + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    multipart = HEAD + b"Content-Type: " + FORM.encode() + b"\r\nContent-Length: 1000\r\n\r\n--"
    yield Case("a part of a form", slow, wire=multipart)


@kind("what is no HTTP")
def _() -> Iterator[Case]:
    for content in (
        b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03 hello\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"{}\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n",
    ):
        yield Case(f"{content[:20]!r}", REFUSED, wire=content)


@kind("headers that are none")
def _() -> Iterator[Case]:
    for line in (b"no colon", b"Name : x", b": x", b"A\0: x", b"A: x\0y", b"\xff: x", b"A b: x",
                 b"Host: y"):  # fmt: skip
        yield Case(f"{line[:20]!r}", REFUSED, wire=b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")


@kind("lengths that contradict each other")
def _() -> Iterator[Case]:
    for lines in (
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -1",
        b"Content-Length: +5",
        b"Content-Length: 5,6",
        b"Content-Length: 0x5",
        b"Content-Length: five",
        b"Content-Length: 1e3",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ):
        yield Case(f"{lines[:40]!r}", REFUSED, wire=HEAD + lines + b"\r\n\r\n{}")
    # h11 answers a coding that it does not know with 501: not implemented is what it is, and no fault of the service
    for chunks in (b"xyz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"fffffffffffffffffffff\r\n{}"):
        yield Case(
            f"chunk {chunks[:8]!r}",
            REFUSED,
            wire=HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        )
