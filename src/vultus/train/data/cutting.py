"""From a photo to an aligned face: cut out, measured and encoded, with the work kept part by part.

A part is the result for some hundred photos in two files, the second of which is written last. A run that was
interrupted finds the parts that were finished and goes on after them.
"""

from __future__ import annotations

import io
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus.align import align
from vultus.detect import Policy
from vultus.errors import FaceError, VultusError
from vultus.image import open_photo
from vultus.recognizer import Recognizer
from vultus.train.data.codec import Encoding, encode
from vultus.train.data.duplicates import difference_hash
from vultus.train.data.files import OpenFiles, write
from vultus.train.data.files import folder as make_folder
from vultus.types import FloatArray

FOUND = "found"
PART = 256  # photos in a part


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What became of one photo.

    Args:
        outcome: `FOUND`, or the code of the error.
        detail: the error's message, else empty.
        content: the encoded face.
        row: (d,) embedding.
        hash: difference hash.
        quality: overall, 0 to 1.
        eyes: distance between the eyes in pixels of the photo.
        faces: how many faces the photo shows.
    """

    outcome: str
    detail: str
    content: bytes
    row: FloatArray
    hash: int
    quality: float
    eyes: float
    faces: int


def cut(path: Path, recognizer: Recognizer, *, policy: Policy, encoding: Encoding, tolerant: bool) -> Cut:
    """The face that is meant in one photo.

    Raises:
        VultusError: the photo cannot be read, unless `tolerant`. A photo without a face is a result, no error.
    """
    try:
        photo = open_photo(path)
        sample = recognizer.sample(photo, policy=policy)
        crop = align(photo, sample.face)[0]
    except FaceError as problem:
        return _failed(problem, recognizer)
    except VultusError as problem:
        if not tolerant:
            raise type(problem)(f"{path}: {problem}") from problem
        return _failed(problem, recognizer)
    quality = sample.quality
    return Cut(
        FOUND,
        "",
        encode(crop, encoding),
        sample.template.vector,
        difference_hash(crop),
        float(quality.overall[0]),
        float(quality.inter_eye_distance[0]),
        sample.found,
    )


def _failed(problem: VultusError, recognizer: Recognizer) -> Cut:
    blank = np.zeros(recognizer.embedder.spec.dimension, dtype=np.float32)
    return Cut(problem.code, str(problem), b"", blank, 0, 0.0, 0.0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """What became of n photos. Arrays of n; the faces' bytes are read from the parts when asked for."""

    outcome: npt.NDArray[np.str_]
    detail: npt.NDArray[np.str_]
    rows: FloatArray
    hash: npt.NDArray[np.uint64]
    quality: FloatArray
    eyes: FloatArray
    faces: npt.NDArray[np.int32]
    part: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]


_KEPT = ("outcome", "detail", "rows", "hash", "quality", "eyes", "faces", "offset", "length")


class Workshop:
    """The folder in which the parts of a preparation are kept until it is done.

    Args:
        folder: made where it is missing.
        photos: of the whole preparation, in order.

    Raises:
        DatasetError: the folder cannot be made.
    """

    def __init__(self, folder: Path, photos: Sequence[Path]) -> None:
        self.folder = make_folder(folder)
        self.parts = [photos[i : i + PART] for i in range(0, len(photos), PART)]
        self.files = OpenFiles(tuple(self._path(i, "bin") for i in range(len(self.parts))))

    def work(
        self,
        recognizer: Recognizer,
        *,
        workers: int,
        policy: Policy,
        encoding: Encoding,
        tolerant: bool,
    ) -> Iterator[int]:
        """Do what is not done yet; gives the number of photos of each finished part, finished before or now.

        Raises:
            VultusError: a photo cannot be read, unless `tolerant`.
            DatasetError: a part cannot be written.
        """
        with ThreadPoolExecutor(workers, thread_name_prefix="vultus-prepare") as pool:
            for i, photos in enumerate(self.parts):
                if self._load(i, len(photos)) is None:
                    waiting: deque[Future[Cut]] = deque()
                    remaining = iter(photos)
                    cuts: list[Cut] = []
                    try:
                        for path in remaining:
                            waiting.append(
                                pool.submit(cut, path, recognizer, policy=policy, encoding=encoding, tolerant=tolerant)
                            )
                            if len(waiting) >= 4 * workers:
                                cuts.append(waiting.popleft().result())
                        cuts.extend(future.result() for future in waiting)
                    finally:
                        for future in waiting:
                            future.cancel()
                    self._save(i, cuts)
                yield len(photos)

    def cuts(self) -> Cuts:
        """All parts together, once each is done."""
        tables = [self._load(i, len(photos)) for i, photos in enumerate(self.parts)]
        ready = [t for t in tables if t is not None]
        columns = {name: np.concatenate([t[name] for t in ready]) for name in _KEPT}
        part = np.repeat(np.arange(len(ready), dtype=np.int32), [len(t["hash"]) for t in ready])
        return Cuts(part=part, **columns)

    def content(self, cuts: Cuts, index: int) -> bytes:
        """The encoded face of one photo."""
        return self.files.read(int(cuts.part[index]), int(cuts.offset[index]), int(cuts.length[index]))

    def _path(self, part: int, ending: str) -> Path:
        return self.folder / f"part-{part:06d}.{ending}"

    def _save(self, part: int, cuts: Sequence[Cut]) -> None:
        lengths = np.array([len(c.content) for c in cuts], dtype=np.int64)
        table = io.BytesIO()
        np.savez(
            table,
            outcome=np.array([c.outcome for c in cuts], dtype=np.str_),
            detail=np.array([c.detail[:500] for c in cuts], dtype=np.str_),
            rows=np.stack([c.row for c in cuts]).astype(np.float32),
            hash=np.array([c.hash for c in cuts], dtype=np.uint64),
            quality=np.array([c.quality for c in cuts], dtype=np.float32),
            eyes=np.array([c.eyes for c in cuts], dtype=np.float32),
            faces=np.array([c.faces for c in cuts], dtype=np.int32),
            offset=np.cumsum(lengths) - lengths,
            length=lengths,
        )
        write(self._path(part, "bin"), b"".join(c.content for c in cuts))
        write(self._path(part, "npz"), table.getvalue())

    def _load(self, part: int, photos: int) -> dict[str, npt.NDArray[np.generic]] | None:
        """The table of a part, or None where it is not done, or damaged."""
        try:
            with np.load(self._path(part, "npz"), allow_pickle=False) as kept:
                table = {name: kept[name] for name in _KEPT}
            whole = self._path(part, "bin").stat().st_size == table["length"].sum()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return table if whole and all(len(column) == photos for column in table.values()) else None
