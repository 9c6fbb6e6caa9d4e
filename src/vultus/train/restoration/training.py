"""Training a restorer as a recipe says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus._export import export
from vultus.embed import Embedder
from vultus.train.data import Dataset, open_dataset
from vultus.train.fitting import Fitted, fit, named
from vultus.train.from_onnx import Frozen
from vultus.train.restoration.config import Config
from vultus.train.restoration.network import UNet
from vultus.train.restoration.pairs import harmed
from vultus.types import FloatArray, IntArray, UInt8Array
from vultus.weights import load_manifest

PARTS = ("pixels", "identity")


@export("vultus.train.restoration.run")
def run(config: Config, *, resume: bool = False, dataset: Dataset | None = None) -> Fitted:
    """Train a restorer.

    Args:
        config: the recipe.
        resume: go on from the last checkpoint in the run's folder where there is one.
        dataset: faces in place of those that `config.data.train` names.

    Raises:
        BadRecipe, BadArgument, DatasetError: the recipe cannot be carried out.
        WeightsError: the frozen embedder cannot be had, or has an operator that is not known.
        CheckpointCorrupt, CheckpointMismatch: the checkpoint cannot be gone on from.
        NotFinite: training went wrong; the last checkpoint is whole.
    """
    faces = open_dataset(config.data.train) if dataset is None else dataset
    chosen, _ = split(faces, config)
    watched = _Watched(config.loss.embedder) if config.loss.identity else None

    def objective(network: nn.Module, step: int) -> dict[str, Tensor]:
        numbers, before, after = batch(faces, chosen, config, step)
        restored = network(images_of(before))
        parts = [("pixels", config.loss.pixels * functional.l1_loss(restored, images_of(after)))]
        if watched is not None:
            some = slice(max(1, round(config.loss.watched * len(after))))
            seen = watched.loss(restored[some], numbers[some], after[some])
            parts.append(("identity", config.loss.identity * seen))
        else:
            parts.append(("identity", restored.new_zeros(())))
        return named(parts)

    return fit(build(config), objective, config.recipe(), parts=PARTS, resume=resume)


def build(config: Config) -> UNet:
    """The network with its initial weights, which follow from `run.seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        network = UNet(width=config.model.width, way=config.model.upsampling)
    # a third faster on a CPU
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def split(faces: Dataset, config: Config) -> tuple[IntArray, IntArray]:
    """Numbers of the photos to train on, and of those of the people held out."""
    people = np.random.default_rng(config.run.seed).permutation(len(faces.classes))
    out = people[: round(config.data.hold_out * len(people))]
    held = np.isin(faces.labels, out)
    return np.flatnonzero(~held), np.flatnonzero(held)


def batch(faces: Dataset, chosen: IntArray, config: Config, step: int) -> tuple[IntArray, UInt8Array, UInt8Array]:
    """Numbers, harmed and true views of a step, each (n, 112, 112, 3). The same step gives the same batch."""
    rng = np.random.default_rng((config.run.seed, step, 13))
    numbers = rng.choice(chosen, size=config.run.batch)
    after = np.stack([faces.pixels(int(i)) for i in numbers])
    section = config.data
    before = [
        harmed(
            face,
            rng,
            factors=section.factors,
            untouched=section.untouched,
            twice=section.twice,
            jitter=section.jitter,
        )
        for face in after
    ]
    return numbers, np.stack(before), after


def images_of(pixels: UInt8Array) -> Tensor:
    """(n, h, w, 3) uint8 RGB to (n, 3, h, w) float32 in [-1, 1]."""
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127.5) / 127.5


class _Watched:
    """The frozen embedder: what it says of true views is kept by number, and a gradient goes through it to restored ones."""

    def __init__(self, name: str) -> None:
        manifest = load_manifest(name)
        self._runtime, self._graph = Embedder(manifest, threads=1), Frozen(manifest)
        self._known: dict[int, FloatArray] = {}

    def loss(self, restored: Tensor, numbers: IntArray, after: UInt8Array) -> Tensor:
        new = [i for i, n in enumerate(numbers) if int(n) not in self._known]
        if new:
            for i, row in zip(new, self._runtime(after[new]), strict=True):
                self._known[int(numbers[i])] = row
        wanted = torch.from_numpy(np.stack([self._known[int(n)] for n in numbers]))
        found = self._graph(restored.clamp(-1, 1) * 127.5 + 127.5)
        return (1 - functional.cosine_similarity(found, wanted, dim=1)).mean()
