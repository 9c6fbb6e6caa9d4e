"""What every head has: class centres, where they start, how they are saved by class id, and how classes are added."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument, CheckpointMismatch
from vultus.train.heads.centres import fill_initial
from vultus.train.heads.ranks import Ranks
from vultus.train.heads.span import span
from vultus.train.loss import Loss
from vultus.train.owned import require_own

Reader = Callable[[str, int, int], Tensor]
_AT_ONCE = 16_384  # classes read or sent at a time


@export("vultus.train.heads.Head")
class Head(nn.Module):
    """Class centres of one rank, with a loss over them. See `Dense`, `Chunked` and `Sharded`.

    Attributes:
        dim, classes, subcenters: as given; `classes` counts those of all ranks.
        start, stop: ids of the classes that this rank holds.
        sharded: whether the ranks hold different classes.
        weight: ((stop - start) * subcenters, dim) centres; those of one class stand one after another.
        bias: (stop - start,), or None where the loss has none.
        loss: the loss.
    """

    sharded = False
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        dim: int,
        classes: int,
        loss: Loss,
        *,
        subcenters: int = 1,
        seed: int = 0,
        deviation: float = 0.01,
        ranks: Ranks,
    ) -> None:
        super().__init__()
        if dim < 1 or subcenters < 1:
            raise BadArgument(f"dim is {dim} and subcenters {subcenters}; expected at least 1 of each")
        if not isinstance(loss, Loss):
            raise BadArgument(
                f"loss is a {type(loss).__name__}; expected one of vultus.train.nn that a head can train with"
            )
        if deviation <= 0:
            raise BadArgument(f"deviation is {deviation:g}; expected a number above 0: centres of length 0 cannot move")
        if not 0 <= seed < 2**64:
            raise BadArgument(f"seed is {seed}; expected a whole number from 0 to 2**64 - 1")
        self.dim = dim
        self.classes = classes
        self.subcenters = subcenters
        self.seed = seed
        self.deviation = deviation
        self.loss = loss
        self.ranks = ranks
        self.start, self.stop = span(classes, ranks.rank, ranks.size)
        held = self.stop - self.start
        self.weight = nn.Parameter(torch.empty(held * subcenters, dim))
        with torch.no_grad():
            self._fill_initial(self.weight, self.start)
        self.register_parameter("bias", nn.Parameter(torch.zeros(held)) if loss.bias else None)

    def extra_repr(self) -> str:
        """What stands in the module's printed form."""
        more = f", subcenters={self.subcenters}" if self.subcenters > 1 else ""
        part = f", start={self.start}, stop={self.stop}" if self.sharded else ""
        return f"dim={self.dim}, classes={self.classes}{more}{part}"

    def _fill_initial(self, weight: Tensor, first: int) -> None:
        fill_initial(weight, first=first, subcenters=self.subcenters, seed=self.seed, deviation=self.deviation)

    # --- by class id ----------------------------------------------------------------------------------------------------

    def _row_tensors(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {"weight": self.weight}
        if self.bias is not None:
            found["bias"] = self.bias
        return found

    def rows_state(self) -> dict[str, Tensor]:
        """Every tensor that has rows for classes, by name; not copied.

        The parts of all ranks, one after another, are the whole tensors, whatever the number of ranks.
        """
        return {name: tensor.detach() for name, tensor in self._row_tensors().items()}

    @torch.no_grad()
    def load_rows(self, read: Reader) -> None:
        """Take over the rows of this rank's classes, which a head on any number of ranks has saved.

        Args:
            read: gives the rows of the tensor of a name that belong to the class ids [start, stop).

        Raises:
            CheckpointMismatch: rows of another shape, that are not finite, or centres of length 0; nothing was changed.
        """
        tensors = self._row_tensors()
        require_own(tensors.items(), what="load_rows")
        for name, tensor in tensors.items():
            for start, stop in self._blocks():
                self._check_rows(name, read(name, start, stop), start, stop, tensor)
        for name, tensor in tensors.items():
            each = len(tensor) // (self.stop - self.start)
            for start, stop in self._blocks():
                tensor[(start - self.start) * each : (stop - self.start) * each] = read(name, start, stop)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        for start in range(self.start, self.stop, _AT_ONCE):
            yield start, min(start + _AT_ONCE, self.stop)

    def _check_rows(self, name: str, rows: Tensor, start: int, stop: int, like: Tensor) -> None:
        expected = (len(like) // (self.stop - self.start) * (stop - start), *like.shape[1:])
        if tuple(rows.shape) != expected:
            raise CheckpointMismatch(
                f"{name!r} of the classes {start} to {stop - 1} has shape {tuple(rows.shape)}, expected {expected}; the head "
                f"has dim {self.dim} and {self.subcenters} centres for each of {self.classes} classes: make it as it was saved"
            )
        if not torch.isfinite(rows).all():
            raise CheckpointMismatch(f"{name!r} of the classes {start} to {stop - 1} has NaN or infinite values")
        if name == "weight" and self.loss.unit_weights and (zero := ~rows.any(dim=1)).any():
            which = start + int(zero.nonzero()[0]) // self.subcenters
            raise CheckpointMismatch(
                f"the centre of class {which} has length 0, so that it has no direction and could never move; the "
                "checkpoint is not whole: take another one, or give the class a centre"
            )

    # --- more classes ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def add_classes(self, new: int | Tensor) -> range:
        """Add classes to a trained head; those that it has keep their ids, centres and momentum.

        `weight` and `bias` become new parameters: an optimiser outside the head must be made anew. Called by all ranks.

        Args:
            new: how many, which start as they would have in a new head; or their centres, (m, dim) or, with sub-centers,
                (m * subcenters, dim), the same on all ranks. Not written to, and may be expanded.

        Returns:
            the ids of the new classes.

        Raises:
            BadArgument: none, or centres of another shape, not finite or of length 0.
        """
        given = None if isinstance(new, int) else self._checked_centres(new)
        more = new if isinstance(new, int) else len(new) // self.subcenters
        if more < 1:
            raise BadArgument(f"{more} classes were to be added; expected at least 1")
        before = self.classes
        tensors = self._row_tensors()
        start, stop = span(before + more, self.ranks.rank, self.ranks.size)
        grown = {name: self._grown(tensor, before, start, stop) for name, tensor in tensors.items()}
        first = max(start, before)
        if first < stop:
            fresh = grown["weight"][(first - start) * self.subcenters :]
            if given is None:
                self._fill_initial(fresh, first)
            else:
                fresh.copy_(given[(first - before) * self.subcenters : (stop - before) * self.subcenters])
        self.classes, self.start, self.stop = before + more, start, stop
        self._replace(grown)
        return range(before, before + more)

    def _checked_centres(self, centres: Tensor) -> Tensor:
        if centres.ndim != 2 or centres.shape[1] != self.dim or len(centres) % self.subcenters:
            raise BadArgument(
                f"the new centres have shape {tuple(centres.shape)}; expected ({self.subcenters} for each class, {self.dim})"
            )
        if not torch.isfinite(centres).all():
            raise BadArgument("the new centres have NaN or infinite values")
        if self.loss.unit_weights and (zero := ~centres.any(dim=1)).any():
            raise BadArgument(
                f"row {int(zero.nonzero()[0])} of the new centres has length 0, so that it has no direction"
            )
        return centres

    def _grown(self, tensor: Tensor, before: int, start: int, stop: int) -> Tensor:
        """The rows of the classes [start, stop), of which those below `before` are somewhere on the ranks; others are 0."""
        each = len(tensor) // (self.stop - self.start)
        grown = tensor.new_zeros((stop - start) * each, *tensor.shape[1:])
        for rank in range(self.ranks.size):
            low, high = span(before, rank, self.ranks.size)
            for begin in range(low, high, _AT_ONCE):
                end = min(begin + _AT_ONCE, high)
                if rank == self.ranks.rank:
                    block = tensor.detach()[(begin - low) * each : (end - low) * each].contiguous()
                else:
                    block = tensor.new_empty((end - begin) * each, *tensor.shape[1:])
                self.ranks.from_rank(block, rank)
                a, b = max(begin, start), min(end, stop)
                if a < b:
                    grown[(a - start) * each : (b - start) * each] = block[(a - begin) * each : (b - begin) * each]
        return grown

    def _replace(self, grown: Mapping[str, Tensor]) -> None:
        self.weight = nn.Parameter(grown["weight"], requires_grad=self.weight.requires_grad)
        if self.bias is not None:
            self.bias = nn.Parameter(grown["bias"], requires_grad=self.bias.requires_grad)

    def _check_type(self) -> None:
        if self.weight.dtype not in (torch.float32, torch.float64):
            raise BadArgument(
                f"the class centres are {self.weight.dtype}; logits need float32: keep the head as it is, head.float(), and "
                "give it features of any floating-point type"
            )
