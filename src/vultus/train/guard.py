"""Which tensor became NaN or infinite first?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from vultus.errors import NotFinite
from vultus.train.distributed import World


def finite(tensor: Tensor) -> bool:
    """True where every element is finite."""
    return bool(torch.isfinite(tensor.detach()).all())


def first_bad(named: Iterable[tuple[str, Tensor | None]]) -> str | None:
    """The name and state of the first tensor that is not finite; None where all are."""
    for name, tensor in named:
        if tensor is not None and tensor.is_floating_point() and not finite(tensor):
            return f"{name!r} ({_count(tensor)})"
    return None


@torch.no_grad()
def first_bad_activation(module: nn.Module, images: Tensor) -> str | None:
    """The first submodule, in the order of computation, whose output is not finite.

    The module computes once more, as it is in evaluation, so its running statistics stay; where that gives finite values
    only, in training with its statistics put back afterwards.
    """
    training = module.training
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        for mode in (False, True):
            module.train(mode)
            if found := _traced(module, images):
                return found
    finally:
        module.train(training)
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])
    return None


def _traced(module: nn.Module, images: Tensor) -> str | None:
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def look(layer: nn.Module, inputs: object, output: object) -> None:
            del inputs
            if not found and isinstance(output, Tensor) and not finite(output):
                found.append(f"output of {name!r}, a {type(layer).__name__} ({_count(output)})")

        return look

    leaves = [(name, layer) for name, layer in module.named_modules() if name and not list(layer.children())]
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in leaves]
    try:
        output = module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else first_bad([("features", output)])


def look_forward(backbone: nn.Module, head: nn.Module, images: Tensor, features: Tensor) -> str | None:
    """What is wrong before or in the forward pass, in the order of computation; None where nothing is."""
    tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
    bad = first_bad([("images", images)])
    if bad:
        return f"input {bad}"
    if bad := first_bad(tensors):
        return f"parameter {bad} of the backbone"
    if bad := first_bad([*head.named_parameters(), *head.named_buffers()]):
        return f"parameter {bad} of the head"
    if not finite(features):
        return first_bad_activation(backbone, images) or f"features ({_count(features)})"
    return None


def look_backward(backbone: nn.Module, head: nn.Module) -> str | None:
    """The gradient that became bad first: the one of the last parameter, because gradients flow from the end."""
    for where, module in (("head", head), ("backbone", backbone)):
        for name, parameter in reversed(list(module.named_parameters())):
            if parameter.grad is not None and not finite(parameter.grad):
                return f"gradient of {name!r} of the {where} ({_count(parameter.grad)})"
    return None


def report(world: World, found: str | None, *, step: int, otherwise: str) -> NotFinite:
    """The error that names the tensor, the step and the rank. Called by all ranks, each with what it found.

    Args:
        world: the ranks.
        found: what this rank found, or None.
        step: optimiser step, from 0.
        otherwise: what is known where no rank found a tensor, such as "loss".
    """
    answers = world.told(found, what="looking for the tensor that is not finite")
    rank, what = next(((r, a) for r, a in enumerate(answers) if a), (0, otherwise))
    return NotFinite(
        f"step {step}, rank {rank}: NaN or infinity in the {what}; the step was not taken and the last checkpoint is whole. "
        "Lower optimizer.lr, lengthen schedule.warmup, set optimizer.clip, or look at that batch"
    )


def _count(tensor: Tensor) -> str:
    bad = int((~torch.isfinite(tensor.detach())).sum())
    return f"{bad} of {tensor.numel()} values"
