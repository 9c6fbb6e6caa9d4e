"""`vultus gallery rekey` and `migrate`: the same people under another key, or in templates of another model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.gallery_file import NEW_KEY, KeyFile, NewKeyFile, existing, key_of, read_key, say
from vultus.cli.gallery_photos import Face
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
    load_recognizer,
    progress,
    warn,
)

_SHOWN = 20


def rekey(
    gallery: Annotated[Path, typer.Argument(metavar="GALLERY", help="The gallery's file.")],
    key_file: KeyFile = None,
    new_key_file: NewKeyFile = None,
    decrypt: Annotated[bool, typer.Option("--decrypt", help="Take the key away.")] = False,
    json: Json = False,
) -> int:
    """Encrypt a gallery, change its key, or decrypt it; nobody else may have it open."""
    from vultus.errors import BadArgument
    from vultus.gallery import rekey as change

    new = read_key(new_key_file, NEW_KEY)
    if decrypt == (new is not None):
        raise BadArgument(f"expected either a new key (--new-key-file, or ${NEW_KEY}) or --decrypt")
    done = change(gallery, key=key_of(str(gallery), key_file), new_key=new)
    kept = "" if done.erased else "; the old file's bytes are still on the disk"
    say(
        json,
        {"gallery": str(gallery), **asdict(done)},
        f"{gallery} with {done.templates} templates is {'encrypted' if done.encrypted else 'not encrypted'} now{kept}",
    )
    return OK


def migrate(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The gallery to read.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The gallery to write; made where there is none.")],
    photos: Annotated[list[Path], typer.Option("--photos", help="Folder with the photos; may be repeated.")],
    skip: Annotated[
        bool, typer.Option("--skip", help="Do not enrol those of whom no template is made. Default: blank.")
    ] = False,
    face: Face = "largest",
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    key_file: KeyFile = None,
    new_key_file: NewKeyFile = None,
    json: Json = False,
) -> int:
    """Move to another model: embed the photos of the enrolled anew. Exit code 2 where a template could not be made.

    Photos are found by the sha256 that was recorded at enrolment. OLD stays as it is. Run it again to go on after an
    interruption, or with more photos. NEW has the key of OLD unless another is given.
    """
    from vultus.gallery import Gallery, photos_by_sha256
    from vultus.gallery import migrate as move
    from vultus.gallery.opening import is_served
    from vultus.gallery.photos import photo_files

    files = len(photo_files(photos))
    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    new_key = read_key(new_key_file, NEW_KEY)
    if new_key is None and not is_served(new):
        new_key = key_of(new, key_file)
    with (
        existing(old, key_file, read_only=True) as source,
        Gallery.open(new, model=recognizer.model_id, near_duplicate=None, key=new_key) as target,
    ):
        with progress(files, "looking for the photos", quiet=json) as advance:
            found = photos_by_sha256(photos, progress=advance)
        with progress(source.stats().templates, "embedding", quiet=json) as advance:
            done = move(
                source,
                target,
                recognizer,
                found,
                policy=face,  # type: ignore[arg-type]
                without="skip" if skip else "blank",
                progress=advance,
            )
    bare = "not enrolled" if skip else "blank"
    words = (
        f"{done.moved} of {done.templates} templates of {done.subjects} subjects made anew, {done.known} were there, "
        f"{len(done.left)} left; {len(done.without_template)} subjects without a template ({bare})"
    )
    say(json, asdict(done), words)
    if not json:
        for entry in done.left[:_SHOWN]:
            warn(f"{entry.subject_id}, template {entry.number}: {entry.code}: {entry.message}")
        if len(done.left) > _SHOWN:
            warn(f"and {len(done.left) - _SHOWN} more; --json lists all")
        for subject in done.only_in_new[:_SHOWN]:
            warn(f"{subject} is in the new gallery and not in the old one; delete it there if it was deleted")
    return FAILED if done.left else OK
