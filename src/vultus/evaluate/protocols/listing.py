"""Lists of pairs, checked: what must be counted, noted or refused before lines of a file are a protocol?

A broken line is refused with its number, and so is a pair that is listed as mated and as non-mated. What a protocol may
hold but a reader of its figures should know of is noted: pairs listed twice, a photo compared with itself, photos that
are missing, a single subject, one kind of pair only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocol import Pairs, subjects_from_pairs
from vultus.types import BoolArray, IntArray

_NAMED = 3  # lines or files that a message names


@dataclass(frozen=True, slots=True)
class Row:
    """One pair as a file lists it: the line it stands on, its two photos, and whether they show one subject."""

    line: int
    first: str
    second: str
    same: bool


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, without the mark of byte order that some programs put first.

    Raises:
        SourceUnavailable: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as problem:
        raise SourceUnavailable(f"cannot read {path}: {problem}") from problem


def require_sound(where: str, broken: Mapping[int, str], *, expected: str) -> None:
    """Refuse a file with broken lines.

    Args:
        where: the file.
        broken: by number of the line, what is wrong with it.
        expected: what a line should hold.

    Raises:
        BadArgument: there is a broken line; the message counts them and names the first.
    """
    if broken:
        first = "; ".join(f"line {line}: {why}" for line, why in list(broken.items())[:_NAMED])
        raise BadArgument(
            f"{where} has {len(broken)} broken line{'s' * (len(broken) > 1)}: {first}; expected {expected}"
        )


def pairs_of(
    name: str,
    where: str,
    rows: Sequence[Row],
    *,
    subjects: Mapping[str, str] | None = None,
    folds: IntArray | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    notes: Iterable[str] = (),
    in_files: bool = True,
) -> Pairs:
    """The protocol of listed pairs, with notes of what is odd about it.

    Args:
        name: of the protocol.
        where: the file that lists the pairs, for messages.
        rows: the pairs.
        subjects: by photo, who it shows; where it contradicts the labels, and without it, the photos that mated pairs
            join are one subject.
        folds: (n,) fold of each pair.
        groups: by name of a grouping, (n,) label of each pair.
        notes: what the reader noticed.
        in_files: whether photos are paths, so that missing ones can be counted.

    Raises:
        BadArgument: no pair, or one that is listed as mated and as non-mated.
    """
    if not rows:
        raise BadArgument(f"{where} lists no pairs")
    index: dict[str, int] = {}
    table = [(index.setdefault(r.first, len(index)), index.setdefault(r.second, len(index))) for r in rows]
    first, second = np.array(table, dtype=np.intp).T.copy()
    mated = np.array([r.same for r in rows], dtype=np.bool_)
    lines = np.array([r.line for r in rows], dtype=np.intp)
    _require_agreement(where, first, second, mated, lines)
    seen = [*notes, *_of_pairs(first, second, mated, lines)]
    number, said = _numbered(tuple(index), subjects, first, second, mated, lines)
    if in_files:
        seen += missing(index)
    if number.max() == 0:
        seen.append("all photos show one subject")
    named = subjects is not None and not said
    return Pairs(name, tuple(index), first, second, mated, number, folds, groups or {}, (*seen, *said), named)


def missing(files: Collection[str]) -> list[str]:
    """A note of the paths at which there is no file; none where all are there."""
    lost = [f for f in files if not _is_file(f)]
    if not lost:
        return []
    return [
        f"{len(lost):,} of {len(files):,} photos are missing, the first at {lost[0]}; they count as failures to enrol"
    ]


def folds_of_each_kind(mated: BoolArray, *, folds: int = 10) -> IntArray:
    """(n,) folds where a list has none: the mated pairs cut into equal parts in their order, and so the others.

    Where each run of n / 10 pairs holds as many of either kind, as in the lists of LFW's kind, these are those runs.
    """
    result = np.zeros(len(mated), dtype=np.intp)
    for kind in (mated, ~mated):
        count = int(np.count_nonzero(kind))
        result[kind] = np.arange(count) * folds // max(count, 1)
    return result


def named_subjects(files: Iterable[str], patterns: Sequence[re.Pattern[str]]) -> dict[str, str] | None:
    """By file, the subject that the first pattern which fits every file's name captures; None where none fits all."""
    names = {f: Path(f).name for f in files}
    for pattern in patterns:
        found = {f: pattern.fullmatch(n) for f, n in names.items()}
        if all(found.values()):
            return {f: m.group(1) for f, m in found.items() if m is not None}
    return None


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _require_agreement(where: str, first: IntArray, second: IntArray, mated: BoolArray, lines: IntArray) -> None:
    """Refuse a pair that is listed with both labels."""
    code = np.minimum(first, second) * (max(first.max(), second.max()) + 1) + np.maximum(first, second)
    _, cell = np.unique(code, return_inverse=True)
    count, same = np.bincount(cell), np.bincount(cell, weights=mated)
    torn = (same > 0) & (same < count)
    if torn.any():
        which = lines[cell == np.flatnonzero(torn)[0]]
        raise BadArgument(
            f"{where} lists {np.count_nonzero(torn)} pairs both as mated and as non-mated, one of them on lines "
            f"{', '.join(map(str, which[:_NAMED]))}; decide which it is"
        )


def _of_pairs(first: IntArray, second: IntArray, mated: BoolArray, lines: IntArray) -> list[str]:
    """Notes of pairs listed again, photos compared with themselves, and a kind of pair that is missing."""
    notes = []
    code = np.minimum(first, second) * (max(first.max(), second.max()) + 1) + np.maximum(first, second)
    _, once = np.unique(code, return_index=True)
    again = np.ones(len(code), dtype=np.bool_)
    again[once] = False
    if again.any():
        notes.append(f"{_counted(again, lines)} repeat another; each counts as often as it is listed")
    if (first == second).any():
        notes.append(f"{_counted(first == second, lines)} compare a photo with itself")
    if mated.all() or not mated.any():
        notes.append(f"all pairs are {'mated' if mated[0] else 'non-mated'}; error rates of the other kind are unknown")
    return notes


def _counted(which: BoolArray, lines: IntArray) -> str:
    on = ", ".join(map(str, lines[which][:_NAMED]))
    more = ", ..." if np.count_nonzero(which) > _NAMED else ""
    return f"{np.count_nonzero(which):,} pairs (on lines {on}{more})"


def _numbered(
    files: tuple[str, ...],
    subjects: Mapping[str, str] | None,
    first: IntArray,
    second: IntArray,
    mated: BoolArray,
    lines: IntArray,
) -> tuple[IntArray, list[str]]:
    """(f,) number of each photo's subject, and what there is to say about it."""
    if subjects is None:
        said = "subjects are not named: photos that mated pairs join are one subject, any other is one of its own"
    else:
        numbers: dict[str, int] = {}
        number = np.array([numbers.setdefault(subjects[f], len(numbers)) for f in files], dtype=np.intp)
        torn = (number[first] == number[second]) != mated
        if not torn.any():
            return number, []
        said = (
            f"the subjects' names contradict the labels of {_counted(torn, lines)}; the labels count, and photos that "
            "mated pairs join are one subject"
        )
    number = subjects_from_pairs(len(files), first, second, mated)
    notes = [said]
    torn = (number[first] == number[second]) & ~mated
    if torn.any():
        notes.append(f"{_counted(torn, lines)} are labelled non-mated though mated pairs join their photos")
    return number, notes
