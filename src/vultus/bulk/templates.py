"""What embedding a collection gives: a row of each photo that has one, a reason for each that has none, in one file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.detect import Policy
from vultus.errors import SourceUnavailable, VultusError
from vultus.recognizer import Recognizer
from vultus.types import FloatArray
from vultus.weights.lookup import write_atomically


@export("vultus.bulk.PhotoFailure")
@dataclass(frozen=True, slots=True)
class PhotoFailure:
    """A photo that gave no template.

    Args:
        file: its path, as it was given.
        code: of the error.
        message: what came and what was expected.
    """

    file: str
    code: str
    message: str


@export("vultus.bulk.PhotoTemplates")
@dataclass(frozen=True, slots=True, eq=False)
class PhotoTemplates:
    """The templates of a collection, in the order in which its photos were given.

    Args:
        files: (n,) paths of the photos that gave a template, as they were given.
        rows: (n, d) float32 unit rows.
        quality: (n,) float32 overall quality in [0, 1].
        failures: the photos that gave none.
        model_id: of the recognizer.
    """

    files: tuple[str, ...]
    rows: FloatArray
    quality: FloatArray
    failures: tuple[PhotoFailure, ...]
    model_id: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an NPZ file of files, rows, quality and model_id; the same templates give the same bytes.

        Raises:
            SourceUnavailable: it cannot be written.
        """
        content = io.BytesIO()
        np.savez(
            content,
            files=np.array(self.files, dtype=np.str_),
            rows=self.rows,
            quality=self.quality,
            model_id=np.array(self.model_id),
        )
        try:
            write_atomically(Path(path), content.getvalue())
        except OSError as problem:
            raise SourceUnavailable(f"cannot write {path}: {problem}") from problem


@export("vultus.bulk.embed_photos")
def embed_photos(
    files: Sequence[str | os.PathLike[str]],
    recognizer: Recognizer,
    *,
    policy: Policy = "largest",
    progress: Callable[[int], None] | None = None,
) -> PhotoTemplates:
    """Templates of many photos, on the recognizer's threads.

    Args:
        files: paths of photos.
        recognizer: the system to use.
        policy: which face of a photo is meant.
        progress: called with the number of photos done, each time some are done.
    """
    kept, rows, quality, failures = [], [], [], []
    paths = [os.fspath(f) for f in files]
    for file, result in zip(paths, recognizer.extract(paths, policy=policy), strict=True):
        if isinstance(result, VultusError):
            failures.append(PhotoFailure(file, result.code, str(result)))
        else:
            kept.append(file)
            rows.append(result.template.vector)
            quality.append(result.quality.overall[0])
        if progress is not None:
            progress(1)
    return PhotoTemplates(
        tuple(kept),
        np.array(rows, dtype=np.float32).reshape(-1, recognizer.embedder.spec.dimension),
        np.array(quality, dtype=np.float32),
        tuple(failures),
        recognizer.model_id,
    )
