"""`vultus restore`: what each way of restoring makes of the faces in a photo, before and after, with the score between both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.output import OK, Json, Threads, console, print_json

if TYPE_CHECKING:
    from vultus.recognizer import Restore


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("restore")(restore)


def restore(
    photo: Annotated[Path, typer.Argument(help="A photo with a face.")],
    out: Annotated[Path, typer.Option("--out", help="Picture to write; the suffix says its format.")],
    way: Annotated[
        list[str] | None,
        typer.Option(
            "--way",
            help="frontal, balance, lit_half, equalise, self_quotient, tan_triggs; may be repeated. All of them by default.",
        ),
    ] = None,
    restorer: Annotated[
        Path | None, typer.Option("--restorer", help="Manifest of a learned restorer: show what it makes too.")
    ] = None,
    harm: Annotated[
        str | None, typer.Option("--harm", help="Harm the photo first: FACTOR:SEVERITY, such as light:4 or yaw:3.")
    ] = None,
    side: Annotated[int, typer.Option("--side", min=48, max=320, help="Side of each picture on the sheet.")] = 160,
    threads: Threads = None,
    json: Json = False,
) -> int:
    """Write a sheet: the largest face of a photo as it is, and restored, with the score between the two."""
    from vultus.align import align
    from vultus.augment import degrade
    from vultus.cli.sheet import Cell, contact_sheet
    from vultus.errors import SourceUnavailable
    from vultus.image import open_photo
    from vultus.recognizer import Recognizer

    ways = _ways(way, restorer, threads)
    recognizer = Recognizer.load(threads=threads)
    picture = open_photo(photo)
    sample = recognizer.sample(picture)
    before = align(picture, sample.face)
    cells, scores = [Cell(before[0], None, "as it is", None)], {}
    if harm is not None:
        factor, severity = _harm(harm)
        picture = open_photo(degrade(picture.pixels(), sample.face, factor, severity))
        sample = recognizer.sample(picture)
    crops = align(picture, sample.face)
    row = recognizer.embed(before)[0]
    if harm is not None:
        cells.append(Cell(crops[0], None, f"{harm}\n{float(row @ recognizer.embed(crops)[0]):.3f}", None))
    for name, restored in ways.items():
        made = restored(picture, sample.face, crops)
        scores[name] = float(row @ recognizer.embed(made)[0])
        note = "unchanged" if made is crops else f"{scores[name]:.3f}"
        cells.append(Cell(made[0], None, f"{name}\n{note}", None))
    try:
        contact_sheet(cells, title=f"{photo.name}: restored, score with the photo", side=side).save(out, quality=90)
    except (OSError, ValueError) as problem:
        raise SourceUnavailable(f"cannot write {str(out)!r}: {problem}") from problem
    if json:
        print_json({"picture": str(out), "scores": scores})
    else:
        console.print(f"sheet: {out}")
    return OK


def _ways(names: list[str] | None, restorer: Path | None, threads: int | None) -> dict[str, Restore]:
    from vultus.errors import BadArgument
    from vultus.restore import LIGHTING, Frontal, Learned, Light, Restorer

    known: dict[str, Restore] = {"frontal": Frontal(from_yaw=0.0), **{name: Light(name) for name in LIGHTING}}
    for name in names or ():
        if name not in known:
            raise BadArgument(f"no way {name!r}; expected some of {', '.join(known)}")
    chosen = {name: known[name] for name in names or ([] if restorer else known)}
    if restorer is not None:
        chosen["restorer"] = Learned(Restorer.load(restorer, threads=threads))
    return chosen


def _harm(text: str) -> tuple[str, int]:
    from vultus.errors import BadArgument

    factor, _, severity = text.partition(":")
    if not severity.isdecimal():
        raise BadArgument(f"--harm is {text!r}; expected FACTOR:SEVERITY, such as light:4")
    return factor, int(severity)
