"""The .bin sets of the training world: pairs of aligned crops and their labels, all in one pickle."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import overload

import numpy as np

from vultus._export import export
from vultus.align import TEMPLATES
from vultus.errors import BadArgument, SourceUnavailable, VultusError
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.protocols.listing import Row, pairs_of
from vultus.evaluate.protocols.pickled import Array, Span, understood
from vultus.image import read_image
from vultus.quality import measure_quality
from vultus.recognizer import Recognizer
from vultus.types import Faces, FloatArray, UInt8Array

_FOLDS = 10
_BATCH = 16
_LABELS = {"b1": 1, "u1": 1, "i1": 1, "i4": 4, "i8": 8}  # bytes of each label that numpy wrote


@export("vultus.evaluate.PackedPhotos")
class PackedPhotos(Sequence[bytes]):
    """Encoded photos in one file, each read when it is asked for."""

    def __init__(self, path: Path, spans: Sequence[Span]) -> None:
        self._path = path
        self._spans = tuple(spans)

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> PackedPhotos: ...
    def __getitem__(self, index: int | slice) -> bytes | PackedPhotos:
        if isinstance(index, slice):
            return PackedPhotos(self._path, self._spans[index])
        span = self._spans[index]
        try:
            with self._path.open("rb") as file:
                file.seek(span.start)
                content = file.read(span.length)
        except OSError as problem:
            raise SourceUnavailable(f"cannot read {self._path}: {problem}") from problem
        if len(content) != span.length:
            raise SourceUnavailable(f"{self._path} has become shorter since its list of photos was read")
        return _bytes(content, span)


@export("vultus.evaluate.PackedPairs")
@dataclass(frozen=True, slots=True, eq=False)
class PackedPairs:
    """A protocol whose photos are in one file.

    Args:
        pairs: the protocol; its `files` are names, of the form "lfw.bin#17".
        photos: the encoded photo of each of those.
    """

    pairs: Pairs
    photos: PackedPhotos


@export("vultus.evaluate.read_bin")
def read_bin(path: str | Path, *, name: str | None = None) -> PackedPairs:
    """A .bin set: a pickle of a list of encoded photos, of which 2i and 2i + 1 are a pair, and a list of labels.

    The pickle is interpreted, never run (see `vultus.evaluate.protocols.pickled`), and photos stay in the file until they
    are asked for. Photos of equal content are one photo. There are ten folds in the order of the pairs; subjects are
    unknown, so that photos which mated pairs join are taken for one subject.

    Args:
        path: the .bin file.
        name: of the protocol; the file's unless told otherwise.

    Raises:
        SourceUnavailable: the file cannot be read.
        BadArgument: it is not such a pickle, does or holds anything else, or does not have two photos for each label.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            spans, same = _lists(understood(content), content)
            digests = [hashlib.sha256(_bytes(content[s.start : s.start + s.length], s)).digest() for s in spans]
    except ValueError as problem:
        if isinstance(problem, VultusError):
            raise type(problem)(f"{file}: {problem}") from problem
        raise BadArgument(f"{file} is empty; expected a pickle of photos and labels") from problem
    except OSError as problem:
        raise SourceUnavailable(f"cannot read {file}: {problem}") from problem
    first_with = {digest: i for i, digest in reversed(list(enumerate(digests)))}
    names = [f"{file.name}#{first_with[digest]}" for digest in digests]
    rows = [Row(i, names[2 * i], names[2 * i + 1], label) for i, label in enumerate(same)]
    folds = np.arange(len(rows), dtype=np.intp) * _FOLDS // len(rows)
    pairs = pairs_of(name or file.stem, str(file), rows, folds=folds, in_files=False)
    return PackedPairs(pairs, PackedPhotos(file, [spans[int(f.rpartition("#")[2])] for f in pairs.files]))


@export("vultus.evaluate.extract_crops")
def extract_crops(
    names: Sequence[str],
    photos: Sequence[bytes],
    recognizer: Recognizer,
    *,
    progress: Callable[[int], None] | None = None,
) -> Extraction:
    """Templates of photos that are aligned crops already, as those of .bin sets are: no face is looked for in them.

    Args:
        names: of the n photos.
        photos: their encoded content.
        recognizer: the system whose embedder is evaluated; its detector has no part in the result.
        progress: called with the number of photos done, each time some are done.

    Raises:
        BadArgument: another number of names than of photos, or a crop of another size than the embedder's.
    """
    if len(names) != len(photos):
        raise BadArgument(f"{len(names)} names for {len(photos)} photos")
    height, width = recognizer.embedder.size
    landmarks = TEMPLATES[recognizer.embedder.spec.template] * (np.array([width, height]) / 112)
    rows = np.zeros((len(names), recognizer.embedder.spec.dimension), dtype=np.float32)
    quality = np.full(len(names), np.nan, dtype=np.float32)
    failures: dict[int, str] = {}

    def extracted(begin: int) -> tuple[list[int], FloatArray, FloatArray, dict[int, str]]:
        crops, good, bad = [], [], {}
        for i in range(begin, min(begin + _BATCH, len(names))):
            try:
                crop = read_image(photos[i])
            except VultusError as problem:
                bad[i] = f"{problem.code}: {problem}"
                continue
            if crop.shape[:2] != (height, width):
                raise BadArgument(
                    f"{names[i]} has {crop.shape[1]} x {crop.shape[0]} pixels; the embedder takes aligned crops of "
                    f"{width} x {height}. Extract photos that are none with vultus.evaluate.extract"
                )
            crops.append(crop)
            good.append(i)
        if not crops:
            return good, rows[:0], quality[:0], bad
        return good, *_embedded(np.stack(crops), landmarks.astype(np.float32), recognizer), bad

    with ThreadPoolExecutor(recognizer.threads, thread_name_prefix="vultus") as pool:
        for begin, (good, vectors, measured, bad) in zip(
            range(0, len(names), _BATCH), pool.map(extracted, range(0, len(names), _BATCH)), strict=True
        ):
            rows[good], quality[good] = vectors, measured
            failures |= bad
            if progress is not None:
                progress(min(_BATCH, len(names) - begin))
    return Extraction(tuple(names), rows, quality, failures, f"{recognizer.embedder.id}+given crops")


def _embedded(crops: UInt8Array, landmarks: FloatArray, recognizer: Recognizer) -> tuple[FloatArray, FloatArray]:
    n = len(crops)
    box = np.array([0, 0, crops.shape[2], crops.shape[1]], dtype=np.float32)
    faces = Faces(np.tile(box, (n, 1)), np.tile(landmarks, (n, 1, 1)), np.ones(n, dtype=np.float32))
    return recognizer.embed(crops), measure_quality(crops, faces).overall


def _lists(found: object, content: mmap.mmap) -> tuple[list[Span], list[bool]]:
    """Where each photo is, and each label."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        held = f"{len(found)} things" if isinstance(found, tuple | list) else type(found).__name__
        raise BadArgument(f"the pickle holds {held}; expected a list of photos and a list of labels")
    photos, labels = found
    if not isinstance(photos, list | tuple):
        raise BadArgument(f"the photos are a {type(photos).__name__}; expected a list")
    same = _labels(labels, content)
    if len(photos) != 2 * len(same) or not same:
        raise BadArgument(f"{len(photos)} photos and {len(same)} labels; expected some, and two photos for each label")
    return [_photo(i, p) for i, p in enumerate(photos)], same


def _photo(index: int, photo: object) -> Span:
    if isinstance(photo, Array) and photo.kind == "u1" and photo.content is not None:
        if sum(n != 1 for n in photo.shape) == 1:  # one run of bytes, as encoders give it
            return photo.content
        raise BadArgument(f"photo {index} is an array of shape {photo.shape}; expected an encoded picture")
    if isinstance(photo, Span):
        return photo
    raise BadArgument(f"photo {index} is a {type(photo).__name__}; expected the bytes of an encoded picture")


def _labels(labels: object, content: mmap.mmap) -> list[bool]:
    if isinstance(labels, Array):
        values: Sequence[object] = _numbers(labels, content)
    elif isinstance(labels, list | tuple):
        values = [_numbers(v, content)[0] if isinstance(v, Array) else v for v in labels]
    else:
        raise BadArgument(f"the labels are a {type(labels).__name__}; expected a list")
    wrong = next((i for i, v in enumerate(values) if not isinstance(v, int) or v not in (0, 1)), None)
    if wrong is not None:
        raise BadArgument(f"label {wrong} is a {type(values[wrong]).__name__} other than True, False, 1 and 0")
    return [bool(v) for v in values]


def _numbers(array: Array, content: mmap.mmap) -> list[int]:
    size, span = _LABELS.get(array.kind, 0), array.content
    if not size or span is None:
        raise BadArgument(f"labels are numbers of the kind {array.kind!r}; expected one of {', '.join(_LABELS)}")
    stored = _bytes(content[span.start : span.start + span.length], span)
    if len(array.shape) > 1 or len(stored) != size * prod(array.shape):
        raise BadArgument(f"labels of shape {array.shape} in {len(stored)} bytes; expected one list of them")
    return [int(v) for v in np.frombuffer(stored, dtype=f"<i{size}")]


def _bytes(content: bytes, span: Span) -> bytes:
    """The bytes that a run stands for."""
    if not span.text:
        return content
    try:
        return content.decode("utf-8").encode("latin-1")
    except UnicodeError as problem:
        raise BadArgument(f"text at byte {span.start} stands for no bytes: {problem}") from problem
