"""`vultus demo`: a real decision on real photos, with a picture to look at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.output import OK, Json, Threads, console, print_json, table, warn

if TYPE_CHECKING:
    from vultus.cli.sheet import Cell
    from vultus.recognizer import Recognizer
    from vultus.types import Faces, Template, Threshold, UInt8Array


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)


def demo(
    photos: Annotated[Path | None, typer.Argument(help="A folder of your own photos. Default: two portraits.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the contact sheet.")] = Path("out/demo"),
    fmr: Annotated[float, typer.Option("--fmr", help="False match rate to decide at.")] = 1e-4,
    threads: Threads = None,
    json: Json = False,
) -> int:
    """Enrol two portraits and identify harmed probes of each; or group the faces in a folder of your own."""
    from vultus.cli.sheet import contact_sheet
    from vultus.errors import SourceUnavailable
    from vultus.recognizer import Recognizer

    recognizer = Recognizer.load(threads=threads)
    threshold = recognizer.threshold(fmr=fmr)
    cells, rows = _portraits(recognizer, threshold) if photos is None else _folder(recognizer, threshold, photos)
    picture = out / "contact-sheet.jpg"
    title = f"vultus demo: threshold {threshold.value:.4f} at a false match rate of {threshold.fmr:g}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        contact_sheet(cells, title=title, columns=9 if photos is None else 6).save(picture, quality=90)
    except OSError as problem:
        raise SourceUnavailable(f"cannot write {picture}: {problem}") from problem
    if json:
        print_json(
            {
                "model_id": recognizer.model_id,
                "threshold": threshold.value,
                "fmr": threshold.fmr,
                "picture": str(picture),
                "probes": rows,
            }
        )
        return OK
    table(
        ["photo", "best candidate", "score", "threshold", "decision"],
        [
            [
                str(r["photo"]),
                str(r["candidate"] or "-"),
                "-" if r["score"] is None else f"{r['score']:.4f}",
                f"{threshold.value:.4f}",
                str(r["decision"]),
            ]
            for r in rows
        ],
        title=f"decided at a false match rate of {threshold.fmr:g}, measured on {threshold.comparisons:,} comparisons",
    )
    console.print(f"contact sheet: {picture}")
    return OK


# --- two portraits ----------------------------------------------------------------------------------------------------


def _portraits(recognizer: Recognizer, threshold: Threshold) -> tuple[list[Cell], list[dict[str, object]]]:
    from vultus.cli.sheet import Cell

    people = load_portraits()
    gallery, faces = {}, {}
    cells: list[Cell] = []
    for name, pixels in people.items():
        sample = recognizer.sample(pixels)
        gallery[name], faces[name] = sample.template, sample.face
    rows: list[dict[str, object]] = []
    for name, pixels in people.items():
        cells.append(Cell(pixels, faces[name], f"{name}: enrolled", None))
        for kind, probe in _probes(pixels, faces[name]).items():
            _identify(recognizer, threshold, gallery, f"{name}, {kind}", probe, name, cells, rows)
        others = {n: t for n, t in gallery.items() if n != name}
        _identify(recognizer, threshold, others, f"{name}, not enrolled", pixels, None, cells, rows)
    return cells, rows


def load_portraits() -> dict[str, UInt8Array]:
    """The two portraits that packages ship, by name."""
    from vultus.errors import SourceUnavailable
    from vultus.image import read_image

    try:
        import matplotlib.cbook
        import skimage.data
    except ModuleNotFoundError as problem:
        raise SourceUnavailable("the demo's portraits come with: pip install 'vultus[demo]'") from problem
    hopper = read_image(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return {"Collins": read_image(skimage.data.astronaut()), "Hopper": hopper}


def _probes(pixels: UInt8Array, face: Faces) -> dict[str, UInt8Array]:
    import numpy as np

    from vultus.augment import degrade

    kinds = {
        "rotated": ("rotation", 2),
        "low resolution": ("low_resolution", 2),
        "JPEG damage": ("jpeg", 3),
        "dim light": ("dark", 3),
        "blurred": ("blur", 2),
        "occluded": ("occlusion", 2),
    }
    probes = {"mirrored": np.ascontiguousarray(pixels[:, ::-1])}
    return probes | {kind: degrade(pixels, face, factor, level) for kind, (factor, level) in kinds.items()}


def _identify(
    recognizer: Recognizer,
    threshold: Threshold,
    gallery: dict[str, Template],
    title: str,
    probe: UInt8Array,
    truth: str | None,
    cells: list[Cell],
    rows: list[dict[str, object]],
) -> None:
    """Look a probe up among the enrolled, write down the decision and whether it is right."""
    from vultus.cli.sheet import Cell
    from vultus.errors import VultusError

    try:
        sample = recognizer.sample(probe)
    except VultusError as problem:
        rows.append(
            {"photo": title, "candidate": None, "score": None, "decision": problem.code, "right": truth is None}
        )
        cells.append(Cell(probe, None, f"{title}: {problem.code}", truth is None))
        return
    scores = {name: recognizer.compare(sample.template, template) for name, template in gallery.items()}
    best = max(scores, key=lambda name: scores[name])
    decision = best if scores[best] >= threshold.value else "nobody"
    right = decision == (truth or "nobody")
    rows.append({"photo": title, "candidate": best, "score": scores[best], "decision": decision, "right": right})
    cells.append(Cell(probe, sample.face, f"{title}\n{best} {scores[best]:.3f}: {decision}", right))


# --- a folder ---------------------------------------------------------------------------------------------------------


def _folder(recognizer: Recognizer, threshold: Threshold, folder: Path) -> tuple[list[Cell], list[dict[str, object]]]:
    """Every face of every photo, grouped by linking faces that match."""
    import numpy as np

    from vultus.cli.output import progress
    from vultus.cli.sheet import Cell
    from vultus.errors import BadArgument, NoFace, SourceUnavailable, VultusError
    from vultus.evaluate.protocol import PHOTO_SUFFIXES, subjects_from_pairs
    from vultus.image import open_photo

    if not folder.is_dir():
        raise SourceUnavailable(f"{str(folder)!r} is not a folder")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PHOTO_SUFFIXES and f.is_file())
    if not files:
        raise BadArgument(f"{str(folder)!r} holds no photos")
    found = []
    with progress(len(files), "reading", quiet=not sys.stderr.isatty()) as advance:
        for file in files:
            try:
                photo = open_photo(file)
                samples = recognizer.samples(photo, min_face=recognizer.detector.quick_min_face(photo))
                found += [(file, s) for s in samples]
                if not samples:
                    warn(f"{file}: no face")
            except VultusError as problem:
                warn(f"{file}: {problem.code}: {problem}")
            advance(1)
    if not found:
        raise NoFace(f"no face in the {len(files)} photos of {folder}")
    vectors = np.stack([s.template.vector for _, s in found])
    scores = vectors @ vectors.T
    first, second = np.nonzero(np.triu(scores >= threshold.value, k=1))
    groups = subjects_from_pairs(len(found), first, second, np.ones(len(first), dtype=np.bool_))
    cells: list[Cell] = []
    rows: list[dict[str, object]] = []
    np.fill_diagonal(scores, -1)
    for i in np.argsort(groups, kind="stable"):
        file, sample = found[i]
        best = int(scores[i].argmax()) if len(found) > 1 else None
        title = f"person {groups[i] + 1}"
        rows.append(
            {
                "photo": str(file),
                "candidate": str(found[best][0]) if best is not None else None,
                "score": float(scores[i, best]) if best is not None else None,
                "decision": title,
            }
        )
        cells.append(Cell(open_photo(file).pixels(), sample.face, f"{title}\n{file.name}", None))
    return cells, rows
