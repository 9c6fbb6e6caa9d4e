"""The head whose logits never exist as a whole, on one rank or shared by many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.heads.base import Head
from vultus.train.heads.batch import Batch, checked_batch, unit
from vultus.train.heads.engine import Plan, head_loss
from vultus.train.heads.optimizer import SGD, Stepper
from vultus.train.heads.ranks import Ranks
from vultus.train.heads.sampling import chosen_classes
from vultus.train.heads.workspace import Workspace
from vultus.train.loss import Loss
from vultus.train.owned import require_own

Decay = Literal["lazy", "full"]
CHUNK = 2_048
KEEP = 64 * 2**20


class ChunkedHead(Head):
    """What `Chunked` and `Sharded` have in common: they differ in the ranks alone."""

    momentum: Tensor | None
    bias_momentum: Tensor | None

    def __init__(
        self,
        dim: int,
        classes: int,
        loss: Loss,
        *,
        subcenters: int,
        sample_rate: float,
        decay: Decay,
        optimizer: SGD | None,
        chunk: int,
        keep: int,
        seed: int,
        deviation: float,
        ranks: Ranks,
    ) -> None:
        if not 0 < sample_rate <= 1:
            raise BadArgument(f"sample_rate is {sample_rate!r}; expected a share of the classes, above 0 and at most 1")
        if decay not in ("lazy", "full"):
            raise BadArgument(f"decay is {decay!r}; expected 'lazy' or 'full'")
        if chunk < 1 or keep < 0:
            raise BadArgument(f"chunk is {chunk} and keep {keep}; expected at least 1 class and at least 0 bytes")
        super().__init__(dim, classes, loss, subcenters=subcenters, seed=seed, deviation=deviation, ranks=ranks)
        self.sample_rate = sample_rate
        self.decay: Decay = decay
        self.optimizer = optimizer
        self.chunk = chunk
        self.keep = keep
        self.step = 0
        self.space = Workspace()
        with_momentum = optimizer is not None and optimizer.momentum > 0
        self.register_buffer("momentum", torch.zeros_like(self.weight.detach()) if with_momentum else None)
        bias = self.bias if with_momentum else None
        self.register_buffer("bias_momentum", None if bias is None else torch.zeros_like(bias.detach()))

    def extra_repr(self) -> str:
        """What stands in the module's printed form."""
        more = f", sample_rate={self.sample_rate:g}, decay={self.decay!r}" if self.sample_rate < 1 else ""
        return super().extra_repr() + more + (f", optimizer={self.optimizer}" if self.optimizer else "")

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """0-d mean loss over the rows of all ranks of (n, dim) features, of any floating-point type, with (n,) labels."""
        if (
            torch.compiler.is_compiling()
        ):  # decorating would load the compiler, a second, for those too who do not compile
            outside: Callable[[Tensor, Tensor], Tensor] = torch.compiler.disable(self._loss)  # type: ignore[no-untyped-call]
            return outside(features, labels)
        return self._loss(features, labels)

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        self._check_type()
        batch = checked_batch(features, labels, dim=self.dim, classes=self.classes, ranks=self.ranks)
        moves = self._steppers() if torch.is_grad_enabled() and self.weight.requires_grad else ()
        with torch.autocast(features.device.type, enabled=False):
            x, norms = unit(batch.features, self.weight.dtype)
            return head_loss(self._plan(batch, moves), x, norms, self.weight, self.bias)

    def _plan(self, batch: Batch, moves: tuple[Stepper, ...]) -> Plan:
        labels = self.ranks.gathered(batch.labels, batch.sizes)
        chosen = None
        if self.training and self.sample_rate < 1:
            here = labels[(labels >= self.start) & (labels < self.stop)] - self.start
            chosen = chosen_classes(
                here, start=self.start, stop=self.stop, rate=self.sample_rate, seed=self.seed, step=self.step
            )
        if self.training:
            self.step += 1
        return Plan(
            loss=self.loss,
            ranks=self.ranks,
            sizes=batch.sizes,
            labels=labels,
            start=self.start,
            classes=self.stop - self.start,
            chosen=chosen,
            subcenters=self.subcenters,
            at_once=self.chunk,
            keep=self.keep,
            space=self.space,
            moves=moves,
            sparse=self.decay == "lazy",
            full_decay=self.decay == "full",
        )

    def _steppers(self) -> tuple[Stepper, ...]:
        """What moves weight and bias in the backward pass: for each, or for none of them."""
        sgd = self.optimizer
        if sgd is None:
            return ()
        if not self.sharded and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            raise BadArgument(
                f"this head holds all classes on each of {dist.get_world_size()} ranks, and optimizer= would move each by "
                "its own rank's batch, so that they part; use heads.Sharded, or leave optimizer= out and average gradients"
            )
        if sgd.momentum and self.momentum is None:
            self.momentum = torch.zeros_like(self.weight.detach(), memory_format=torch.contiguous_format)
        if sgd.momentum and self.bias is not None and self.bias_momentum is None:
            self.bias_momentum = torch.zeros_like(self.bias.detach(), memory_format=torch.contiguous_format)
        require_own(self._row_tensors().items(), what="optimizer=")
        pairs = [(self.weight, self.momentum), (self.bias, self.bias_momentum)]
        return tuple(Stepper(sgd, p.detach(), v if sgd.momentum else None) for p, v in pairs if p is not None)

    def _row_tensors(self) -> dict[str, Tensor]:
        found = super()._row_tensors()
        for name in ("momentum", "bias_momentum"):
            held = getattr(self, name)
            if held is not None:
                found[name] = held
        return found

    def _replace(self, grown: Mapping[str, Tensor]) -> None:
        super()._replace(grown)
        for name in ("momentum", "bias_momentum"):
            if name in grown:
                setattr(self, name, grown[name])


@export("vultus.train.heads.Chunked")
class Chunked(ChunkedHead):
    """All classes on every rank, and never more than a chunk of their logits.

    Called with features (n, dim) and labels (n,) it gives the mean loss of the batch, 0-d. The products of the batch with a
    chunk of class centres are reduced by an online log-sum-exp, and computed again, or fetched from `keep`, for the
    gradients. Memory beyond the centres, their gradient and momentum does not grow with the number of classes.

    Args:
        dim: numbers in a feature.
        classes: number of classes, at least 2.
        loss: one of `vultus.train.nn`.
        subcenters: centres for each class, of which the nearest to a feature counts (Deng et al. 2020, "Sub-center ArcFace").
        sample_rate: probability of a class that is not in the batch to take part in a training step (PartialFC).
        decay: what a class that takes no part in a step does: "lazy", nothing; "full", its momentum and weight decay go on.
            Without `optimizer` it says which gradient there is: a sparse one, or a whole one with zeros.
        optimizer: moves the centres in the backward pass, so that their gradient never exists; `backward` is the step.
        chunk: classes at a time.
        keep: bytes of products that are kept from the forward to the backward pass instead of being computed again.
        seed: of the initial centres and of the sampling.
        deviation: standard deviation of the numbers of the initial centres.

    Attributes:
        step: training batches so far, on which the sampling depends; set it when a run is resumed.

    Raises:
        BadArgument: numbers out of range, or no loss that a head can train with.
        BadBatch: when called, for NaN or infinite features, labels out of range, or shapes that do not fit.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        loss: Loss,
        *,
        subcenters: int = 1,
        sample_rate: float = 1.0,
        decay: Decay = "lazy",
        optimizer: SGD | None = None,
        chunk: int = CHUNK,
        keep: int = KEEP,
        seed: int = 0,
        deviation: float = 0.01,
    ) -> None:
        super().__init__(
            dim,
            classes,
            loss,
            subcenters=subcenters,
            sample_rate=sample_rate,
            decay=decay,
            optimizer=optimizer,
            chunk=chunk,
            keep=keep,
            seed=seed,
            deviation=deviation,
            ranks=Ranks(alone=True),
        )
