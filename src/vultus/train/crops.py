"""The aligned crops of a protocol's photos, found once and kept, so that a model in training is measured in seconds.

They are the crops that a `Recognizer` cuts: what is measured here is what the exported model gives through it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vultus.align import ALIGNMENT
from vultus.detect import Policy, choose
from vultus.errors import SourceUnavailable, VultusError
from vultus.image import open_photo
from vultus.recognizer import Recognizer
from vultus.types import UInt8Array
from vultus.weights import default_cache
from vultus.weights.lookup import file_sha256, write_atomically

_BATCH = 64


def crops_of(
    files: Sequence[str],
    *,
    policy: Policy = "largest",
    recognizer: Recognizer | None = None,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[UInt8Array, dict[int, str]]:
    """The crop of the face that is meant in each of n photos.

    Args:
        files: paths.
        policy: which face of a photo is meant.
        recognizer: whose detector and alignment are used; the default system's unless told otherwise.
        cache: folder of the cache; the user's cache folder unless told otherwise.
        progress: called with the number of photos done, each time some are done.

    Returns:
        (n, h, w, 3) uint8 RGB, mapped from the cache and not to be written, and "code: message" of each photo without a
        face, whose crop is black.

    Raises:
        SourceUnavailable: a photo is missing or cannot be read.
    """
    system = recognizer or Recognizer.load(threads=1)
    folder = (cache or default_cache()) / "crops"
    base = folder / _key(files, system, policy)
    pixels, failed = base.with_suffix(".npy"), base.with_suffix(".json")
    if not (pixels.is_file() and failed.is_file()):
        _fill(pixels, failed, files, system, policy, progress)
    failures = {int(i): str(why) for i, why in json.loads(failed.read_text(encoding="utf-8")).items()}
    return np.load(pixels, mmap_mode="r", allow_pickle=False), failures


def crop_of(system: Recognizer, file: str, policy: Policy) -> UInt8Array:
    """(h, w, 3) crop of one photo, found as `Recognizer.sample` finds it.

    Raises:
        VultusError: the photo cannot be read, or shows no face.
    """
    photo = open_photo(file)
    faces = system.detector(photo, min_face=system.detector.quick_min_face(photo))
    if not len(faces):
        faces = system.detect(photo)
    chosen = choose(faces, policy, width=photo.width, height=photo.height)
    crop: UInt8Array = system.align(photo, chosen)[0]
    return crop


def _key(files: Sequence[str], system: Recognizer, policy: str) -> str:
    digest = hashlib.sha256(f"{system.detector.id}|{system.embedder.spec.template}/{ALIGNMENT}".encode())
    digest.update(f"|{system.embedder.size}|{policy}|{len(files)}".encode())
    for file in files:
        try:
            digest.update(file_sha256(Path(file)).encode())
        except OSError as problem:
            raise SourceUnavailable(f"cannot read {file}: {problem}") from problem
    return digest.hexdigest()[:24]


def _fill(
    pixels: Path,
    failed: Path,
    files: Sequence[str],
    system: Recognizer,
    policy: Policy,
    progress: Callable[[int], None] | None,
) -> None:
    pixels.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=pixels.parent, prefix=".partial-", suffix=".npy")
    os.close(handle)
    failures: dict[int, str] = {}
    try:
        held = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(len(files), *system.embedder.size, 3)
        )

        def cut(i: int) -> None:
            try:
                held[i] = crop_of(system, files[i], policy)
            except VultusError as problem:
                failures[i] = f"{problem.code}: {problem}"

        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1) as pool:
            for begin in range(0, len(files), _BATCH):
                part = range(begin, min(begin + _BATCH, len(files)))
                list(pool.map(cut, part))
                if progress is not None:
                    progress(len(part))
        held.flush()
        Path(temporary).chmod(0o644)
        Path(temporary).replace(pixels)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    write_atomically(failed, json.dumps(failures).encode())
