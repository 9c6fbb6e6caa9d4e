"""`vultus cluster`: unlabelled photos to an album by person, and what its reader decided back into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    warn,
)

if TYPE_CHECKING:
    from vultus.album import Album, Change
    from vultus.recognizer import Recognizer

Who = "Groups by number or name and faces by identifier, with commas between"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("cluster")(cluster)


def cluster(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PHOTOS", help="Photos, or folders for all photos below, by path.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the album: a new one, or one to bring up to date.")],
    merge: Annotated[
        list[str] | None, typer.Option("--merge", help=f"These are one person: 3,17. {Who}. May be repeated.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="These faces of one group are not its person: FACE,FACE. May be repeated."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="What a person is called: 3=Ada. May be repeated.")
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option("--forget", help="Undo all decisions about these: 3,17. May be repeated.")
    ] = None,
    apply: Annotated[
        list[Path] | None, typer.Option("--apply", help="Make the changes that were saved from the album's pages.")
    ] = None,
    enrol: Annotated[
        str | None, typer.Option("--enrol", help="Enrol everybody who has a name into this gallery, which exists.")
    ] = None,
    consent: Annotated[str | None, typer.Option("--consent", help="With --enrol: reference to the consent.")] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the album.")] = "Album",
    min_face: Annotated[
        float | None,
        typer.Option("--min-face", help="Smallest face wanted, in pixels. Default: 32. Fixed for an album."),
    ] = None,
    min_quality: Annotated[
        float, typer.Option("--min-quality", help="Faces of a lower quality, 0 to 1, shape no group.")
    ] = 0.1,
    rate: Annotated[
        float, typer.Option("--rate", help="Share of the faces seen once that may be joined with somebody else.")
    ] = 0.01,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Group at this score instead.")] = None,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Group photos by the people in them, as pages for a browser.

    Run it again after photos came or went, with decisions or without: only what is new is looked at, and groups keep
    their numbers. Decisions are made in this order: those of --apply, then --forget, --split, --merge and --name. Photos
    that cannot be read are named, and the exit code is 2.
    """
    from vultus.album import make_album
    from vultus.album.scan import photo_files

    changes = _changes(apply, forget=forget, split=split, merge=merge, name=name)
    files = photo_files(sources)
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    if enrol is not None:
        _checked_gallery(enrol, recognizer)
    with progress(len(files), "looking at photos", quiet=json) as advance:
        album = make_album(
            sources,
            out,
            recognizer,
            changes=changes,
            title=title,
            min_face=min_face,
            min_quality=min_quality,
            rate=rate,
            threshold=threshold,
            progress=advance,
        )
    record = _record(album)
    if enrol is not None:
        record["enrolled"] = _enrolled(album, enrol, recognizer, consent)
    if json:
        print_json(record)
    else:
        _say(album, record)
    return FAILED if album.failures else OK


def _changes(
    apply: list[Path] | None,
    *,
    forget: list[str] | None,
    split: list[str] | None,
    merge: list[str] | None,
    name: list[str] | None,
) -> list[Change]:
    """What the options decide, in the order that the help states."""
    from vultus.album import Change, read_changes
    from vultus.errors import BadArgument

    changes = [change for file in apply or () for change in read_changes(file)]
    changes += [Change("forget", _who(text)) for text in forget or ()]
    changes += [Change("split", _who(text)) for text in split or ()]
    changes += [Change("merge", _who(text)) for text in merge or ()]
    for text in name or ():
        who, equals, word = text.partition("=")
        if not equals:
            raise BadArgument(f"--name {text!r} has no '='; expected somebody and a name, such as 3=Ada")
        changes.append(Change("name", _who(who), word))
    return changes


def _who(text: str) -> tuple[str, ...]:
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _checked_gallery(address: str, recognizer: Recognizer) -> None:
    """A gallery that cannot be opened is refused before hours of work, not after them."""
    from vultus.cli.gallery_file import opened_for

    opened_for(address, recognizer, None).close()


def _enrolled(album: Album, address: str, recognizer: Recognizer, consent: str | None) -> list[dict[str, Any]]:
    from vultus.album import enrol_named
    from vultus.cli.gallery_file import opened_for

    with opened_for(address, recognizer, None) as gallery:
        done = enrol_named(album, gallery, consent=consent)
    return [
        {
            "subject_id": e.subject_id,
            "templates": e.templates,
            "similar": [{"subject_id": c.subject_id, "score": c.score} for c in e.similar],
        }
        for e in done
    ]


def _record(album: Album) -> dict[str, Any]:
    """The album as one document."""
    groups, faces = album.groups, album.faces
    with_face = set(faces.photos.tolist())
    return {
        "album": _text(str(album.index.parent)),
        "index": _text(str(album.index)),
        "model_id": album.model_id,
        "threshold": groups.threshold,
        "photos": len(album.photos),
        "looked_at": album.looked_at,
        "faces": len(faces),
        "groups": [
            {
                "group": label,
                "name": album.names.get(label),
                "faces": [_face(album, i) for i in groups.members(label).tolist()],
            }
            for label in groups.ids.tolist()
        ],
        "unsure": [_face(album, i) for i in groups.unsure.tolist()],
        "without_face": [_text(p.files[0]) for i, p in enumerate(album.photos) if i not in with_face],
        "failures": [{"file": _text(f.file), "code": f.code, "message": _text(f.message)} for f in album.failures],
    }


def _face(album: Album, face: int) -> dict[str, Any]:
    return {
        "face": album.faces.ids[face],
        "files": [_text(f) for f in album.photos[int(album.faces.photos[face])].files],
        "box": [round(float(v), 4) for v in album.faces.boxes[face]],
        "quality": round(float(album.faces.quality[face]), 4),
        "confidence": round(float(album.groups.confidences[face]), 4),
    }


def _text(path: str) -> str:
    """A path as JSON can hold it; what is no text in a file's name is spelt out."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _say(album: Album, record: dict[str, Any]) -> None:
    from vultus.evaluate.report.words import count

    sizes = album.groups.sizes
    several, once = int((sizes > 1).sum()), int((sizes == 1).sum())
    photos, faces, unsure = count(record["photos"], "photo"), count(record["faces"], "face"), len(album.groups.unsure)
    console.print(f"{photos}, {record['looked_at']:,} looked at now; {faces}")
    people = count(several, "person", "people")
    console.print(f"{people} in two photos or more, {once:,} seen once, {count(unsure, 'face')} unsure")
    without = count(len(record["without_face"]), "photo")
    console.print(f"{without} without a face, {len(album.failures):,} that cannot be read")
    console.print(str(album.index), markup=False)
    for entry in record.get("enrolled", []):
        console.print(f"{entry['templates']} templates of {entry['subject_id']} enrolled", markup=False)
        for alike in entry["similar"]:
            warn(f"{entry['subject_id']} looks like {alike['subject_id']} ({alike['score']:.3f})")
    for failure in record["failures"]:
        warn(f"{failure['file']}: {failure['code']}: {failure['message']}")
