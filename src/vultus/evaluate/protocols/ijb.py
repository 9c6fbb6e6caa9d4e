"""IJB-B and IJB-C (Whitelam et al. 2017, Maze et al. 2018): templates of several media, 1:1 and 1:N.

A template is one or more media of a subject: stills, and videos of several frames. Its row is the mean over its media of
the mean over the frames of each, so that a long video counts no more than a still.
"""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.protocol import Pairs, subjects_from_pairs
from vultus.evaluate.protocols.listing import missing, read_text, require_sound
from vultus.types import Float64Array, IntArray

Weighting = Literal["count", "quality"]


@export("vultus.evaluate.Templates")
@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """Which photos make which templates.

    Args:
        name: of the data.
        files: (f,) paths of the photos, one for each place in a template; a photo of two templates is there twice.
        template_of: (f,) index into `ids` of the template that a photo belongs to.
        medium_of: (f,) number of the medium that it is a frame of; frames of one video have the same.
        ids: (t,) the number that the data give each template.
        notes: what was noticed while reading.

    Raises:
        BadArgument: shapes that do not belong together.
    """

    name: str
    files: tuple[str, ...]
    template_of: IntArray
    medium_of: IntArray
    ids: IntArray
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.files) == len(self.template_of) == len(self.medium_of):
            raise BadArgument(
                f"{len(self.files)} files, {len(self.template_of)} templates and {len(self.medium_of)} media; "
                "expected as many of each"
            )
        if not np.array_equal(np.unique(self.template_of), np.arange(len(self.ids))):
            raise BadArgument("templates are not numbered from 0 on, or one has no photo")

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: IntArray) -> IntArray:
        """Index of templates by their numbers.

        Raises:
            BadArgument: a number that no template has.
        """
        order = np.argsort(self.ids)
        place = np.minimum(np.searchsorted(self.ids, ids, sorter=order), len(order) - 1)
        found = order[place]
        lost = np.flatnonzero(self.ids[found] != ids)
        if len(lost):
            raise BadArgument(f"{self.name}: {len(lost):,} templates have no photo, the first is number {ids[lost[0]]}")
        return found


@export("vultus.evaluate.SearchLists")
@dataclass(frozen=True, slots=True, eq=False)
class SearchLists:
    """A 1:N protocol over templates: galleries of different subjects, and probes that are searched in each of them.

    Args:
        name: of the protocol.
        galleries: by name, (N,) index of each gallery's templates, one a subject.
        gallery_subjects: by name, (N,) the subject of each.
        probes: (p,) index of the probes' templates.
        probe_subjects: (p,) the subject of each.
        notes: what was noticed while reading.
    """

    name: str
    galleries: dict[str, IntArray]
    gallery_subjects: dict[str, IntArray]
    probes: IntArray
    probe_subjects: IntArray
    notes: tuple[str, ...] = ()


# --- reading ----------------------------------------------------------------------------------------------------------


@export("vultus.evaluate.read_templates")
def read_templates(root: str | Path, data: str = "ijbc", *, photos: str | Path | None = None) -> Templates:
    """Templates of IJB-B or IJB-C from `meta/<data>_face_tid_mid.txt`: lines of a photo, its template and its medium.

    Args:
        root: folder with `meta` and the folder of photos.
        data: "ijbb" or "ijbc"; how the files' names begin.
        photos: folder of the photos; `loose_crop` in the root unless told otherwise.

    Raises:
        SourceUnavailable: no such list.
        BadArgument: a broken line, or none.
    """
    where = Path(root) / "meta" / f"{data}_face_tid_mid.txt"
    folder = Path(photos) if photos is not None else Path(root) / "loose_crop"
    names, numbers, broken = [], [], {}
    for line, text in enumerate(read_text(where).splitlines(), start=1):
        parts = text.rsplit(maxsplit=2)
        if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
            names.append(parts[0])
            numbers.append((int(parts[1]), int(parts[2])))
        elif parts:
            broken[line] = repr(text)
    require_sound(str(where), broken, expected="a photo and the numbers of its template and its medium")
    if not names:
        raise BadArgument(f"{where} lists no photos")
    table = np.array(numbers, dtype=np.intp)
    ids, template_of = np.unique(table[:, 0], return_inverse=True)
    files = tuple(str(folder / name) for name in names)
    return Templates(
        _title(data), files, template_of.astype(np.intp), table[:, 1], ids, tuple(missing(dict.fromkeys(files)))
    )


@export("vultus.evaluate.read_template_pairs")
def read_template_pairs(root: str | Path, templates: Templates, data: str = "ijbc") -> Pairs:
    """The 1:1 protocol from `meta/<data>_template_pair_label.txt`: lines of two templates and 1 or 0.

    The `files` of the protocol are templates by their numbers, in the order of `templates`. Subjects are those that mated
    pairs join.

    Args:
        root: folder with `meta`.
        templates: of the same data.
        data: "ijbb" or "ijbc".

    Raises:
        SourceUnavailable: no such list.
        BadArgument: a broken line, a template without photos, or no pair.
    """
    where = Path(root) / "meta" / f"{data}_template_pair_label.txt"
    try:
        with where.open(encoding="ascii") as lines, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there is nothing to read is an error below
            table = np.loadtxt(lines, dtype=np.int64, ndmin=2, comments=None)
    except UnicodeDecodeError as problem:
        raise BadArgument(f"{where} is not plain text: {problem}") from problem
    except OSError as problem:
        raise SourceUnavailable(f"cannot read {where}: {problem}") from problem
    except ValueError as problem:
        raise BadArgument(f"{where} has a broken line: {problem}; expected two templates and 1 or 0") from problem
    if not table.size:
        raise BadArgument(f"{where} lists no pairs")
    if table.shape[1] != 3:
        raise BadArgument(f"{where} has {table.shape[1]} columns; expected two templates and 1 or 0")
    wrong = np.flatnonzero((table[:, 2] != 0) & (table[:, 2] != 1))
    if len(wrong):
        raise BadArgument(f"{where}: pair {wrong[0] + 1} has the label {table[wrong[0], 2]}; expected 1 or 0")
    first, second = templates.places(table[:, 0]), templates.places(table[:, 1])
    mated = table[:, 2] == 1
    subjects = subjects_from_pairs(
        len(templates), first[mated], second[mated], np.ones(np.count_nonzero(mated), dtype=bool)
    )
    return Pairs(
        f"{templates.name} 1:1",
        tuple(str(i) for i in templates.ids),
        first,
        second,
        mated,
        subjects,
        notes=templates.notes,
        named=False,
    )


@export("vultus.evaluate.read_search_lists")
def read_search_lists(root: str | Path, templates: Templates, data: str = "ijbc") -> SearchLists:
    """The 1:N protocol from `meta/<data>_1N_gallery_*.csv` and `<data>_1N_probe_mixed.csv`.

    Each is a CSV whose header begins with TEMPLATE_ID and SUBJECT_ID; templates may be on many lines, one a photo.

    Args:
        root: folder with `meta`.
        templates: of the same data.
        data: "ijbb" or "ijbc".

    Raises:
        SourceUnavailable: no gallery, or no probes.
        BadArgument: a broken line, a template of two subjects or without photos, or a subject twice in a gallery.
    """
    folder = Path(root) / "meta"
    lists = sorted(folder.glob(f"{data}_1N_gallery_*.csv"))
    if not lists:
        raise SourceUnavailable(f"{folder} holds no {data}_1N_gallery_*.csv")
    galleries, subjects = {}, {}
    for path in lists:
        ids, who = _subjects(path)
        name = path.stem.rpartition("_")[2]
        if len(np.unique(who)) < len(who):
            raise BadArgument(f"{path}: a subject has two templates; expected one a subject")
        galleries[name], subjects[name] = templates.places(ids), who
    ids, who = _subjects(folder / f"{data}_1N_probe_mixed.csv")
    known = np.unique(np.concatenate(list(subjects.values())))
    shared = sum(len(s) for s in subjects.values()) - len(known)
    notes = [f"{shared} subjects are in more than one gallery"] if shared else []
    strangers = int(np.count_nonzero(~np.isin(who, known)))
    if strangers:
        notes.append(f"{strangers:,} probes show subjects of no gallery")
    return SearchLists(
        f"{templates.name} 1:N", galleries, subjects, templates.places(ids), who, (*templates.notes, *notes)
    )


def _subjects(path: Path) -> tuple[IntArray, IntArray]:
    """(t,) templates of a list in ascending order, and the subject of each."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    found: dict[int, int] = {}
    broken = {}
    try:
        header = [c.strip().upper() for c in next(reader, [])]
        if header[:2] != ["TEMPLATE_ID", "SUBJECT_ID"]:
            raise BadArgument(
                f"{path} begins with {', '.join(header[:2]) or 'nothing'}; expected TEMPLATE_ID, SUBJECT_ID"
            )
        for cells in reader:
            if len(cells) < 2 or not (cells[0].strip().isdecimal() and cells[1].strip().isdecimal()):
                if any(cells):
                    broken[reader.line_num] = repr(",".join(cells[:2]))
            elif found.setdefault(int(cells[0]), int(cells[1])) != int(cells[1]):
                broken[reader.line_num] = (
                    f"template {int(cells[0])} shows subject {int(cells[1])} here and another before"
                )
    except csv.Error as problem:
        raise BadArgument(f"{path}, line {reader.line_num}: {problem}") from problem
    require_sound(str(path), broken, expected="the numbers of a template and of its only subject")
    if not found:
        raise BadArgument(f"{path} lists no templates")
    table = np.array(sorted(found.items()), dtype=np.intp)
    return table[:, 0], table[:, 1]


def _title(data: str) -> str:
    return {"ijbb": "IJB-B", "ijbc": "IJB-C"}.get(data, data)


# --- templates --------------------------------------------------------------------------------------------------------


@export("vultus.evaluate.pool_templates")
def pool_templates(templates: Templates, extraction: Extraction, *, weighting: Weighting = "count") -> Extraction:
    """The rows of templates from those of their photos.

    The frames of a medium are averaged, then the media of a template, and the mean is scaled to length 1. The mean of a
    medium keeps its length: one whose frames disagree counts less. Photos that failed are left out; a template without any
    other is blank, a failure to enrol.

    Args:
        templates: what belongs together.
        extraction: of `templates.files`.
        weighting: "count", every frame and then every medium alike, or "quality", in proportion to the overall quality of
            a frame, and to the mean quality of a medium.

    Returns:
        one row a template, under the names that `read_template_pairs` gives them; the quality is the mean over media.

    Raises:
        BadArgument: another weighting, or an extraction of other files.
    """
    if weighting not in get_args(Weighting):
        raise BadArgument(f"weighting is {weighting!r}; expected one of {', '.join(get_args(Weighting))}")
    if extraction.files != templates.files:
        raise BadArgument("the extraction is not one of the templates' files, in their order")
    used = np.flatnonzero(extraction.enrolled)
    quality = np.nan_to_num(extraction.quality[used].astype(np.float64))
    key = np.stack([templates.template_of[used], templates.medium_of[used]], axis=1)
    media, medium = np.unique(key, axis=0, return_inverse=True)
    medium = medium.ravel()
    means, level = _means(extraction.rows[used], quality, medium, len(media), weighting)
    totals, overall = _means(means, level, media[:, 0] if len(media) else medium, len(templates), weighting)
    lengths = np.linalg.norm(totals, axis=1)
    good = lengths > 1e-6
    rows = np.zeros((len(templates), extraction.rows.shape[1]), dtype=np.float32)
    rows[good] = totals[good] / lengths[good, None]
    have = np.isin(np.arange(len(templates)), templates.template_of[used])
    reasons = np.where(have, "bad_template: the photos cancel each other", "no_face: no photo gave a template")
    failures = {int(i): str(reasons[i]) for i in np.flatnonzero(~good)}
    names = tuple(str(i) for i in templates.ids)
    return Extraction(
        names, rows, np.where(good, overall, np.nan).astype(np.float32), failures, f"{extraction.model_id}+{weighting}"
    )


def _means(
    rows: np.ndarray, quality: Float64Array, part: IntArray, parts: int, weighting: Weighting
) -> tuple[Float64Array, Float64Array]:
    """(parts, d) weighted means of rows, and (parts,) plain means of quality; 0 where a part has no row."""
    count = np.maximum(np.bincount(part, minlength=parts), 1)
    weight = np.ones(len(part)) if weighting == "count" else quality + 1e-6
    total = np.maximum(np.bincount(part, weights=weight, minlength=parts), 1e-12)
    sums = np.zeros((parts, rows.shape[1]))
    order = np.argsort(part, kind="stable")
    present, begins = np.unique(part[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat((rows * weight[:, None])[order], begins, axis=0)
    return sums / total[:, None], np.bincount(part, weights=quality, minlength=parts) / count
