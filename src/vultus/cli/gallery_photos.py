"""`vultus gallery enrol` and `identify`: from photos to enrolled people, and from a photo to who it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.cli.gallery_file import GalleryFile, KeyFile, opened_for, say
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

if TYPE_CHECKING:
    from vultus.gallery import Gallery, Identification
    from vultus.recognizer import Recognizer, Sample

Face = Annotated[str, typer.Option("--face", help="Which face is meant: largest, central or one (exactly one).")]


def enrol(
    gallery: GalleryFile,
    sources: Annotated[
        list[Path], typer.Argument(help="A folder of people (root/<subject>/<photo>), or with --subject photos of one.")
    ],
    subject: Annotated[str | None, typer.Option("--subject", help="Whom the photos show.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The subject's name, for people to read.")] = None,
    consent: Annotated[str | None, typer.Option("--consent", help="Reference to the consent.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="From when on not to use them: 2027-01-31.")] = None,
    blanks: Annotated[
        bool, typer.Option("--blanks", help="Record subjects without a usable photo: counted, never matched.")
    ] = False,
    face: Face = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Enrol people; known subjects get the photos that they do not have yet. Exit code 2 where a photo failed."""
    from vultus.weights.lookup import file_sha256

    until = _moment(expires)
    files = _files(sources, subject)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    report: dict[str, Any] = {"subjects": 0, "templates": 0, "known": 0, "failures": [], "similar": []}
    with opened_for(gallery, recognizer, key_file) as opened, progress(len(files), "enrolling", quiet=json) as advance:
        pending = [(who, file) for who, file in files if not _known(opened, who, file)]
        report["known"] = len(files) - len(pending)
        advance(report["known"])
        for who, samples in _by_subject(recognizer, pending, face, advance, report["failures"]):
            if samples:
                photos = [file_sha256(file) for file, _ in samples]
                templates = [sample.template for _, sample in samples]
                options: dict[str, Any] = {"consent": consent, "expires": until, "photo_sha256": photos}
                if who in opened:
                    done = opened.add(who, templates, **options)
                else:
                    done = opened.enrol(who, templates, name=name, **options)
                report["templates"] += done.templates
                report["similar"] += [{"subject_id": who, "like": c.subject_id, "score": c.score} for c in done.similar]
            elif blanks and who not in opened:
                opened.enrol_blank(who, name=name, consent=consent, expires=until)
            report["subjects"] += bool(samples) or blanks
    summary = f"{report['templates']} templates of {report['subjects']} subjects; {report['known']} photos were known"
    say(json, report, summary)
    for failure in [] if json else report["failures"]:
        warn(f"{failure['file']}: {failure['code']}: {failure['message']}")
    for alike in [] if json else report["similar"]:
        warn(
            f"{alike['subject_id']} looks like {alike['like']} ({alike['score']:.3f}): perhaps one person under two names"
        )
    return FAILED if report["failures"] else OK


def identify(
    gallery: GalleryFile,
    photos: Annotated[list[Path], typer.Argument(help="Photos.")],
    fpir: Annotated[
        float | None, typer.Option("--fpir", help="How often a search for a stranger may name somebody. Default: 0.01.")
    ] = None,
    fmr: Annotated[float | None, typer.Option("--fmr", help="Decide at a false match rate instead.")] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Decide at this score instead.")] = None,
    max_rank: Annotated[int, typer.Option("--max-rank", min=1, help="Candidates at most.")] = 5,
    face: Face = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Who do photos show? Exit code 0: somebody in each, 1: nobody in one, 2: a photo failed."""
    from vultus.errors import VultusError

    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    records: list[dict[str, Any]] = []
    with (
        opened_for(gallery, recognizer, key_file) as opened,
        progress(len(photos), "searching", quiet=json) as advance,
    ):
        for photo, result in zip(photos, recognizer.extract(photos, policy=face), strict=True):  # type: ignore[arg-type]
            if isinstance(result, VultusError):
                records.append({"file": str(photo), "error": {"code": result.code, "message": str(result)}})
            else:
                found = opened.identify(result.template, fpir=fpir, fmr=fmr, threshold=threshold, max_rank=max_rank)
                records.append({"file": str(photo), **_identification(found)})
            advance(1)
    if json:
        print_json({"model_id": recognizer.model_id, "pad": "not_evaluated", "photos": records})
    for record in [] if json else records:
        _print_search(record)
    if any("error" in record for record in records):
        return FAILED
    return OK if all(record["candidates"] for record in records) else NO


def _files(sources: list[Path], subject: str | None) -> list[tuple[str, Path]]:
    """(subject, photo), the photos of a subject next to each other."""
    from vultus.errors import BadArgument
    from vultus.evaluate import read_people

    if subject is not None:
        return [(subject, file) for file in sources]
    if len(sources) != 1 or not sources[0].is_dir():
        raise BadArgument("expected one folder of people (root/<subject>/<photo>), or --subject with photos of one")
    people = read_people(sources[0])
    return [(people.names[i], Path(file)) for i, file in zip(people.subjects, people.files, strict=True)]


def _known(gallery: Gallery, subject: str, file: Path) -> bool:
    """Whether the subject has a template of just this photo."""
    from vultus.weights.lookup import file_sha256

    if subject not in gallery or not file.is_file():
        return False
    digest = file_sha256(file)
    return any(t.photo_sha256 == digest for t in gallery.templates(subject))


def _by_subject(
    recognizer: Recognizer,
    files: list[tuple[str, Path]],
    face: str,
    advance: Callable[[int], None],
    failures: list[dict[str, str]],
) -> Iterator[tuple[str, list[tuple[Path, Sample]]]]:
    """The photos of each subject that gave a template; those that did not are added to the failures."""
    from vultus.errors import VultusError

    results = zip(files, recognizer.extract([f for _, f in files], policy=face), strict=True)  # type: ignore[arg-type]
    for who, group in groupby(results, key=lambda entry: entry[0][0]):
        samples = []
        for (_, file), result in group:
            if isinstance(result, VultusError):
                failures.append({"file": str(file), "code": result.code, "message": str(result)})
            else:
                samples.append((file, result))
            advance(1)
        yield who, samples


def _moment(text: str | None) -> datetime | None:
    """A date or time; without a zone it is this machine's."""
    from vultus.errors import BadArgument

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        raise BadArgument(f"--expires {text!r} is no date such as 2027-01-31: {problem}") from problem
    return moment if moment.tzinfo is not None else moment.astimezone()


def _identification(found: Identification) -> dict[str, Any]:
    basis = found.basis
    return {
        "candidates": [{"rank": c.rank, "subject_id": c.subject_id, "score": c.score} for c in found],
        "threshold": found.threshold,
        "fpir": found.fpir,
        "compared": found.compared,
        "revision": found.revision,
        "basis": None if basis is None else basis.data,
    }


def _print_search(record: dict[str, Any]) -> None:
    from rich.markup import escape

    if "error" in record:
        warn(f"{record['file']}: {record['error']['code']}: {record['error']['message']}")
        return
    rate = "" if record["fpir"] is None else f", FPIR {record['fpir']:.2g}"
    title = f"{record['file']}: threshold {record['threshold']:.4f}{rate}, {record['compared']:,} templates compared"
    if record["candidates"]:
        rows = [[escape(c["subject_id"]), str(c["rank"]), f"{c['score']:.4f}"] for c in record["candidates"]]
        table(["subject", "rank", "score"], rows, title=escape(title))
    else:
        console.print(f"{title}\nnobody", markup=False)
