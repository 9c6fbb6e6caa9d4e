"""The service on a socket: refuses what would be unsafe, listens, and ends connections that do not finish a header."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from vultus.errors import BadSettings, VultusError
from vultus.gallery.keys import Key
from vultus.service.app import create_app
from vultus.service.logs import use_json_lines
from vultus.service.settings import Settings

_GRACE = 30
_CONNECTIONS = 1000


def refuse_unsafe(settings: Settings, *, has_keys: bool) -> None:
    """Another address than loopback needs keys that somebody has, and TLS unless told otherwise.

    Raises:
        BadSettings: one of them is missing.
    """
    if settings.loopback:
        return
    if not has_keys:
        raise BadSettings(
            f"{settings.host} can be reached by others, and there is no key yet; make one first: vultus keys create"
        )
    if not settings.tls and not settings.insecure:
        raise BadSettings(
            f"{settings.host} can be reached by others, and there is no TLS: keys and faces could be read on the way. Give "
            "tls_certificate and tls_key, or --insecure where something in front of it has TLS"
        )


def config_of(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves an application."""

    class Protocol(_ImpatientProtocol):
        header_seconds = settings.header_seconds

    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE,
        limit_concurrency=_CONNECTIONS,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


def serve(settings: Settings, *, gallery_key: Key | None = None, say: Callable[[str], None] = print) -> None:
    """Serve until told to stop.

    Args:
        settings: how.
        gallery_key: that galleries are encrypted with.
        say: tells the operator a line, once; the first key among them.

    Raises:
        BadSettings: it would be unsafe.
        VultusError: the data folder cannot be used, or the model cannot be loaded.
    """
    use_json_lines(sys.stderr)
    failures: list[VultusError] = []
    firsts: list[str] = []

    def failed(problem: VultusError) -> None:
        failures.append(problem)
        server.should_exit = True

    if not settings.loopback:
        refuse_unsafe(settings, has_keys=_has_keys(settings, gallery_key))
    app = create_app(settings, gallery_key=gallery_key, on_first_key=firsts.append, on_failure=failed)
    server = uvicorn.Server(config_of(app, settings))
    listener = _listening(settings)
    for text in firsts:
        say(f"first key, with all scopes, shown this once: {text}")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"vultus listens at {'https' if settings.tls else 'http'}://{host}:{listener.getsockname()[1]}")
    server.run(sockets=[listener])
    if failures:
        raise failures[0]


def _listening(settings: Settings) -> socket.socket:
    """A socket at the address.

    Raises:
        BadSettings: it cannot be had.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # asyncio switches the delay of small packets off for sockets that say TCP only
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(1024)  # who comes before the loop runs waits for it
    except OSError as problem:
        raise BadSettings(f"cannot listen at {settings.host}:{settings.port}: {problem}") from problem
    return listener


def _has_keys(settings: Settings, key: Key | None) -> bool:
    from vultus.service.keys import Keys
    from vultus.service.state import State

    if not (settings.folder / "service.db").exists():
        return False
    state = State(settings.folder, key)
    try:
        return Keys(state).any()
    finally:
        state.close()


class _ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that ends a connection whose header does not arrive in time; uvicorn alone would wait for ever."""

    header_seconds = 10.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._timer is None and self._idle():
            self._wait()
        super().data_received(data)
        if not self._idle():
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _idle(self) -> bool:
        """Whether no request's header has arrived."""
        return self.conn.their_state in (h11.IDLE,)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self._idle() and not self.transport.is_closing():
            logging.getLogger("vultus.service").info("slow header")
            self.transport.close()
