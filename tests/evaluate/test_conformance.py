"""Conformance: the default system passes, and models that are broken on purpose fail the check that is meant for them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from vultus.errors import BadArgument, SourceUnavailable, VultusError
from vultus.evaluate.conformance import ConformanceResult, run_conformance
from vultus.evaluate.conformance.checks import CHECKS
from vultus.evaluate.conformance.child import Task, run_in_processes
from vultus.types import UInt8Array
from vultus.weights import save_manifest
from vultus.weights.manifest import Embedding, Input, Licence, Manifest, Source

DIMENSION = 16


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory, astronaut: UInt8Array, hopper: UInt8Array) -> list[Path]:
    folder = tmp_path_factory.mktemp("portraits")
    paths = [folder / "astronaut.png", folder / "hopper.png"]
    for path, pixels in zip(paths, (astronaut, hopper), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def tiny_model(folder: Path, *, noise: float = 0.0, bias: float = 0.0, nan: bool = False) -> Path:
    """The manifest of an embedder that averages 14 x 14 pixels and multiplies, with a fault that can be chosen."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3 * 8 * 8, DIMENSION)).astype(np.float32) / 255
    weight -= weight.mean(axis=0)
    constants = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.full(DIMENSION, bias, dtype=np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("AveragePool", ["data"], ["pooled"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["product"]),
    ]
    if noise:
        nodes += [
            helper.make_node("RandomNormalLike", ["product"], ["random"], scale=noise),
            helper.make_node("Add", ["product", "random"], ["row"]),
        ]
    elif nan:
        nodes += [helper.make_node("Sub", ["product", "product"], ["zero"])]
        nodes += [helper.make_node("Div", ["zero", "zero"], ["row"])]
    else:
        nodes += [helper.make_node("Identity", ["product"], ["row"])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, DIMENSION])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    (folder / "tiny.onnx").write_bytes(content)
    manifest = Manifest(
        name="tiny",
        task="embed",
        sha256=hashlib.sha256(content).hexdigest(),
        licence=Licence("MIT", "made for a test", commercial=True, training_data="none"),
        source=Source(file="tiny.onnx"),
        input=Input("data", "RGB", size=(112, 112)),
        embedding=Embedding(DIMENSION, "arcface-112", "yunet-2023mar"),
    )
    save_manifest(manifest, folder / "tiny.toml")
    return folder / "tiny.toml"


def failed(result: ConformanceResult) -> list[str]:
    return [check.name for check in result.checks if not check.ok]


def test_the_default_system_passes_every_check(portraits: list[Path], tmp_path: Path) -> None:
    result = run_conformance(workdir=tmp_path, portraits=portraits)
    assert [check for check in result.checks if not check.ok] == []
    assert [check.name for check in result.checks] == ["loads", *CHECKS]
    assert len(CHECKS) == 12
    assert result.ok
    assert list(tmp_path.iterdir()) == []
    record = json.loads(json.dumps(result.to_dict()))
    assert record["ok"] is True
    assert record["model_id"] == result.model_id
    assert record["checks"][0] == {"name": "loads", "ok": True, "message": result.checks[0].message}


def run_some(model: Path, portraits: Sequence[Path], workdir: Path, *, only: Sequence[str]) -> ConformanceResult:
    return run_conformance(model, workdir=workdir, portraits=portraits, only=only)


def test_a_sound_model_of_a_manifest_passes_in_this_process(portraits: list[Path], tmp_path: Path) -> None:
    inside = [name for name in CHECKS if name not in {"writes", "moved folder", "processes"}]
    result = run_some(tiny_model(tmp_path / "model"), portraits, tmp_path, only=inside)
    assert failed(result) in ([], ["tells people apart"])  # its weights are random
    assert result.model_id.startswith("tiny@")
    assert (tmp_path / "model" / "tiny.toml").is_file()


def test_a_model_that_draws_random_numbers_is_not_deterministic(portraits: list[Path], tmp_path: Path) -> None:
    only = ["deterministic", "blank template", "template form", "self score", "symmetric", "processes"]
    result = run_some(tiny_model(tmp_path / "model", noise=0.05), portraits, tmp_path, only=only)
    assert failed(result) == ["deterministic", "self score", "symmetric", "processes"]
    message = next(c.message for c in result.checks if c.name == "deterministic")
    assert "a second time" in message


def test_a_model_that_takes_everybody_for_one_person_is_found(portraits: list[Path], tmp_path: Path) -> None:
    only = ["deterministic", "tells people apart", "symmetric"]
    result = run_some(tiny_model(tmp_path / "model", bias=300.0), portraits, tmp_path, only=only)
    assert failed(result) == ["tells people apart"]


def test_a_model_that_gives_nan_does_not_load(portraits: list[Path], tmp_path: Path) -> None:
    result = run_conformance(tiny_model(tmp_path / "model", nan=True), workdir=tmp_path, portraits=portraits)
    assert failed(result) == ["loads"]
    assert len(result.checks) == 1
    assert result.checks[0].message.startswith("self_test_failed: ")
    assert not result.ok


def test_altered_weights_do_not_load(portraits: list[Path], tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    with (model.parent / "tiny.onnx").open("ab") as file:
        file.write(b"x")
    result = run_conformance(model, workdir=tmp_path, portraits=portraits)
    assert result.checks[0].message.startswith("sha256_mismatch: ")


def test_the_mirrored_system_can_be_checked(portraits: list[Path], tmp_path: Path) -> None:
    result = run_conformance(workdir=tmp_path, portraits=portraits, mirror=True, only=["template form"])
    assert result.model_id.endswith("+mirror")
    assert result.ok


def test_the_detector_that_is_named_is_the_one_that_is_loaded(portraits: list[Path], tmp_path: Path) -> None:
    result = run_conformance(workdir=tmp_path, portraits=portraits, detector="sface-2021dec", only=["template form"])
    assert failed(result) == ["loads"]
    assert "sface-2021dec" in result.checks[0].message
    assert "is no detector" in result.checks[0].message


def test_what_cannot_be_checked_is_refused(portraits: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="no check 'speed'; there are: return codes"):
        run_conformance(workdir=tmp_path, portraits=portraits, only=["speed"])
    with pytest.raises(BadArgument, match="1 portraits"):
        run_conformance(workdir=tmp_path, portraits=portraits[:1])
    with pytest.raises(SourceUnavailable, match="is not a folder"):
        run_conformance(workdir=tmp_path / "none", portraits=portraits)
    with pytest.raises(BadArgument, match="is no embedder"):
        run_conformance("yunet-2023mar", workdir=tmp_path, portraits=portraits)
    empty = tmp_path / "empty.png"
    Image.new("RGB", (200, 200)).save(empty)
    with pytest.raises(BadArgument, match=r"portrait1\.png gives no template \(no_face\)"):
        run_conformance(workdir=tmp_path, portraits=[portraits[0], empty], only=["self score"])


def test_writes_outside_the_cache_are_seen(portraits: list[Path], tmp_path: Path) -> None:
    """A cache that lies below the home of the task, and one that does not."""
    model = tiny_model(tmp_path / "model")
    for name in ("home", "temporary", "working", "cache"):
        (tmp_path / name).mkdir()

    def task(cache: Path) -> Task:
        return Task(
            embedder=str(model),
            detector="yunet-2023mar",
            mirror=False,
            accept_licence=False,
            cache=str(cache),
            home=str(tmp_path / "home"),
            temporary=str(tmp_path / "temporary"),
            photos=(str(portraits[0]), str(tmp_path / "missing.png")),
        )

    answer = run_in_processes([task(tmp_path / "cache")], cwd=tmp_path / "working")[0]
    assert answer.written == ()
    assert answer.called == ()
    assert len(answer.rows[0]) == 8 * DIMENSION
    assert answer.rows[1].startswith("source_unavailable: ")
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {"embeddings", "prepared"}


def test_the_hook_of_a_process_notes_files_and_calls(tmp_path: Path) -> None:
    code = """
import os, pathlib, socket, sys
from vultus.evaluate.conformance.child import _watch
base = pathlib.Path(sys.argv[1])
written, called = _watch(base / "cache")
(base / "cache").mkdir()
(base / "cache" / "inside").write_text("x")
(base / "outside").write_text("x")
(base / "outside").read_text()
(base / "made").mkdir()
(base / "outside").rename(base / "renamed")
open(os.devnull, "w").close()
s = socket.socket()
s.setblocking(False)
s.connect_ex(("127.0.0.1", 9))
print([pathlib.Path(w).name for w in written], len(called))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['outside', 'made', 'renamed'] 1"


def test_a_process_that_fails_is_a_typed_error(tmp_path: Path) -> None:
    task = Task("missing.toml", "yunet-2023mar", False, False, str(tmp_path), str(tmp_path), str(tmp_path), ())
    with pytest.raises(VultusError, match=r"exit code 1: .*ManifestError"):
        run_in_processes([task], cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
