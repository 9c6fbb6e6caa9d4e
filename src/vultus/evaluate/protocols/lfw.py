"""LFW: Labeled Faces in the Wild (Huang et al. 2007), View 2, unrestricted with labelled outside data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocol import Pairs


@export("vultus.evaluate.read_lfw")
def read_lfw(root: str | Path) -> Pairs:
    """The pairs of View 2: ten folds of mated and non-mated pairs, from `pairs.txt` in the folder of photos.

    Raises:
        SourceUnavailable: no pairs.txt.
        BadArgument: a line that is none of a pair, or another number of pairs than the first line says.
    """
    folder = Path(root)
    try:
        lines = (folder / "pairs.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise SourceUnavailable(f"cannot read {folder / 'pairs.txt'}: {problem}") from problem
    try:
        folds, each = (int(v) for v in lines[0].split())
    except (ValueError, IndexError) as problem:
        raise BadArgument("pairs.txt: the first line must give the number of folds and of pairs of a kind") from problem
    body = [(i, line.split("\t")) for i, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(body) != folds * each * 2:
        raise BadArgument(f"pairs.txt has {len(body)} pairs; its first line promises {folds * each * 2}")
    index: dict[tuple[str, int], int] = {}
    rows = []
    for number, parts in body:
        try:
            if len(parts) == 3:
                one, other = (parts[0], int(parts[1])), (parts[0], int(parts[2]))
            else:
                name, n, other_name, m = parts
                one, other = (name, int(n)), (other_name, int(m))
        except ValueError as problem:
            raise BadArgument(f"pairs.txt, line {number}: expected a name and two numbers, or two of each") from problem
        rows.append((index.setdefault(one, len(index)), index.setdefault(other, len(index)), len(parts) == 3))
    names = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in index))}
    table = np.array(rows, dtype=np.intp)
    base = folder if not (folder / "lfw").is_dir() else folder / "lfw"
    return Pairs(
        name="LFW View 2",
        files=tuple(str(base / name / f"{name}_{n:04d}.jpg") for name, n in index),
        first=table[:, 0],
        second=table[:, 1],
        mated=table[:, 2].astype(np.bool_),
        subjects=np.array([names[name] for name, _ in index], dtype=np.intp),
        folds=np.repeat(np.arange(folds), 2 * each),
    )
