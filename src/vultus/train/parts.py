"""From a recipe to the objects of a run."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vultus.errors import BadRecipe, CheckpointMismatch, VultusError
from vultus.train import backbones, heads, optim
from vultus.train import nn as losses
from vultus.train.average import Ema
from vultus.train.checkpoint import open_best
from vultus.train.config import Config
from vultus.train.distributed import World
from vultus.train.objective import Headless, build_added
from vultus.train.scaler import Scaler
from vultus.train.shared_norm import with_norms

AnyHead = heads.Dense | heads.Chunked | heads.Sharded | Headless


@dataclass(slots=True, eq=False)
class Parts:
    """What a step needs.

    Args:
        config: the recipe.
        world: the ranks.
        backbone: the network itself.
        runner: what is called in its place: compiled and averaging gradients over ranks, where the run has that.
        head: class centres and loss.
        added: losses on the features, added to that of the head.
        optimizer: of all that the head does not move itself.
        scaler: of float16 gradients.
        average: of the backbone's weights, where the run keeps one.
        kind: number type of the weights.
        layout: of photos in memory.
    """

    config: Config
    world: World
    backbone: nn.Module
    runner: nn.Module
    head: AnyHead
    added: nn.ModuleList
    optimizer: torch.optim.Optimizer
    scaler: Scaler
    average: Ema | None
    kind: torch.dtype
    layout: torch.memory_format

    def centres(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters whose first axis is classes."""
        yield from self.head.named_parameters(recurse=False)

    @property
    def fused(self) -> heads.SGD | None:
        """What moves the centres in the backward pass, where the head does that itself."""
        return self.head.optimizer if isinstance(self.head, heads.Chunked | heads.Sharded) else None

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter that the optimiser may move, by a name that stays."""
        for name, parameter in self.backbone.named_parameters():
            yield f"backbone.{name}", parameter
        for name, parameter in self.head.named_parameters():
            yield f"head.{name}", parameter
        for name, parameter in self.added.named_parameters():
            yield f"added.{name}", parameter


def build(config: Config, *, classes: int, world: World) -> Parts:
    """The parts of a run, with initial weights that depend on the seed alone.

    Args:
        config: the recipe.
        classes: how many identities there are.
        world: the ranks.

    Raises:
        BadRecipe: no such backbone, loss, head or option.
        WorldSizeError: fewer classes than ranks.
    """
    kind = torch.float64 if config.run.precision == "float64" else torch.float32
    torch.manual_seed(config.run.seed)
    backbone = build_backbone(config).to(world.device, kind)
    layout = layout_for(backbone, world.device)
    backbone.to(memory_format=layout)  # type: ignore[call-overload]
    if config.model.weights is not None:
        _start_from(backbone, config.model.weights)
    head = _head(config, classes, world.size).to(world.device, kind)
    added = build_added(config.added, classes=classes, dim=config.model.dim).to(world.device, kind)
    torch.manual_seed(seed_of(config.run.seed, world.rank))
    moved = [] if config.head.fused else [p for _, p in head.named_parameters(recurse=False)]
    learned = [*head.loss.parameters(), *added.parameters()]
    groups = optim.parameter_groups(backbone, moved, learned, optimizer=config.optimizer, head=config.head)
    return Parts(
        config=config,
        world=world,
        backbone=backbone,
        runner=_runner(backbone, config, world, kind),
        head=head,
        added=added,
        optimizer=optim.build_optimizer(groups, config.optimizer),
        scaler=Scaler(enabled=config.run.precision == "fp16"),
        average=Ema(backbone, decay=config.average.decay, warmup=config.average.warmup)
        if config.average.decay
        else None,
        kind=kind,
        layout=layout,
    )


def build_backbone(config: Config) -> nn.Module:
    """The network that a recipe names, its weights drawn from torch's random state.

    Raises:
        BadRecipe: no such backbone or option.
    """
    try:
        backbone = backbones.build(config.model.backbone, dim=config.model.dim, **config.model.options)
    except (VultusError, TypeError) as problem:
        if isinstance(problem, VultusError) and problem.code not in {"bad_argument", "bad_recipe"}:
            raise
        raise BadRecipe(f"model: {problem}") from problem
    if config.model.centred:
        backbone = nn.Sequential(OrderedDict(backbone=backbone, centred=losses.CentredCoordinates(config.model.dim)))
    return with_norms(backbone, config.model.batch_norm)


def layout_for(backbone: nn.Module, device: torch.device) -> torch.memory_format:
    """The layout of photos that a network is fastest in: channels last, about 1.4 times as fast on a CPU.

    On a CPU torch 2.13 writes outside its memory in the backward pass of a pointwise convolution with a stride and few
    channels in that layout, so a network that has one keeps the plain layout there.
    """
    for layer in backbone.modules():
        if not isinstance(layer, nn.Conv2d) or device.type != "cpu" or layer.in_channels >= 32:
            continue
        if layer.kernel_size == (1, 1) and layer.stride != (1, 1):
            return torch.contiguous_format
    return torch.channels_last


def seed_of(seed: int, rank: int) -> int:
    """The seed of what a rank draws for itself: dropout and the like."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{rank}".encode()).digest()[:7], "big")


def _head(config: Config, classes: int, size: int) -> AnyHead:
    if config.head.kind == "none":
        return Headless(config.model.dim, classes)
    loss = losses.build(config.loss.name, classes=classes, dim=config.model.dim, **config.loss.options)
    kinds: dict[str, Callable[..., heads.Dense | heads.Chunked | heads.Sharded]] = {
        "dense": heads.Dense,
        "chunked": heads.Chunked,
        "sharded": heads.Sharded,
    }
    if isinstance(loss, losses.BatchLoss):
        raise BadRecipe(
            f"loss.name = {config.loss.name!r} is a loss on features; set head.kind = 'none' and name it under [[added]]"
        )
    options = dict(config.head.options)
    if options.get("sample_rate", 1.0) < 1 and options.get("decay", "lazy") == "lazy" and not config.head.fused:
        raise BadRecipe(
            "head.options.sample_rate below 1 leaves most centres alone in a step, which torch's optimisers cannot do with "
            "momentum; set head.fused = true, or head.options.decay = 'full'"
        )
    if config.head.fused and config.head.kind != "sharded" and size > 1:
        raise BadRecipe(f"head.fused on {size} ranks needs head.kind = 'sharded'")
    if config.head.fused:
        pull = config.optimizer.weight_decay if config.head.weight_decay is None else config.head.weight_decay
        options["optimizer"] = heads.SGD(
            lr=config.optimizer.lr * config.head.lr, momentum=config.optimizer.momentum, weight_decay=pull
        )
    try:
        made: AnyHead = kinds[config.head.kind](config.model.dim, classes, loss, seed=config.run.seed, **options)
    except TypeError as problem:
        raise BadRecipe(f"head.options: {problem}") from problem
    return made


def _start_from(backbone: nn.Module, path: str) -> None:
    load_backbone(backbone, open_best(path).replicated(), where=path)


def load_backbone(backbone: nn.Module, tensors: dict[str, Tensor], *, where: str) -> None:
    """Give a backbone the weights of a checkpoint: the average, where the checkpoint has one.

    Raises:
        CheckpointMismatch: the weights are those of another network.
    """
    kept = "average." if any(name.startswith("average.") for name in tensors) else "backbone."
    found = {name.removeprefix(kept): value for name, value in tensors.items() if name.startswith(kept)}
    copy_into(dict(backbone.state_dict(keep_vars=True)), found, where=where, what="backbone")


@torch.no_grad()
def copy_into(own: dict[str, Tensor], found: dict[str, Tensor], *, where: str, what: str) -> None:
    """Copy tensors by name into others, after all names and shapes were compared.

    Raises:
        CheckpointMismatch: a name is missing or too many, or a shape differs.
    """
    if odd := sorted(own.keys() ^ found.keys()):
        side = "has no" if odd[0] in own else "has an unknown"
        raise CheckpointMismatch(
            f"{where}: the checkpoint {side} tensor {odd[0]!r} of the {what}; it is of another model"
        )
    for name, target in own.items():
        if target.shape != found[name].shape:
            raise CheckpointMismatch(
                f"{where}: {name!r} of the {what} has shape {tuple(found[name].shape)} in the checkpoint and "
                f"{tuple(target.shape)} in this run; it is of another model"
            )
    for name, target in own.items():
        target.copy_(found[name])


def _runner(backbone: nn.Module, config: Config, world: World, kind: torch.dtype) -> nn.Module:
    runner: nn.Module = backbone
    if config.run.compile:
        runner = torch.compile(runner)  # type: ignore[assignment]
    if world.size == 1:
        return runner
    devices = [world.device.index] if world.device.type == "cuda" else None
    wrapped = DistributedDataParallel(runner, device_ids=devices)
    _settle(wrapped, backbone, world.device, kind)
    return wrapped


def _settle(wrapped: DistributedDataParallel, backbone: nn.Module, device: torch.device, kind: torch.dtype) -> None:
    """Let DDP order its buckets now, which it does after the first backward pass.

    A resumed run then adds gradients up in the same order as one that was never stopped, bit for bit.
    """
    backbone.eval()
    wrapped(torch.zeros(2, 3, 112, 112, device=device, dtype=kind)).sum().backward()
    for parameter in backbone.parameters():
        parameter.grad = None
