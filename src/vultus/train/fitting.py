"""A loop for networks that are no face recognition: one process, and batches that follow from the number of the step.

It shares recipes, schedules, optimisers, averages and checkpoints with `vultus.train.run`. Because batch and loss follow from
the seed and the step, a resumed run is the run that was not interrupted, bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import vultus
from vultus._export import export
from vultus.errors import BadRecipe, CheckpointMismatch, NotFinite
from vultus.train import checkpoint as checkpoints
from vultus.train import optim
from vultus.train.average import Ema
from vultus.train.checkpoint import Checkpoint, Content, open_checkpoint
from vultus.train.distributed import World
from vultus.train.guard import finite
from vultus.train.logs import CsvLog
from vultus.train.schedule import rate_factor
from vultus.train.sections import Average, Head, Optimizer, Schedule
from vultus.train.stop import listening

Objective = Callable[[nn.Module, int], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Fit:
    """How long, and where to.

    Args:
        folder: where logs and checkpoints go.
        steps: optimiser steps.
        batch: pictures in one step.
        seed: of the initial weights and of everything that is drawn.
        threads: of torch; 0 leaves torch's own choice.
        log_every: steps from one line of the log to the next.
        checkpoint_every: steps from one checkpoint to the next.
        keep: how many checkpoints stay.
    """

    folder: str
    steps: int = 1_000
    batch: int = 8
    seed: int = 0
    threads: int = 0
    log_every: int = 20
    checkpoint_every: int = 200
    keep: int = 1

    def __post_init__(self) -> None:
        for name, least in {
            "steps": 1,
            "batch": 1,
            "seed": 0,
            "threads": 0,
            "log_every": 1,
            "checkpoint_every": 1,
        }.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.keep < 1:
            raise ValueError(f"keep is {self.keep}; expected at least 1")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the loop needs of a recipe.

    Args:
        kind: of network, such as "detector"; a checkpoint of another kind is refused.
        run, optimizer, schedule, average: its sections. `schedule.warmup` and `schedule.at` count hundredths of the run as
            epochs.
        table: the whole recipe as plain values, for the checkpoint.
        facts: what decides the shape of the network; a checkpoint must agree in it.
    """

    kind: str
    run: Fit
    optimizer: Optimizer
    schedule: Schedule
    average: Average
    table: Mapping[str, Any]
    facts: Mapping[str, Any]


@export("vultus.train.Fitted")
@dataclass(frozen=True, slots=True)
class Fitted:
    """What a run came to.

    Args:
        folder: of the run.
        steps: optimiser steps done, earlier sittings included.
        losses: mean of each part of the loss over the last line of the log.
        seconds: of this sitting.
        stopped: a signal ended the run before its last step; resume it.
    """

    folder: Path
    steps: int
    losses: Mapping[str, float]
    seconds: float
    stopped: bool


def fit(network: nn.Module, objective: Objective, recipe: Recipe, *, parts: tuple[str, ...], resume: bool) -> Fitted:
    """Train a network; its weights move.

    Args:
        network: with its initial weights.
        objective: from the network and the number of the step to 0-d losses by name, "loss" the one to go down.
        recipe: the sections.
        parts: names of the losses beside "loss", for the log.
        resume: go on from the last checkpoint in the run's folder where there is one.

    Raises:
        BadRecipe: the folder holds a run, and it is not to be resumed.
        CheckpointMissing, CheckpointCorrupt, CheckpointMismatch: the checkpoint cannot be gone on from.
        NotFinite: a loss or gradient became NaN or infinite; nothing was moved in that step.
    """
    section = recipe.run
    folder = Path(section.folder)
    there = (folder / "checkpoints" / "last.json").is_file()
    if there and not resume:
        raise BadRecipe(f"run.folder = {str(folder)!r} holds a run already; resume it, or name another folder")
    if section.threads:
        torch.set_num_threads(section.threads)
    groups = optim.parameter_groups(network, [], [], optimizer=recipe.optimizer, head=Head())
    optimizer = optim.build_optimizer(groups, recipe.optimizer)
    average = Ema(network, decay=recipe.average.decay, warmup=recipe.average.warmup) if recipe.average.decay else None
    done = _restored(open_checkpoint(folder), recipe, network, optimizer, average) if there else 0
    hundredth = section.steps / 100
    schedule = replace(
        recipe.schedule,
        warmup=recipe.schedule.warmup * hundredth,
        at=tuple(at * hundredth for at in recipe.schedule.at),
    )
    log = CsvLog(folder / "steps.csv", ("step", "loss", *parts, "rate", "gradient", "seconds"), resume=done or None)
    begun, totals, counted = time.monotonic(), dict.fromkeys(("loss", *parts), 0.0), 0
    means: dict[str, float] = {}
    try:
        with listening() as stop:
            while done < section.steps and not stop.asked:
                rate = recipe.optimizer.lr * rate_factor(schedule, done, steps=section.steps, steps_per_epoch=1)
                losses, length = _step(network, objective, optimizer, recipe.optimizer, step=done, rate=rate)
                if average is not None:
                    average.update(network)
                done += 1
                counted += 1
                totals = {name: totals[name] + losses[name] for name in totals}
                if done % section.log_every == 0 or done == section.steps or stop.asked:
                    means = {name: total / counted for name, total in totals.items()}
                    seconds = time.monotonic() - begun
                    log.write({"step": done, **means, "rate": rate, "gradient": length, "seconds": seconds})
                    totals, counted = dict.fromkeys(totals, 0.0), 0
                if done % section.checkpoint_every == 0 or done == section.steps or stop.asked:
                    checkpoints.save(folder, done, _content(recipe, network, optimizer, average), World())
                    checkpoints.discard_old(folder, keep=section.keep)
    finally:
        log.close()
    return Fitted(folder, done, means, time.monotonic() - begun, done < section.steps)


def load_weights(network: nn.Module, checkpoint: Checkpoint, recipe: Recipe) -> None:
    """The weights of a checkpoint, of the average where the run kept one.

    Raises:
        CheckpointMismatch: it is of another network.
        CheckpointCorrupt: a file is damaged.
    """
    _require_same(checkpoint, recipe)
    saved = checkpoint.replicated()
    averaged = _below(saved, "average.")
    _copy(dict(network.state_dict(keep_vars=True)), averaged or _below(saved, "network."), where=str(checkpoint.folder))


def _step(
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    section: Optimizer,
    *,
    step: int,
    rate: float,
) -> tuple[dict[str, float], float]:
    network.train()
    optim.set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    losses = objective(network, step)
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFinite(f"step {step}: the loss {name!r} is {value}; lower optimizer.lr, or look at the pictures")
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    weights = [p for p in network.parameters() if p.requires_grad]
    length = optim.gradient_length(weights)
    if not finite(length):
        raise NotFinite(f"step {step}: the gradient is not finite; lower optimizer.lr, or look at the pictures")
    optim.clip(weights, length, longest=section.clip)
    optimizer.step()
    return values, float(length)


def _content(recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer, average: Ema | None) -> Content:
    held = {f"network.{n}": t for n, t in network.state_dict().items()}
    names = {id(p): n for n, p in network.named_parameters()}
    for parameter, state in optimizer.state.items():
        held |= {f"optimizer.{names[id(parameter)]}/{k}": v for k, v in state.items() if isinstance(v, Tensor)}
    if average is not None:
        held |= {f"average.{n}": t for n, t in average.tensors().items()}
    record = {
        "vultus": vultus.__version__,
        "torch": torch.__version__,
        "kind": recipe.kind,
        "facts": dict(recipe.facts),
        "recipe": dict(recipe.table),
        "updates": None if average is None else average.updates,
    }
    return Content(record, held, {}, (0, 0), {})


def _restored(
    checkpoint: Checkpoint, recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer, average: Ema | None
) -> int:
    """Bring all to where a checkpoint was written; gives the steps done."""
    _require_same(checkpoint, recipe)
    saved, where = checkpoint.replicated(), str(checkpoint.folder)
    _copy(dict(network.state_dict(keep_vars=True)), _below(saved, "network."), where=where)
    for name, parameter in network.named_parameters():
        optimizer.state[parameter] = _below(saved, f"optimizer.{name}/")
    if (average is None) != (checkpoint.record["updates"] is None):
        raise CheckpointMismatch(f"{where}: average.decay is above 0 in one of the two, the recipe or the checkpoint")
    if average is not None:
        average.load(_below(saved, "average."), updates=int(checkpoint.record["updates"]))
    return checkpoint.step


def _require_same(checkpoint: Checkpoint, recipe: Recipe) -> None:
    record = checkpoint.record
    if record.get("kind") != recipe.kind:
        raise CheckpointMismatch(
            f"{checkpoint.folder} is of a {record.get('kind', 'recogniser')!r}; expected one of a {recipe.kind!r}"
        )
    theirs, mine = dict(record.get("facts", {})), dict(recipe.facts)
    odd = sorted(k for k in theirs.keys() | mine.keys() if theirs.get(k) != mine.get(k))
    if odd:
        raise CheckpointMismatch(
            f"{checkpoint.folder}: {odd[0]} is {theirs.get(odd[0])!r} there and {mine.get(odd[0])!r} in the recipe"
        )


@torch.no_grad()
def _copy(into: Mapping[str, Tensor], saved: Mapping[str, Tensor], *, where: str) -> None:
    odd = sorted(into.keys() ^ saved.keys()) or sorted(k for k in into if into[k].shape != saved[k].shape)
    if odd:
        raise CheckpointMismatch(f"{where}: the checkpoint and the network differ in {odd[0]!r}")
    for name, tensor in into.items():
        tensor.copy_(saved[name])


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def named(values: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Losses by name, "loss" their sum.

    Args:
        values: name and 0-d loss, weighted already.
    """
    parts = dict(values)
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}
