"""CFP: Celebrities in Frontal-Profile in the Wild (Sengupta et al. 2016), ten folds of 350 pairs of each kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.protocols.listing import Row, pairs_of, read_text, require_sound

Kind = Literal["FF", "FP"]
_FOLDS, _EACH = 10, 350


@export("vultus.evaluate.read_cfp")
def read_cfp(root: str | Path, kind: Kind = "FP") -> Pairs:
    """Frontal with frontal photos, or frontal with profile ones.

    The folder holds `Protocol/Pair_list_F.txt` and `Pair_list_P.txt`, lines of a number and a path, and
    `Protocol/Split/<kind>/<fold>/same.txt` and `diff.txt`, lines of two such numbers with a comma; in FP the second is
    one of the list of profiles.

    Args:
        root: folder with `Protocol` and the photos.
        kind: "FF" or "FP".

    Raises:
        SourceUnavailable: one of the files is missing.
        BadArgument: no such kind, or a broken line, or a number that is in no list.
    """
    if kind not in get_args(Kind):
        raise BadArgument(f"kind is {kind!r}; expected FF or FP")
    protocol = Path(root) / "Protocol"
    split = protocol / "Split" / kind
    if not split.is_dir():
        raise SourceUnavailable(
            f"{split} is not a folder; expected the folds of CFP in it, each with same.txt and diff.txt"
        )
    frontal = _photos(protocol / "Pair_list_F.txt")
    other = _photos(protocol / "Pair_list_P.txt") if kind == "FP" else frontal
    rows: list[Row] = []
    folds: list[int] = []
    parts = sorted(p for p in split.iterdir() if p.is_dir() and not p.name.startswith("."))
    for number, part in enumerate(parts):
        for name, same in (("same.txt", True), ("diff.txt", False)):
            found = _pairs(part / name, frontal, other, same=same)
            rows += found
            folds += [number] * len(found)
    notes = []
    if len(parts) != _FOLDS or len(rows) != 2 * _FOLDS * _EACH:
        notes.append(f"{len(parts)} folds with {len(rows):,} pairs; the published protocol has {_FOLDS} with 7,000")
    people = {photo: Path(photo).parent.parent.name for row in rows for photo in (row.first, row.second)}
    return pairs_of(
        f"CFP-{kind}", str(split), rows, subjects=people, folds=np.asarray(folds, dtype=np.intp), notes=notes
    )


def _photos(path: Path) -> dict[int, str]:
    """By number, the path of each photo; paths in the list are relative to the list."""
    photos: dict[int, str] = {}
    broken = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        parts = text.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) != 2 or not parts[0].isdecimal():
            broken[line] = repr(text)
        elif int(parts[0]) in photos:
            broken[line] = f"the number {int(parts[0])} again"
        else:
            photos[int(parts[0])] = os.path.normpath(path.parent / parts[1].strip())
    require_sound(str(path), broken, expected="a number of its own and a path")
    return photos


def _pairs(path: Path, first: dict[int, str], second: dict[int, str], *, same: bool) -> list[Row]:
    rows, broken = [], {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        parts = [p.strip() for p in text.split(",")]
        if len(parts) != 2 or not all(p.isdecimal() for p in parts):
            broken[line] = repr(text)
        elif (one := int(parts[0])) not in first or (other := int(parts[1])) not in second:
            broken[line] = f"{text!r} names a photo that the lists do not have"
        else:
            rows.append(Row(line, first[one], second[other], same))
    require_sound(str(path), broken, expected="two numbers of photos, separated by a comma")
    return rows
