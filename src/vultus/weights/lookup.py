"""Where a weights file lies, and its prepared form in the cache.

The order: beside the manifest, the cache, the installed package. Nothing is downloaded here; `pull` does that when a
user asks. The sha256 is checked before anything else is done with a file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from vultus.errors import WeightsMismatch, WeightsMissing
from vultus.weights.manifest import Manifest
from vultus.weights.prepare import PREPARATION, prepare


def default_cache() -> Path:
    """The user's cache folder for vultus: $VULTUS_CACHE, or the platform's place for caches."""
    if named := os.environ.get("VULTUS_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vultus"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vultus" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vultus"


def candidates(manifest: Manifest, cache: Path) -> list[Path]:
    """The places that are looked at, in order."""
    source, places = manifest.source, []
    if source.file is not None:
        places.append(Path(manifest.folder or ".") / source.file)
    places.append(cache / "weights" / f"{manifest.name}-{manifest.sha256[:16]}.onnx")
    if source.package is not None and source.member is not None:
        places += [folder / source.member for folder in _package_folders(source.package)]
    return places


def _package_folders(package: str) -> list[Path]:
    """Where an installed package lies. Only its top level is asked for: finding a package in a package runs its code."""
    top, *below = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    return [Path(root, *below) for root in spec.submodule_search_locations or ()] if spec else []


def find_weights(manifest: Manifest, *, cache: Path | None = None) -> Path:
    """The weights file of a manifest, its sha256 checked.

    Raises:
        WeightsMissing: it is in none of the places; the message names them and how to get the file.
        WeightsMismatch: a file is there and is not the one that the manifest describes.
    """
    places = candidates(manifest, cache or default_cache())
    for place in places:
        if place.is_file():
            found = file_sha256(place)
            if found != manifest.sha256:
                raise WeightsMismatch(
                    f"{place} has sha256 {found}, the manifest of {manifest.name!r} says {manifest.sha256}; "
                    "remove the file, or correct the manifest if you meant to change the weights"
                )
            return place
    looked = "\n  ".join(str(p) for p in places)
    pullable = manifest.source.url or manifest.source.requirement
    advice = f"; get it with: vultus models pull {manifest.name}" if pullable else ""
    raise WeightsMissing(f"the weights of {manifest.name!r} are in none of these places{advice}\n  {looked}")


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def prepared_weights(manifest: Manifest, *, cache: Path | None = None) -> Path | bytes:
    """The prepared graph: from the cache, or made now and kept there.

    The file's name holds the sha256 of the source, the version of the preparation and the sha256 of the content, and
    it comes into being by an atomic rename: two processes at once both end with a whole file, and a damaged one is
    made anew. Where the cache cannot be written, the bytes are returned and nothing is kept.
    """
    source = find_weights(manifest, cache=cache)
    folder = (cache or default_cache()) / "prepared"
    facts = f"{manifest.input.name}|{manifest.input.size}|{_outputs(manifest)}"
    key = f"{manifest.sha256[:16]}-{PREPARATION}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    if folder.is_dir():
        for known in sorted(folder.glob(f"{key}-*.onnx")):
            if file_sha256(known).startswith(known.stem.rpartition("-")[2]):
                return known
    content = prepare(
        source.read_bytes(),
        input_name=manifest.input.name,
        free_size=manifest.input.size is None,
        keep_outputs=_outputs(manifest),
    )
    target = folder / f"{key}-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    try:
        write_atomically(target, content)
    except OSError:
        return content
    return target


def _outputs(manifest: Manifest) -> tuple[str, ...]:
    named = manifest.embedding.output if manifest.embedding is not None else None
    return (named,) if named else ()


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, whatever happens meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
