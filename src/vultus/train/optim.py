"""Which optimiser moves which parameter, and how: groups, decay, clipping."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vultus.train.owned import require_own
from vultus.train.sections import Head, Optimizer


def parameter_groups(
    backbone: nn.Module, centres: Iterable[Tensor], loss: Iterable[Tensor], *, optimizer: Optimizer, head: Head
) -> list[dict[str, object]]:
    """Groups for a torch optimiser; each has its `factor` of the learning rate.

    Biases and all else with a single axis (the parameters of normalisations, slopes of PReLU) are not decayed unless
    `optimizer.decay_norms` says so. A loss's own learned numbers are never decayed.

    Args:
        backbone: its parameters that need a gradient.
        centres: class centres and biases of the head; empty where the head moves them itself.
        loss: learned numbers of the loss.
        optimizer, head: sections of the recipe.
    """
    named = [(n, p) for n, p in backbone.named_parameters() if p.requires_grad]
    require_own(named, what="the optimiser")
    plain = [p for _, p in named if p.ndim > 1 or optimizer.decay_norms]
    free = [p for _, p in named if not (p.ndim > 1 or optimizer.decay_norms)]
    pull = optimizer.weight_decay
    own = pull if head.weight_decay is None else head.weight_decay
    rows = list(centres)
    groups: list[dict[str, object]] = [
        {"params": plain, "weight_decay": pull, "factor": 1.0},
        {"params": free, "weight_decay": 0.0, "factor": 1.0},
        {"params": [p for p in rows if p.ndim > 1], "weight_decay": own, "factor": head.lr},
        {"params": [p for p in rows if p.ndim < 2], "weight_decay": 0.0, "factor": head.lr},
        {"params": list(loss), "weight_decay": 0.0, "factor": 1.0},
    ]
    return [g for g in groups if g["params"]]


def build_optimizer(groups: list[dict[str, object]], section: Optimizer) -> torch.optim.Optimizer:
    """The torch optimiser of a recipe."""
    if section.name == "adamw":
        return torch.optim.AdamW(groups, lr=section.lr, betas=section.betas, eps=section.eps)
    return torch.optim.SGD(groups, lr=section.lr, momentum=section.momentum, nesterov=section.nesterov)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group the rate times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def gradient_length(parameters: Iterable[Tensor]) -> Tensor:
    """0-d length of all gradients together; 0 where there is none."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    length: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return length


@torch.no_grad()
def clip(parameters: Iterable[Tensor], length: Tensor, *, longest: float) -> None:
    """Scale gradients of the given length so that it is at most `longest`; 0 leaves them."""
    if not longest:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        factor = torch.clamp(longest / (length + 1e-6), max=1.0)
        torch._foreach_mul_(gradients, factor.to(gradients[0].device))
