"""Labels: what does a table that the user wrote say about each photo?"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vultus._export import export
from vultus.errors import BadArgument
from vultus.evaluate.protocol import Pairs, People
from vultus.evaluate.protocols.listing import read_text, require_sound


@export("vultus.evaluate.Labels")
@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels by subject or by file.

    Args:
        kind: what `of` is keyed by.
        of: label of each subject by name, or of each file by its absolute path.
        notes: what was noticed while reading.
    """

    kind: Literal["subject", "file"]
    of: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    def of_files(self, data: Pairs | People) -> tuple[str | None, ...]:
        """(f,) label of each file of a protocol or a folder, None where there is none.

        The subject of a file is its name in a folder of people, and in a protocol the folder that the file lies in.
        """
        if self.kind == "file":
            return tuple(self.of.get(str(Path(f).resolve())) for f in data.files)
        if isinstance(data, People):
            return tuple(self.of.get(data.names[s]) for s in data.subjects.tolist())
        return tuple(self.of.get(Path(f).parent.name) for f in data.files)


@export("vultus.evaluate.read_labels")
def read_labels(path: str | Path) -> Labels:
    """Labels from a CSV with the header subject,label or file,label; files are relative to the CSV.

    Raises:
        SourceUnavailable: it cannot be read.
        BadArgument: another header, a broken line, or a subject or file with two labels.
    """
    where = Path(path)
    reader = csv.reader(io.StringIO(read_text(where), newline=""), strict=True)
    found: dict[str, str] = {}
    broken: dict[int, str] = {}
    again = 0
    try:
        header = [c.strip().lower() for c in next(reader, [])]
        if header not in (["subject", "label"], ["file", "label"]):
            raise BadArgument(
                f"{where} begins with {','.join(header) or 'nothing'}; expected subject,label or file,label"
            )
        for cells in reader:
            if not any(c.strip() for c in cells):
                continue
            key, label = (c.strip() for c in cells) if len(cells) == 2 else ("", "")
            if not key or not label:
                broken[reader.line_num] = repr(",".join(cells))
                continue
            key = str((where.parent / key).resolve()) if header[0] == "file" else key
            again += key in found
            if found.setdefault(key, label) != label:
                broken[reader.line_num] = f"{cells[0].strip()} is {label!r} here and {found[key]!r} before"
    except csv.Error as problem:
        raise BadArgument(f"{where}, line {reader.line_num}: {problem}") from problem
    require_sound(str(where), broken, expected=f"a {header[0]} and its one label")
    if not found:
        raise BadArgument(f"{where} holds no labels")
    return Labels(
        "file" if header[0] == "file" else "subject",
        found,
        (f"{again} lines of labels repeat others",) if again else (),
    )
