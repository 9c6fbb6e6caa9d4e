"""A running service for tests: in process, and on a free port of loopback."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from vultus.service import Settings, create_app
from vultus.service.core import Service
from vultus.types import UInt8Array


@dataclass(slots=True)
class Running:
    """A service on loopback.

    Args:
        url: where it is.
        key: with all scopes.
        app: the application.
        service: behind it.
        client: with the key.
    """

    url: str
    key: str
    app: FastAPI
    service: Service
    client: httpx.Client

    def with_key(self, *scopes: str) -> httpx.Client:
        """A client with a new key of these scopes."""
        _, text = self.service.keys.create("test", scopes)
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {text}"}, timeout=60)

    def anonymous(self) -> httpx.Client:
        """A client without a key."""
        return httpx.Client(base_url=self.url, timeout=60)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """A thread takes no signals."""


def serving(settings: Settings, *, wait: bool = True, **options: Any) -> Iterator[Running]:
    """Serve on a free port until the generator is closed."""
    from vultus.service.server import config_of

    keys: list[str] = []
    app = create_app(settings, on_first_key=keys.append, **options)
    server = _Server(config_of(app, settings))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    key = keys[0] if keys else app.state.service.keys.create("again", ("admin",))[1]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        until = time.monotonic() + 60
        while wait and time.monotonic() < until:
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        yield Running(url, key, app, app.state.service, client)
    server.should_exit = True
    thread.join(timeout=60)
    listener.close()


@pytest.fixture(scope="session")
def running(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests that do not mind what others have done to it."""
    folder = tmp_path_factory.mktemp("service")
    yield from serving(
        Settings(data=str(folder), threads=1, keep_thumbnails=True, requests_per_second=0, attempts=0, review_fmr=1e-5)
    )


def jpeg(pixels: UInt8Array, *, quality: int = 95) -> bytes:
    """The pixels as the file of a JPEG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


@pytest.fixture(scope="session")
def collins(astronaut: UInt8Array) -> bytes:
    """Eileen Collins."""
    return jpeg(astronaut)


@pytest.fixture(scope="session")
def collins_again(astronaut: UInt8Array) -> bytes:
    """Eileen Collins in another picture: smaller, darker, mirrored."""
    return jpeg((astronaut[20:420, ::-1][:, 30:450] * 0.8).astype("uint8"), quality=80)


@pytest.fixture(scope="session")
def hopper_file(hopper: UInt8Array) -> bytes:
    """Grace Hopper."""
    return jpeg(hopper)
