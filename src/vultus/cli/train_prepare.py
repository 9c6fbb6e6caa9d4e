"""`vultus train prepare` and `check`: from photos to shards to train on, and whether shards are as they were written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
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
)
from vultus.errors import ExtraMissing


def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of people: SOURCE/<identity>/<photo>.")],
    target: Annotated[Path, typer.Argument(help="Folder for the shards; an interrupted run goes on in it.")],
    face: Annotated[str, typer.Option("--face", help="Which face is meant: largest, central or one.")] = "largest",
    min_quality: Annotated[float, typer.Option("--min-quality", help="Lowest overall quality, 0 to 1.")] = 0.02,
    min_eyes: Annotated[float, typer.Option("--min-eyes", help="Smallest distance of the eyes in pixels.")] = 12.0,
    duplicate_cosine: Annotated[
        float, typer.Option("--duplicate-cosine", help="Embeddings of near-duplicates have at least this cosine,")
    ] = 0.9,
    duplicate_bits: Annotated[
        int, typer.Option("--duplicate-bits", help="and their hashes differ in at most so many bits; -1 keeps them.")
    ] = 4,
    min_photos: Annotated[int, typer.Option("--min-photos", help="Drop identities with fewer photos left.")] = 1,
    encoding: Annotated[str, typer.Option("--encoding", help="webp, png, jpeg or raw.")] = "webp",
    shard_photos: Annotated[int, typer.Option("--shard-photos", help="Photos in one shard.")] = 10_000,
    ordered: Annotated[bool, typer.Option("--ordered", help="Keep the photos of an identity together.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the order of the photos.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first photo that cannot be read.")] = False,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Threads = None,
    provider: Provider = None,
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Find, align and measure the faces of a folder of people, drop what does not serve, and pack the rest."""
    data = _data()
    from vultus.train.data.folder import list_photos

    options = data.Preparation(
        policy=face,
        min_quality=min_quality,
        min_eyes=min_eyes,
        duplicate_cosine=duplicate_cosine,
        duplicate_bits=duplicate_bits,
        min_photos=min_photos,
        encoding=encoding,
        shard_photos=shard_photos,
        shuffle=not ordered,
        seed=seed,
        damaged="error" if strict else "skip",
    )
    total = sum(len(photos) for photos in list_photos(source).values())
    recognizer = load_recognizer(
        model,
        detector=detector,
        mirror=mirror,
        threads=1,
        providers=provider,
        accept_licence=accept_licence,
    )
    with progress(total, "photos", quiet=json) as advance:
        before = 0

        def tell(step: str, done: int, _total: int) -> None:
            nonlocal before
            if step == "faces":
                advance(done - before)
                before = done

        report = data.prepare(source, target, options=options, recognizer=recognizer, workers=threads, progress=tell)
    if json:
        from json import loads

        print_json(loads(report.to_json()))
    else:
        console.print(str(report), markup=False, end="")
    return OK


def check(
    shards: Annotated[Path, typer.Argument(help="Folder of prepared shards.")],
    json: Json = False,
) -> int:
    """Read prepared shards whole and compare every file with the manifest."""
    data = _data()
    total = sum(shard.bytes for shard in data.ShardManifest.load(shards).shards)
    with progress(total, "bytes", quiet=json) as advance:
        manifest = data.verify_shards(shards, progress=advance)
    if json:
        print_json(
            {"photos": manifest.photos, "identities": len(manifest.classes), "bytes": total, "model": manifest.model}
        )
    else:
        console.print(
            f"{shards}: {manifest.photos:,} photos of {len(manifest.classes):,} identities, as written", markup=False
        )
    return OK


def _data() -> ModuleType:
    """`vultus.train.data`, or an error that says what to install."""
    if find_spec("torch") is None:
        raise ExtraMissing("training needs torch: pip install 'vultus[train]'")
    from vultus.train import data

    return data
