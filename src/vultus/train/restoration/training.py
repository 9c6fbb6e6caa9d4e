"""Training a restorer as a recipe says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus._export import export
from vultus.embed import Embedder
from vultus.train import functional as margins
from vultus.train.data import Dataset, open_dataset
from vultus.train.fitting import Fitted, fit, named
from vultus.train.from_onnx import Frozen
from vultus.train.restoration.config import Config
from vultus.train.restoration.network import UNet
from vultus.train.restoration.pairs import harmed
from vultus.types import FloatArray, IntArray, UInt8Array
from vultus.weights import load_manifest

_AT_ONCE = 64
PARTS = ("pixels", "identity", "people")
MARGIN, SCALE = 0.2, 32.0  # of the loss among people


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
    weights = config.loss
    watches = weights.identity or weights.people
    watched = _Watched(weights.embedder, faces, threads=config.run.threads or None) if watches else None
    centres = watched.centres(chosen) if watched is not None and weights.people else None

    def objective(network: nn.Module, step: int) -> dict[str, Tensor]:
        numbers, before, after = batch(faces, chosen, config, step)
        restored = network(images_of(before))
        parts = dict.fromkeys(PARTS, restored.new_zeros(()))
        parts["pixels"] = weights.pixels * functional.l1_loss(restored, images_of(after))
        if watched is not None:
            some = slice(max(1, round(weights.watched * len(after))))
            found = watched.found(restored[some], before[some] if weights.beside else None)
            parts["identity"] = weights.identity * (1 - (found * watched.wanted(numbers[some])).sum(dim=1)).mean()
            if centres is not None:
                parts["people"] = weights.people * centres.loss(found, faces.labels[numbers[some]])
        return named(parts.items())

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

    def __init__(self, name: str, faces: Dataset, *, threads: int | None = None) -> None:
        manifest = load_manifest(name)
        self._runtime, self._graph = Embedder(manifest, threads=threads), Frozen(manifest)
        self._faces = faces
        self._known: dict[int, FloatArray] = {}

    def found(self, restored: Tensor, before: UInt8Array | None = None) -> Tensor:
        """(n, d) unit rows of restored views, or of them and the harmed views together."""
        rows = functional.normalize(self._graph(restored.clamp(-1, 1) * 127.5 + 127.5), dim=1)
        return rows if before is None else functional.normalize(rows + torch.from_numpy(self._runtime(before)), dim=1)

    def wanted(self, numbers: IntArray) -> Tensor:
        """(n, d) unit rows of true views."""
        new = [int(n) for n in dict.fromkeys(numbers.tolist()) if n not in self._known]
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            rows = self._runtime(np.stack([self._faces.pixels(n) for n in some]))
            self._known.update(zip(some, rows, strict=True))
        return torch.from_numpy(np.stack([self._known[int(n)] for n in numbers]))

    def centres(self, numbers: IntArray) -> _Centres:
        """The mean row of each person among these photos."""
        people, labels = np.unique(self._faces.labels[numbers], return_inverse=True)
        rows = torch.zeros(len(people), self._runtime.spec.dimension)
        rows.index_add_(0, torch.from_numpy(labels), self.wanted(numbers))
        return _Centres({int(p): i for i, p in enumerate(people)}, functional.normalize(rows, dim=1))


class _Centres:
    def __init__(self, number: dict[int, int], rows: Tensor) -> None:
        self._number, self._rows = number, rows

    def loss(self, found: Tensor, labels: IntArray) -> Tensor:
        """CosFace (Wang et al. 2018, arXiv:1801.09414) of unit rows of these people."""
        wanted = torch.tensor([self._number[int(label)] for label in labels])
        logits = margins.cosface(found @ self._rows.T, wanted, margin=MARGIN, scale=SCALE)
        return functional.cross_entropy(logits, wanted)
