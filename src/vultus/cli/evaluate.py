"""`vultus evaluate`: protocols in, figures with intervals out."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.figures import (
    show_detection,
    show_groups,
    show_identification,
    show_severity,
    show_transfer,
    show_verification,
)
from vultus.cli.output import (
    FAILED,
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
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vultus.evaluate import Extraction, IdentificationResult, Pairs, VerificationResult
    from vultus.evaluate.report import Evaluated
    from vultus.recognizer import Recognizer

Root = Annotated[Path, typer.Option("--root", help="Folder of the data.")]
Rates = Annotated[list[float] | None, typer.Option("--fmr", help="False match rate to report; may be repeated.")]
Face = Annotated[str, typer.Option("--face", help="Which face of a photo is meant: largest, central or one.")]
Report = Annotated[Path | None, typer.Option("--report", help="Folder to write a page, plots and report.json into.")]
Compare = Annotated[
    str | None,
    typer.Option("--compare", help="A second model (name or manifest path, '+mirror' added for the option)."),
]
Pictures = Annotated[bool, typer.Option("--pictures/--no-pictures", help="Show photos in the report.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Measure a model on a protocol, with intervals.", no_args_is_help=True)
    group.command("lfw")(lfw)
    group.command("pairs")(pairs)
    group.command("folder")(folder)
    group.command("ijb")(ijb)
    group.command("severity")(severity)
    group.command("groups")(groups)
    group.command("detect")(detect)
    app.add_typer(group, name="evaluate")


@dataclass(frozen=True, slots=True)
class Reporting:
    """What the shared options ask for beside the figures."""

    folder: Path | None
    compare: str | None
    pictures: bool


# --- verification -----------------------------------------------------------------------------------------------------


def lfw(
    root: Root,
    fmr: Rates = None,
    report: Report = None,
    compare: Compare = None,
    pictures: Pictures = True,
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

    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    reporting = Reporting(report, compare, pictures)
    return _verify(evaluate.read_lfw(root), recognizer, fmr, "central", reporting, json=json)


def pairs(
    file: Annotated[Path, typer.Argument(help="pairs.csv, a pair list, a .bin set, or CFP's folder.")],
    kind: Annotated[
        str,
        typer.Option("--kind", help="csv, list (AgeDB, CALFW, CPLFW), bin, cfp-ff or cfp-fp. Default: by the suffix."),
    ] = "auto",
    photos: Annotated[Path | None, typer.Option("--photos", help="Folder of the photos, for --kind list.")] = None,
    face: Face = "largest",
    fmr: Rates = None,
    report: Report = None,
    compare: Compare = None,
    pictures: Pictures = True,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Pairs of photos: accuracy where there are folds, EER, and FNMR at each false match rate the data supports."""
    from vultus import evaluate
    from vultus.errors import BadArgument

    if kind == "auto":
        kind = {".csv": "csv", ".bin": "bin", ".txt": "list"}.get(file.suffix.lower(), "")
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    reporting = Reporting(report, compare, pictures)
    if kind == "bin":
        packed = evaluate.read_bin(file)
        return _verify(packed.pairs, recognizer, fmr, face, reporting, json=json, contents=packed.photos)
    if kind == "csv":
        protocol = evaluate.read_pairs_csv(file)
    elif kind == "list":
        protocol = evaluate.read_pair_list(file, photos=photos or file.parent)
    elif kind in {"cfp-ff", "cfp-fp"}:
        protocol = evaluate.read_cfp(file, "FF" if kind == "cfp-ff" else "FP")
    else:
        raise BadArgument(f"cannot tell what {file} is; say --kind csv, list, bin, cfp-ff or cfp-fp")
    return _verify(protocol, recognizer, fmr, face, reporting, json=json)


def _verify(
    protocol: Pairs,
    recognizer: Recognizer,
    rates: list[float] | None,
    face: str,
    reporting: Reporting,
    *,
    json: bool,
    contents: Sequence[bytes] | None = None,
) -> int:
    """Extract, measure, report where asked, and print."""
    extraction, result = _measured(protocol, recognizer, rates, face, json=json, contents=contents)
    if reporting.folder is not None:
        _write_report(protocol, recognizer, extraction, result, rates, face, reporting, json=json, contents=contents)
    if json:
        print_json(result.to_dict())
    else:
        show_verification(result, asked=rates)
    return FAILED if rates and result.refused else OK


def _measured(
    protocol: Pairs,
    recognizer: Recognizer,
    rates: list[float] | None,
    face: str,
    *,
    json: bool,
    contents: Sequence[bytes] | None = None,
) -> tuple[Extraction, VerificationResult]:
    from vultus import evaluate
    from vultus.evaluate.verification import RATES

    with progress(len(protocol.files), "embedding", quiet=json) as advance:
        extraction = evaluate.extract(
            protocol.files,
            recognizer,
            contents=contents,
            policy=face,  # type: ignore[arg-type]
            progress=advance,
        )
    return extraction, evaluate.measure_verification(protocol, extraction, rates=rates or RATES, cross_pairs=True)


def _write_report(
    protocol: Pairs,
    recognizer: Recognizer,
    extraction: Extraction,
    result: VerificationResult,
    rates: list[float] | None,
    face: str,
    reporting: Reporting,
    *,
    json: bool,
    contents: Sequence[bytes] | None = None,
    searches: IdentificationResult | None = None,
) -> None:
    from vultus.evaluate.report import Evaluated, system_facts, write_report

    other: Evaluated | None = None
    if reporting.compare is not None:
        name, mirrored = reporting.compare.removesuffix("+mirror"), reporting.compare.endswith("+mirror")
        second = load_recognizer(name or None, mirror=mirrored, threads=recognizer.threads)
        other_extraction, other_result = _measured(protocol, second, rates, face, json=json, contents=contents)
        other = Evaluated(other_extraction, other_result, system_facts(second))
    page = write_report(
        reporting.folder or Path(),
        pairs=protocol,
        system=Evaluated(extraction, result, system_facts(recognizer), searches=searches),
        command=shlex.join(["vultus", *sys.argv[1:]]),
        other=other,
        cross_pairs=protocol.named,
        pictures=reporting.pictures and contents is None,
    )
    if not json:
        console.print(f"report: {page}")


# --- identification ---------------------------------------------------------------------------------------------------


def folder(
    root: Annotated[Path, typer.Argument(help="Folder of people: root/<subject>/<photo>.")],
    gallery_size: Annotated[int | None, typer.Option("--gallery-size", min=1, help="Subjects enrolled, N.")] = None,
    gallery_photos: Annotated[int, typer.Option("--gallery-photos", min=1, help="Photos of each.")] = 1,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Galleries drawn.")] = 10,
    fpir: Annotated[list[float] | None, typer.Option("--fpir", help="False positive rate; may be repeated.")] = None,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Also: does a threshold from one half of the people hold on the other?")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    face: Face = "largest",
    fmr: Rates = None,
    report: Report = None,
    compare: Compare = None,
    pictures: Pictures = True,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """A folder of people: open-set identification, and verification of its pairs."""
    from vultus import evaluate
    from vultus.evaluate.open_set import RATES
    from vultus.evaluate.report import pairs_of_people

    people = evaluate.read_people(root)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    protocol = pairs_of_people(people, seed=seed)
    extraction, result = _measured(protocol, recognizer, fmr, face, json=json)
    searches = evaluate.measure_open_set(
        people,
        extraction,
        gallery_size=gallery_size,
        gallery_photos=gallery_photos,
        repeats=repeats,
        rates=tuple(fpir or RATES),
        seed=seed,
    )
    halves = None
    if transfer:
        halves = evaluate.measure_transfer(
            people,
            extraction,
            fpir=max(fpir or RATES),
            gallery_size=gallery_size,
            gallery_photos=gallery_photos,
            repeats=repeats,
            seed=seed,
        )
    if report is not None:
        reporting = Reporting(report, compare, pictures)
        _write_report(protocol, recognizer, extraction, result, fmr, face, reporting, json=json, searches=searches)
    if json:
        record = {**result.to_dict(), "identification": searches.to_dict()}
        print_json(record | ({"transfer": halves.to_dict()} if halves else {}))
    else:
        show_identification(searches, asked=fpir)
        if halves is not None:
            show_transfer(halves)
        show_verification(result, asked=fmr)
    return FAILED if (fmr and result.refused) or (fpir and searches.refused) else OK


def ijb(
    root: Root,
    data: Annotated[str, typer.Option("--data", help="ijbb or ijbc.")] = "ijbc",
    photos: Annotated[Path | None, typer.Option("--photos", help="Folder of the photos.")] = None,
    weighting: Annotated[str, typer.Option("--weighting", help="count or quality.")] = "count",
    fmr: Rates = None,
    fpir: Annotated[list[float] | None, typer.Option("--fpir", help="False positive rate; may be repeated.")] = None,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """IJB-B or IJB-C by its metadata files: templates 1:1 and, where the lists are there, 1:N."""
    from vultus import evaluate
    from vultus.errors import SourceUnavailable
    from vultus.evaluate.open_set import RATES as FPIRS
    from vultus.evaluate.verification import RATES

    templates = evaluate.read_templates(root, data, photos=photos)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    with progress(len(templates.files), "embedding", quiet=json) as advance:
        extraction = evaluate.extract(templates.files, recognizer, policy="central", progress=advance)
    pooled = evaluate.pool_templates(templates, extraction, weighting=weighting)  # type: ignore[arg-type]
    protocol = evaluate.read_template_pairs(root, templates, data)
    result = evaluate.measure_verification(protocol, pooled, rates=fmr or RATES)
    try:
        lists = evaluate.read_search_lists(root, templates, data)
        searches = evaluate.measure_search_lists(lists, pooled, rates=tuple(fpir or FPIRS))
    except SourceUnavailable:
        searches = None
    if json:
        print_json({**result.to_dict(), "identification": searches.to_dict() if searches else None})
    else:
        show_verification(result, asked=fmr)
        if searches is not None:
            show_identification(searches, asked=fpir)
    return FAILED if (fmr and result.refused) or (fpir and searches and searches.refused) else OK


# --- what harms, and whom ---------------------------------------------------------------------------------------------


def severity(
    root: Annotated[Path, typer.Argument(help="LFW's folder (with pairs.txt), pairs.csv, or a folder of people.")],
    factor: Annotated[list[str] | None, typer.Option("--factor", help="blur, dark, yaw, ...; may be repeated.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Mated pairs at most.")] = 500,
    plot: Annotated[Path | None, typer.Option("--plot", help="PNG file to draw the curves into.")] = None,
    face: Face = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """How errors grow when the second photo is blurred, darkened, turned, occluded: one factor at a time."""
    from vultus import evaluate
    from vultus.evaluate.severity import FACTORS

    data: evaluate.Pairs | evaluate.People
    if root.suffix == ".csv":
        data = evaluate.read_pairs_csv(root)
    elif (root / "pairs.txt").is_file():
        data, face = evaluate.read_lfw(root), "central"
    else:
        data = evaluate.read_people(root)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    factors = tuple(factor or FACTORS)
    with progress(5 * len(factors) * most, "degrading and embedding", quiet=json) as advance:
        result = evaluate.measure_severity(
            data,
            recognizer,
            factors=factors,
            most=most,
            policy=face,  # type: ignore[arg-type]
            progress=advance,
        )
    if plot is not None:
        from vultus.evaluate.report.severity_plot import plot_severity

        plot_severity(result, plot)
    if json:
        print_json(result.to_dict())
    else:
        show_severity(result)
    return OK


def groups(
    root: Annotated[Path, typer.Argument(help="Folder of people: root/<subject>/<photo>.")],
    labels: Annotated[Path, typer.Option("--labels", help="CSV with the columns subject (or file) and label.")],
    fmr: Annotated[float, typer.Option("--fmr", help="The one threshold is that of this false match rate.")] = 1e-3,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Or this score.")] = None,
    face: Face = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """FMR, FNMR and failures of each group at one threshold; cells with fewer than 30 errors are withheld."""
    from vultus import evaluate

    people, known = evaluate.read_people(root), evaluate.read_labels(labels)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    limit = recognizer.threshold(fmr=fmr).value if threshold is None else threshold
    with progress(len(people.files), "embedding", quiet=json) as advance:
        extraction = evaluate.extract(people.files, recognizer, policy=face, progress=advance)  # type: ignore[arg-type]
    result = evaluate.measure_groups(people, extraction, known, threshold=limit)
    if json:
        print_json(result.to_dict())
    else:
        show_groups(result)
    return OK


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
        show_detection(result, overlap=overlap)
    return OK
