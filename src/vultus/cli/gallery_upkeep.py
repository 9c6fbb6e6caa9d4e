"""`vultus gallery erase` and `recall`: what a gallery on a server needs now and then."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.gallery_file import GalleryFile, KeyFile, existing, opened_for, say
from vultus.cli.gallery_photos import Face
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
    load_recognizer,
    progress,
    warn,
)


def erase(gallery: GalleryFile, key_file: KeyFile = None, json: Json = False) -> int:
    """Erase the bytes of what was deleted and is still in the files. Exit code 1: others use them, try again."""
    with existing(gallery, key_file) as opened:
        done = opened.erase()
    words = "not erased: others are using the gallery, or its server frees the bytes in its own time"
    say(json, {"erased": done}, "erased" if done else words)
    return OK if done else NO


def recall(
    gallery: GalleryFile,
    photos: Annotated[list[Path], typer.Argument(help="Photos, of enrolled people or of strangers.")],
    max_rank: Annotated[int, typer.Option("--max-rank", min=1, help="How many candidates count.")] = 1,
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
    """How many of an exact search's candidates does a search find? Exit code 2 where a photo failed."""
    from vultus.errors import VultusError

    recognizer = load_recognizer(
        model, detector=detector, mirror=mirror, threads=threads, providers=provider, accept_licence=accept_licence
    )
    probes, failures = [], []
    with opened_for(gallery, recognizer, key_file) as opened:
        with progress(len(photos), "embedding", quiet=json) as advance:
            for photo, result in zip(photos, recognizer.extract(photos, policy=face), strict=True):  # type: ignore[arg-type]
                if isinstance(result, VultusError):
                    failures.append({"file": str(photo), "code": result.code, "message": str(result)})
                else:
                    probes.append(result.template)
                advance(1)
        found = opened.recall(probes, max_rank=max_rank)
    words = (
        f"{found.found} of {found.candidates} candidates found; the best one in {found.first} of {found.searches} searches "
        f"(95 %: {found.low:.3f} to {found.high:.3f})"
    )
    say(json, {**asdict(found), "share": found.share, "failures": failures}, words)
    for failure in [] if json else failures:
        warn(f"{failure['file']}: {failure['code']}: {failure['message']}")
    return FAILED if failures else OK
