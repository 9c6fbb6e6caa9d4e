"""`vultus gallery`: make a gallery and look after what is enrolled; see `gallery_photos` for what takes photos."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from vultus.cli.gallery_file import GalleryFile, KeyFile, existing, is_there, key_of, say
from vultus.cli.gallery_move import migrate, rekey
from vultus.cli.gallery_photos import enrol, identify
from vultus.cli.gallery_upkeep import erase, recall
from vultus.cli.output import (
    NO,
    OK,
    AcceptLicence,
    DetectorName,
    Json,
    Mirror,
    Model,
    load_recognizer,
    print_json,
    table,
    warn,
)

SubjectId = Annotated[str, typer.Argument(metavar="SUBJECT", help="A subject's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Enrol people and find out who a photo shows, if anybody.", no_args_is_help=True)
    for name, command in (
        ("create", create),
        ("enrol", enrol),
        ("identify", identify),
        ("list", list_subjects),
        ("delete", delete),
        ("merge", merge),
        ("rename", rename),
        ("purge", purge),
        ("export", export),
        ("import", import_),
        ("check", check),
        ("stats", stats),
        ("erase", erase),
        ("recall", recall),
        ("rekey", rekey),
        ("migrate", migrate),
    ):
        group.command(name)(command)
    app.add_typer(group, name="gallery")


def create(
    gallery: GalleryFile,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    accept_licence: AcceptLicence = False,
    key_file: KeyFile = None,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Make nothing without a key.")] = False,
    json: Json = False,
) -> int:
    """Make an empty gallery for templates of one model. Where there is a key, it is encrypted."""
    from vultus.errors import BadArgument
    from vultus.gallery import Gallery
    from vultus.gallery.opening import name_of

    if is_there(gallery, key_file):
        raise BadArgument(f"{name_of(gallery)} exists already; name another")
    key = key_of(gallery, key_file)
    if encrypt and key is None:
        raise BadArgument("--encrypt without a key; name a --key-file, or set VULTUS_GALLERY_KEY")
    recognizer = load_recognizer(model, detector=detector, mirror=mirror, accept_licence=accept_licence)
    with Gallery.open(gallery, model=recognizer.model_id, key=key) as opened:
        say(
            json,
            {"gallery": opened.name, "model_id": opened.model_id, "encrypted": key is not None},
            f"{opened.name} for templates of {opened.model_id}{'' if key is None else ', encrypted'}",
        )
    return OK


def list_subjects(
    gallery: GalleryFile,
    subject: Annotated[str | None, typer.Argument(metavar="SUBJECT", help="Only this one, with its templates.")] = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """The enrolled subjects, or the templates of one."""
    from rich.markup import escape

    with existing(gallery, key_file) as opened:
        if subject is not None:
            templates = [plain(t, without=("vector",)) for t in opened.templates(subject)]
            if json:
                print_json({**plain(opened.subject(subject)), "templates": templates})
            else:
                columns = ["number", "samples", "quality", "expires", "consent", "photo_sha256"]
                table(columns, [[escape(_cell(t[c])) for c in columns] for t in templates], title=escape(subject))
            return OK
        subjects = [plain(s) for s in opened.subjects()]
    if json:
        print_json(subjects)
    else:
        columns = ["subject_id", "name", "templates", "blanks", "created"]
        table(columns, [[escape(_cell(s[c])) for c in columns] for s in subjects])
    return OK


def delete(
    gallery: GalleryFile,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECT...", help="Ids of subjects.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Delete subjects with all templates, and erase their bytes."""
    with existing(gallery, key_file) as opened:
        done = [{"subject_id": s, **asdict(opened.delete(s))} for s in subjects]
    say(json, {"deleted": done}, f"{len(done)} subjects deleted, {sum(d['templates'] for d in done)} templates erased")
    return OK


def merge(
    gallery: GalleryFile,
    subject: SubjectId,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The subject that is given up.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Give all templates of OTHER to SUBJECT."""
    with existing(gallery, key_file) as opened:
        moved = opened.merge(subject, other)
    say(json, {"subject_id": subject, "merged": other, "templates": moved}, f"{moved} templates moved to {subject}")
    return OK


def rename(
    gallery: GalleryFile,
    subject: SubjectId,
    name: Annotated[str, typer.Argument(help="The new name, for people to read.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Change a subject's name; its id stays."""
    with existing(gallery, key_file) as opened:
        opened.rename(subject, name)
    say(json, {"subject_id": subject, "name": name}, f"{subject} is named {name}")
    return OK


def purge(gallery: GalleryFile, key_file: KeyFile = None, json: Json = False) -> int:
    """Remove what has expired."""
    with existing(gallery, key_file) as opened:
        done = opened.purge()
    say(json, asdict(done), f"{done.templates} expired templates removed")
    return OK


def export(
    gallery: GalleryFile,
    archive: Annotated[Path, typer.Argument(help="The zip file to write.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Write everything into one archive, which is not encrypted."""
    with existing(gallery, key_file) as opened:
        subjects = opened.export_archive(archive)
    say(json, {"archive": str(archive), "subjects": subjects}, f"{subjects} subjects in {archive}")
    return OK


def import_(
    gallery: GalleryFile,
    archive: Annotated[Path, typer.Argument(help="A file that `vultus gallery export` wrote.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Enrol everyone in an archive, or nobody; a gallery that does not exist is made."""
    from vultus.gallery import Gallery
    from vultus.gallery.archive import archive_model

    with Gallery.open(gallery, model=archive_model(archive), key=key_of(gallery, key_file)) as opened:
        subjects = opened.import_archive(archive)
    say(json, {"gallery": opened.name, "subjects": subjects}, f"{subjects} subjects enrolled in {opened.name}")
    return OK


def check(gallery: GalleryFile, key_file: KeyFile = None, json: Json = False) -> int:
    """Read and check everything. Exit code 0: all is well, 1: something is not."""
    with existing(gallery, key_file) as opened:
        found = opened.verify_integrity()
    say(json, {"ok": found.ok, **asdict(found)}, f"{found.templates} templates checked, {len(found.problems)} problems")
    for problem in [] if json else found.problems:
        warn(problem)
    return OK if found.ok else NO


def stats(gallery: GalleryFile, key_file: KeyFile = None, json: Json = False) -> int:
    """The gallery in numbers."""
    with existing(gallery, key_file) as opened:
        found = asdict(opened.stats())
    say(json, found, "\n".join(f"{key:<18} {value}" for key, value in found.items()))
    return OK


def plain(record: object, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A record as JSON can hold it."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in without}  # type: ignore[arg-type]
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
