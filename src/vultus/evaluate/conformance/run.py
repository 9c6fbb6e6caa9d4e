"""Conformance: does a system behave as an operator must be able to rely on, whatever its accuracy?

What is asked of a submission to a vendor test is asked of every manifest: typed return codes, blank templates that match
nobody, no writes beside the folder that was named, and one result wherever and however it is computed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable, VultusError
from vultus.evaluate.conformance.checks import CHECKS, NotConforming, Setup, references
from vultus.evaluate.conformance.photos import make_photos
from vultus.image import read_image
from vultus.recognizer import Recognizer
from vultus.weights import Manifest, find_weights, load_manifest, save_manifest
from vultus.weights.manifest import Source


@export("vultus.evaluate.ConformanceCheck")
@dataclass(frozen=True, slots=True)
class ConformanceCheck:
    """One thing that was looked at.

    Args:
        name: of the check.
        ok: whether the system passed.
        message: what was seen.
    """

    name: str
    ok: bool
    message: str


@export("vultus.evaluate.ConformanceResult")
@dataclass(frozen=True, slots=True)
class ConformanceResult:
    """All checks of one system; where it does not load, or gives no template, that is the last one.

    Args:
        model_id: the system, or the manifest's id where it did not load.
        checks: in the order in which they ran.
    """

    model_id: str
    checks: tuple[ConformanceCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "model_id": self.model_id,
            "ok": self.ok,
            "checks": [{"name": c.name, "ok": c.ok, "message": c.message} for c in self.checks],
        }


@export("vultus.evaluate.run_conformance")
def run_conformance(
    model: str | os.PathLike[str] | None = None,
    *,
    workdir: str | os.PathLike[str],
    portraits: Sequence[str | os.PathLike[str]],
    detector: str | os.PathLike[str] | None = None,
    mirror: bool = False,
    accept_licence: bool = False,
    only: Sequence[str] | None = None,
) -> ConformanceResult:
    """Run every check on the system of a manifest, in a folder that is removed afterwards.

    Args:
        model: name or path of an embedder's manifest; the default model unless told otherwise.
        workdir: an existing folder to work in: copies of weights and photos, caches of its own.
        portraits: photos of two or more different people, one face in each.
        detector: name or path of a detector's manifest; the one that the model names unless told otherwise.
        mirror: check the system that uses the mirrored photo too.
        accept_licence: needed for weights whose licence forbids commercial use.
        only: names of the checks to run; all unless told otherwise.

    Raises:
        BadArgument: an unknown check, or fewer than two portraits with one face each.
        ManifestError: no such manifest.
        SourceUnavailable, ImageError: no such working folder, or a portrait cannot be read.
    """
    unknown = [name for name in only or () if name not in CHECKS]
    if unknown:
        raise BadArgument(f"there is no check {unknown[0]!r}; there are: {', '.join(CHECKS)}")
    if len(portraits) < 2:
        raise BadArgument(f"{len(portraits)} portraits; the checks need photos of two or more different people")
    if not Path(workdir).is_dir():
        raise SourceUnavailable(f"{os.fspath(workdir)!r} is not a folder; the checks need one to work in")
    embedder = load_manifest(model or "sface-2021dec")
    if embedder.embedding is None:
        raise BadArgument(f"{embedder.name!r} is no embedder; pass it as detector=")
    finder = load_manifest(detector or embedder.embedding.detector)
    with tempfile.TemporaryDirectory(prefix="vultus-conformance-", dir=workdir) as folder:
        base = Path(folder).resolve()
        photos = make_photos(base / "photos", [read_image(p) for p in portraits])
        try:
            paths = _portable(embedder, base / "model"), _portable(finder, base / "model")
            recognizer = Recognizer.load(
                paths[0],
                detector=paths[1],
                mirror=mirror,
                threads=1,
                cache=base / "cache",
                accept_licence=accept_licence,
            )
        except VultusError as problem:
            return ConformanceResult(embedder.id, (ConformanceCheck("loads", False, f"{problem.code}: {problem}"),))
        setup = Setup(recognizer, paths[0], paths[1], mirror, accept_licence, base, photos, [])
        loaded = ConformanceCheck("loads", True, "manifest, sha256, graph and self test are in order")
        try:
            setup.reference.extend(references(setup))
        except NotConforming as seen:
            return ConformanceResult(recognizer.model_id, (loaded, ConformanceCheck("templates", False, str(seen))))
        chosen = {name: check for name, check in CHECKS.items() if only is None or name in only}
        checks = [_run(name, check, setup) for name, check in chosen.items()]
        return ConformanceResult(recognizer.model_id, (loaded, *checks))


def _run(name: str, check: Callable[[Setup], str], setup: Setup) -> ConformanceCheck:
    try:
        return ConformanceCheck(name, True, check(setup))
    except NotConforming as seen:
        return ConformanceCheck(name, False, str(seen))
    except VultusError as problem:
        return ConformanceCheck(name, False, f"{problem.code}: {problem}")
    except Exception as problem:  # noqa: BLE001 - a model that crashes a check has failed it
        return ConformanceCheck(name, False, f"{type(problem).__name__}: {problem}")


def _portable(manifest: Manifest, folder: Path) -> Path:
    """A copy of a manifest with its weights beside it; the path of the copy."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{manifest.name}.onnx"
    weights.write_bytes(find_weights(manifest).read_bytes())
    path = folder / f"{manifest.name}.toml"
    save_manifest(replace(manifest, source=Source(file=weights.name), folder=None), path)
    return path
