"""From a collection of photos to an album, again and again: what was done is not done twice, what was decided stays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.album.changes import Change, decide
from vultus.album.faces import AlbumFaces, AlbumPhoto, PhotoFailed
from vultus.album.looking import listing, look_at_new
from vultus.album.pages import Contents, pages
from vultus.album.pictures import paths_of, put, sweep
from vultus.album.scan import DECISIONS, photo_files
from vultus.album.store import Store
from vultus.errors import AlbumError, BadArgument, NoThreshold
from vultus.gallery.cluster import Decisions, Groups, group
from vultus.gallery.cluster.grouping import MIN_QUALITY
from vultus.gallery.cluster.scale import RATE
from vultus.recognizer import Recognizer
from vultus.weights.lookup import write_atomically

MIN_FACE = 32.0
_FROM_ONE = Groups(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), "geometric", 0.5, next_label=1)
"""Before there are groups: people count from 1."""

_PAGE = re.compile(r"[a-z-]+[0-9-]*\.html|\.partial-.*")


@export("vultus.album.Album")
@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """An album that was made.

    Args:
        index: its first page.
        photos: what the collection holds, by content, in the order of paths.
        faces: the n faces of these photos.
        groups: of the n faces.
        names: of groups that have one.
        decisions: all that people decided so far.
        failures: files that could not be read.
        looked_at: how many photos were new and were looked at.
        model_id: of the recognizer.
    """

    index: Path
    photos: tuple[AlbumPhoto, ...]
    faces: AlbumFaces
    groups: Groups
    names: dict[int, str]
    decisions: Decisions
    failures: tuple[PhotoFailed, ...]
    looked_at: int
    model_id: str


@export("vultus.album.make_album")
def make_album(
    sources: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    recognizer: Recognizer,
    *,
    changes: Iterable[Change] = (),
    title: str = "Album",
    min_face: float | None = None,
    min_quality: float = MIN_QUALITY,
    rate: float = RATE,
    threshold: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> Album:
    """Group all faces of photos by person, and write pages that show them.

    The folder holds `index.html` and what it needs; `decisions.json`, what people decided; and `vultus-album.db`, what is
    known of the photos, their templates included. Made again, an album shows just the photos that there are then: only new
    ones are looked at, groups keep their numbers, and decisions hold. A process that is killed loses a second of work.

    Args:
        sources: photos, or folders for all photos below.
        folder: of the album; a new one, an empty one, or one that holds an album.
        recognizer: the system that finds and compares the faces; the same for the life of the album.
        changes: decisions, to be made now about the groups as the album shows them.
        title: of the pages.
        min_face: smallest face in pixels; None for what the album was begun with, and 32 for a new one.
        min_quality: faces below it shape no group; see `vultus.gallery.cluster.group`.
        rate: the share of faces without a mate that may find a false one.
        threshold: the score that groups are made at instead.
        progress: called with the number of photos done, each time some are done; in all as many as there are files.

    Raises:
        AlbumError: the folder is no album, or cannot be written; AlbumBusy: another process works on it.
        ModelMismatch: the album was begun with another recognizer or `min_face`.
        BadArgument: no photos, changes that make no sense, an option out of range; the album is as it was.
        NoThreshold: nothing was measured for this recognizer, and no threshold is given.
    """
    files = photo_files(sources)
    where = Path(folder)
    if min_face is not None and not min_face >= 1:
        raise BadArgument(f"min_face is {min_face!r}; expected a number of pixels of at least 1")
    known = recognizer.calibration
    if threshold is None and known is None:
        raise NoThreshold(
            f"nothing was measured for {recognizer.model_id}; pass threshold= with a score that you can defend"
        )
    scale = {
        "thresholds": known.thresholds if known and threshold is None else None,
        "threshold": threshold,
        "rate": rate,
    }
    # options that group() refuses are refused before hours of work, not after them
    dimension = recognizer.embedder.spec.dimension
    group(np.zeros((0, dimension), dtype=np.float32), min_quality=min_quality, **scale)  # type: ignore[arg-type]
    with Store(where, model_id=recognizer.model_id, dimension=dimension, min_face=min_face, default=MIN_FACE) as store:
        decisions = _decided(where, store, list(changes))
        listed = listing(files, store)
        if progress is not None and len(listed.photos) < len(files):
            progress(len(files) - len(listed.photos))
        failed, looked_at = look_at_new(listed.photos, recognizer, store, where, progress=progress)
        unseen = {f.file for f in failed}
        photos = tuple(p for p in listed.photos if p.files[0] not in unseen)
        digests = [p.sha256 for p in photos]
        store.drop_others({*digests, *listed.unread})
        faces, earlier = store.faces(digests)
        groups = group(
            faces.rows,
            photos=faces.photos,
            quality=faces.quality,
            min_quality=min_quality,
            known=_FROM_ONE if earlier is None else earlier,
            **decisions.links(faces.ids),
            **scale,  # type: ignore[arg-type]
        )
        store.keep_groups(digests, faces, groups)
        names = _names(faces, groups, decisions)
        failures = (*listed.failures, *failed)
        contents = Contents(title, store.fact("album") or "", photos, faces, groups, names, failures)
        _write(where, contents)
        counts = store.counts()
        sweep(
            where, {path for digest in (*digests, *listed.unread) for path in paths_of(digest, counts.get(digest, 0))}
        )
    return Album(
        where / "index.html", photos, faces, groups, names, decisions, failures, looked_at, recognizer.model_id
    )


def _decided(where: Path, store: Store, changes: list[Change]) -> Decisions:
    """The decisions so far and those that are new, which are on the disk before anything else is done."""
    file = where / DECISIONS
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else Decisions().to_json()
    except (OSError, UnicodeDecodeError) as problem:
        raise AlbumError(f"cannot read {file}: {problem}") from problem
    try:
        before = Decisions.from_json(text)
    except BadArgument as problem:
        raise BadArgument(f"{file}: {problem}; put it right, or remove it to decide everything anew") from problem
    decisions = before
    if changes:
        faces, groups = store.faces()
        if groups is None:
            raise BadArgument("the album has no groups yet that changes could be about; make it first")
        decisions = decide(changes, before, faces.ids, groups.labels)
    if decisions != before or not file.exists():
        try:
            write_atomically(file, (decisions.to_json() + "\n").encode())
        except OSError as problem:
            raise AlbumError(f"cannot write {file}: {problem.strerror or problem}; nothing was decided") from problem
    return decisions


def _names(faces: AlbumFaces, groups: Groups, decisions: Decisions) -> dict[int, str]:
    named = dict(decisions.names)
    members: dict[int, list[str]] = {}
    for face, label in zip(faces.ids, groups.labels.tolist(), strict=True):
        if face in named and label >= 0:
            members.setdefault(label, []).append(face)
    found = {label: decisions.name_of(own) for label, own in members.items()}
    return {label: name for label, name in sorted(found.items()) if name is not None}


def _write(where: Path, contents: Contents) -> None:
    """All pages, the first page last, and then no others."""
    made = pages(contents)
    for path, content in made.items():
        put(where / path, content)
    for page in (where / "pages").iterdir():
        if _PAGE.fullmatch(page.name) and f"pages/{page.name}" not in made:
            page.unlink(missing_ok=True)
