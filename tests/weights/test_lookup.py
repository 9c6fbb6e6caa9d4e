"""Where weights are found, and how their prepared form comes into the cache and stays whole there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus import Manifest, save_manifest
from vultus.errors import WeightsMismatch, WeightsMissing
from vultus.weights import default_cache, find_weights, prepared_weights
from vultus.weights.lookup import file_sha256, write_atomically
from vultus.weights.manifest import Detection, Embedding, Input, Licence, Source


def graph(seed: int = 0, *, dimension: int = 4, size: int = 8) -> bytes:
    """A small embedder: one convolution, the mean over the picture, and a scale."""
    weight = np.random.default_rng(seed).standard_normal((dimension, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, dimension])],
        [numpy_helper.from_array(weight, "w")],
    )
    model: bytes = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return model


CONTENT = graph()


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def manifest(content: bytes = CONTENT, **changes: Any) -> Manifest:
    plain = Manifest(
        name="tiny",
        task="embed",
        sha256=hashlib.sha256(content).hexdigest(),
        licence=Licence("MIT", "here", True, "none"),
        source=Source(file="tiny.onnx"),
        input=Input("x", "RGB", size=(8, 8)),
        embedding=Embedding(4, "arcface-112", "yunet-2023mar"),
    )
    return replace(plain, **changes)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the weights, as if a manifest lay there."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "tiny.onnx").write_bytes(CONTENT)
    return folder


# --- finding ----------------------------------------------------------------------------------------------------------


def test_the_order_is_manifest_cache_package(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, site = tmp_path / "cache", tmp_path / "site"
    (site / "tinyweights" / "files" / "data").mkdir(parents=True)
    for folder in (site / "tinyweights", site / "tinyweights" / "files"):
        (folder / "__init__.py").write_text("raise RuntimeError('its code must not run')", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    source = Source(file="tiny.onnx", package="tinyweights.files", member="data/tiny.onnx")
    wanted = manifest(folder=str(home), source=source)
    places = [
        home / "tiny.onnx",
        cache / "weights" / f"tiny-{wanted.sha256[:16]}.onnx",
        site / "tinyweights" / "files" / "data" / "tiny.onnx",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(CONTENT)
    for place in places:
        assert find_weights(wanted, cache=cache) == place
        place.unlink()
    with pytest.raises(WeightsMissing) as caught:
        find_weights(wanted, cache=cache)
    assert all(str(place) in str(caught.value) for place in places)
    assert "tinyweights" not in sys.modules


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="vultus models pull tiny"):
        find_weights(manifest(source=Source(url="https://example.org/tiny.onnx")), cache=tmp_path)
    with pytest.raises(WeightsMissing) as caught:
        find_weights(manifest(folder=str(tmp_path)), cache=tmp_path)
    assert "pull" not in str(caught.value)


@pytest.mark.parametrize("package", ["no_such_package", "no_such_package.models", "os.path.models"])
def test_packages_that_are_not_there(package: str, tmp_path: Path) -> None:
    wanted = manifest(source=Source(package=package, member="tiny.onnx", requirement="tiny==1"))
    with pytest.raises(WeightsMissing, match="vultus models pull tiny"):
        find_weights(wanted, cache=tmp_path)


def test_another_file_under_the_right_name_is_refused(home: Path, tmp_path: Path) -> None:
    (home / "tiny.onnx").write_bytes(CONTENT + b"\0")
    wanted = manifest(folder=str(home))
    with pytest.raises(WeightsMismatch, match=f"has sha256 .*, the manifest of 'tiny' says {wanted.sha256}"):
        find_weights(wanted, cache=tmp_path)
    with pytest.raises(WeightsMismatch):
        prepared_weights(wanted, cache=tmp_path)
    assert not (tmp_path / "prepared").exists()


def test_file_sha256_is_that_of_the_content(home: Path) -> None:
    assert file_sha256(home / "tiny.onnx") == hashlib.sha256(CONTENT).hexdigest()


def test_the_default_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VULTUS_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.delenv("VULTUS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_cache() == tmp_path / "xdg" / "vultus"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == tmp_path / "home" / ".cache" / "vultus"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_cache() == tmp_path / "home" / "Library" / "Caches" / "vultus"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_cache() == tmp_path / "local" / "vultus" / "cache"


# --- the prepared form ------------------------------------------------------------------------------------------------


def is_whole(path: Path | bytes) -> bool:
    content = path if isinstance(path, bytes) else path.read_bytes()
    onnx.checker.check_model(onnx.load_model_from_string(content))
    return isinstance(path, bytes) or path.stem.endswith(hashlib.sha256(content).hexdigest()[:16])


def test_it_is_made_once_and_kept(home: Path, tmp_path: Path) -> None:
    wanted = manifest(folder=str(home))
    first = prepared_weights(wanted, cache=tmp_path)
    assert isinstance(first, Path)
    assert first.parent == tmp_path / "prepared"
    assert is_whole(first)
    made = first.stat().st_mtime_ns, first.stat().st_ino
    assert prepared_weights(wanted, cache=tmp_path) == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == made
    assert names(first.parent) == [first.name]


def test_what_is_asked_for_is_part_of_the_name(home: Path, tmp_path: Path) -> None:
    wanted = manifest(folder=str(home))
    variants = [
        wanted,
        replace(wanted, embedding=Embedding(4, "arcface-112", "yunet-2023mar", output="y")),
        replace(wanted, task="detect", embedding=None, detection=Detection("yunet", 0.5, 32), input=Input("x", "RGB")),
    ]
    assert len({prepared_weights(v, cache=tmp_path) for v in variants}) == 3


@pytest.mark.parametrize("damage", [b"", b"garbage", CONTENT])
def test_a_damaged_file_is_made_anew(damage: bytes, home: Path, tmp_path: Path) -> None:
    wanted = manifest(folder=str(home))
    path = prepared_weights(wanted, cache=tmp_path)
    assert isinstance(path, Path)
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert prepared_weights(wanted, cache=tmp_path) == path
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_only_time(home: Path, tmp_path: Path) -> None:
    wanted = manifest(folder=str(home))
    path = prepared_weights(wanted, cache=tmp_path / "cache")
    assert isinstance(path, Path)
    (tmp_path / "file").write_bytes(b"")
    for impossible in (tmp_path / "file", tmp_path / "file" / "below"):
        assert prepared_weights(wanted, cache=impossible) == path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_cache_costs_only_time(home: Path, tmp_path: Path) -> None:
    cache = tmp_path / "read-only"
    cache.mkdir()
    cache.chmod(0o500)
    assert isinstance(prepared_weights(manifest(folder=str(home)), cache=cache), bytes)


WORKER = """
import sys
from vultus.weights import load_manifest, prepared_weights
from pathlib import Path
import onnx
wanted = load_manifest(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(prepared_weights(wanted, cache=Path(sys.argv[2])))
"""


def test_processes_at_once_all_end_with_a_whole_file(home: Path, tmp_path: Path) -> None:
    save_manifest(manifest(), home / "tiny.toml")
    command = [sys.executable, "-c", WORKER, str(home / "tiny.toml"), str(tmp_path / "cache")]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        answers = _answers_at_once(workers)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert len(set(answers)) == 1
    path = Path(answers[0])
    assert is_whole(path)
    assert names(path.parent) == [path.name]


def _answers_at_once(workers: list[subprocess.Popen[str]]) -> list[str]:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [worker.communicate(timeout=60)[0].strip() for worker in workers]


# --- atomic writes ----------------------------------------------------------------------------------------------------


def test_a_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file"
    for content in (b"old", b"new"):
        write_atomically(target, content)
        assert target.read_bytes() == content
    assert names(target.parent) == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")
    with pytest.raises(TypeError):
        write_atomically(target, "text")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
