"""One optimiser step: forward, loss, backward, the guard, clipping, the move."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vultus.errors import WorldSizeError
from vultus.train import guard, optim
from vultus.train.data import to_input
from vultus.train.objective import objective
from vultus.train.parts import Parts
from vultus.train.shared_norm import set_training

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step did.

    Args:
        loss: mean over the batch of all ranks.
        gradient: length of the backbone's gradient before clipping.
        moved: False where the step was left out because a float16 gradient overflowed.
        stop: True where a rank was asked to stop.
    """

    loss: float
    gradient: float
    moved: bool
    stop: bool


def take_step(parts: Parts, images: Tensor, labels: Tensor, *, step: int, rate: float, stop: bool) -> Taken:
    """Train on one batch. Called by all ranks, each with its share.

    Args:
        parts: of the run.
        images: (b, 3, 112, 112) uint8 RGB.
        labels: (b,) classes.
        step: number of the step, from 0.
        rate: learning rate.
        stop: this rank was asked to stop after the step.

    Raises:
        NotFinite: something became NaN or infinite; nothing was moved.
        BadBatch: labels out of range.
        WorldSizeError: the share cannot be cut into data.accumulate parts.
    """
    config, world = parts.config, parts.world
    pieces = config.data.accumulate
    if len(images) % pieces:
        raise WorldSizeError(
            f"{len(images)} photos on a rank cannot be cut into data.accumulate = {pieces} equal parts; data.batch must be a "
            f"multiple of {world.size} ranks times {pieces}"
        )
    optim.set_rate(parts.optimizer, rate)
    if parts.fused is not None:
        parts.fused.lr = rate * config.head.lr
    set_training(parts.backbone, config.model.batch_norm)
    parts.head.train()
    parts.added.train()
    parts.optimizer.zero_grad(set_to_none=True)
    half = _HALF.get(config.run.precision)
    total, asked = 0.0, False
    for piece, (x, y) in enumerate(zip(images.chunk(pieces), labels.chunk(pieces), strict=True)):
        last = piece == pieces - 1
        ddp = parts.runner if isinstance(parts.runner, DistributedDataParallel) else None
        with ddp.no_sync() if ddp is not None and not last else nullcontext():
            pixels = to_input(x.to(world.device, non_blocking=True)).to(parts.kind)
            pixels = pixels.contiguous(memory_format=parts.layout)
            with torch.autocast(world.device.type, dtype=half, enabled=half is not None):
                features = parts.runner(pixels)
            features = features.to(parts.kind)
            bad, halt = world.most([not guard.finite(features), stop])
            asked = asked or bool(halt)
            if bad:
                found = guard.look_forward(parts.backbone, parts.head, pixels, features)
                raise guard.report(world, found, step=step, otherwise="features")
            scaled, y = parts.scaler.attach(features), y.to(world.device, non_blocking=True)
            loss = objective(parts.head, parts.added, [a.share for a in config.added], scaled, y)
            value = float(loss.detach())
            if value - value != 0.0:
                found = guard.look_forward(parts.backbone, parts.head, pixels, features)
                raise guard.report(world, found, step=step, otherwise="loss")
            (loss / pieces).backward()  # type: ignore[no-untyped-call]
            total += value / pieces
    weights = [p for p in parts.backbone.parameters() if p.requires_grad]
    parts.scaler.release(weights)
    if (
        not parts.head.sharded
    ):  # each rank has computed the same; the same bits keep the ranks' centres together for ever
        world.spread(p.grad for p in [*parts.head.parameters(), *parts.added.parameters()] if p.grad is not None)
    length = optim.gradient_length(weights)
    centres = optim.gradient_length(parts.head.parameters())
    spilt, broken = world.most([not guard.finite(length), not guard.finite(centres)])
    overflow = bool(spilt) and parts.scaler.enabled
    if broken or (spilt and not overflow):
        raise guard.report(world, guard.look_backward(parts.backbone, parts.head), step=step, otherwise="gradients")
    parts.scaler.update(overflow=overflow)
    if not overflow:
        optim.clip(weights, length, longest=config.optimizer.clip)
        parts.optimizer.step()
        if parts.average is not None:
            parts.average.update(parts.backbone)
    return Taken(total, float(length), not overflow, asked)
