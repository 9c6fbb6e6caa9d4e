"""Pictures from addresses that a request names: off unless told otherwise, and then only from public https servers."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit

import httpcore
import httpx

from vultus.errors import FetchRefused

Resolve = Callable[[str, int], Awaitable[list[str]]]
_SECONDS = 10.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def resolved(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})


def is_public(address: str) -> bool:
    """Whether an address belongs to the public network, also behind the ways of writing IPv4 as IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def checked_address(url: str) -> tuple[SplitResult, str, int]:
    """The parts, host and port of an address that may be looked up.

    Raises:
        FetchRefused: it is not a plain https address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        raise FetchRefused("image_url is no address; expected https://host/path") from None
    if parts.scheme != "https" or not host or parts.username is not None or parts.password is not None:
        raise FetchRefused("image_url must be https://host/path, without a user")
    if port != 443 or not url.isascii() or any(c.isspace() or c == "\\" for c in url):
        raise FetchRefused("image_url must be plain ASCII and on port 443")
    return parts, host, port


async def pinned_address(host: str, port: int, resolve: Resolve = resolved) -> str:
    """One address of the host, which the connection then uses whatever the name leads to later.

    Raises:
        FetchRefused: it has none, or one of them is not public.
    """
    try:
        addresses = await asyncio.wait_for(resolve(host, port), _SECONDS)
    except (OSError, TimeoutError, UnicodeError):
        addresses = []
    if not addresses or not all(is_public(a) for a in addresses):
        raise FetchRefused("the host of image_url cannot be looked up, or is not on the public network")
    return addresses[0]


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to one address, whatever host is asked for."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.AsyncNetworkStream:
        return await self._inner.connect_tcp(self._address, port, timeout=timeout, local_address=local_address)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: object = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("no sockets of files")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def fetched(
    url: str,
    *,
    most: int,
    resolve: Resolve = resolved,
    context: ssl.SSLContext | None = None,
    connect: str | None = None,
) -> bytes:
    """The content at an https address.

    Args:
        url: https, port 443, no user.
        most: bytes at most.
        resolve: looks a host up.
        context: for TLS; the system's certificates unless told otherwise.
        connect: connect to this address in place of the pinned one, for tests.

    Raises:
        FetchRefused: the address is refused, leads elsewhere, does not answer in time, or answers with too much.
    """
    parts, host, port = checked_address(url)
    address = await pinned_address(host, port, resolve)
    pool = httpcore.AsyncConnectionPool(
        ssl_context=context or ssl.create_default_context(), network_backend=_Pinned(connect or address)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = httpx.Request(
        "GET", f"https://{parts.netloc}{target}", headers={"Accept": "image/*", "User-Agent": "vultus"}
    )
    try:
        async with (
            pool,
            asyncio.timeout(_SECONDS),
            pool.stream(
                "GET", str(request.url), headers=request.headers.raw, extensions={"timeout": {"connect": _SECONDS}}
            ) as response,
        ):
            if response.status != 200:
                raise FetchRefused(f"image_url answered {response.status}; redirects are not followed")
            found = bytearray()
            async for part in response.aiter_stream():
                found += part
                if len(found) > most:
                    raise FetchRefused(f"image_url answered with more than {most:,} bytes")
            return bytes(found)
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        ssl.SSLError,
        OSError,
        TimeoutError,
    ):
        raise FetchRefused("image_url cannot be fetched") from None
