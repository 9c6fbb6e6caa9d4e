"""From a restorer's checkpoint to an ONNX file and its manifest, which `vultus.restore.Restorer` takes."""

from __future__ import annotations

import os
from pathlib import Path

from vultus._export import export
from vultus.train import exporting
from vultus.train.checkpoint import open_checkpoint
from vultus.train.export import to_onnx
from vultus.train.exporting import Written
from vultus.train.fitting import load_weights
from vultus.train.restoration.config import Config
from vultus.train.restoration.network import SIZE, Deployed
from vultus.train.restoration.training import build
from vultus.weights import Manifest
from vultus.weights.manifest import Input, Restoration, Source


@export("vultus.train.restoration.export_model")
def export_model(path: str | os.PathLike[str], folder: str | os.PathLike[str], *, name: str | None = None) -> Written:
    """Write NAME.onnx and NAME.toml.

    Args:
        path: of a run's folder, or of one of its checkpoints.
        folder: for both files.
        name: of the model; the recipe's unless told otherwise.

    Raises:
        BadArgument: `name` cannot be used.
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
    content = to_onnx(network, size=SIZE, outputs=("restored",))
    manifest = Manifest(
        name=title,
        task="restore",
        sha256="0" * 64,
        licence=exporting.licence(config.export, checkpoint, Path(config.data.train).name),
        source=Source(file=f"{title}.onnx"),
        input=Input(name="input", channels="RGB", mean=(127.5,) * 3, std=(127.5,) * 3, size=SIZE),
        restoration=Restoration(template="arcface-112", factors=config.data.factors),
    )
    return exporting.write(network, content, manifest, Path(folder), size=SIZE)
