"""`vultus augment`: what the augmentation makes of a photo, on one sheet to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.output import OK, DetectorName, Json, Threads, console, print_json

if TYPE_CHECKING:
    from vultus.augment import Policy, Views
    from vultus.cli.sheet import Cell

_SIDE = 320  # of the square about the face that is augmented


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("augment")(augment)


def augment(
    photo: Annotated[Path, typer.Argument(help="A photo with a face.")],
    out: Annotated[Path, typer.Option("--out", help="Picture to write; the suffix says its format.")],
    policy: Annotated[Path | None, typer.Option("--policy", help="TOML file: show what this policy draws.")] = None,
    operation: Annotated[
        list[str] | None, typer.Option("--operation", help="Show this operation only; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other changes.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, max=240, help="How many pictures a policy draws.")] = 24,
    side: Annotated[int, typer.Option("--side", min=48, max=320, help="Side of each picture on the sheet.")] = 160,
    marks: Annotated[bool, typer.Option("--marks", help="Mark landmarks and boxes where they are then.")] = False,
    detector: DetectorName = None,
    threads: Threads = None,
    json: Json = False,
) -> int:
    """Write a contact sheet: each operation at severities 1 to 5, or what a policy draws."""
    from vultus.augment import Policy
    from vultus.cli.sheet import contact_sheet
    from vultus.errors import BadArgument, SourceUnavailable

    if policy is not None and operation:
        raise BadArgument("--policy and --operation exclude each other; give one of them")
    loaded = None if policy is None else Policy.load(policy)
    face = _about_the_face(photo, detector, threads)
    if loaded is None:
        cells, columns = _every_operation(face, operation or [], seed, marks=marks), 6
        title = f"{photo.name}: as it is, and each operation at severities 1 to 5 (* the default)"
    else:
        cells, columns = _drawn(face, loaded, seed, count, marks=marks), 6
        title = f"{photo.name}: {count} draws of {policy.name if policy else ''}, seed {seed}"
    try:
        contact_sheet(cells, title=title, columns=columns, side=side).save(out, quality=88)
    except (OSError, ValueError) as problem:
        raise SourceUnavailable(f"cannot write {str(out)!r}: {problem}") from problem
    if json:
        print_json({"picture": str(out), "cells": [cell.caption for cell in cells]})
    else:
        console.print(f"contact sheet: {out}")
    return OK


def _about_the_face(photo: Path, detector: str | None, threads: int | None) -> Views:
    """The largest face of a photo, with what is around it, in a square."""
    import numpy as np

    from vultus.augment import Views
    from vultus.augment.geometric import crop
    from vultus.detect import Detector, choose
    from vultus.image import open_photo

    picture = open_photo(photo)
    found = Detector(detector or "yunet-2023mar", threads=threads)(picture)
    face = choose(found, "largest", width=picture.width, height=picture.height)
    x0, y0, x1, y1 = (float(v) for v in face.boxes[0])
    half = max(x1 - x0, y1 - y0)
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    views = Views(picture.pixels(), face.landmarks[0], face.boxes[0])
    return crop(views, np.concatenate([centre - half, centre + half]), size=(_SIDE, _SIDE))


def _every_operation(face: Views, names: list[str], seed: int, *, marks: bool) -> list[Cell]:
    from vultus.augment import OPERATIONS, vary

    cells = []
    for name in names or OPERATIONS:
        cells.append(_cell(face, f"{name}\nas it is", marks=marks))
        for severity in range(1, 6):
            changed = vary(face.images, name, face.landmarks, face.boxes, severity=severity, seed=seed)
            operation = OPERATIONS[name]
            star = "*" if severity == operation.severity else ""
            cells.append(
                _cell(changed, f"{severity}{star}\n{operation.amount(severity):g} {operation.unit}", marks=marks)
            )
    return cells


def _drawn(face: Views, policy: Policy, seed: int, count: int, *, marks: bool) -> list[Cell]:
    cells = []
    for number in range(count):
        changed = policy(face.images, face.landmarks, face.boxes, seed=seed, first=number)
        cells.append(_cell(changed, f"{number}", marks=marks))
    return cells


def _cell(views: Views, caption: str, *, marks: bool) -> Cell:
    import cv2

    from vultus.cli.sheet import Cell

    pixels = views.images
    if marks and views.landmarks is not None and views.boxes is not None:
        pixels = pixels.copy()
        x0, y0, x1, y1 = (round(float(v)) for v in views.boxes)
        cv2.rectangle(pixels, (x0, y0), (x1, y1), (40, 110, 200), 2)
        for x, y in views.landmarks:
            cv2.circle(pixels, (round(float(x)), round(float(y))), 4, (255, 230, 0), -1, cv2.LINE_AA)
    return Cell(pixels, None, caption, None)
