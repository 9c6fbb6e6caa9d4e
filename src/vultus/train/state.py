"""From the parts of a run to what a checkpoint holds, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import vultus
from vultus.errors import CheckpointMismatch
from vultus.train.checkpoint import Checkpoint, Content
from vultus.train.data.samplers import Order
from vultus.train.parts import Parts, copy_into

_CENTRES = "optimizer.centres."


def content_of(parts: Parts, order: Order, facts: Mapping[str, Any]) -> Content:
    """What this rank puts into a checkpoint.

    Args:
        parts: of the run.
        order: the sampler.
        facts: further plain values of the run.
    """
    head = parts.head
    centres = {id(p): name for name, p in parts.centres()}
    replicated = {f"backbone.{n}": t for n, t in parts.backbone.state_dict().items()}
    replicated |= {f"head.{n}": t for n, t in _shared_of_head(parts).items()}
    replicated |= {f"added.{n}": t for n, t in parts.added.state_dict().items()}
    rows = {n: t.detach() for n, t in head.rows_state().items()}
    names = {id(p): name for name, p in parts.named_parameters()}
    for parameter, state in parts.optimizer.state.items():
        for key, value in state.items():
            if not isinstance(value, Tensor):
                continue
            if id(parameter) in centres and value.shape == parameter.shape:
                rows[f"{_CENTRES}{centres[id(parameter)]}.{key}"] = value
            else:
                replicated[f"optimizer.{names[id(parameter)]}.{key}"] = value
    if parts.average is not None:
        replicated |= {f"average.{n}": t for n, t in parts.average.tensors().items()}
    own = {"random.cpu": torch.get_rng_state()}
    if parts.world.device.type == "cuda":
        own["random.cuda"] = torch.cuda.get_rng_state(parts.world.device)
    writes_rows = head.sharded or parts.world.first
    record = {
        "vultus": vultus.__version__,
        "torch": torch.__version__,
        "recipe": parts.config.table(),
        "model": model_facts(parts),
        "sampler": order.state_dict(),
        "scaler": parts.scaler.state(),
        "head_step": getattr(head, "step", 0),
        "updates": parts.average.updates if parts.average is not None else None,
        **facts,
    }
    return Content(record, replicated, rows if writes_rows else {}, (head.start, head.stop), own)


def model_facts(parts: Parts) -> dict[str, Any]:
    """What two runs must have in common for one to go on from the other's checkpoint."""
    model = parts.config.model
    return {
        "backbone": model.backbone,
        "dim": model.dim,
        "options": dict(model.options),
        "centred": model.centred,
        "loss": parts.config.loss.name,
        "added": [added.name for added in parts.config.added],
        "classes": parts.head.classes,
        "fused": parts.fused is not None,
        "optimizer": parts.config.optimizer.name,
        "average": parts.average is not None,
    }


def restore(parts: Parts, order: Order, checkpoint: Checkpoint) -> None:
    """Bring the parts of a run to where a checkpoint was written, on any number of ranks. Called by all ranks.

    All is compared before anything is changed, but for the tensors by class, which are read one after the other.

    Raises:
        CheckpointMismatch: it is of another model, data set or kind of optimiser; names the difference.
        CheckpointCorrupt: a file is damaged.
    """
    where, record = str(checkpoint.folder), checkpoint.record
    for name, mine in model_facts(parts).items():
        theirs = record["model"].get(name)
        if theirs != mine:
            raise CheckpointMismatch(f"{where}: {name} is {theirs!r} in the checkpoint and {mine!r} in this run")
    saved = checkpoint.replicated()
    own = checkpoint.own(parts.world.rank)
    _require_rows(parts, checkpoint)
    order.load_state_dict(record["sampler"])
    copy_into(dict(parts.backbone.state_dict(keep_vars=True)), _below(saved, "backbone."), where=where, what="backbone")
    copy_into(_shared_of_head(parts), _below(saved, "head."), where=where, what="head")
    copy_into(dict(parts.added.state_dict(keep_vars=True)), _below(saved, "added."), where=where, what="added losses")
    parts.head.load_rows(checkpoint.rows)
    if hasattr(parts.head, "step"):
        parts.head.step = int(record["head_step"])
    _restore_optimizer(parts, checkpoint, saved)
    if parts.average is not None:
        parts.average.load(_below(saved, "average."), updates=int(record["updates"]))
    parts.scaler.load(record["scaler"])
    if "random.cpu" in own:
        torch.set_rng_state(own["random.cpu"])
    if "random.cuda" in own and parts.world.device.type == "cuda":
        torch.cuda.set_rng_state(own["random.cuda"], parts.world.device)


def _shared_of_head(parts: Parts) -> dict[str, Tensor]:
    """Tensors of the head that are the same on every rank: the loss's numbers, and whatever is not by class."""
    by_class = parts.head.rows_state().keys()
    return {n: v for n, v in parts.head.state_dict(keep_vars=True).items() if n not in by_class}


def _require_rows(parts: Parts, checkpoint: Checkpoint) -> None:
    saved = {n for n in checkpoint.row_names() if not n.startswith(_CENTRES)}
    if odd := sorted(saved ^ parts.head.rows_state().keys()):
        side = "has" if odd[0] in saved else "has no"
        raise CheckpointMismatch(
            f"{checkpoint.folder}: the checkpoint {side} {odd[0]!r} by class, which this run's head "
            f"{'has not' if odd[0] in saved else 'has'}; use the head that the run began with"
        )


def _restore_optimizer(parts: Parts, checkpoint: Checkpoint, saved: Mapping[str, Tensor]) -> None:
    centres = {id(p): name for name, p in parts.centres()}
    head = parts.head
    for name, parameter in parts.named_parameters():
        prefix = f"optimizer.{name}."
        state = {
            key.removeprefix(prefix): value
            for key, value in saved.items()
            if key.startswith(prefix) and "." not in key.removeprefix(prefix)
        }
        if id(parameter) in centres:
            prefix = f"{_CENTRES}{centres[id(parameter)]}."
            for key in checkpoint.row_names():
                if key.startswith(prefix):
                    state[key.removeprefix(prefix)] = checkpoint.rows(key, head.start, head.stop)
        held: dict[str, Any] = {}
        for key, value in state.items():
            if value.ndim and value.shape != parameter.shape:
                raise CheckpointMismatch(
                    f"{checkpoint.folder}: the optimiser's {key} of {name!r} has shape {tuple(value.shape)}; expected "
                    f"{tuple(parameter.shape)}"
                )
            held[key] = value.clone() if not value.ndim else torch.empty_like(parameter).copy_(value)
        if held:
            parts.optimizer.state[parameter] = held


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
