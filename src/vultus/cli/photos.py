"""`vultus verify`, `detect` and `embed`: photos in, decisions, faces or templates out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.output import (
    FAILED,
    NO,
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

Policy = Annotated[str, typer.Option("--face", help="Which face is meant: largest, central or one (exactly one).")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("verify")(verify)
    app.command("detect")(detect)
    app.command("embed")(embed)


def verify(
    a: Annotated[Path, typer.Argument(help="A photo.")],
    b: Annotated[Path, typer.Argument(help="Another photo.")],
    fmr: Annotated[float, typer.Option("--fmr", help="False match rate to decide at.")] = 1e-4,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Decide at this score instead.")] = None,
    face: Policy = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Do two photos show one person? Exit code 0: match, 1: no match, 2: error."""
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    check = recognizer.verify(a, b, fmr=fmr, threshold=threshold, policy=face)  # type: ignore[arg-type]
    if json:
        record = asdict(check)
        record["pad"] = "not_evaluated"
        print_json(record)
    else:
        console.print(f"[bold]{'match' if check.match else 'no match'}[/bold]")
        console.print(f"score      {check.score:.4f}")
        if check.basis is None:
            console.print(f"threshold  {check.threshold:.4f}   (your own; it states no error rate)")
        else:
            basis = check.basis
            console.print(
                f"threshold  {check.threshold:.4f}   at FMR {basis.fmr:g} (95 %: {basis.low:.2g} to {basis.high:.2g})"
            )
            console.print(f"           measured on {basis.comparisons:,} non-mated comparisons of {basis.data}")
        if check.log10_likelihood_ratio is not None:
            console.print(f"evidence   log10 likelihood ratio {check.log10_likelihood_ratio:+.1f}")
        console.print(f"faces      {check.faces[0]} and {check.faces[1]} found")
    return OK if check.match else NO


def detect(
    files: Annotated[list[Path], typer.Argument(help="Photos.")],
    min_face: Annotated[float, typer.Option("--min-face", help="Smallest face wanted, in pixels.")] = 16,
    score: Annotated[float | None, typer.Option("--score", help="Drop faces below this score.")] = None,
    detector: DetectorName = None,
    threads: Threads = None,
    provider: Provider = None,
    json: Json = False,
) -> int:
    """Find faces: boxes, five landmarks and a score for each."""
    from vultus.detect import Detector
    from vultus.errors import VultusError

    finder = Detector(detector or "yunet-2023mar", threads=threads, providers=provider)
    records: list[dict[str, object]] = []
    failed = 0
    with progress(len(files), "detecting", quiet=json) as advance:
        for file in files:
            record: dict[str, object] = {"file": str(file)}
            try:
                faces = finder(file, min_face=min_face, score=score)
                record["faces"] = [
                    {
                        "box": [round(float(v), 2) for v in faces.boxes[i]],
                        "landmarks": [[round(float(v), 2) for v in point] for point in faces.landmarks[i]],
                        "score": round(float(faces.scores[i]), 4),
                    }
                    for i in range(len(faces))
                ]
            except VultusError as problem:
                failed += 1
                record["error"] = {"code": problem.code, "message": str(problem)}
            records.append(record)
            advance(1)
    if json:
        print_json({"detector": finder.id, "photos": records})
    for record in [] if json else records:
        if "error" in record:
            warn(f"{record['file']}: {record['error']['code']}: {record['error']['message']}")  # type: ignore[index]
            continue
        found: list[dict[str, list[float]]] = record["faces"]  # type: ignore[assignment]
        table(
            ["face", "score", "x0", "y0", "x1", "y1"],
            [[str(i), f"{f['score']:.3f}", *(f"{v:.0f}" for v in f["box"])] for i, f in enumerate(found)],
            title=f"{record['file']}: {len(found)} face{'' if len(found) == 1 else 's'}",
        )
    return FAILED if failed else OK


def embed(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PHOTOS", help="Photos, or folders for all photos below, by path.")
    ],
    out: Annotated[Path, typer.Option("--out", help="NPZ file to write: files, rows, quality, model_id.")],
    face: Policy = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    ray: Annotated[bool, typer.Option("--ray", help="Embed with Ray Data, one process a thread.")] = False,
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help="Use this Ray cluster: host:port. Implies --ray.")
    ] = None,
    json: Json = False,
) -> int:
    """Extract a template of the meant face of each photo. Photos that fail are named, and the exit code is 2."""
    from dataclasses import asdict

    from vultus.bulk import embed_on_ray, embed_photos
    from vultus.errors import BadArgument

    if not out.absolute().parent.is_dir():
        raise BadArgument(f"the folder of {out} does not exist")
    files = _photos(sources)
    with progress(len(files), "embedding", quiet=json) as advance:
        if ray or ray_address is not None:
            found = embed_on_ray(
                files,
                address=ray_address,
                workers=threads,
                model=model,
                detector=detector,
                mirror=mirror,
                providers=provider,
                accept_licence=accept_licence,
                policy=face,  # type: ignore[arg-type]
                progress=advance,
            )
        else:
            recognizer = load_recognizer(
                model,
                detector=detector,
                mirror=mirror,
                threads=threads,
                providers=provider,
                accept_licence=accept_licence,
            )
            found = embed_photos(files, recognizer, policy=face, progress=advance)  # type: ignore[arg-type]
    found.save(out)
    count, dimension = found.rows.shape
    if json:
        print_json(
            {
                "out": str(out),
                "templates": count,
                "dimension": dimension,
                "model_id": found.model_id,
                "failures": [asdict(failure) for failure in found.failures],
            }
        )
    else:
        console.print(f"{count} templates of {dimension} numbers in {out}")
        for failure in found.failures:
            warn(f"{failure.file}: {failure.code}: {failure.message}")
    return FAILED if found.failures else OK


def _photos(sources: list[Path]) -> list[Path]:
    """The photos as they were given, and in the place of a folder all photos below it, in the order of their paths."""
    from vultus.errors import BadArgument
    from vultus.evaluate.protocol import PHOTO_SUFFIXES

    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            below = (f for f in source.rglob("*") if f.suffix.lower() in PHOTO_SUFFIXES and not f.name.startswith("."))
            found = sorted(f for f in below if f.is_file())
            if not found:
                raise BadArgument(f"the folder {source} holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
            files += found
        else:
            files.append(source)
    return files
