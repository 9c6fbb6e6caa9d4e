"""Bulk embedding on a real Ray on this machine: the same bits as the plain run, the same reports, nothing left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vultus import Recognizer
from vultus.bulk import embed_on_ray, embed_photos
from vultus.bulk.on_ray import _Order, _Worker
from vultus.bulk.ray_session import ray_session
from vultus.cli.app import run
from vultus.errors import BadArgument, ClusterUnavailable, ExtraMissing, ModelMismatch
from vultus.types import UInt8Array

# Ray Data warns of names of its own as it fills its settings.
pytestmark = pytest.mark.filterwarnings("ignore:`use_:DeprecationWarning")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: UInt8Array, hopper: UInt8Array) -> Path:
    """A small collection in two folders, with photos that fail in four ways."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "b").mkdir()
    for i, shift in enumerate((0, 40, -30)):
        Image.fromarray(np.roll(astronaut, shift, axis=1)).save(folder / f"{i}.jpg", quality=90)
        Image.fromarray(np.clip(hopper.astype(int) + shift, 0, 255).astype(np.uint8)).save(folder / "b" / f"ä{i}.png")
    Image.fromarray(np.concatenate([astronaut, astronaut], axis=1)).save(folder / "two.png")
    Image.new("RGB", (160, 120), (90, 120, 90)).save(folder / "b" / "empty.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def ray(cache: Path) -> Iterator[ModuleType]:
    """Ray on this machine for all tests that need not start their own; its workers find the tests' weights."""
    with pytest.MonkeyPatch.context() as patch:
        # the settings are filled in here, before the first test, where no mark reaches
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setenv("VULTUS_CACHE", str(cache))
            with ray_session(None, workers=2) as started:
                folder = Path(_session_folder(started))
                yield started
            assert not folder.exists()
            assert not started.is_initialized()


def files_of(photos: Path) -> list[Path]:
    return sorted(f for f in photos.rglob("*") if f.suffix in {".jpg", ".png"})


def test_the_same_bits_as_the_plain_run(
    photos: Path, ray: ModuleType, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)  # relative paths are the caller's, wherever a worker runs
    files = [*[f.relative_to(photos) for f in files_of(photos)][::-1], Path("missing.jpg")]
    done: list[int] = []
    plain = embed_photos(files, recognizer, policy="one")
    found = embed_on_ray(files, workers=2, policy="one", progress=done.append)
    assert sum(done) == len(files) == 10
    assert found.failures == plain.failures
    assert sorted(f.code for f in found.failures) == ["many_faces", "no_face", "parse_error", "source_unavailable"]
    plain.save(tmp_path / "plain.npz")
    found.save(tmp_path / "ray.npz")
    assert (tmp_path / "plain.npz").read_bytes() == (tmp_path / "ray.npz").read_bytes()
    assert len(found.rows) == 6
    assert ray.is_initialized()  # who started it shuts it down


def test_the_system_is_the_one_asked_for(photos: Path, ray: ModuleType, cache: Path) -> None:
    files = files_of(photos)[:1]
    mirrored = embed_photos(files, Recognizer.load(mirror=True, threads=1))
    found = embed_on_ray(files, mirror=True)
    assert found.model_id == mirrored.model_id
    assert found.rows.tobytes() == mirrored.rows.tobytes()


def test_all_parts_listen_on_the_loopback_address_alone(ray: ModuleType) -> None:
    address = ray.get_runtime_context().gcs_address
    host, port = address.rsplit(":", 1)
    assert host == "127.0.0.1"
    children = [p for p in Path("/proc").iterdir() if p.name.isdigit() and _belongs(p, _session_folder(ray))]
    open_sockets = {str(fd.readlink()) for p in children for fd in _descriptors(p)}
    listening = [
        (line.split()[1], line.split()[9])
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    ours = [local for local, inode in listening if f"socket:[{inode}]" in open_sockets]
    assert any(int(local.rsplit(":", 1)[1], 16) == int(port) for local in ours)
    loopback = {socket.inet_aton("127.0.0.1")[::-1].hex().upper(), "0000000000000000FFFF00000100007F"}
    assert {local.rsplit(":", 1)[0] for local in ours} <= loopback
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def _session_folder(ray: ModuleType) -> str:
    return str(ray._private.worker._global_node.get_session_dir_path())


def _belongs(process: Path, folder: str) -> bool:
    try:
        return folder.encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def _descriptors(process: Path) -> list[Path]:
    try:
        return [fd for fd in (process / "fd").iterdir() if fd.is_symlink()]
    except OSError:
        return []


def test_the_command_joins_a_cluster_and_leaves_it_running(
    photos: Path, ray: ModuleType, recognizer: Recognizer, tmp_path: Path
) -> None:
    out, address = tmp_path / "out.npz", ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "vultus", "embed", str(photos / "b"), "--out", str(out), "--json"]
    done = subprocess.run(
        [*command, "--ray-address", address, "--threads", "1"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    assert [(Path(f["file"]).name, f["code"]) for f in record["failures"]] == [("empty.jpg", "no_face")]
    plain = embed_photos([photos / "b" / name for name in ("empty.jpg", "ä0.png", "ä1.png", "ä2.png")], recognizer)
    plain.save(tmp_path / "plain.npz")
    assert out.read_bytes() == (tmp_path / "plain.npz").read_bytes()
    assert ray.is_initialized()
    assert ray.get(ray.remote(lambda: 7).remote()) == 7


def test_workers_that_fail_are_one_typed_error(photos: Path, ray: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recognizer, "model_id", property(lambda self: "another"))  # in this process, not in the workers
    with pytest.raises(ClusterUnavailable, match=r"workers failed: .*ModelMismatch.*same weights on every machine"):
        embed_on_ray(files_of(photos)[:1])


def test_a_second_cluster_cannot_be_joined(photos: Path, ray: ModuleType) -> None:
    with pytest.raises(BadArgument, match="connected to a Ray cluster already"):
        embed_on_ray(files_of(photos)[:1], address=ray.get_runtime_context().gcs_address)


@pytest.mark.parametrize("address", ["", "auto", "ray://host:10001", "host", "host:", "host:99999", ":6379", "host:-1"])
def test_what_is_no_address_is_refused(photos: Path, address: str) -> None:
    with pytest.raises(BadArgument, match="expected a host and a port"):
        embed_on_ray(files_of(photos)[:1], address=address)


def test_a_cluster_that_does_not_answer_is_named_at_once(photos: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ClusterUnavailable, match=f"127.0.0.1:{port}' cannot be reached"):
        embed_on_ray(files_of(photos)[:1], address=f"127.0.0.1:{port}")


def test_a_worker_of_another_model_refuses_to_work() -> None:
    with pytest.raises(ModelMismatch, match="every machine"):
        _Worker(_Order({}, "another", "largest", "/"))


def test_a_folder_that_a_machine_lacks_is_a_failure_of_the_photo(recognizer: Recognizer) -> None:
    import pyarrow as pa

    worker = _Worker(_Order({}, recognizer.model_id, "largest", "/no/such/folder"))
    done = worker(pa.table({"place": [4], "path": pa.array([b"a.jpg"], pa.binary())})).to_pylist()
    assert done[0]["place"] == 4
    assert done[0]["code"] == b"source_unavailable"
    assert b"storage that all machines share" in done[0]["message"]


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(BadArgument, match="workers"):
        embed_on_ray([], workers=workers)


def test_no_photos_start_nothing(monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert embed_on_ray([]).rows.shape == (0, 128)


def test_without_the_extra_the_command_names_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vultus\[ray\]'"):
        embed_on_ray(files_of(photos)[:1])
    assert run(["embed", str(photos / "0.jpg"), "--out", str(tmp_path / "t.npz"), "--ray", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "extra_missing"
    assert not (tmp_path / "t.npz").exists()
