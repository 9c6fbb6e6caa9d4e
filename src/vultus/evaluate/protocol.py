"""What is compared with what: files, pairs of them, and which pairs show one subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable
from vultus.types import BoolArray, IntArray

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif"})


@export("vultus.evaluate.Pairs")
@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Comparisons of a protocol.

    Args:
        name: of the protocol and its data.
        files: (f,) paths of the photos.
        first, second: (n,) index into `files` of each side.
        mated: (n,) True where both show one subject.
        subjects: (f,) subject of each file, by number.
        folds: (n,) fold of each comparison, where the protocol has folds.
        groups: by name of a grouping, (n,) label of each comparison.
        notes: what was noticed while reading, such as duplicate pairs, for the report.
        named: False where subjects are only inferred from mated pairs, so that two of them may be one person; pairs that
            the protocol does not list are then not known to be non-mated.
    """

    name: str
    files: tuple[str, ...]
    first: IntArray
    second: IntArray
    mated: BoolArray
    subjects: IntArray
    folds: IntArray | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    named: bool = True

    def __post_init__(self) -> None:
        n = len(self.first)
        if not len(self.second) == len(self.mated) == n or (self.folds is not None and len(self.folds) != n):
            raise BadArgument("first, second, mated and folds have different lengths")
        if len(self.subjects) != len(self.files):
            raise BadArgument(f"{len(self.subjects)} subjects for {len(self.files)} files")
        if not n:
            raise BadArgument(f"the protocol {self.name!r} has no pairs")

    def __len__(self) -> int:
        return len(self.first)


def subjects_from_pairs(files: int, first: npt.ArrayLike, second: npt.ArrayLike, mated: npt.ArrayLike) -> IntArray:
    """(files,) subject numbers where only pairs are known: files that mated pairs join are one subject."""
    parent = list(range(files))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b, same in zip(np.asarray(first), np.asarray(second), np.asarray(mated), strict=True):
        if same:
            parent[root(int(a))] = root(int(b))
    roots = np.array([root(i) for i in range(files)], dtype=np.intp)
    return np.unique(roots, return_inverse=True)[1].astype(np.intp)


@export("vultus.evaluate.People")
@dataclass(frozen=True, slots=True, eq=False)
class People:
    """A folder of people: root/<subject>/<photo>.

    Args:
        name: of the data.
        names: (s,) names of the subjects.
        files: (f,) paths, sorted by subject and name.
        subjects: (f,) index into `names`.
    """

    name: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    subjects: IntArray

    def mated_pairs(self, *, most: int = 20) -> tuple[IntArray, IntArray]:
        """(first, second) files of mated pairs: of each subject all pairs of at most `most` evenly chosen files."""
        first, second = [], []
        for s in range(len(self.names)):
            own = np.flatnonzero(self.subjects == s)
            if len(own) > most:
                own = own[np.linspace(0, len(own) - 1, most).astype(int)]
            a, b = np.triu_indices(len(own), k=1)
            first.append(own[a])
            second.append(own[b])
        return np.concatenate(first).astype(np.intp), np.concatenate(second).astype(np.intp)


@export("vultus.evaluate.read_people")
def read_people(root: str | Path, *, name: str | None = None) -> People:
    """Read a folder of people; hidden files and what has no suffix of a photo are passed over.

    Raises:
        SourceUnavailable: no such folder.
        BadArgument: no subject with a photo.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise SourceUnavailable(f"{str(root)!r} is not a folder; expected root/<subject>/<photo>")
    names: list[str] = []
    files: list[str] = []
    subjects: list[int] = []
    other = ""
    for person in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        photos = sorted(
            f for f in person.iterdir() if f.suffix.lower() in PHOTO_SUFFIXES and not f.name.startswith(".")
        )
        other = other or next((f.suffix for f in person.iterdir() if f.suffix.lower() not in PHOTO_SUFFIXES), "")
        if photos:
            files += [str(f) for f in photos]
            subjects += [len(names)] * len(photos)
            names.append(person.name)
    if not names:
        hint = f"; its {other} files are not read: convert them to JPEG, PNG or WebP" if other else ""
        raise BadArgument(f"{str(root)!r} holds no photos in folders of people (root/<subject>/<photo>){hint}")
    return People(name or folder.name, tuple(names), tuple(files), np.asarray(subjects, dtype=np.intp))
