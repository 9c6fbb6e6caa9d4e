"""How the logits of a row become its loss, from parts: chunks of classes first, then ranks.

Both kinds are sums over the other classes. `Softmax` sums exp(z) under a running maximum, `Binary` softplus(z). The slope of
such a sum in one of its logits is a `share`: the softmax within the chunk, or the logistic function. Each share is of a
row, times a weight of that row which only the backward pass knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vultus.train.heads.ranks import Ranks

# The logit of a class that a row does not count: finite, because -inf - -inf is NaN, and the same number in float32 and
# float64, because a maximum that starts at it must not lie above it.
ABSENT = -(2.0**100)
_LEAST, _MOST = 1e-280, 1e280


def softplus(logits: Tensor) -> Tensor:
    """log(1 + exp(z)); torch's own is z from 20 on, which in float64 is off by 2e-9."""
    return F.softplus(logits, threshold=40.0)


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Derivatives of the sum of all rows' losses. All (n,) float64.

    Args:
        others: by the sum over the other classes, as `others` of the reduction gives it.
        target: by the target's logit; 0 where the class is held elsewhere.
        negatives: (n, k) by the batch's own negatives, or None.
    """

    others: Tensor
    target: Tensor
    negatives: Tensor | None


class Reduction(Protocol):
    """The sum over the other classes of this rank, and what follows from it."""

    def add(self, logits: Tensor, values: Tensor | None, scratch: Tensor) -> None:
        """Take in the (n, m) logits of a chunk.

        Args:
            logits: (n, m).
            values: (n, m) that are weighed by the shares into `moment`, or None.
            scratch: (n, m) to write to; may be `logits`.
        """
        ...

    def shares(self, logits: Tensor, chunk: int, out: Tensor) -> Tensor:
        """Write the (n, m) shares of the chunk of that number to `out`; gives (n,) factors that make them whole."""
        ...

    @property
    def others(self) -> Tensor:
        """(n,) float64, the sum over the other classes of this rank."""
        ...

    @property
    def moment(self) -> Tensor:
        """(n,) sum of share times value."""
        ...

    @property
    def mass(self) -> Tensor:
        """(n,) sum of shares."""
        ...

    def finish(
        self, target: Tensor, offset: Tensor, held: Tensor, negatives: Tensor | None, ranks: Ranks
    ) -> tuple[Tensor, Slopes]:
        """Put the ranks together.

        Args:
            target: (n,) logits of the rows' own classes.
            offset: (n,) summand of the other classes' logits.
            held: (n,) True where the row's own class is on this rank.
            negatives: (n, k) logits, or None; counted by the rank that holds the row's own class.
            ranks: whose sums there are.

        Returns:
            (n,) losses without the regulariser, float64, and their slopes on this rank.
        """
        ...


class Softmax:
    """-log of the target's share, by an online log-sum-exp (Milakov and Gimelshein 2018, arXiv:1805.02867)."""

    def __init__(self, rows: int, like: Tensor, *, moment: bool) -> None:
        self._most = like.new_full((rows,), ABSENT, dtype=torch.float64)
        self._sum = like.new_zeros(rows, dtype=torch.float64)
        self._moment = like.new_zeros(rows, dtype=torch.float64) if moment else None
        self._of_chunk: list[Tensor] = []

    def add(self, logits: Tensor, values: Tensor | None, scratch: Tensor) -> None:
        """See `Reduction.add`."""
        highest = logits.amax(dim=1)
        torch.softmax(logits, dim=1, out=scratch)
        # the largest share of the chunk is exp(highest - lse), which tells the chunk's log-sum-exp exactly
        chunk = highest.double() - scratch.amax(dim=1).double().log_()
        self._of_chunk.append(chunk)
        most = torch.maximum(self._most, chunk)
        before, now = (self._most - most).exp_(), (chunk - most).exp_()
        self._sum.mul_(before).add_(now)
        if self._moment is not None and values is not None:
            self._moment.mul_(before).addcmul_(now, scratch.mul_(values).sum(dim=1))
        self._most = most

    def shares(self, logits: Tensor, chunk: int, out: Tensor) -> Tensor:
        """See `Reduction.shares`."""
        torch.softmax(logits, dim=1, out=out)
        return (self._of_chunk[chunk] - self.others).exp_()

    @property
    def others(self) -> Tensor:
        """See `Reduction.others`."""
        return self._sum.log() + self._most

    @property
    def moment(self) -> Tensor:
        """See `Reduction.moment`."""
        assert self._moment is not None  # noqa: S101  asked for at construction
        return self._moment / self._sum.clamp_min(_LEAST)

    @property
    def mass(self) -> Tensor:
        """See `Reduction.mass`."""
        return torch.ones_like(self._sum)

    def finish(
        self, target: Tensor, offset: Tensor, held: Tensor, negatives: Tensor | None, ranks: Ranks
    ) -> tuple[Tensor, Slopes]:
        """See `Reduction.finish`."""
        others = self.others + offset
        own = torch.where(held, target.double(), ABSENT)
        parts = [others[:, None], own[:, None]]
        if negatives is not None:
            negatives = torch.where(held[:, None], negatives.double(), ABSENT).clamp_min(ABSENT)
            parts.append(negatives)
        here = torch.logsumexp(torch.cat(parts, dim=1), dim=1)
        whole = here
        if ranks.together:
            whole, target = _over_ranks(here, torch.where(held, target.double(), 0.0), ranks)
        losses = whole - target
        return losses, Slopes(
            others=(others - whole).exp(),
            target=torch.where(held, torch.expm1(own - whole), 0.0),
            negatives=None if negatives is None else (negatives - whole[:, None]).exp(),
        )


def _over_ranks(here: Tensor, target: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """(log-sum-exp over all ranks, targets of all ranks) by one sum.

    A double holds exp(z) for |z| < 700, so no maximum has to be agreed on first. Rows that are out of that range show in
    the sum, on every rank alike, and cost a maximum and a second sum.
    """
    sums = ranks.summed(torch.stack([here.exp(), target]))
    if bool(((sums[0] > _LEAST) & (sums[0] < _MOST)).all()):
        return sums[0].log(), sums[1]
    most = ranks.largest(here.clone())
    return ranks.summed((here - most).exp()).log() + most, sums[1]


class Binary:
    """A logistic loss for each class: `positive` * softplus(-target) + `negative` * sum of softplus(others)."""

    def __init__(self, rows: int, like: Tensor, *, moment: bool, positive: float, negative: float) -> None:
        self._sum = like.new_zeros(rows, dtype=torch.float64)
        self._mass = like.new_zeros(rows, dtype=torch.float64)
        self._moment = like.new_zeros(rows, dtype=torch.float64) if moment else None
        self._positive, self._negative = positive, negative

    def add(self, logits: Tensor, values: Tensor | None, scratch: Tensor) -> None:
        """See `Reduction.add`."""
        self._sum += softplus(logits).sum(dim=1)
        torch.sigmoid(logits, out=scratch)
        self._mass += scratch.sum(dim=1)
        if self._moment is not None and values is not None:
            self._moment += scratch.mul_(values).sum(dim=1)

    def shares(self, logits: Tensor, chunk: int, out: Tensor) -> Tensor:
        """See `Reduction.shares`."""
        del chunk
        torch.sigmoid(logits, out=out)
        return torch.ones_like(self._sum)

    @property
    def others(self) -> Tensor:
        """See `Reduction.others`."""
        return self._sum

    @property
    def moment(self) -> Tensor:
        """See `Reduction.moment`."""
        assert self._moment is not None  # noqa: S101  asked for at construction
        return self._moment

    @property
    def mass(self) -> Tensor:
        """See `Reduction.mass`."""
        return self._mass

    def finish(
        self, target: Tensor, offset: Tensor, held: Tensor, negatives: Tensor | None, ranks: Ranks
    ) -> tuple[Tensor, Slopes]:
        """See `Reduction.finish`."""
        del offset  # it is in the sum already
        target = target.double()
        losses = self._negative * self._sum + torch.where(held, self._positive * softplus(-target), 0.0)
        slope = None
        if negatives is not None:
            negatives = torch.where(held[:, None], negatives.double(), ABSENT).clamp_min(ABSENT)
            losses = losses + self._negative * softplus(negatives).sum(dim=1)
            slope = self._negative * torch.sigmoid(negatives)
        losses = ranks.summed(losses.contiguous())
        return losses, Slopes(
            others=torch.full_like(self._sum, self._negative),
            target=torch.where(held, -self._positive * torch.sigmoid(-target), 0.0),
            negatives=slope,
        )
