"""What goes wrong between a gallery and its server is a typed error that says what to do; and the server may be killed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gallery.conftest import MODEL
from tests.gallery.qdrant_server import Server, folder_in_memory

from vultus import Template
from vultus.cli.app import run
from vultus.errors import GalleryBusy, GalleryFull, GalleryReadOnly, GalleryUnavailable, VultusError
from vultus.gallery import Gallery

Make = Callable[..., Template]


@pytest.fixture
def gallery(on_qdrant: Callable[..., str], template: Make) -> Iterator[Gallery]:
    with Gallery.open(on_qdrant("faults", timeout="1"), model=MODEL, near_duplicate=None) as opened:
        opened.enrol("ada", template(1))
        yield opened


@pytest.mark.parametrize(
    ("status", "words", "error", "said"),
    [
        (401, "Must provide an API key", GalleryUnavailable, "refuses the API key"),
        (403, "Forbidden: Write access is required", GalleryReadOnly, "does not let this API key"),
        (429, "Rate limiting exceeded", GalleryBusy, "too much to do"),
        (500, "No space left on device: WAL buffer size exceeds available disk space", GalleryFull, "make room"),
        (503, "Service unavailable", GalleryUnavailable, "503"),
        (-1, "", GalleryUnavailable, "cannot be reached"),
    ],
)
@pytest.mark.parametrize("asked", ["read", "write"])
def test_errors_of_the_server(
    gallery: Gallery,
    template: Make,
    qdrant_server: Server,
    status: int,
    words: str,
    error: type[VultusError],
    said: str,
    asked: str,
) -> None:
    qdrant_server.fault_before = lambda *_: (status, words)
    try:
        with pytest.raises(error, match=said):
            gallery.search(template(1)) if asked == "read" else gallery.enrol("bo", template(2))
    finally:
        qdrant_server.fault_before = None
    assert gallery.search(template(1))[0].subject_id == "ada"
    assert gallery.enrol("bo", template(2)).revision == 2


def test_nobody_listens_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(GalleryUnavailable, match="cannot be reached"):
        Gallery.open(f"qdrant://127.0.0.1:{port}/staff", model=MODEL)
    assert run(["gallery", "list", f"qdrant://127.0.0.1:{port}/staff", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "gallery_unavailable"


def test_a_server_that_does_not_answer_in_time(gallery: Gallery, template: Make, qdrant_server: Server) -> None:
    held = threading.Event()

    def waits(method: str, path: str, body: dict[str, Any]) -> None:
        held.wait(30)

    qdrant_server.fault_before = waits
    try:
        with pytest.raises(GalleryUnavailable, match=r"ReadTimeout|timed out"):
            gallery.search(template(1))
    finally:
        held.set()
        qdrant_server.fault_before = None
    assert gallery.search(template(1))[0].subject_id == "ada"


def test_a_key_is_sent_and_never_repeated(on_qdrant: Callable[..., str], qdrant_server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret-key")
    qdrant_server.fault_before = lambda *_: (401, "Invalid API key s3cret-key")
    try:
        with (
            pytest.warns(UserWarning, match="insecure connection"),
            pytest.raises(GalleryUnavailable, match="refuses the API key") as problem,
        ):
            Gallery.open(on_qdrant("secret", key_file=str(tmp_path / "key")), model=MODEL)
    finally:
        qdrant_server.fault_before = None
    assert "s3cret" not in str(problem.value)


def test_clients_and_server_are_killed_and_nothing_acknowledged_is_lost() -> None:
    from tests.gallery.qdrant_kill_harness import run as harness

    with folder_in_memory() as folder:
        found = harness(cycles=3, seed=1, folder=folder)
    assert found["wrong"] == []
    assert found["enrolled"] > 6
    assert found["deleted"] > 0
