"""From a detector's checkpoint to an ONNX file and its manifest, which `vultus.Detector` and `--detector` take."""

from __future__ import annotations

import os
from pathlib import Path

from vultus._export import export
from vultus.train import exporting
from vultus.train.checkpoint import open_checkpoint
from vultus.train.detector.config import Config
from vultus.train.detector.network import OUTPUTS, Deployed
from vultus.train.detector.training import build
from vultus.train.export import to_onnx
from vultus.train.exporting import Written
from vultus.train.fitting import load_weights
from vultus.weights import Manifest
from vultus.weights.manifest import Detection, Input, Source

SIZE = (96, 128)
MULTIPLE = 32


@export("vultus.train.detector.export_model")
def export_model(
    path: str | os.PathLike[str], folder: str | os.PathLike[str], *, name: str | None = None, score: float = 0.3
) -> Written:
    """Write NAME.onnx and NAME.toml. The input is free in number, height and width, in multiples of 32.

    Args:
        path: of a run's folder, or of one of its checkpoints.
        folder: for both files.
        name: of the model; the recipe's unless told otherwise.
        score: faces below it are dropped unless the caller says otherwise.

    Raises:
        BadArgument: `name` or `score` cannot be used.
        CheckpointMissing, CheckpointCorrupt, CheckpointMismatch: there is none, or it is damaged.
        ExtraMissing: a package that the export needs is not installed.
        TrainingError: the exported graph does not compute what the network does.
    """
    checkpoint = open_checkpoint(path)
    config = Config.of(checkpoint.record["recipe"], where=str(checkpoint.folder))
    title = exporting.titled(config.export, name)
    inner = build(config)
    load_weights(inner, checkpoint, config.recipe())
    network = Deployed(inner).eval()
    content = to_onnx(network, size=SIZE, outputs=OUTPUTS, multiple=MULTIPLE)
    data = config.data
    told = f"{Path(data.train).name}, landmarks by {data.teacher}" if data.teacher else Path(data.train).name
    manifest = Manifest(
        name=title,
        task="detect",
        sha256="0" * 64,
        licence=exporting.licence(config.export, checkpoint, told),
        source=Source(file=f"{title}.onnx"),
        input=Input(name="input", channels="RGB", mean=(127.5,) * 3, std=(127.5,) * 3, multiple=MULTIPLE),
        detection=Detection(decoder="pyramid", score=score, smallest=max(1, round(data.faces[0]))),
    )
    return exporting.write(network, content, manifest, Path(folder), size=SIZE)
