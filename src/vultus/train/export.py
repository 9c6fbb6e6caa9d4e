"""From a checkpoint to an ONNX file and its manifest, which `vultus.Recognizer.load` takes."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import vultus
from vultus import evaluate
from vultus._export import export
from vultus.calibrate import required_comparisons
from vultus.errors import BadArgument, ExtraMissing, TrainingError
from vultus.evaluate.thresholds import FMRS
from vultus.recognizer import Recognizer
from vultus.runtime import Settings, answer, open_session
from vultus.train.checkpoint import Checkpoint, open_best, open_checkpoint
from vultus.train.config import Config
from vultus.train.parts import build_backbone, load_backbone
from vultus.weights import Manifest, load_manifest, save_manifest
from vultus.weights.lookup import write_atomically
from vultus.weights.manifest import Embedding, Input, KnownAnswer, Licence, Source

_INPUT, _OUTPUT = "input", "embedding"
_SIZE = (112, 112)


@export("vultus.train.Exported")
@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """What an export made.

    Args:
        manifest: path of the manifest, for `Recognizer.load`.
        weights: path of the ONNX file.
        difference: largest difference of an element of unit features between torch and the runtime, on generated pictures.
        statement: which thresholds stand in the manifest, and which could not be measured.
    """

    manifest: Path
    weights: Path
    difference: float
    statement: str


class _Normalised(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        features = self.inner(images)
        length = torch.sqrt(torch.clamp((features * features).sum(dim=1, keepdim=True), min=1e-24))
        unit: Tensor = features / length
        return unit


@export("vultus.train.export_model")
def export_model(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    which: str = "best",
    name: str | None = None,
    normalised: bool | None = None,
    calibrate: str | os.PathLike[str] | None = None,
    rates: Sequence[float] = FMRS,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write NAME.onnx and NAME.toml.

    Thresholds are measured on a folder of people with the whole system: detector, alignment, runtime. Use people whom the
    model was not trained on. Without such a folder the manifest has no thresholds, and a decision by a false match rate is
    refused until `vultus calibrate` has measured some.

    Args:
        path: of a run's folder, or of one of its checkpoints.
        folder: for both files.
        which: "best" or "last" checkpoint of a run; "last" where nothing was evaluated.
        name: of the model; the recipe's unless told otherwise.
        normalised: rows of length 1 from the graph itself; as the recipe says unless told otherwise.
        calibrate: folder of people, root/<subject>/<photo>.
        rates: false match rates to measure thresholds for.
        progress: called with the number of photos embedded, each time some are.

    Raises:
        BadArgument: `which` or `name` cannot be used.
        CheckpointMissing, CheckpointCorrupt, CheckpointMismatch: there is none, or it is damaged.
        ExtraMissing: a package that the export needs is not installed.
        TrainingError: the exported graph does not compute what the network does.
    """
    checkpoint = _found(path, which)
    config = Config.of(checkpoint.record["recipe"], where=str(checkpoint.folder))
    title = _named(config, name)
    backbone = trained_backbone(checkpoint, config)
    unit = config.export.normalised if normalised is None else normalised
    content = to_onnx(_Normalised(backbone) if unit else backbone)
    target = Path(folder)
    weights = target / f"{title}.onnx"
    manifest = _manifest(config, checkpoint, title, weights.name, content, str(target))
    write_atomically(weights, content)
    weights.chmod(0o644)
    session = open_session(manifest, Settings.of(1, None))
    known = answer(session, manifest.input, height=_SIZE[0], width=_SIZE[1])
    manifest = replace(
        manifest, known_answer=KnownAnswer(*_SIZE, values=tuple(round(float(v), 6) for v in known), tolerance=1e-3)
    )
    difference = _difference(backbone, manifest)
    statement = "no thresholds were measured: run vultus calibrate on people whom the model was not trained on"
    if calibrate is not None:
        manifest, statement = _calibrated(manifest, Path(calibrate), rates, progress)
    save_manifest(manifest, target / f"{title}.toml")
    return Exported(target / f"{title}.toml", weights, difference, statement)


def trained_backbone(checkpoint: Checkpoint, config: Config) -> nn.Module:
    """The network of a checkpoint in evaluation mode, with the average's weights where the run kept one; float32."""
    state = torch.get_rng_state()
    backbone = build_backbone(config)
    torch.set_rng_state(state)
    load_backbone(backbone, checkpoint.replicated(), where=str(checkpoint.folder))
    return backbone.eval()


def to_onnx(
    module: nn.Module,
    *,
    size: tuple[int, int] = _SIZE,
    outputs: Sequence[str] = (_OUTPUT,),
    multiple: int | None = None,
) -> bytes:
    """A network from (n, 3, h, w) to one output or several as an ONNX file, with n free.

    Args:
        module: the network.
        size: (height, width) of the input.
        outputs: their names.
        multiple: h and w are free too, in multiples of this.

    Raises:
        ExtraMissing: the packages onnx and onnxscript are not installed.
        TrainingError: torch cannot export the network.
    """
    try:
        import onnx
        import onnxscript
    except ImportError as problem:
        raise ExtraMissing(f"the export needs {problem.name}: pip install 'vultus[train]'") from problem
    del onnxscript
    free: dict[int, Any] = {0: torch.export.Dim("n", min=1)}
    if multiple is not None:
        free |= {2: multiple * torch.export.Dim("rows", min=1), 3: multiple * torch.export.Dim("columns", min=1)}
    silenced = logging.getLogger("torch.onnx")
    level = silenced.level
    silenced.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's and onnxscript's own internals
            program: Any = torch.onnx.export(
                module.eval().float(),
                (torch.zeros(2, 3, *size),),
                input_names=[_INPUT],
                output_names=list(outputs),
                dynamic_shapes=(free,),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as problem:
        raise TrainingError(f"torch cannot export {type(module).__name__}: {problem}") from problem
    finally:
        silenced.setLevel(level)
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _strip(model: Any) -> None:
    """Drop what tells of the machine that exported: the exporter notes its source files and lines at every node."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name, model.producer_version = "vultus", vultus.__version__


def _named(config: Config, name: str | None) -> str:
    if name is None:
        return config.export.name
    try:
        return replace(config.export, name=name).name
    except ValueError as problem:
        raise BadArgument(f"export: {problem}") from problem


def _found(path: str | os.PathLike[str], which: str) -> Checkpoint:
    if which not in ("best", "last"):
        raise BadArgument(f"which is {which!r}; expected 'best' or 'last'")
    return open_best(path) if which == "best" else open_checkpoint(path)


def _manifest(config: Config, checkpoint: Checkpoint, name: str, file: str, content: bytes, folder: str) -> Manifest:
    section, record = config.export, checkpoint.record
    classes = record["model"]["classes"]
    data = section.training_data or f"{Path(config.data.train).name}: {classes:,} identities"
    default = load_manifest("sface-2021dec").embedding
    if default is None:
        raise TrainingError("the default model's manifest names no detector")
    return Manifest(
        name=name,
        task="embed",
        sha256=hashlib.sha256(content).hexdigest(),
        licence=Licence(
            name=section.licence,
            source=f"vultus train {record['vultus']}, recipe {config.digest()}, step {checkpoint.step}",
            commercial=section.commercial,
            training_data=data,
        ),
        source=Source(file=file),
        input=Input(name=_INPUT, channels="RGB", mean=(127.5,) * 3, std=(127.5,) * 3, size=_SIZE),
        embedding=Embedding(
            dimension=config.model.dim, template="arcface-112", detector=default.detector, output=_OUTPUT
        ),
        folder=folder,
    )


@torch.no_grad()
def _difference(backbone: nn.Module, manifest: Manifest) -> float:
    """How far the runtime's unit rows are from torch's, on noise."""
    from vultus.embed import Embedder, unit_rows

    crops = np.random.default_rng(0).integers(0, 256, (3, *_SIZE, 3), dtype=np.uint8)
    images = (torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()).float() - 127.5) / 127.5
    ours = unit_rows(backbone(images).numpy())
    worst = float(np.abs(Embedder(manifest, threads=1)(crops) - ours).max())
    if not worst <= 1e-3:
        raise TrainingError(
            f"the exported graph differs from the network by {worst:.2g} in an element of a unit feature; nothing was "
            "written into the manifest"
        )
    return worst


def _calibrated(
    manifest: Manifest, root: Path, rates: Sequence[float], progress: Callable[[int], None] | None
) -> tuple[Manifest, str]:
    recognizer = Recognizer.load(manifest, accept_licence=True)
    people = evaluate.read_people(root)
    extraction = evaluate.extract(people.files, recognizer, progress=progress)
    subjects = len(np.unique(people.subjects[extraction.enrolled]))
    pairs = subjects * (subjects - 1) // 2
    kept = [r for r in sorted(rates, reverse=True) if required_comparisons(r) <= pairs]
    refused = [r for r in sorted(rates, reverse=True) if r not in kept]
    if not kept:
        return (
            manifest,
            f"{people.name}: {subjects} people are too few for a threshold at any of the rates asked for; none was written",
        )
    measured = evaluate.measure_calibration(people, extraction, recognizer, rates=tuple(kept))
    statement = f"thresholds for FMR {', '.join(f'{r:g}' for r in kept)} measured on {measured.data}"
    if refused:
        statement += f"; too few people for {', '.join(f'{r:g}' for r in refused)}"
    return manifest.with_calibration(measured), statement
