"""Look at every photo that is not known yet: its faces, their rows and the small pictures, on all threads."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from vultus.album.faces import AlbumPhoto, PhotoFailed
from vultus.album.pictures import face_path, face_picture, paths_of, present, preview, preview_path, put
from vultus.album.scan import PhotoFile
from vultus.album.store import Look, Store
from vultus.errors import AlbumError, SourceUnavailable, VultusError
from vultus.image import Limits, open_photo
from vultus.recognizer import Recognizer
from vultus.weights.lookup import file_sha256

_SAVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a collection by content.

    Args:
        photos: each content once, in the order of its first file.
        failures: files that cannot be read.
        unread: sha256 of what unreadable files held when they were read last.
    """

    photos: tuple[AlbumPhoto, ...]
    failures: tuple[PhotoFailed, ...]
    unread: frozenset[str]


def listing(files: Sequence[PhotoFile], store: Store) -> Listing:
    """Which contents the files hold. A file whose size and time of change are those of last time is not read again."""
    contents: dict[str, list[PhotoFile]] = {}
    failures: list[PhotoFailed] = []
    unread: set[str] = set()
    fresh: list[tuple[str, int, int, str]] = []
    for file in files:
        path = str(file.path.absolute())
        known = store.sha256_of(path)
        try:
            if not file.path.is_file():
                raise SourceUnavailable(f"{str(file.path)!r} is missing, or no regular file")
            status = file.path.stat()
            Limits().check_bytes(status.st_size)
            if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
                digest = known[2]
            else:
                digest = file_sha256(file.path)
                fresh.append((path, status.st_size, status.st_mtime_ns, digest))
        except (OSError, VultusError) as problem:
            failures.append(_failure(str(file.path), file.name, problem))
            unread |= set() if known is None else {known[2]}
            continue
        contents.setdefault(digest, []).append(file)
    store.keep_files(fresh)
    photos = (AlbumPhoto(digest, tuple(str(f.path) for f in same), same[0].name) for digest, same in contents.items())
    return Listing(tuple(photos), tuple(failures), frozenset(unread))


def look_at_new(
    photos: Sequence[AlbumPhoto],
    recognizer: Recognizer,
    store: Store,
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[PhotoFailed], int]:
    """Find the faces of all photos that are not in the store, or whose pictures are gone, and keep them there.

    What was found is kept about once a second, and at the end whatever ends it.

    Args:
        photos: by content.
        recognizer: the system that finds and embeds.
        store: of the album.
        folder: of the album, for the pictures.
        progress: called with the number of photos done; known ones come first.

    Returns:
        the photos that failed, each once, and how many were looked at.

    Raises:
        AlbumError: the album cannot be written; what was found before is kept.
    """
    counts, there = store.counts(), present(folder)
    todo = [p for p in photos if p.sha256 not in counts or not there.issuperset(paths_of(p.sha256, counts[p.sha256]))]
    if progress is not None and len(todo) < len(photos):
        progress(len(photos) - len(todo))
    failures: list[PhotoFailed] = []
    waiting: list[Look] = []
    saved = time.monotonic()
    try:
        for photo, result in zip(todo, _looks(todo, recognizer, store.min_face, folder), strict=True):
            if isinstance(result, VultusError):
                failures.append(_failure(photo.files[0], photo.name, result))
            else:
                waiting.append(result)
            if time.monotonic() - saved > _SAVE_SECONDS:
                store.keep(waiting)
                waiting, saved = [], time.monotonic()
            if progress is not None:
                progress(1)
    finally:
        store.keep(waiting)
    return failures, len(todo)


def _looks(
    photos: Sequence[AlbumPhoto], recognizer: Recognizer, min_face: float, folder: Path
) -> Iterator[Look | VultusError]:
    """A look at each photo, in their order; few are held at a time."""
    worker = recognizer
    if recognizer.threads > 1:  # each thread does its photo alone
        detector, embedder = recognizer.detector.single_threaded(), recognizer.embedder.single_threaded()
        worker = Recognizer(detector, embedder, mirror=recognizer.mirror, threads=1)

    def attempt(photo: AlbumPhoto) -> Look | VultusError:
        try:
            return _look(photo, worker, min_face, folder)
        except AlbumError:
            raise  # the album's fault, not the photo's: a full disk ends the run
        except VultusError as problem:
            return problem

    remaining = iter(photos)
    with ThreadPoolExecutor(recognizer.threads, thread_name_prefix="vultus") as pool:
        running: deque[Future[Look | VultusError]] = deque()
        try:
            running.extend(pool.submit(attempt, p) for p in islice(remaining, 4 * recognizer.threads))
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(attempt, p) for p in islice(remaining, 1))
                yield result
        finally:
            for future in running:
                future.cancel()


def _look(photo: AlbumPhoto, recognizer: Recognizer, min_face: float, folder: Path) -> Look:
    try:
        content = Path(photo.files[0]).read_bytes()
    except OSError as problem:
        raise SourceUnavailable(f"cannot read {photo.files[0]!r}: {problem.strerror}") from problem
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise SourceUnavailable(f"{photo.files[0]!r} was changed while it was being read; run the command again")
    opened = open_photo(content)
    samples = recognizer.samples(opened, min_face=min_face)
    scale = np.array([opened.width, opened.height] * 2, dtype=np.float32)
    boxes = np.array([s.face.boxes[0] for s in samples], dtype=np.float32).reshape(-1, 4)
    if samples:
        pixels = opened.pixels()
        put(folder / preview_path(photo.sha256), preview(pixels))
        for i, box in enumerate(boxes):
            put(folder / face_path(photo.sha256, i), face_picture(pixels, box))
    return Look(
        photo.sha256,
        boxes / scale,
        np.array([s.quality.overall[0] for s in samples], dtype=np.float32),
        np.array([s.template.vector for s in samples], dtype=np.float32).reshape(
            len(samples), recognizer.embedder.spec.dimension
        ),
    )


def _failure(file: str, name: str, problem: Exception) -> PhotoFailed:
    code = problem.code if isinstance(problem, VultusError) else SourceUnavailable.code
    reason = getattr(problem, "strerror", None)
    message = f"cannot read {file!r}: {reason}" if reason and not isinstance(problem, VultusError) else str(problem)
    return PhotoFailed(file, name, code, message)
