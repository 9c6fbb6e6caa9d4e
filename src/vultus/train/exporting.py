"""What exports have in common: a graph, its manifest with a known answer, both written."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument, TrainingError
from vultus.runtime import Settings, answer, open_session, pattern, to_input
from vultus.train.checkpoint import Checkpoint
from vultus.weights import Manifest, save_manifest
from vultus.weights.lookup import write_atomically
from vultus.weights.manifest import KnownAnswer, Licence

FAR = 1e-3  # relative to the largest value of an output


@dataclass(frozen=True, slots=True)
class Terms:
    """What the manifest of an exported model says of it.

    Args:
        name: of the model and its files: lower-case letters, digits, ".", "_" and "-".
        licence: terms of the weights.
        commercial: False where the terms of the training photos forbid commercial use.
        training_data: what the model was trained on; the data's name unless told otherwise.
    """

    name: str
    licence: str = "yours: trained by you"
    commercial: bool = True
    training_data: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", self.name):
            raise ValueError(f"name {self.name!r} must be lower-case letters, digits, '.', '_' or '-'")


@export("vultus.train.Written")
@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What an export wrote.

    Args:
        manifest: path of the manifest.
        weights: path of the ONNX file.
        difference: largest difference between torch and the runtime on a generated picture, as a share of the largest value.
    """

    manifest: Path
    weights: Path
    difference: float


def titled(section: Terms, name: str | None) -> str:
    """The name of the model.

    Raises:
        BadArgument: it is none for files.
    """
    try:
        return section.name if name is None else replace(section, name=name).name
    except ValueError as problem:
        raise BadArgument(f"export: {problem}") from problem


def licence(section: Terms, checkpoint: Checkpoint, data: str) -> Licence:
    """The terms, as the recipe states them."""
    return Licence(
        name=section.licence,
        source=f"vultus train {checkpoint.record['vultus']}, step {checkpoint.step}",
        commercial=section.commercial,
        training_data=section.training_data or data,
    )


def write(network: nn.Module, content: bytes, manifest: Manifest, folder: Path, *, size: tuple[int, int]) -> Written:
    """Write NAME.onnx and NAME.toml, the latter only where the runtime computes what the network does.

    Args:
        network: from (n, 3, h, w) to one output or a tuple of them.
        content: the same as an ONNX file.
        manifest: without a known answer; its folder and sha256 are filled in here.
        folder: for both files.
        size: (height, width) of the picture that both are tried on.

    Raises:
        TrainingError: torch and the runtime differ.
    """
    weights = folder / f"{manifest.name}.onnx"
    write_atomically(weights, content)
    weights.chmod(0o644)
    manifest = replace(manifest, sha256=hashlib.sha256(content).hexdigest(), folder=str(folder))
    session = open_session(manifest, Settings.of(1, None))
    images = to_input(pattern(*size), manifest.input)
    with torch.no_grad():
        given = network.eval()(torch.from_numpy(images))
    ours = [given] if isinstance(given, Tensor) else list(given)
    worst = 0.0
    for mine, theirs in zip(ours, session.run(images), strict=True):
        worst = max(worst, float(np.abs(mine.numpy() - theirs).max() / max(1e-6, np.abs(theirs).max())))
    if not worst <= FAR:
        raise TrainingError(f"the exported graph differs from the network by {worst:.2g}; no manifest was written")
    known = answer(session, manifest.input, height=size[0], width=size[1])
    values = tuple(round(float(v), 6) for v in known)
    manifest = replace(manifest, known_answer=KnownAnswer(*size, values=values, tolerance=FAR))
    save_manifest(manifest, folder / f"{manifest.name}.toml")
    return Written(folder / f"{manifest.name}.toml", weights, worst)
