"""`vultus evaluate`: protocols in, figures with intervals out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from vultus.evaluate import VerificationResult

Root = Annotated[Path, typer.Option("--root", help="Folder of the data.")]
Rates = Annotated[list[float] | None, typer.Option("--fmr", help="False match rate to report; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Measure a model on a protocol, with intervals.", no_args_is_help=True)
    group.command("lfw")(lfw)
    group.command("detect")(detect)
    app.add_typer(group, name="evaluate")


def lfw(
    root: Root,
    fmr: Rates = None,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """LFW View 2: accuracy over ten folds, EER, FNMR at false match rates down to 1e-5."""
    from vultus import evaluate
    from vultus.evaluate.verification import RATES

    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    total = len(evaluate.read_lfw(root).files)
    with progress(total, "embedding", quiet=json) as advance:
        result = evaluate.lfw(root, recognizer, rates=fmr or RATES, progress=advance)
    return show_verification(result, asked=fmr, json=json)


def show_verification(result: VerificationResult, *, asked: list[float] | None, json: bool) -> int:
    """Print a result; exit code 2 where a rate that was asked for is refused."""
    from vultus.cli.output import FAILED

    if json:
        print_json(result.to_dict())
    else:
        console.print(f"[bold]{result.protocol}[/bold], {result.model_id}")
        console.print(
            f"{result.n_mated + result.n_non_mated:,} pairs ({result.n_mated:,} mated), "
            f"{len(result.failures)} photos without a template"
        )
        if (
            result.accuracy is not None
            and result.accuracy_std is not None
            and result.accuracy_standard_error is not None
        ):
            console.print(
                f"accuracy {result.accuracy:.4%}, standard deviation over folds {result.accuracy_std:.4%}, "
                f"standard error {result.accuracy_standard_error:.4%}"
            )
        bounds = f" ({result.eer_interval.low:.3%} to {result.eer_interval.high:.3%})" if result.eer_interval else ""
        console.print(f"EER {result.eer:.3%}{bounds}, AUC {result.auc:.5f}")
        table(
            ["FMR", "FNMR", "95 % interval", "threshold", "non-mated comparisons"],
            [
                [
                    f"{p.fmr:g}",
                    f"{p.fnmr:.3%}",
                    f"{p.interval.low:.3%} to {p.interval.high:.3%}",
                    f"{p.threshold:.4f}",
                    f"{p.comparisons:,}",
                ]
                for p in result.points
            ],
        )
        for note in result.notes:
            console.print(note)
    refused = {rate: why for rate, why in result.refused.items() if asked}
    for rate, why in refused.items():
        warn(f"FMR {rate:g} is refused: {why}")
    for failure in result.failures:
        warn(failure)
    return FAILED if refused else OK


def detect(
    root: Annotated[Path, typer.Option("--root", help="Folder with annotations.json and images/, or a dlib XML file.")],
    smallest: Annotated[float, typer.Option("--smallest", help="Ignore faces with a shorter side below this.")] = 16,
    min_face: Annotated[float, typer.Option("--min-face", help="Passed to the detector.")] = 16,
    score: Annotated[float | None, typer.Option("--score", help="Drop detections below this score.")] = None,
    overlap: Annotated[float, typer.Option("--overlap", help="Least intersection over union of a find.")] = 0.5,
    detector: DetectorName = None,
    threads: Threads = None,
    provider: Provider = None,
    json: Json = False,
) -> int:
    """Average precision of a detector on photos with marked faces."""
    from vultus import evaluate
    from vultus.detect import Detector

    photos = evaluate.read_marked_photos(root)
    finder = Detector(detector or "yunet-2023mar", threads=threads, providers=provider)
    with progress(len(photos), "detecting", quiet=json) as advance:
        result = evaluate.measure_detection(
            photos, finder, smallest=smallest, min_face=min_face, score=score, overlap=overlap, progress=advance
        )
    if json:
        print_json(asdict(result))
    else:
        console.print(f"{result.detector}: {result.photos} photos, {result.faces} faces of {smallest:g} pixels or more")
        console.print(f"AP{overlap * 100:.0f} {result.average_precision:.4f}")
        console.print(
            f"recall {result.recall:.4f}, {result.false_positives} false positives at score {result.score:g} and above"
        )
    for failure in result.failures:
        warn(failure)
    return OK
