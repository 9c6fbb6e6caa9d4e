"""Any list of pairs as a CSV: header with at least a, b, same; further columns are groups."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.protocols.listing import Row, pairs_of, read_text, require_sound
from vultus.types import IntArray

_LABELS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_NEEDED = ("a", "b", "same")
_KNOWN = (*_NEEDED, "subject_a", "subject_b", "fold")


@export("vultus.evaluate.read_pairs_csv")
def read_pairs_csv(path: str | Path, *, name: str | None = None) -> Pairs:
    """The pairs of a CSV with a header.

    Columns a and b are paths of photos, relative to the CSV's folder; same is 1, true or yes, or 0, false or no.
    Columns subject_a and subject_b, if there are any, say whom the photos show, and fold which fold a pair belongs to.
    Any other column is a grouping of the pairs.

    Args:
        path: the CSV, in UTF-8 and with commas.
        name: of the protocol; the file's unless told otherwise.

    Raises:
        SourceUnavailable: the CSV cannot be read.
        BadArgument: a column is missing or there twice, a line is broken, a photo has two subjects, subjects and labels
            contradict each other, or there is no pair.
    """
    file = Path(path)
    header, body = _table(file)
    place = {column: i for i, column in enumerate(header)}
    rows, broken = [], {}
    subjects: dict[str, str] = {}
    named = "subject_a" in place
    for line, cells in body:
        if len(cells) != len(header):
            broken[line] = f"{len(cells)} cells where the header has {len(header)}"
            continue
        a, b = (str(file.parent / cells[place[side]].strip()) if cells[place[side]].strip() else "" for side in "ab")
        label = cells[place["same"]].strip().lower()
        if not a or not b:
            broken[line] = "a photo is not named"
        elif label not in _LABELS:
            broken[line] = f"same is {label!r}"
        elif named and (why := _noted(subjects, cells, place, (a, b), _LABELS[label])):
            broken[line] = why
        else:
            rows.append(Row(line, a, b, _LABELS[label]))
    require_sound(
        str(file), broken, expected=f"{len(header)} cells, two photos, and 1, true, yes, 0, false or no as same"
    )
    kept = [cells for line, cells in body if line not in broken]
    folds, notes = _folds([cells[place["fold"]].strip() for cells in kept]) if "fold" in place else (None, [])
    return pairs_of(
        name or file.name,
        str(file),
        rows,
        subjects=subjects if named else None,
        folds=folds,
        groups={c: tuple(cells[i].strip() for cells in kept) for c, i in place.items() if c not in _KNOWN},
        notes=notes,
    )


def _table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the lines below it that are not empty, with their numbers."""
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    table = []
    try:
        table = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except csv.Error as problem:
        raise BadArgument(f"{file}, line {reader.line_num}: {problem}") from problem
    header = [c.strip().lower() for c in table[0][1]] if table else []
    lost = [c for c in _NEEDED if c not in header]
    if lost:
        raise BadArgument(
            f"{file} has no column {', '.join(lost)}; its first line holds {', '.join(header) or 'nothing'}"
        )
    twice = sorted({c for c in header if header.count(c) > 1})
    if twice:
        raise BadArgument(f"{file} has the column {twice[0]!r} twice; rename one")
    if ("subject_a" in header) != ("subject_b" in header):
        raise BadArgument(f"{file} has one of the columns subject_a and subject_b; expected both or none")
    return header, table[1:]


def _noted(
    subjects: dict[str, str], cells: Sequence[str], place: dict[str, int], photos: tuple[str, str], same: bool
) -> str | None:
    """Remember whom both photos show; what is wrong with that, if anything."""
    one, other = cells[place["subject_a"]].strip(), cells[place["subject_b"]].strip()
    if not one or not other:
        return "a subject is not named"
    if (one == other) != same:
        return f"subjects {one!r} and {other!r} contradict the label"
    for photo, subject in zip(photos, (one, other), strict=True):
        if subjects.setdefault(photo, subject) != subject:
            return f"{photo} shows {subject!r} here and {subjects[photo]!r} before"
    return None


def _folds(labels: Sequence[str]) -> tuple[IntArray | None, list[str]]:
    """Numbers of folds in the order of their names, or None where there is only one."""
    names = sorted(set(labels), key=lambda s: (0, int(s), s) if s.isdecimal() else (1, 0, s))
    if len(names) < 2:
        return None, ["the column fold holds a single fold, which is no use for choosing thresholds on other folds"]
    number = {n: i for i, n in enumerate(names)}
    return np.array([number[s] for s in labels], dtype=np.intp), []
