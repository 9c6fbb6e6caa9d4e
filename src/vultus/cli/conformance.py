"""`vultus conformance`: does a model behave as those who test vendors' software expect?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.output import FAILED, OK, AcceptLicence, DetectorName, Json, Mirror, console, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("conformance")(conformance)


def conformance(
    model: Annotated[str, typer.Argument(help="Name or manifest path of an embedder.")] = "sface-2021dec",
    photo: Annotated[
        list[Path] | None, typer.Option("--photo", help="A portrait; may be repeated. Default: the demo's two.")
    ] = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Return codes, blank templates, no stray writes, and the same results moved, in processes and in threads."""
    from PIL import Image

    from vultus import evaluate
    from vultus.cli.demo import load_portraits

    with tempfile.TemporaryDirectory(prefix="vultus-") as workdir:
        portraits = list(photo or ())
        for name, pixels in ({} if photo else load_portraits()).items():
            portraits.append(Path(workdir) / f"{name}.png")
            Image.fromarray(pixels).save(portraits[-1])
        result = evaluate.run_conformance(
            model,
            workdir=workdir,
            portraits=portraits,
            detector=detector,
            mirror=mirror,
            accept_licence=accept_licence,
        )
    if json:
        print_json(result.to_dict())
    else:
        console.print(f"[bold]{result.model_id}[/bold]")
        for check in result.checks:
            console.print(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}: {check.message}", markup=False)
    return OK if result.ok else FAILED
