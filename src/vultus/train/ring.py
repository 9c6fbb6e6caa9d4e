"""Ring all-reduce, step by step, to read and to test by (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms").

N ranks stand in a ring and each splits its tensor into N parts. In N - 1 steps every rank sends one part to the next rank
and adds the part that it receives from the one before to its own: after that, each rank has the whole sum of one part. In
N - 1 further steps those sums go round. Each rank sends 2 (N - 1) / N of the tensor, whatever N is, and never waits for more
than its neighbour. Training itself uses torch.distributed's own all-reduce, which does this faster.

    >>> import torch
    >>> sums, trace = simulate([torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])])
    >>> sums[0].tolist()
    [11.0, 22.0]
    >>> print(trace)
    step  phase           from  to  part  bytes
       1  reduce-scatter     0   1     0      4
       1  reduce-scatter     1   0     1      4
       2  all-gather         0   1     1      4
       2  all-gather         1   0     0      4
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument

REDUCE = "reduce-scatter"
GATHER = "all-gather"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one rank does in one step: it sends a part to the next rank and receives another from the one before.

    Args:
        step: from 1 to 2 (N - 1).
        phase: "reduce-scatter", where what is received is added, or "all-gather", where it is taken.
        send, receive: numbers of the parts.
    """

    step: int
    phase: str
    send: int
    receive: int


@export("vultus.train.ring.Message")
@dataclass(frozen=True, slots=True)
class Message:
    """One part on its way from one rank to the next.

    Args:
        step: in which it was sent, from 1.
        phase: "reduce-scatter" or "all-gather".
        sender, receiver: ranks.
        part: number of the part.
        bytes: its size.
    """

    step: int
    phase: str
    sender: int
    receiver: int
    part: int
    bytes: int


@export("vultus.train.ring.Trace")
@dataclass(frozen=True, slots=True)
class Trace:
    """What was sent. Prints as a table.

    Args:
        size: number of ranks, N.
        messages: in the order of the steps.
    """

    size: int
    messages: tuple[Message, ...]

    @property
    def steps(self) -> int:
        """2 (N - 1)."""
        return max((m.step for m in self.messages), default=0)

    def sent(self, rank: int) -> int:
        """Bytes that a rank sent, of the messages that are known."""
        return sum(m.bytes for m in self.messages if m.sender == rank)

    def __str__(self) -> str:
        lines = [f"step  {'phase':<14}  from  to  part  bytes"]
        lines += [
            f"{m.step:>4}  {m.phase:<14}  {m.sender:>4}  {m.receiver:>2}  {m.part:>4}  {m.bytes:>5}"
            for m in self.messages
        ]
        return "\n".join(lines)


def turns(rank: int, size: int) -> Iterator[Turn]:
    """The turns of one rank among `size`, in order."""
    for s in range(size - 1):
        yield Turn(s + 1, REDUCE, (rank - s) % size, (rank - s - 1) % size)
    for s in range(size - 1):
        yield Turn(size + s, GATHER, (rank + 1 - s) % size, (rank - s) % size)


@export("vultus.train.ring.all_reduce")
@torch.no_grad()
def all_reduce(tensor: Tensor, *, group: dist.ProcessGroup | None = None) -> tuple[Tensor, Trace]:
    """The sum of a tensor over the ranks, by sending and receiving alone. Called by all ranks.

    Args:
        tensor: of the same shape and type on every rank; not written to, and may be expanded.
        group: of torch.distributed; None for the default one. Where none was started there is one rank.

    Returns:
        the sum, and what this rank sent.
    """
    together = dist.is_available() and dist.is_initialized()
    size, rank = (dist.get_world_size(group), dist.get_rank(group)) if together else (1, 0)
    flat, parts = _parts(tensor, size)
    after, before = (rank + 1) % size, (rank - 1) % size
    messages = []
    for turn in turns(rank, size):
        sent, wanted = parts[turn.send], parts[turn.receive]
        received = torch.empty_like(wanted)
        exchange = []
        if sent.numel():
            exchange.append(dist.P2POp(dist.isend, sent, _number(after, group), group))
        if wanted.numel():
            exchange.append(dist.P2POp(dist.irecv, received, _number(before, group), group))
        for work in dist.batch_isend_irecv(exchange) if exchange else []:
            work.wait()
        _take(wanted, received, turn)
        messages.append(Message(turn.step, turn.phase, rank, after, turn.send, sent.numel() * sent.element_size()))
    return flat.view(tensor.shape), Trace(size, tuple(messages))


@export("vultus.train.ring.simulate")
@torch.no_grad()
def simulate(tensors: Sequence[Tensor]) -> tuple[list[Tensor], Trace]:
    """The same ring within one process.

    Args:
        tensors: one for each rank, of one shape and type; not written to, and may be expanded.

    Returns:
        what every rank has in the end, and what all of them sent.

    Raises:
        BadArgument: no tensors, or tensors of several shapes or types.
    """
    if not tensors or any(t.shape != tensors[0].shape or t.dtype != tensors[0].dtype for t in tensors):
        kinds = sorted({f"{tuple(t.shape)} {t.dtype}" for t in tensors})
        raise BadArgument(f"the ranks have {kinds or 'no tensors'}; expected one tensor each, of one shape and type")
    size = len(tensors)
    flats, parts = zip(*(_parts(t, size) for t in tensors), strict=True)
    messages = []
    for step in zip(*(turns(rank, size) for rank in range(size)), strict=True):
        sent = [parts[rank][turn.send].clone() for rank, turn in enumerate(step)]
        for rank, turn in enumerate(step):
            _take(parts[rank][turn.receive], sent[rank - 1], turn)
            part = sent[rank]
            messages.append(
                Message(turn.step, turn.phase, rank, (rank + 1) % size, turn.send, part.numel() * part.element_size())
            )
    return [flat.view(tensors[0].shape) for flat in flats], Trace(size, tuple(messages))


def _parts(tensor: Tensor, size: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A flat copy, and its `size` parts, which differ by one element at most, as views."""
    flat = tensor.detach().flatten().clone()
    return flat, flat.tensor_split(size)


def _take(own: Tensor, received: Tensor, turn: Turn) -> None:
    if turn.phase == REDUCE:
        own.add_(received)
    else:
        own.copy_(received)


def _number(rank: int, group: dist.ProcessGroup | None) -> int:
    """The number of a rank of the group among all processes, which is how torch names it."""
    return rank if group is None else dist.get_global_rank(group, rank)


__all__ = ["Message", "Trace", "all_reduce", "simulate"]
