"""Sessions: threads, providers, sharing, and the refusal of one that computes something else."""

from __future__ import annotations

import gc
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus import Embedder, Manifest, Recognizer, load_manifest, runtime
from vultus.errors import BadArgument, GraphError, ProviderUnavailable, SelfTestFailed
from vultus.runtime import Settings, answer, default_threads, open_session, pattern, self_test, to_input
from vultus.types import FloatArray, UInt8Array
from vultus.weights.manifest import Embedding, Input, KnownAnswer, Licence, Source

ONE = Settings(threads=1)


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A pretended machine: cores, and files below /sys."""

    def pretend(cores: int, **files: str) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        monkeypatch.setattr(runtime, "Path", lambda path: tmp_path / str(path).lstrip("/"))
        for name, content in files.items():
            path = tmp_path / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="ascii")

    return pretend


@pytest.mark.parametrize(
    ("cores", "files", "threads"),
    [
        (6, {}, 6),
        (1, {}, 1),
        (6, {"cpu_max": "max 100000\n"}, 6),
        (6, {"cpu_max": "200000 100000\n"}, 2),
        (6, {"cpu_max": "250000 100000\n"}, 2),
        (6, {"cpu_max": "50000 100000\n"}, 1),
        (2, {"cpu_max": "800000 100000\n"}, 2),
        (6, {"cpu_max": "garbage"}, 6),
        (6, {"cpu_max": "100000 0\n"}, 6),
        (6, {"cpu__cpu_cfs_quota_us": "300000\n", "cpu__cpu_cfs_period_us": "100000\n"}, 3),
        (6, {"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"}, 6),
        (6, {"cpu__cpu_cfs_quota_us": "300000\n"}, 6),
    ],
)
def test_threads_follow_affinity_and_quota(
    machine: Callable[..., None], cores: int, files: dict[str, str], threads: int
) -> None:
    machine(cores, **files)
    assert default_threads() == threads
    assert Settings.of(None, None) == Settings(threads, ("cpu",))


def test_without_affinity_all_cores_count(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    machine(6)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert default_threads() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_threads() == 1


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_positive(threads: int) -> None:
    with pytest.raises(BadArgument, match="whole number of at least 1"):
        Settings.of(threads, None)


def test_providers_are_a_list() -> None:
    assert Settings.of(3, ["cuda", "cpu"]) == Settings(3, ("cuda", "cpu"))
    assert Settings.of(3, []).providers == ("cpu",)
    with pytest.raises(BadArgument, match=r"such as \['cuda'\]"):
        Settings.of(1, "cuda")


# --- a small graph ----------------------------------------------------------------------------------------------------


def tiny(folder: Path, kind: str = "good", *, dimension: int = 4, inputs: str = "x") -> Manifest:
    """An embedder of 8 x 8 pictures, or one with a fault."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((dimension, 3, 3, 3)).astype(np.float32)
    constants = {"w": weight, "zero": np.zeros((), np.float32), "one": np.ones((1, dimension), np.float32)}
    nodes = [
        helper.make_node("Conv", [inputs, "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
    ]
    nodes += {
        "good": [helper.make_node("Identity", ["f"], ["y"])],
        "constant": [helper.make_node("Mul", ["f", "zero"], ["z"]), helper.make_node("Add", ["z", "one"], ["y"])],
        "nan": [helper.make_node("Div", ["f", "zero"], ["q"]), helper.make_node("Mul", ["q", "zero"], ["y"])],
        "infinity": [helper.make_node("Div", ["f", "zero"], ["y"])],
    }[kind]
    body = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(inputs, TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, dimension])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    content = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    (folder / f"{kind}.onnx").write_bytes(content)
    return Manifest(
        name=kind,
        task="embed",
        sha256=hashlib.sha256(content).hexdigest(),
        licence=Licence("MIT", "here", True, "none"),
        source=Source(file=f"{kind}.onnx"),
        input=Input(inputs, "RGB", size=(8, 8)),
        embedding=Embedding(dimension, "arcface-112", "yunet-2023mar"),
        folder=str(folder),
    )


def known_answer(manifest: Manifest) -> KnownAnswer:
    session = open_session(manifest, ONE)
    values = answer(session, manifest.input, height=8, width=8)
    return KnownAnswer(8, 8, tuple(float(v) for v in values))


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_the_same_weights_and_settings_share_a_session(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    one = open_session(manifest, ONE)
    assert open_session(manifest, ONE) is one
    assert open_session(replace(manifest, name="another"), Settings(1)) is one
    assert open_session(manifest, Settings(2)) is not one
    assert open_session(replace(manifest, input=Input("x", "BGR", size=(8, 8))), ONE) is not one


def test_a_session_lives_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    before = len(runtime._shared)
    session = open_session(manifest, ONE)
    assert len(runtime._shared) == before + 1
    del session
    gc.collect()
    assert len(runtime._shared) == before


def test_threads_that_ask_at_once_get_one_session(tmp_path: Path) -> None:
    manifest, start = tiny(tmp_path), threading.Barrier(8)

    def ask(_: int) -> int:
        start.wait(timeout=30)
        sessions.append(open_session(manifest, ONE))
        return id(sessions[-1])

    sessions: list[runtime.Session] = []
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_wrong_facts_are_found_even_where_the_session_is_shared(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    held = open_session(manifest, ONE)
    with pytest.raises(SelfTestFailed, match="known answer"):
        open_session(replace(manifest, known_answer=KnownAnswer(8, 8, (1.0, 2.0, 3.0, 4.0))), ONE)
    with pytest.raises(SelfTestFailed, match=r"the manifest says \(1, 5\)"):
        open_session(replace(manifest, embedding=Embedding(5, "arcface-112", "yunet-2023mar")), ONE)
    assert open_session(manifest, ONE) is held


def test_sessions_use_what_the_settings_say(tmp_path: Path) -> None:
    session = open_session(tiny(tmp_path), Settings(2))
    options = session._inner.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session.providers == ["CPUExecutionProvider"]
    assert session.input == "x"
    assert session.outputs == ["y"]


# --- providers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["nonsense", "NonsenseExecutionProvider", "coreml", "directml"])
def test_providers_that_are_not_there_are_named_with_those_that_are(provider: str, tmp_path: Path) -> None:
    if runtime._SHORT_NAMES.get(provider, provider) in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    with pytest.raises(ProviderUnavailable, match=r"has no .*; it has: .*cpu") as caught:
        open_session(tiny(tmp_path), Settings(1, (provider,)))
    assert caught.value.code == "provider_unavailable"
    with pytest.raises(ProviderUnavailable):
        Recognizer.load(threads=1, providers=[provider])


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider"])
def test_providers_have_short_names(name: str, tmp_path: Path) -> None:
    assert open_session(tiny(tmp_path), Settings(1, (name,))).providers[-1] == "CPUExecutionProvider"


# --- the self-test ----------------------------------------------------------------------------------------------------


def test_the_built_in_weights_pass_with_their_known_answers() -> None:
    for name in ("sface-2021dec", "yunet-2023mar"):
        manifest = load_manifest(name)
        assert manifest.known_answer is not None
        assert len(manifest.known_answer.values) >= 16
        assert len({round(v, 6) for v in manifest.known_answer.values}) > 4
        open_session(manifest, ONE)


def test_a_right_known_answer_is_accepted(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    open_session(replace(manifest, known_answer=known_answer(manifest)), ONE)


@pytest.mark.parametrize("share", [0.0, 0.9, 1.1, -1.0])
def test_another_answer_than_the_known_one_is_refused(share: float, tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    known = known_answer(manifest)
    largest = int(np.abs(known.values).argmax())
    values = tuple(v * share if i == largest else v for i, v in enumerate(known.values))
    with pytest.raises(SelfTestFailed, match=r"differs from its known answer by .* computes wrong results") as caught:
        open_session(replace(manifest, known_answer=replace(known, values=values)), ONE)
    assert caught.value.code == "self_test_failed"


def test_the_tolerance_of_the_known_answer_acts(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    known = known_answer(manifest)
    off = replace(known, values=tuple(v * 1.01 for v in known.values))
    with pytest.raises(SelfTestFailed):
        open_session(replace(manifest, known_answer=off), ONE)
    open_session(replace(manifest, known_answer=replace(off, tolerance=0.02)), ONE)


def test_an_answer_of_another_length_is_refused(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    with pytest.raises(SelfTestFailed):
        open_session(replace(manifest, known_answer=KnownAnswer(8, 8, (1.0,) * 9)), ONE)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("constant", "the same output for two different pictures"),
        ("nan", "NaN or infinity"),
        ("infinity", "NaN or infinity"),
    ],
)
def test_graphs_that_compute_nothing_useful_are_refused(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SelfTestFailed, match=message):
        open_session(tiny(tmp_path, kind), ONE)


def test_a_graph_of_another_dimension_is_refused(tmp_path: Path) -> None:
    wrong = replace(tiny(tmp_path), embedding=Embedding(5, "arcface-112", "yunet-2023mar"))
    with pytest.raises(SelfTestFailed, match=r"gives shape \(1, 4\), the manifest says \(1, 5\)"):
        open_session(wrong, ONE)


def test_a_graph_that_fails_on_its_own_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SelfTestFailed, match="fails on a generated picture"):
        open_session(replace(tiny(tmp_path), input=Input("x", "RGB", size=(9, 8))), ONE)


def test_a_graph_without_the_named_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no input 'data'; it has: x"):
        open_session(replace(tiny(tmp_path), input=Input("data", "RGB", size=(8, 8))), ONE)


class Stub:
    """A session that gives whatever it was made with."""

    providers = ("StubExecutionProvider",)
    input = "x"
    outputs = ("y",)

    def __init__(self, rows: Callable[[FloatArray], FloatArray]) -> None:
        self._rows = rows

    def run(self, batch: FloatArray) -> list[FloatArray]:
        return [self._rows(batch)]


def test_a_provider_that_gives_constants_is_refused_by_name(tmp_path: Path) -> None:
    manifest = tiny(tmp_path)
    known = replace(manifest, known_answer=known_answer(manifest))
    lying: Any = Stub(lambda batch: np.ones((len(batch), 4), np.float32))
    with pytest.raises(SelfTestFailed, match="StubExecutionProvider differs"):
        self_test(lying, known)
    with pytest.raises(SelfTestFailed, match="the same output"):
        self_test(lying, manifest)


@pytest.mark.parametrize("call", [0, 1])
def test_one_picture_in_two_that_gives_nan_is_enough(call: int, tmp_path: Path) -> None:
    rows = [np.full((1, 4), value, np.float32) for value in (1.0, 2.0)]
    rows[call][0, 2] = np.nan
    answers = iter(rows)
    flaky: Any = Stub(lambda batch: next(answers))
    with pytest.raises(SelfTestFailed, match="NaN or infinity"):
        self_test(flaky, tiny(tmp_path))


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 17, 2_000])
def test_a_large_batch_gives_what_single_rows_give(count: int, tmp_path: Path) -> None:
    session = open_session(tiny(tmp_path), ONE)
    batch = np.random.default_rng(count).uniform(-1, 1, (count, 3, 8, 8)).astype(np.float32)
    (together,) = session.run(batch)
    assert together.shape == (count, 4)
    assert np.allclose(together, np.concatenate([session.run(row[None])[0] for row in batch]), atol=1e-6)


def test_a_run_takes_fewer_of_larger_pictures(tmp_path: Path) -> None:
    session = open_session(tiny(tmp_path), ONE)
    assert session.rows_at_once(8, 8) > session.rows_at_once(112, 112) >= 1
    assert session.rows_at_once(4_000, 4_000) == 1


def test_an_empty_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="at least one row"):
        open_session(tiny(tmp_path), ONE).run(np.zeros((0, 3, 8, 8), np.float32))


PIXELS: UInt8Array = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_to_input_orders_channels_and_normalises(channels: Any) -> None:
    plain = to_input(PIXELS, Input("x", channels))
    expected = np.transpose(PIXELS if channels == "RGB" else PIXELS[..., ::-1], (0, 3, 1, 2)).astype(np.float32)
    assert plain.dtype == np.float32
    assert plain.flags.c_contiguous
    assert np.array_equal(plain, expected)
    mean, std = (123.0, 0.0, 104.5), (58.0, 1.0, 57.5)
    scaled = to_input(PIXELS, Input("x", channels, mean=mean, std=std))
    assert np.allclose(scaled, (expected - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1)), atol=1e-6)


def test_to_input_leaves_the_pictures_alone() -> None:
    before = PIXELS.copy()
    to_input(PIXELS, Input("x", "BGR", mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0)))
    assert np.array_equal(PIXELS, before)


def test_the_pattern_is_the_same_everywhere() -> None:
    picture = pattern(5, 9)
    assert picture.shape == (1, 5, 9, 3)
    assert picture[0, 3, 7].tolist() == [(7 * 7 + 3 * 13 + c * 29 + 2) % 256 for c in range(3)]
    assert not np.array_equal(picture, pattern(5, 9, seed=5))


# --- threads and memory -----------------------------------------------------------------------------------------------


def test_eight_threads_give_what_one_gives(recognizer: Recognizer, astronaut: UInt8Array, hopper: UInt8Array) -> None:
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (1 + i % 3, 112, 112, 3), np.uint8) for i in range(24)]
    expected = [recognizer.embed(c) for c in crops]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(recognizer.embed, crops))
    for got, want in zip(results, expected, strict=True):
        assert np.array_equal(got, want)


def test_sessions_of_one_and_of_two_threads_agree(cache: Path) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), np.uint8)
    one, two = (Embedder(threads=n, cache=cache)(crops) for n in (1, 2))
    assert np.allclose(one, two, atol=1e-5)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell its memory in /proc")
def test_memory_does_not_grow_with_every_new_size(recognizer: Recognizer, astronaut: UInt8Array) -> None:
    import cv2

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def look(height: int, width: int) -> None:
        recognizer.detect(cv2.resize(astronaut, (width, height)), min_face=64)

    for side in (640, 320):
        look(side, side)
    gc.collect()
    before = resident()
    for i in range(60):
        look(160 + 8 * i, 640 - 7 * i)
    gc.collect()
    assert resident() - before < 60
