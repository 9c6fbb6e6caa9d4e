"""The processes that share the class centres, and what they tell each other. Without a process group there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks:
    """Collectives over a process group; with `alone`, or where none was started, every one of them is the identity.

    The group is looked up when it is used, never at construction.

    Args:
        group: of torch.distributed; None for the default one.
        alone: True for a head that no process shares.
    """

    def __init__(self, group: dist.ProcessGroup | None = None, *, alone: bool = False) -> None:
        self._group = group
        self._alone = alone

    def __deepcopy__(self, memo: dict[int, Any]) -> Ranks:
        return self

    @property
    def together(self) -> bool:
        """True where there is a process group to talk over."""
        return not self._alone and dist.is_available() and dist.is_initialized()

    @property
    def size(self) -> int:
        """Number of processes."""
        return dist.get_world_size(self._group) if self.together else 1

    @property
    def rank(self) -> int:
        """Number of this process."""
        return dist.get_rank(self._group) if self.together else 0

    def listed(self, values: Tensor) -> Tensor:
        """(size, k): the (k,) `values` of every rank."""
        if not self.together:
            return values[None]
        told = values.new_empty(self.size * len(values))
        _all_gather()(told, values.contiguous(), group=self._group)
        return told.view(self.size, len(values))

    def gathered(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """All ranks' rows, one rank after another.

        Args:
            rows: (n, ...) of this rank.
            sizes: n of every rank.
        """
        if not self.together:
            return rows
        longest = max(sizes)
        told = rows.new_empty(self.size * longest, *rows.shape[1:])
        _all_gather()(told, _padded(rows.contiguous(), longest), group=self._group)
        if min(sizes) == longest:
            return told
        return torch.cat([told[r * longest : r * longest + n] for r, n in enumerate(sizes)])

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, on every rank. Writes to its argument, which must be contiguous."""
        if self.together:
            dist.all_reduce(tensor, group=self._group)
        return tensor

    def largest(self, tensor: Tensor) -> Tensor:
        """The maximum over ranks, on every rank. Writes to its argument, which must be contiguous."""
        if self.together:
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        return tensor

    def own_sum(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """The sum over ranks of the rows that belong to this rank: a reduce-scatter.

        Args:
            rows: (sum of sizes, ...), what this rank has for everybody's rows.
            sizes: number of rows of every rank.
        """
        if not self.together:
            return rows
        longest = max(sizes)
        if min(sizes) < longest:
            rows = torch.cat([_padded(part, longest) for part in torch.split(rows, list(sizes))])
        own = rows.new_empty(longest, *rows.shape[1:])
        _reduce_scatter()(own, rows.contiguous(), group=self._group)
        return own[: sizes[self.rank]]

    def from_rank(self, tensor: Tensor, rank: int) -> Tensor:
        """What one rank has, on every rank. Writes to its argument, which must be contiguous, on all others."""
        if self.together:
            source = rank if self._group is None else dist.get_global_rank(self._group, rank)
            dist.broadcast(tensor, source, group=self._group)
        return tensor


def _padded(rows: Tensor, length: int) -> Tensor:
    if len(rows) == length:
        return rows
    return torch.cat([rows, rows.new_zeros(length - len(rows), *rows.shape[1:])])


def _all_gather() -> Callable[..., Any]:
    found: Callable[..., Any] = (
        getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    )  # since torch 2.13
    return found


def _reduce_scatter() -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    return found
