"""Lists of pairs as text: AgeDB-30, CALFW, CPLFW, and others in the same two forms."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.protocols.listing import (
    Row,
    folds_of_each_kind,
    named_subjects,
    pairs_of,
    read_text,
    require_sound,
)
from vultus.types import IntArray

_FOLDERS = ("", "images", "aligned images", "images&landmarks/images")  # as the archives of CALFW and CPLFW unpack
_NAMES = (
    re.compile(r"\d+_(.+)_\d+_[A-Za-z]\.\w+"),  # AgeDB: number, subject, age, sex
    re.compile(r"(.+)_\d+\.\w+"),  # LFW and what is made of it
)
_TOKENS = re.compile(r"[0-9]+|-1")

Lines = list[tuple[int, str]]


@export("vultus.evaluate.read_pair_list")
def read_pair_list(path: str | Path, *, photos: str | Path | None = None, name: str | None = None) -> Pairs:
    """A protocol from a text of pairs.

    Two forms are read. In that of CALFW and CPLFW a pair takes two lines, each with the name of a photo and the same
    number: 0 for a non-mated pair, otherwise 1 or, in CALFW, the fold from 1 to 10. In the other form, in which AgeDB-30
    is handed round, a line holds two paths and 1 for a mated pair, or 0 or -1. Words are separated by blanks, or by tabs
    where a line has one. Where the list gives no fold, the pairs of each kind are cut into ten equal parts in their order.

    Subjects are read from names of photos such as `Ada_Lovelace_0001.jpg` and `12_AdaLovelace_35_f.jpg` where these agree
    with the labels. The lists that AgeDB's authors publish as MATLAB files are not read.

    Args:
        path: the list.
        photos: folder of the photos; next to the list, or below it where the archives of CALFW and CPLFW have them, unless
            told otherwise.
        name: of the protocol; the list's unless told otherwise.

    Raises:
        SourceUnavailable: the list cannot be read, or `photos` is no folder.
        BadArgument: a broken line, an odd number of lines where two make a pair, or no pair.
    """
    file = Path(path)
    lines = [(i, text) for i, text in enumerate(read_text(file).splitlines(), start=1) if text.strip()]
    if not lines:
        raise BadArgument(f"{file} lists no pairs")
    if len(_fields(lines[0][1])) == 2:
        named, tokens = _in_two_lines(file, lines)
    else:
        named, tokens = _in_one_line(file, lines)
    folder, notes = _folder(file, photos, named[0].first)
    rows = [Row(r.line, str(folder / r.first), str(folder / r.second), r.same) for r in named]
    mated = np.array([r.same for r in rows], dtype=np.bool_)
    folds = folds_of_each_kind(mated)
    if len(np.unique(tokens[mated])) > 1:
        folds[mated] = np.unique(tokens[mated], return_inverse=True)[1]
    if (count := len(np.unique(folds))) != 10:
        notes.append(f"{count} folds instead of ten")
    return pairs_of(
        name or file.stem,
        str(file),
        rows,
        subjects=named_subjects({f for r in rows for f in (r.first, r.second)}, _NAMES),
        folds=folds,
        notes=notes,
    )


def _fields(text: str) -> list[str]:
    return [p.strip() for p in text.split("\t")] if "\t" in text else text.split()


def _in_two_lines(file: Path, lines: Lines) -> tuple[list[Row], IntArray]:
    """The pairs, and the number that each one carries."""
    broken = {}
    found: list[tuple[int, str, int]] = []
    for line, text in lines:
        parts = text.rsplit(maxsplit=1)
        if len(parts) != 2 or not _TOKENS.fullmatch(parts[1]) or int(parts[1]) < 0:
            broken[line] = repr(text)
        else:
            found.append((line, parts[0].strip(), int(parts[1])))
    require_sound(str(file), broken, expected="the name of a photo and a number")
    if len(found) % 2:
        raise BadArgument(f"{file} has {len(found)} lines; two make a pair, so one is missing")
    for (line, _, one), (_, _, other) in zip(found[::2], found[1::2], strict=True):
        if one != other:
            broken[line + 1] = f"the number {other} after {one}"
    require_sound(str(file), broken, expected="the same number on both lines of a pair")
    rows = [
        Row(line, one, other, n != 0) for (line, one, n), (_, other, _) in zip(found[::2], found[1::2], strict=True)
    ]
    return rows, np.array([n for _, _, n in found[::2]], dtype=np.intp)


def _in_one_line(file: Path, lines: Lines) -> tuple[list[Row], IntArray]:
    rows, broken = [], {}
    for line, text in lines:
        parts = _fields(text)
        if len(parts) != 3 or parts[2] not in ("1", "0", "-1"):
            broken[line] = repr(text)
        else:
            rows.append(Row(line, parts[0], parts[1], parts[2] == "1"))
    require_sound(str(file), broken, expected="two paths and 1, 0 or -1")
    return rows, np.array([int(r.same) for r in rows], dtype=np.intp)


def _folder(file: Path, photos: str | Path | None, example: str) -> tuple[Path, list[str]]:
    """Where the photos are, and a note where that was looked for."""
    if photos is not None:
        if not Path(photos).is_dir():
            raise SourceUnavailable(f"{str(photos)!r} is not a folder; expected the photos of {file} in it")
        return Path(photos), []
    for below in _FOLDERS:
        if (file.parent / below / example).is_file():
            return file.parent / below, [f"photos taken from {below!r} below the list"] if below else []
    return file.parent, []
