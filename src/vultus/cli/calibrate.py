"""`vultus calibrate`: measure thresholds on a folder of people and write them into a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.output import (
    OK,
    AcceptLicence,
    DetectorName,
    Json,
    Mirror,
    Model,
    Provider,
    Threads,
    console,
    load_recognizer,
    print_json,
    progress,
    table,
    warn,
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate")(calibrate)


def calibrate(
    root: Annotated[Path, typer.Argument(help="Folder of people: root/<subject>/<photo>.")],
    write: Annotated[Path | None, typer.Option("--write", help="Manifest to write the thresholds into.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the data, as it shall stand in the manifest.")
    ] = None,
    fmr: Annotated[list[float] | None, typer.Option("--fmr", help="False match rate; may be repeated.")] = None,
    fpir: Annotated[
        list[float] | None, typer.Option("--fpir", help="False positive rate of searches; may be repeated.")
    ] = None,
    gallery_size: Annotated[
        int | None, typer.Option("--gallery-size", min=1, help="Subjects enrolled, for --fpir.")
    ] = None,
    face: Annotated[str, typer.Option("--face", help="Which face is meant: largest, central or one.")] = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Thresholds for false match rates and a likelihood ratio, measured on your own people."""
    from vultus import evaluate
    from vultus.evaluate.thresholds import FMRS
    from vultus.tables import to_table
    from vultus.weights import save_manifest

    people = evaluate.read_people(root, name=name)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    with progress(len(people.files), "embedding", quiet=json) as advance:
        extraction = evaluate.extract(people.files, recognizer, policy=face, progress=advance)  # type: ignore[arg-type]
    measured = evaluate.measure_calibration(
        people,
        extraction,
        recognizer,
        rates=tuple(fmr or FMRS),
        search_rates=tuple(fpir or ()),
        gallery_size=gallery_size,
    )
    if write is not None:
        from dataclasses import replace

        from vultus.weights import load_manifest

        base = load_manifest(write) if write.exists() else replace(recognizer.embedder.manifest, folder=None)
        save_manifest(base.with_calibration(measured), write)
    if json:
        print_json({"model_id": recognizer.model_id, "failures": len(extraction.failures), **to_table(measured)})
    else:
        console.print(f"{recognizer.model_id} on {measured.data}; {len(extraction.failures)} photos without a template")
        table(
            ["FMR", "threshold", "95 % interval of the FMR", "FNMR", "non-mated comparisons"],
            [
                [
                    f"{t.fmr:g}",
                    f"{t.value:.4f}",
                    f"{t.low:.2e} to {t.high:.2e}",
                    "" if t.fnmr is None else f"{t.fnmr:.3%}",
                    f"{t.comparisons:,}",
                ]
                for t in measured.thresholds
            ],
        )
        for t in measured.searches:
            console.print(
                f"FPIR {t.fpir:g} at {t.gallery_size:,} subjects: threshold {t.value:.4f} ({t.low:.2e} to {t.high:.2e} over "
                f"{t.searches:,} searches)"
            )
        if measured.weight is not None and measured.bias is not None:
            console.print(
                f"log likelihood ratio = {measured.weight:.3f} * score {measured.bias:+.3f}; "
                f"evidence for one person from {-measured.bias / measured.weight:.4f} on"
            )
        if write is not None:
            console.print(f"written into {write}")
    for i, why in sorted(extraction.failures.items()):
        warn(f"{extraction.files[i]}: {why}")
    return OK
