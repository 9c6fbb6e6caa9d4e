"""Training a detector as a recipe says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import DatasetError
from vultus.train.detector.config import Config
from vultus.train.detector.crops import crop
from vultus.train.detector.network import Pyramid
from vultus.train.detector.scenes import Scene, Scenes, open_scenes
from vultus.train.detector.targets import Marks, detection_loss
from vultus.train.fitting import Fitted, fit, named

PARTS = ("score", "box", "landmarks")


@export("vultus.train.detector.run")
def run(config: Config, *, resume: bool = False, scenes: Scenes | None = None) -> Fitted:
    """Train a detector.

    Args:
        config: the recipe.
        resume: go on from the last checkpoint in the run's folder where there is one.
        scenes: pictures in place of those that `config.data.train` names.

    Raises:
        BadRecipe, BadArgument, DatasetError: the recipe cannot be carried out.
        CheckpointCorrupt, CheckpointMismatch: the checkpoint cannot be gone on from.
        NotFinite: training went wrong; the last checkpoint is whole.
    """
    section = config.data
    whole = open_scenes(section.train, teacher=section.teacher) if scenes is None else scenes
    chosen = [i for i in range(len(whole)) if section.folds == 1 or i % section.folds != section.fold]
    if not chosen:
        raise DatasetError(f"{section.train}: fold {section.fold} of {section.folds} leaves no picture to train on")

    def objective(network: nn.Module, step: int) -> dict[str, Tensor]:
        images, marks = batch(whole, chosen, config, step)
        outputs = network(images)
        parts = detection_loss(outputs, marks, box=config.loss.box, landmarks=config.loss.landmarks)
        return named(parts.items())

    return fit(build(config), objective, config.recipe(), parts=PARTS, resume=resume)


def build(config: Config) -> Pyramid:
    """The network with its initial weights, which follow from `run.seed`."""
    model = config.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        return Pyramid(width=model.width, depth=model.depth, way=model.upsampling)


def batch(scenes: Scenes, chosen: list[int], config: Config, step: int) -> tuple[Tensor, list[Marks]]:
    """The pictures of a step as (n, 3, side, side) in [-1, 1], and their faces. The same step gives the same batch."""
    rng = np.random.default_rng((config.run.seed, step, 11))
    section = config.data
    cut = [
        crop(scenes[int(index)], rng, side=section.side, smallest=section.smallest, faces=section.faces)
        for index in rng.choice(chosen, size=config.run.batch)
    ]
    return images_of(np.stack([c.pixels for c in cut])), [marks_of(c) for c in cut]


def images_of(pixels: np.ndarray) -> Tensor:
    """(n, h, w, 3) uint8 RGB to (n, 3, h, w) float32 in [-1, 1]."""
    return (torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() - 127.5) / 127.5


def marks_of(scene: Scene) -> Marks:
    """The faces of a scene as tensors."""
    return Marks(torch.from_numpy(scene.boxes), torch.from_numpy(scene.ignored), torch.from_numpy(scene.landmarks))
