"""Extraction: the templates of many files, kept in a cache so that a second evaluation takes seconds.

A failure to enrol is a result, not an accident: its row is blank and its reason is kept with the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.detect import Policy
from vultus.errors import BadArgument, SourceUnavailable, VultusError
from vultus.recognizer import Recognizer, Sample
from vultus.types import BoolArray, Float64Array, FloatArray
from vultus.weights import default_cache
from vultus.weights.lookup import write_atomically

_SAVE_EVERY = 2_000
_CACHED_FAILURES = {"no_face", "many_faces", "parse_error", "too_large", "unsupported", "bad_template"}


@export("vultus.evaluate.Extraction")
@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """Templates of n files.

    Args:
        files: (n,) paths.
        rows: (n, d) float32 unit rows; zeros, a blank template, where the file failed.
        quality: (n,) overall quality in [0, 1]; NaN where the file failed.
        failures: index of each file that failed, and "code: message".
        model_id: of the recognizer.
    """

    files: tuple[str, ...]
    rows: FloatArray
    quality: FloatArray
    failures: dict[int, str] = field(default_factory=dict)
    model_id: str = ""

    @property
    def enrolled(self) -> BoolArray:
        """(n,) True where there is a template."""
        ok = np.ones(len(self.files), dtype=np.bool_)
        ok[list(self.failures)] = False
        return ok

    def scores(self, first: npt.ArrayLike, second: npt.ArrayLike) -> Float64Array:
        """(m,) float64 cosine of pairs of files; -inf where one of them has no template."""
        one, other = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
        scores: Float64Array = np.empty(len(one))
        for start in range(0, len(one), 65_536):
            part = slice(start, start + 65_536)
            scores[part] = np.einsum("nd,nd->n", self.rows[one[part]], self.rows[other[part]], dtype=np.float64)
        scores = np.clip(scores, -1.0, 1.0)
        ok = self.enrolled
        scores[~(ok[one] & ok[other])] = -np.inf
        return scores


@export("vultus.evaluate.extract")
def extract(
    files: Sequence[str | os.PathLike[str]],
    recognizer: Recognizer,
    *,
    contents: Sequence[bytes] | None = None,
    policy: Policy = "largest",
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Extraction:
    """Templates of files by a recognizer, from the cache where content and model are known.

    Args:
        files: paths of photos.
        recognizer: the system that is evaluated.
        contents: the encoded photo of each of the files, which are then names and no paths.
        policy: which face of a photo is meant.
        cache: folder of the cache; the user's cache folder unless told otherwise.
        progress: called with the number of files done, each time one is done.

    Raises:
        BadArgument: another number of contents than of files.
    """
    paths = tuple(os.fspath(f) for f in files)
    store = _Store(cache or default_cache(), recognizer.model_id, policy, recognizer.embedder.spec.dimension)
    photos = paths if contents is None else contents
    if len(photos) != len(paths):
        raise BadArgument(f"{len(photos)} contents for {len(paths)} files")
    keys = [_content_key(photos[i]) for i in range(len(paths))]
    todo = [i for i, key in enumerate(keys) if key is not None and key not in store]
    unique = list({keys[i]: i for i in reversed(todo)}.values())[::-1]
    done = len(paths) - len(unique)
    if progress is not None and done:
        progress(done)
    for count, (i, result) in enumerate(
        zip(unique, recognizer.extract((photos[i] for i in unique), policy=policy), strict=True), start=1
    ):
        store.put(str(keys[i]), result)
        if progress is not None:
            progress(1)
        if count % _SAVE_EVERY == 0:
            store.save()
    if unique:
        store.save()
    rows = np.zeros((len(paths), recognizer.embedder.spec.dimension), dtype=np.float32)
    quality = np.full(len(paths), np.nan, dtype=np.float32)
    failures: dict[int, str] = {}
    for i, key in enumerate(keys):
        found = store.get(key) if key is not None else f"{SourceUnavailable.code}: cannot read {paths[i]!r}"
        if isinstance(found, str):
            failures[i] = found
        else:
            rows[i], quality[i] = found
    return Extraction(paths, rows, quality, failures, recognizer.model_id)


def _content_key(photo: str | bytes) -> str | None:
    if isinstance(photo, bytes):
        return hashlib.sha256(photo).hexdigest()[:32]
    try:
        with Path(photo).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:32]
    except (OSError, ValueError):
        return None


class _Store:
    """Rows by content, in one file per model and policy that is replaced as a whole."""

    def __init__(self, cache: Path, model_id: str, policy: str, dimension: int) -> None:
        name = hashlib.sha256(f"{model_id}|{policy}|1".encode()).hexdigest()[:24]
        self._path = cache / "embeddings" / f"{name}.npz"
        self._rows: dict[str, tuple[FloatArray, float]] = {}
        self._failed: dict[str, str] = {}
        self._load(dimension)

    def __contains__(self, key: str) -> bool:
        return key in self._rows or key in self._failed

    def get(self, key: str) -> tuple[FloatArray, float] | str:
        return self._failed[key] if key in self._failed else self._rows[key]

    def put(self, key: str, result: Sample | VultusError) -> None:
        if isinstance(result, VultusError):
            self._failed[key] = f"{result.code}: {result}"
        else:
            self._rows[key] = (result.template.vector, float(result.quality.overall[0]))

    def save(self) -> None:
        """Keep what is known; a cache that cannot be written is no reason to lose a result."""
        lasting = {k: v for k, v in self._failed.items() if v.partition(":")[0] in _CACHED_FAILURES}
        content = io.BytesIO()
        np.savez(
            content,
            keys=np.array(list(self._rows), dtype="U32"),
            rows=np.array([r for r, _ in self._rows.values()], dtype=np.float32),
            quality=np.array([q for _, q in self._rows.values()], dtype=np.float32),
            failed=np.array(list(lasting), dtype="U32"),
            reasons=np.array(list(lasting.values()), dtype=np.str_),
        )
        try:
            write_atomically(self._path, content.getvalue())
        except OSError:
            return

    def _load(self, dimension: int) -> None:
        try:
            with np.load(self._path, allow_pickle=False) as kept:
                keys, rows, quality = kept["keys"], kept["rows"], kept["quality"]
                failed = dict(zip(kept["failed"].tolist(), kept["reasons"].tolist(), strict=True))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return
        if len(keys) and (rows.shape != (len(keys), dimension) or quality.shape != keys.shape):
            return
        self._rows = {k: (r, float(q)) for k, r, q in zip(keys.tolist(), rows, quality, strict=True)}
        self._failed = failed
