"""From a folder of photos to shards to train on: faces found, aligned, measured, freed of duplicates and packed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.align import ALIGNMENT
from vultus.errors import DatasetError, SourceUnavailable
from vultus.recognizer import Recognizer
from vultus.runtime import Settings
from vultus.train.data.cutting import FOUND, PART, Cuts, Workshop
from vultus.train.data.duplicates import across
from vultus.train.data.files import write
from vultus.train.data.folder import list_photos
from vultus.train.data.judging import KEPT, Preparation, judge
from vultus.train.data.report import PreparationReport, histogram
from vultus.train.data.shards import MANIFEST, ShardManifest, write_shards
from vultus.types import IntArray

Progress = Callable[[str, int, int], None]

_WORK = ".work-"


@export("vultus.train.data.prepare")
def prepare(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    options: Preparation | None = None,
    recognizer: Recognizer | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PreparationReport:
    """Make shards of a folder of photos.

    The target gets `manifest.json` and the shards (see `Shards`), `report.txt` and `report.json`, and `photos.csv` with
    what became of every photo. A run that was interrupted goes on where it stopped when it is started again with the same
    photos, model and options; a target that is complete is left as it is.

    Args:
        source: folder `source/<identity>/<photo>`.
        target: folder to fill.
        options: what to do; see `Preparation`.
        recognizer: finds, measures and embeds the faces; the default model unless told otherwise.
        workers: photos worked on at once; as many as the cores that the process may use unless told otherwise.
        progress: called with the name of the step, how much of it is done, and how much there is.

    Returns:
        the report; that of the earlier run where the target is complete.

    Raises:
        SourceUnavailable: the source cannot be read.
        DatasetError: fewer than two identities have photos or keep one, the target holds something else, or it cannot be
            written.
        ImageError: a photo is damaged and `damaged` is "error".
    """
    begun = time.monotonic()
    options, tell = options or Preparation(), progress or _silent
    recognizer = recognizer or Recognizer.load(threads=1)
    photos = _Photos.of(Path(source))
    out = Path(target)
    cutting, plan = _plans(photos, recognizer, options)
    known = _finished(out, plan)
    if known is not None:
        return known
    shop = Workshop(out / f"{_WORK}{cutting[:16]}-{PART}", [photos.root / name for name in photos.names])
    done = 0
    for finished in shop.work(
        recognizer,
        workers=workers or Settings.of(None, None).threads,
        policy=options.policy,
        encoding=options.encoding,
        tolerant=options.damaged == "skip",
    ):
        done += finished
        tell("faces", done, len(photos.names))
    cuts = shop.cuts()
    reasons = judge(cuts, photos.labels, options)
    kept = np.flatnonzero(reasons == KEPT)
    people, labels = np.unique(photos.labels[kept], return_inverse=True)
    if len(people) < 2:
        raise DatasetError(
            f"{len(people)} identities keep a photo ({_counted(reasons)}); loosen min_quality, min_eyes or "
            "min_photos, or check the photos"
        )
    order = np.random.default_rng(options.seed).permutation(len(kept)) if options.shuffle else np.arange(len(kept))
    kept, labels = kept[order], labels[order]
    report = _report(photos, cuts, reasons, kept, recognizer.model_id, options, seconds=time.monotonic() - begun)
    write(out / "photos.csv", _table(photos, cuts, reasons, kept, options.shard_photos))
    write(out / "report.json", report.to_json().encode())
    write(out / "report.txt", str(report).encode("utf-8", "surrogateescape"))
    write_shards(
        out,
        _told(
            ((shop.content(cuts, i), label) for i, label in zip(kept.tolist(), labels.tolist(), strict=True)),
            len(kept),
            tell,
        ),
        tuple(photos.people[i] for i in people),
        encoding=options.encoding,
        shard_photos=options.shard_photos,
        model=recognizer.model_id,
        plan=plan,
    )
    _clean(out)
    return report


@dataclass(frozen=True, slots=True, eq=False)
class _Photos:
    """The photos of a source.

    Args:
        root: the folder.
        people: names of the identities.
        names: (n,) path of each photo in the folder.
        labels: (n,) number of its identity.
    """

    root: Path
    people: tuple[str, ...]
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, root: Path) -> _Photos:
        found = list_photos(root)
        labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
        if sum(1 for files in found.values() if files) < 2:
            raise DatasetError(
                f"{str(root)!r} has photos of fewer than two identities; training tells at least two apart"
            )
        names = tuple(f"{person}/{file}" for person, files in found.items() for file in files)
        return cls(root, tuple(found), names, labels)


def _plans(photos: _Photos, recognizer: Recognizer, options: Preparation) -> tuple[str, str]:
    """Fingerprints of what decides the cut-out faces, and of all that decides the shards."""
    digest = hashlib.sha256()
    cutting = (recognizer.model_id, ALIGNMENT, options.policy, options.encoding, options.damaged)
    digest.update(json.dumps(cutting).encode())
    for name in photos.names:
        try:
            status = (photos.root / name).stat()
        except OSError as problem:
            raise SourceUnavailable(f"cannot read {name!r}: {problem.strerror or problem}") from problem
        digest.update(json.dumps([name, status.st_size, status.st_mtime_ns]).encode())
    first = digest.hexdigest()
    digest.update(json.dumps(asdict(options), sort_keys=True).encode())
    return first, digest.hexdigest()


def _finished(out: Path, plan: str) -> PreparationReport | None:
    """The report of a target that is complete already, or None.

    Raises:
        DatasetError: the target is no folder, or holds another preparation.
    """
    if not (out / MANIFEST).exists():
        if out.exists() and not out.is_dir():
            raise DatasetError(f"{str(out)!r} is a file; expected a folder, or a name that is free")
        return None
    if ShardManifest.load(out).plan != plan:
        raise DatasetError(
            f"{str(out)!r} holds shards of other photos, another model or other options; choose another target, or delete it"
        )
    _clean(out)
    try:
        return PreparationReport.of_json((out / "report.json").read_text(encoding="utf-8"))
    except OSError as problem:
        raise DatasetError(f"{str(out)!r} is complete but its report.json cannot be read: {problem}") from problem


def _report(
    photos: _Photos,
    cuts: Cuts,
    reasons: npt.NDArray[np.str_],
    kept: IntArray,
    model: str,
    options: Preparation,
    *,
    seconds: float,
) -> PreparationReport:
    before, after = (np.bincount(x, minlength=len(photos.people)) for x in (photos.labels, photos.labels[kept]))
    bits = max(options.duplicate_bits, 0)
    pairs = across(cuts.rows[kept], cuts.hash[kept], photos.labels[kept], cosine=options.duplicate_cosine, bits=bits)
    return PreparationReport(
        source=str(photos.root),
        model=model,
        photos=len(photos.names),
        kept=len(kept),
        identities=len(photos.people),
        kept_identities=int(np.count_nonzero(after)),
        dropped=_counted(reasons),
        lost=tuple(person for person, n in zip(photos.people, after, strict=True) if not n),
        histogram=histogram(before, after),
        quality=tuple(round(float(q), 4) for q in np.quantile(cuts.quality[kept], [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])),
        shared=tuple((photos.names[kept[a]], photos.names[kept[b]]) for a, b in pairs),
        options=asdict(options),
        seconds=round(seconds, 1),
    )


def _counted(reasons: npt.NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(reasons[reasons != KEPT], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _table(photos: _Photos, cuts: Cuts, reasons: npt.NDArray[np.str_], kept: IntArray, shard_photos: int) -> bytes:
    """What became of every photo, as CSV."""
    place = np.full(len(reasons), -1)
    place[kept] = np.arange(len(kept))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["photo", "outcome", "shard", "record", "quality", "eyes", "faces", "detail"])
    for i, name in enumerate(photos.names):
        found = cuts.outcome[i] == FOUND
        measures = [f"{cuts.quality[i]:.4f}", f"{cuts.eyes[i]:.1f}", int(cuts.faces[i])] if found else ["", "", ""]
        where = divmod(int(place[i]), shard_photos) if place[i] >= 0 else ("", "")
        rows.writerow([name, "kept" if reasons[i] == KEPT else reasons[i], *where, *measures, cuts.detail[i]])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _told(photos: Iterable[tuple[bytes, int]], total: int, tell: Progress) -> Iterator[tuple[bytes, int]]:
    for done, photo in enumerate(photos):
        if done % 1000 == 0:
            tell("shards", done, total)
        yield photo
    tell("shards", total, total)


def _clean(out: Path) -> None:
    """Remove what finished and interrupted runs left behind."""
    for folder in out.glob(f"{_WORK}*"):
        shutil.rmtree(folder, ignore_errors=True)
    known = {shard.name for shard in ShardManifest.load(out).shards}
    for file in (*out.glob("*.part"), *(f for f in out.glob("shard-*.*") if f.stem not in known)):
        file.unlink(missing_ok=True)


def _silent(step: str, done: int, total: int) -> None:
    """Nobody wants to know."""
