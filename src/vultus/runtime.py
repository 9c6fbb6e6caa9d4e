"""The only importer of onnxruntime: shared sessions, threads, batches, and the test that a session computes right.

A session is safe to use from many threads at once. Sessions are shared: asking twice for the same weights with the same
settings gives the same session.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from vultus.errors import BadArgument, GraphError, ProviderUnavailable, SelfTestFailed
from vultus.types import FloatArray, UInt8Array
from vultus.weights import Manifest, prepared_weights
from vultus.weights.manifest import Input

_SHORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "rocm": "ROCMExecutionProvider",
}
# Pixels of input in one run. On a CPU a run of more is slower, because its values no longer fit the caches.
_CPU_PIXELS = 50_000
_DEVICE_PIXELS = 4_000_000

_ON_CPU = {"CPUExecutionProvider", "OpenVINOExecutionProvider"}

_shared: WeakValueDictionary[tuple[object, ...], Session] = WeakValueDictionary()
_lock = threading.Lock()


def default_threads() -> int:
    """How many threads this process may keep busy: its CPU affinity, or less where a cgroup quota grants less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota))) if quota else max(1, cores)


def _cgroup_quota() -> float | None:
    """CPUs granted by cgroup v2 or v1, or None where there is no limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()[:2]
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        root = Path("/sys/fs/cgroup/cpu")
        granted = int((root / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        return granted / int((root / "cpu.cfs_period_us").read_text(encoding="ascii")) if granted > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


@dataclass(frozen=True, slots=True)
class Settings:
    """How a session runs.

    Args:
        threads: inside one call; 1 leaves the other cores to other calls.
        providers: execution providers in order of preference, by short name or onnxruntime's own; the CPU is always last.
    """

    threads: int
    providers: tuple[str, ...] = ("cpu",)

    @classmethod
    def of(cls, threads: int | None, providers: Sequence[str] | None) -> Settings:
        """Settings with defaults filled in.

        Raises:
            BadArgument: threads below 1.
        """
        if threads is not None and threads < 1:
            raise BadArgument(f"threads is {threads!r}; expected a whole number of at least 1")
        if isinstance(providers, str):
            raise BadArgument(f"providers is the text {providers!r}; expected a list such as [{providers!r}]")
        return cls(threads or default_threads(), tuple(providers or ("cpu",)))


class Session:
    """A graph that is ready to run."""

    def __init__(self, inner: Any, settings: Settings) -> None:
        self._inner = inner
        self.settings = settings
        self.input = inner.get_inputs()[0].name
        self.outputs = [o.name for o in inner.get_outputs()]

    @property
    def providers(self) -> list[str]:
        """The execution providers in use, in order of preference."""
        names: list[str] = self._inner.get_providers()
        return names

    def run(self, batch: FloatArray) -> list[FloatArray]:
        """All outputs for a batch of any size.

        Args:
            batch: (n, 3, h, w) float32, prepared by `to_input`.
        """
        if not len(batch):
            raise BadArgument("a batch needs at least one row")
        rows = self.rows_at_once(batch.shape[2], batch.shape[3])
        parts = [self._inner.run(None, {self.input: batch[i : i + rows]}) for i in range(0, len(batch), rows)]
        return parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts, strict=True)]

    def rows_at_once(self, height: int, width: int) -> int:
        """How many pictures of a size go into one run; a longer batch is run in parts."""
        pixels = _CPU_PIXELS if set(self.providers) <= _ON_CPU else _DEVICE_PIXELS
        return max(1, pixels // (height * width))


def open_session(manifest: Manifest, settings: Settings, *, cache: Path | None = None) -> Session:
    """The shared session for these weights and settings, tested on a known answer when it is first made.

    Raises:
        WeightsError: the weights are missing, differ from the manifest, cannot run, or give a wrong answer.
        ProviderUnavailable: an execution provider that this installation does not have.
    """
    # every fact that the self-test checks, so that a session found right for one manifest is not taken for right for another
    key = (manifest.sha256, manifest.input, manifest.embedding, manifest.known_answer, settings)
    with _lock:
        session = _shared.get(key)
        if session is None:
            session = Session(_start(prepared_weights(manifest, cache=cache), settings), settings)
            if session.input != manifest.input.name:
                raise GraphError(f"the graph's first input is {session.input!r}, not {manifest.input.name!r}")
            self_test(session, manifest)
            _shared[key] = session
    return session


def open_graph(graph: bytes, settings: Settings) -> Session:
    """A session for a graph that has no manifest; it is neither shared nor tested.

    Raises:
        GraphError: onnxruntime cannot run the graph.
        ProviderUnavailable: an execution provider that this installation does not have.
    """
    return Session(_start(graph, settings), settings)


def _onnxruntime() -> Any:
    """The module, imported so that it reports nothing to anybody.

    From 1.32 on its packages for Linux and macOS send usage events and keep an identifier of the machine in the user's cache
    folder, unless this is set before the first import. Whoever wants that sets the variable to 0.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def available_providers() -> list[str]:
    """Execution providers that this installation of onnxruntime has, by short name where there is one."""
    short = {v: k for k, v in _SHORT_NAMES.items()}
    return [short.get(name, name) for name in _onnxruntime().get_available_providers()]


def _start(graph: Path | bytes, settings: Settings) -> Any:
    ort = _onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    have = ort.get_available_providers()
    names = [_SHORT_NAMES.get(p.lower(), p) for p in settings.providers]
    for name in names:
        if name not in have:
            raise ProviderUnavailable(
                f"this onnxruntime has no {name}; it has: {', '.join(available_providers())}. "
                "Install the onnxruntime package that carries it, in place of onnxruntime"
            )
    if "CPUExecutionProvider" not in names:
        names.append("CPUExecutionProvider")
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    # A waiting worker that spins burns a core that another call, or another process, could use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # With memory patterns the arena would grow by every input shape it sees; without, it levels off, and without an arena
    # large blocks come from the system anew in each run.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(graph if isinstance(graph, bytes) else str(graph), options, providers=names)
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NotImplemented,
        state.RuntimeException,
    ) as problem:
        raise GraphError(f"onnxruntime cannot run the graph: {problem}") from problem


# --- pixels -----------------------------------------------------------------------------------------------------------


def to_input(pixels: UInt8Array, spec: Input) -> FloatArray:
    """The network's input for a batch of pictures: channel order, planes, normalisation.

    Args:
        pixels: (n, h, w, 3) uint8 RGB.
        spec: what the manifest says about the input.

    Returns:
        (n, 3, h, w) float32.
    """
    import cv2

    n, height, width = pixels.shape[:3]
    batch = np.empty((n, 3, height, width), dtype=np.float32)
    planes = np.empty((3, height, width), dtype=np.uint8)
    channels = [planes[i] for i in ((0, 1, 2) if spec.channels == "RGB" else (2, 1, 0))]
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (spec.mean, spec.std))
    plain = not mean.any() and (std == 1).all()
    for target, picture in zip(batch, pixels, strict=True):
        cv2.split(picture, channels)  # many times as fast as a strided copy
        target[...] = planes
        if not plain:
            target -= mean
            target /= std
    return batch


# --- the known answer -------------------------------------------------------------------------------------------------


def pattern(height: int, width: int, *, seed: int = 0) -> UInt8Array:
    """(1, height, width, 3) uint8: a generated picture, the same on every machine because it is whole-number arithmetic."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    waves = (x * (7 + seed) + y * 13 + c * 29 + (x * y) // 9 + (x // 8) * (y // 8) * 5) % 256
    picture: UInt8Array = waves[None].astype(np.uint8)
    return picture


def answer(session: Session, spec: Input, *, height: int, width: int, seed: int = 0, count: int = 24) -> FloatArray:
    """(count,) samples of all outputs for the generated picture, at evenly spaced places."""
    outputs = session.run(to_input(pattern(height, width, seed=seed), spec))
    flat = np.concatenate([np.asarray(o, dtype=np.float32).reshape(-1) for o in outputs])
    chosen: FloatArray = flat[np.linspace(0, len(flat) - 1, num=min(count, len(flat))).astype(int)]
    return chosen


def self_test(session: Session, manifest: Manifest) -> None:
    """Refuse a session that computes something other than the known answer, or, where none is known, nothing useful.

    Raises:
        SelfTestFailed: what was expected and what came.
    """
    known = manifest.known_answer
    height, width = manifest.input.size or ((known.height, known.width) if known else (64, 64))
    try:
        got = answer(session, manifest.input, height=height, width=width, count=len(known.values) if known else 24)
        other = answer(session, manifest.input, height=height, width=width, seed=5)
    except Exception as problem:
        raise SelfTestFailed(f"{manifest.name!r} fails on a generated picture: {problem}") from problem
    if not (np.isfinite(got).all() and np.isfinite(other).all()):
        raise SelfTestFailed(f"{manifest.name!r} gives NaN or infinity for a generated picture")
    if known is None:
        if np.allclose(got, other, rtol=1e-4, atol=1e-6):
            raise SelfTestFailed(f"{manifest.name!r} gives the same output for two different pictures")
    else:
        expected = np.asarray(known.values, dtype=np.float32)
        error = float(np.abs(got - expected).max() / np.abs(expected).max()) if len(got) == len(expected) else np.inf
        if error > known.tolerance:
            raise SelfTestFailed(
                f"{manifest.name!r} on {', '.join(session.providers)} differs from its known answer by {error:.2g} of the "
                f"largest value; at most {known.tolerance:.2g} is allowed. This runtime computes wrong results here: "
                "use another version or provider"
            )
    if manifest.embedding is not None:
        shape = session.run(to_input(pattern(height, width), manifest.input))[0].shape
        if shape != (1, manifest.embedding.dimension):
            raise SelfTestFailed(
                f"{manifest.name!r} gives shape {shape}, the manifest says (1, {manifest.embedding.dimension})"
            )
