"""Stochastic gradient descent for class centres, a few rows at a time: their whole gradient never exists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.heads.workspace import Workspace


@export("vultus.train.heads.SGD")
@dataclass(slots=True)
class SGD:
    """What a head does to its class centres in the backward pass, the arithmetic of torch.optim.SGD.

        velocity <- momentum * velocity + gradient + weight_decay * centre
        centre <- centre - lr * velocity

    `lr` and `weight_decay` may be set before every step. The gradient is that of the number on which `backward` is called:
    whoever scales the loss for float16 scales the step too, and should scale the features' gradient instead.

    Args:
        lr: learning rate.
        momentum: 0 holds no velocity.
        weight_decay: pull towards zero.

    Raises:
        BadArgument: a negative number, or a momentum of 1 or more.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not self.lr >= 0 or not self.weight_decay >= 0 or not 0 <= self.momentum < 1:
            raise BadArgument(
                f"lr {self.lr!r}, momentum {self.momentum!r} and weight_decay {self.weight_decay!r}: expected numbers of at "
                "least 0 and a momentum below 1"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Stepper:
    """Moves parts of one parameter.

    Args:
        sgd: how.
        values: the parameter, (rows, ...); written to.
        velocity: of the same shape, or None without momentum; written to.
    """

    sgd: SGD
    values: Tensor
    velocity: Tensor | None

    def step(self, rows: slice | Tensor, values: Tensor, gradient: Gradient, space: Workspace) -> None:
        """Move some rows.

        Args:
            rows: which: a slice, or ascending numbers.
            values: those rows as they were in the forward pass: a view of the parameter, or a copy.
            gradient: their gradient.
            space: for what is computed on the way.
        """
        sgd = self.sgd
        if self.velocity is None:
            moved = gradient.into(space.get("gradient", values.shape, values), keep=0.0, pull=sgd.weight_decay)
        elif isinstance(rows, slice):
            moved = gradient.into(self.velocity[rows], keep=sgd.momentum, pull=sgd.weight_decay)
        else:
            moved = space.get("velocity", values.shape, values)
            torch.index_select(self.velocity, 0, rows, out=moved)
            moved = gradient.into(moved, keep=sgd.momentum, pull=sgd.weight_decay)
            self.velocity.index_copy_(0, rows, moved)
        values.add_(moved, alpha=-sgd.lr)
        if not isinstance(rows, slice):
            self.values.index_copy_(0, rows, values)

    def rest(self, rows: Tensor, space: Workspace, *, at_once: int) -> None:
        """Move rows that have no gradient: the velocity fades and the weights decay.

        Args:
            rows: ascending numbers.
            space: for what is computed on the way.
            at_once: how many rows are moved at a time.
        """
        for part in torch.split(rows, at_once):
            values = space.get("rest", (len(part), *self.values.shape[1:]), self.values)
            torch.index_select(self.values, 0, part, out=values)
            self.step(part, values, NoGradient(values), space)


class Gradient(ABC):
    """The gradient of some rows, which can be added to a velocity without being formed first."""

    @abstractmethod
    def into(self, target: Tensor, *, keep: float, pull: float) -> Tensor:
        """`keep` * target + gradient + `pull` * values, written to the target; what it held is of no account for keep = 0."""


@dataclass(frozen=True, slots=True, eq=False)
class NoGradient(Gradient):
    """A gradient of zero.

    Args:
        values: rows.
    """

    values: Tensor

    def into(self, target: Tensor, *, keep: float, pull: float) -> Tensor:
        """See `Gradient.into`."""
        if keep:
            target.mul_(keep)
        else:
            target.zero_()
        return target.add_(self.values, alpha=pull) if pull else target


@dataclass(frozen=True, slots=True, eq=False)
class FormedGradient(Gradient):
    """A gradient that is at hand, such as that of biases.

    Args:
        values, gradient: of one shape.
    """

    values: Tensor
    gradient: Tensor

    def into(self, target: Tensor, *, keep: float, pull: float) -> Tensor:
        """See `Gradient.into`."""
        return NoGradient(self.values).into(target, keep=keep, pull=pull).add_(self.gradient)
