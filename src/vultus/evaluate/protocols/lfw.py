"""LFW: Labeled Faces in the Wild (Huang et al. 2007), View 2, unrestricted with labelled outside data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.protocols.listing import Row, pairs_of, read_text, require_sound


@export("vultus.evaluate.read_lfw")
def read_lfw(root: str | Path) -> Pairs:
    """The pairs of View 2: ten folds of mated and non-mated pairs, from `pairs.txt` in the folder of photos.

    Raises:
        SourceUnavailable: no pairs.txt.
        BadArgument: a line that is none of a pair, or another number of pairs than the first line says.
    """
    folder = Path(root)
    where = folder / "pairs.txt"
    lines = read_text(where).splitlines()
    try:
        folds, each = (int(v) for v in lines[0].split())
    except (ValueError, IndexError) as problem:
        raise BadArgument(f"{where}: the first line must give the number of folds and of pairs of a kind") from problem
    body = [(i, line.split("\t")) for i, line in enumerate(lines[1:], start=2) if line.strip()]
    base = folder if not (folder / "lfw").is_dir() else folder / "lfw"
    rows, broken = [], {}
    subjects: dict[str, str] = {}
    for number, parts in body:
        people = (parts[0], parts[-2] if len(parts) == 4 else parts[0])
        if len(parts) not in (3, 4) or not (parts[1].strip().isdecimal() and parts[-1].strip().isdecimal()):
            broken[number] = repr("\t".join(parts))
            continue
        one, other = (
            str(base / person / f"{person}_{int(photo):04d}.jpg")
            for person, photo in zip(people, (parts[1], parts[-1]), strict=True)
        )
        subjects |= {one: people[0], other: people[1]}
        rows.append(Row(number, one, other, len(parts) == 3))
    require_sound(str(where), broken, expected="a name and two numbers, or two of each, separated by tabs")
    if len(rows) != folds * each * 2:
        raise BadArgument(f"{where} has {len(rows)} pairs; its first line promises {folds * each * 2}")
    return pairs_of("LFW View 2", str(where), rows, subjects=subjects, folds=np.repeat(np.arange(folds), 2 * each))
