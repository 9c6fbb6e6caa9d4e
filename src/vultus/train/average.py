"""An exponential moving average of a module's weights (Polyak and Juditsky 1992; with the warm-up that TensorFlow gave it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument, CheckpointMismatch
from vultus.train.owned import require_own


@export("vultus.train.Ema")
class Ema:
    """Keeps the average of every parameter and buffer of a module.

    average <- d * average + (1 - d) * value, in the value's own type; whole numbers, such as the count of batches, are
    copied. The module's tensors are only read, and may be expanded; the average has storage of its own.

    Args:
        module: whose weights are averaged.
        decay: d, in [0, 1).
        warmup: use d = min(decay, (1 + t) / (10 + t)) in update t, counted from 0.

    Raises:
        BadArgument: a decay out of range.
    """

    def __init__(self, module: nn.Module, *, decay: float = 0.9999, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise BadArgument(f"decay is {decay!r}; expected a number in [0, 1)")
        self.decay = decay
        self.warmup = warmup
        self.updates = 0
        self._values = {name: _own(value) for name, value in _tensors(module)}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's present weights into the average.

        Raises:
            BadArgument: the module has other tensors than the one that the average was made of.
        """
        named = dict(_tensors(module))
        if named.keys() != self._values.keys():
            odd = sorted(named.keys() ^ self._values.keys())
            raise BadArgument(f"the module and its average differ in {odd[0]!r}; make a new Ema for another module")
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        for name, value in named.items():
            kept = self._values[name]
            if kept.is_floating_point():
                kept.lerp_(value.detach().to(kept.dtype), 1 - decay)
            else:
                kept.copy_(value)
        self.updates += 1

    def tensors(self) -> dict[str, Tensor]:
        """The average of each tensor by name. To be read only."""
        return dict(self._values)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], *, updates: int) -> None:
        """Take over a saved average.

        Raises:
            CheckpointMismatch: another set of names, or another shape.
        """
        if tensors.keys() != self._values.keys():
            odd = sorted(tensors.keys() ^ self._values.keys())
            raise CheckpointMismatch(f"the saved average and the module differ in {odd[0]!r}")
        for name, kept in self._values.items():
            if tensors[name].shape != kept.shape:
                raise CheckpointMismatch(
                    f"the saved average of {name!r} has shape {tuple(tensors[name].shape)}; expected {tuple(kept.shape)}"
                )
        for name, kept in self._values.items():
            kept.copy_(tensors[name])
        self.updates = updates

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the average into a module.

        Raises:
            BadArgument: a tensor of the module is expanded, so that it cannot be written; names it and the remedy.
        """
        named = dict(_tensors(module))
        require_own(named.items(), what="copying an average into a module")
        for name, value in self._values.items():
            named[name].copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module with the average in place of its weights; afterwards it has its own again, bit for bit."""
        own = {name: _own(value) for name, value in _tensors(module)}
        self.copy_to(module)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in _tensors(module):
                    value.copy_(own[name])


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)
