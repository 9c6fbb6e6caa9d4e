"""Bulk embedding on Ray Data: the photos go to processes that each hold one recognizer, on one machine or on many."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus._export import export
from vultus.bulk.ray_session import ray_session
from vultus.bulk.templates import PhotoFailure, PhotoTemplates
from vultus.detect import Policy
from vultus.errors import BadArgument, ClusterUnavailable, ModelMismatch, SourceUnavailable, VultusError
from vultus.recognizer import Recognizer
from vultus.runtime import default_threads
from vultus.types import FloatArray

if TYPE_CHECKING:
    from types import ModuleType

    import pyarrow

_LARGEST_PORTION = 256
_PORTIONS_EACH = 16
# Ray starts a worker that died again and gives it the same photos, however often they kill it.
_SECONDS_WITHOUT_RESULT = 1800


@dataclass(frozen=True, slots=True)
class _Order:
    """What a worker is to do: the system to load, the identity that it must have, and where relative paths begin."""

    options: dict[str, Any]
    model_id: str
    policy: Policy
    folder: str


class _Worker:
    """A process with a recognizer of its own, on one thread."""

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._recognizer = Recognizer.load(threads=1, **order.options)
        if self._recognizer.model_id != order.model_id:
            raise ModelMismatch(
                f"a worker has {self._recognizer.model_id!r} where {order.model_id!r} is wanted; install the same "
                "vultus and the same weights on every machine"
            )

    def __call__(self, photos: pyarrow.Table) -> pyarrow.Table:
        """Rows, qualities and errors of a portion of photos; the bytes of paths and words as the file system has them."""
        import pyarrow as pa

        places, rows, quality, codes, messages = photos.column("place"), [], [], [], []
        for encoded in photos.column("path").to_pylist():
            row, measure, code, message = b"", 0.0, b"", b""
            try:
                sample = self._recognizer.sample(self._opened(os.fsdecode(encoded)), policy=self._order.policy)
                row, measure = sample.template.vector.astype("<f4").tobytes(), sample.quality.overall[0]
            except VultusError as problem:
                code, message = problem.code.encode(), os.fsencode(str(problem))
            rows.append(row)
            quality.append(measure)
            codes.append(code)
            messages.append(message)
        return pa.table(
            {
                "place": places,
                "row": pa.array(rows, pa.binary()),
                "quality": pa.array(np.array(quality, dtype=np.float32)),
                "code": pa.array(codes, pa.binary()),
                "message": pa.array(messages, pa.binary()),
            }
        )

    def _opened(self, path: str) -> str:
        """The path as it was given, which errors name, read from the folder that it was given in."""
        if not Path(path).is_absolute() and str(Path.cwd()) != self._order.folder:
            try:
                os.chdir(self._order.folder)
            except OSError as problem:
                raise SourceUnavailable(
                    f"cannot read {path!r}: the folder {self._order.folder} does not exist on the worker's machine; give "
                    "paths on storage that all machines share"
                ) from problem
        return path


@export("vultus.bulk.embed_on_ray")
def embed_on_ray(
    files: Sequence[str | os.PathLike[str]],
    *,
    address: str | None = None,
    workers: int | None = None,
    model: str | None = None,
    detector: str | None = None,
    mirror: bool = False,
    providers: Sequence[str] | None = None,
    accept_licence: bool = False,
    policy: Policy = "largest",
    progress: Callable[[int], None] | None = None,
) -> PhotoTemplates:
    """Templates of many photos by Ray Data; on machines of one kind the same bits as `embed_photos` gives.

    Needs the extra `vultus[ray]`. In an existing cluster every machine needs the same vultus, the same weights, and the
    photos at the same paths.

    Args:
        files: paths of photos.
        address: of an existing Ray cluster; None for one on this machine that ends with the call (or the one that this
            process is connected to already).
        workers: processes, of one thread each; one for each core of this machine, or of the cluster, unless told otherwise.
        model, detector, mirror, providers, accept_licence: the system, as for `Recognizer.load`.
        policy: which face of a photo is meant.
        progress: called with the number of photos done, each time some are done.

    Raises:
        ExtraMissing: Ray is not installed.
        BadArgument: workers below 1.
        ClusterUnavailable: Ray cannot be started or reached, or its workers fail.
        WeightsError, ProviderUnavailable: as for `Recognizer.load`.
    """
    if workers is not None and workers < 1:
        raise BadArgument(f"workers is {workers!r}; expected a whole number of at least 1")
    options = {
        "model": model,
        "detector": detector,
        "mirror": mirror,
        "providers": providers,
        "accept_licence": accept_licence,
    }
    system = Recognizer.load(threads=1, **options)  # type: ignore[arg-type]
    order = _Order(options, system.model_id, policy, str(Path.cwd()))
    paths = [os.fspath(f) for f in files]
    table = _Table(len(paths), system.embedder.spec.dimension)
    if paths:
        with ray_session(address, workers=workers or default_threads()) as ray:
            count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            for portion in _portions(ray, paths, order, count):
                table.take(portion)
                if progress is not None:
                    progress(len(portion))
    return table.templates(paths, system.model_id)


class _Table:
    """The results in the order of the photos, whatever the order in which they come."""

    def __init__(self, photos: int, dimension: int) -> None:
        self._rows = np.zeros((photos, dimension), dtype=np.float32)
        self._quality = np.zeros(photos, dtype=np.float32)
        self._enrolled = np.zeros(photos, dtype=np.bool_)
        self._failed: dict[int, tuple[str, str]] = {}

    def take(self, portion: pyarrow.Table) -> None:
        """Put a portion of results into its places."""
        columns = (portion.column(name).to_pylist() for name in ("place", "row", "code", "message"))
        self._quality[portion.column("place").to_numpy()] = portion.column("quality").to_numpy()
        for place, row, code, message in zip(*columns, strict=True):
            if row:
                self._rows[place] = np.frombuffer(row, dtype="<f4")
                self._enrolled[place] = True
            else:
                self._failed[place] = code.decode(), os.fsdecode(message)

    def templates(self, paths: Sequence[str], model_id: str) -> PhotoTemplates:
        """All results.

        Raises:
            ClusterUnavailable: some are missing.
        """
        missing = len(paths) - int(self._enrolled.sum()) - len(self._failed)
        if missing:
            raise ClusterUnavailable(
                f"the workers gave no result for {missing:,} of {len(paths):,} photos; run it again"
            )
        failures = tuple(PhotoFailure(paths[i], *self._failed[i]) for i in sorted(self._failed))
        kept = tuple(path for path, enrolled in zip(paths, self._enrolled.tolist(), strict=True) if enrolled)
        rows: FloatArray = self._rows[self._enrolled]
        return PhotoTemplates(kept, rows, self._quality[self._enrolled], failures, model_id)


def _portions(ray: ModuleType, paths: Sequence[str], order: _Order, workers: int) -> Iterator[pyarrow.Table]:
    """The results in portions, in any order.

    Raises:
        ClusterUnavailable: the workers fail.
    """
    import pyarrow as pa
    from ray.data import exceptions

    size = max(1, min(_LARGEST_PORTION, -(-len(paths) // (_PORTIONS_EACH * workers))))
    blocks = [
        pa.table(
            {
                "place": pa.array(range(start, min(start + size, len(paths))), pa.int64()),
                "path": pa.array([os.fsencode(p) for p in paths[start : start + size]], pa.binary()),
            }
        )
        for start in range(0, len(paths), size)
    ]
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=min(workers, len(blocks)))
    with _configured(ray):
        done = ray.data.from_arrow(blocks).map_batches(
            _Worker,
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=1,
            fn_constructor_args=(order,),
        )
        try:
            yield from done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        except (ray.exceptions.RayError, exceptions.SystemException, exceptions.ExecutionTimeoutError) as problem:
            raise ClusterUnavailable(f"Ray's workers failed: {_reason(problem)}") from problem


@contextmanager
def _configured(ray: ModuleType) -> Iterator[None]:
    """Ray Data prints nothing and gives up where nothing comes; its settings are as before after the block."""
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = _SECONDS_WITHOUT_RESULT
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with ray.data.DataContext.current(context):
            yield
    finally:
        log.setLevel(level)


def _reason(problem: BaseException) -> str:
    """The last line of what a worker raised: the lines above it are where."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1] if lines else type(problem).__name__
