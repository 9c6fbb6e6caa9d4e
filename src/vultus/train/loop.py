"""The training loop: epochs of steps, evaluation, checkpoints; started anew or resumed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

import vultus
from vultus._export import export
from vultus.errors import BadRecipe, CheckpointMismatch
from vultus.train import photos, state
from vultus.train.checkpoint import Checkpoint, open_checkpoint
from vultus.train.config import Config
from vultus.train.data import Augmented, Dataset, loader, open_dataset, policy
from vultus.train.distributed import Place, World, joined, pick_device
from vultus.train.parts import build
from vultus.train.schedule import rate_factor
from vultus.train.sitting import Sitting
from vultus.train.stop import listening
from vultus.train.validation import Figures, PairSet, pair_set


@export("vultus.train.Result")
@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run came to.

    Args:
        folder: of the run.
        steps: optimiser steps done, earlier sittings included.
        loss: mean over the steps of the last line of the log.
        figures: of the last evaluation.
        best: the highest merit of an evaluation, and its step; None where nothing was evaluated.
        seconds: of this sitting.
        photos_per_second: trained on in this sitting, evaluation and checkpoints not counted.
        stopped: a signal ended the run before its last step; resume it.
    """

    folder: Path
    steps: int
    loss: float
    figures: tuple[Figures, ...]
    best: tuple[float, int] | None
    seconds: float
    photos_per_second: float
    stopped: bool


@export("vultus.train.run")
def run(config: Config, *, resume: bool = False, dataset: Dataset | None = None) -> Result:
    """Train as a recipe says; in one process, or as one of those that torchrun started.

    Args:
        config: the recipe.
        resume: go on from the last checkpoint in the run's folder where there is one, for launchers that start a run again.
        dataset: photos in place of those that `config.data.train` names.

    Raises:
        BadRecipe, BadArgument: the recipe cannot be carried out, or its folder holds a run already.
        DatasetError, ShardCorrupt, SourceUnavailable: the photos cannot be trained on.
        NotFinite, BadBatch: training went wrong; the last checkpoint is whole.
        WorldSizeError, RankDisagreement, RankFailed: the processes do not fit together, or one is gone.
        CheckpointNotSaved: no checkpoint could be written; the one before is whole.
    """
    folder = Path(config.run.folder)
    there = (folder / "checkpoints" / "last.json").is_file()
    if there and not resume:
        raise BadRecipe(
            f"run.folder = {str(folder)!r} holds a run already; resume it (vultus train resume {folder}), "
            "or name another folder"
        )
    return _start(config, open_checkpoint(folder) if there else None, dataset)


@export("vultus.train.resume")
def resume(path: str | os.PathLike[str], *, overrides: Iterable[str] = (), dataset: Dataset | None = None) -> Result:
    """Go on from a checkpoint, with any number of processes. With as many as before the result is the same, bit for bit.

    Args:
        path: of a run's folder, or of one of its checkpoints.
        overrides: changes of the recipe, such as "run.epochs=40".
        dataset: photos in place of those that the recipe names.

    Raises:
        CheckpointMissing, CheckpointCorrupt, CheckpointMismatch: there is none, it is damaged, or it does not fit the
            photos or the changed recipe.
        VultusError: as `run`.
    """
    checkpoint = open_checkpoint(path)
    config = Config.of(checkpoint.record["recipe"], overrides=overrides, where=str(checkpoint.folder))
    return _start(config, checkpoint, dataset)


def _start(config: Config, checkpoint: Checkpoint | None, dataset: Dataset | None) -> Result:
    place = Place.of(os.environ)
    device = pick_device(config.run.device, local=place.local)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    deterministic = torch.are_deterministic_algorithms_enabled()
    random_state = torch.get_rng_state()
    try:
        torch.use_deterministic_algorithms(config.run.deterministic, warn_only=device.type != "cpu")
        with joined(place, device=device, timeout=config.run.timeout) as world, listening() as stop:
            with world.watched("setting up"):
                sitting = _prepare(config, checkpoint, dataset, world)
            seconds = sitting.train(stop)
            return Result(
                Path(config.run.folder),
                sitting.done,
                sitting.loss,
                sitting.figures,
                sitting.best,
                seconds,
                sitting.speed,
                sitting.done < sitting.steps,
            )
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_rng_state(random_state)


def _prepare(config: Config, checkpoint: Checkpoint | None, dataset: Dataset | None, world: World) -> Sitting:
    whole = open_dataset(config.data.train) if dataset is None else dataset
    training, held_out = photos.split(whole, config.data, seed=config.run.seed)
    world.agree(
        {
            **{f"the recipe's {key}": value for key, value in config.facts().items()},
            "the photos": photos.digest(training),
            "the version of vultus": vultus.__version__,
            "the version of torch": torch.__version__,
            "the version of Python": ".".join(platform.python_version_tuple()[:2]),
            "the checkpoint": None if checkpoint is None else checkpoint.folder.name,
        }
    )
    order = photos.order_of(training, config.data, seed=config.run.seed, rank=world.rank, size=world.size)
    parts = build(config, classes=len(training.classes), world=world)
    if checkpoint is not None:
        theirs, ours = checkpoint.record.get("photos"), photos.digest(training)
        if theirs != ours:
            raise CheckpointMismatch(
                f"{checkpoint.folder} was trained on other photos (digest {theirs}; these have {ours}): the identities or the "
                "number of their photos differ. Use what the run began with, or start a new run with model.weights = its path"
            )
        state.restore(parts, order, checkpoint)
    sets: list[PairSet] = []
    cache = None if config.evaluation.cache is None else Path(config.evaluation.cache)
    for section in config.evaluation.sets:
        world.once(lambda s=section: pair_set(s, held_out=held_out, cache=cache), what="cutting out faces")  # type: ignore[misc]
        sets.append(pair_set(section, held_out=held_out, cache=cache))
    changed = Augmented(training, policy(config.augment.policy, config.augment.options), seed=config.run.seed)
    reading = loader(changed, order, workers=config.data.workers)
    sitting = Sitting(config, world, parts, changed, reading, order, tuple(sets))
    if checkpoint is not None:
        sitting.done = checkpoint.step
        sitting.best = None if checkpoint.record.get("best") is None else tuple(checkpoint.record["best"])
    rate_factor(
        config.schedule, 0, steps=sitting.steps, steps_per_epoch=len(order)
    )  # refuse a warm-up that is too long
    return sitting
