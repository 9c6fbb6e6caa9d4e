"""Products of a batch with class centres, a chunk of classes at a time, forwards and back.

With x the unit feature, W_j a centre and i_j = 1/|W_j| (or 1), the product is x . W_j i_j. The factors i_j are multiplied into
the (n, m) products of a chunk, so that neither the normalised centres nor the products of all classes are ever formed:

    D     = d loss / d product, (n, m)                  d loss / d x = sum of (D i) W
    t_j   = sum over rows of D_j * product_j            d loss / d W = (D i)' x - (t i^2) W, row by row

Rows of W that are the batch's own classes take no part in the sum; what they owe to it comes in by `Owed`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vultus.train.heads.batch import inverse
from vultus.train.heads.optimizer import Gradient, Stepper
from vultus.train.heads.reductions import ABSENT, Reduction
from vultus.train.heads.workspace import Workspace
from vultus.train.loss import Loss, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Owed:
    """What the products with the rows' own classes add to the gradient of the class centres.

    Args:
        rows: (k,) ascending rows of the weight.
        vectors: (k, d) gradients.
    """

    rows: Tensor
    vectors: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Some classes of this rank that stand one after another among those that take part.

    Args:
        number: of the chunk.
        start, stop: places of its classes among those that take part.
        own: (k, 2) row of the batch, and place within the chunk, where the class is that row's own.
    """

    number: int
    start: int
    stop: int
    own: Tensor


@dataclass(slots=True, eq=False)
class Products:
    """The products of the batch with the classes of a chunk.

    Args:
        weight: (m, K, d) centres.
        inverse: (m, K) 1 / length of each, or None where they are taken as they are.
        each: K tensors (n, m), one for each sub-centre; empty for K = 1.
        best: (n, m) the largest over the sub-centres.
    """

    weight: Tensor
    inverse: Tensor | None
    each: list[Tensor]
    best: Tensor


@dataclass(slots=True, eq=False)
class Sweep:
    """One batch and the classes that take part in its loss.

    Args:
        loss: see `Loss`.
        weight: (classes * K, d), detached.
        bias: (classes,), detached, or None.
        subcenters: K.
        chosen: ascending local ids of the classes that take part; None for all.
        place: (n,) place of each row's own class among them, -1 where it is on another rank.
        features: (n, d) unit features.
        at_once: classes in a chunk.
        space: memory to use.
        keep: bytes of products that may be kept for the way back.
    """

    loss: Loss
    weight: Tensor
    bias: Tensor | None
    subcenters: int
    chosen: Tensor | None
    place: Tensor
    features: Tensor
    at_once: int
    space: Workspace
    keep: int
    _rows: Rows | None = None
    _left: Tensor | None = None
    _folded: bool = False
    _chunks: list[Chunk] = field(default_factory=list)
    _kept: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)
    _moment: bool = False

    # --- forwards -------------------------------------------------------------------------------------------------------

    def forward(self, rows: Rows, reduction: Reduction, *, moment: bool) -> None:
        """Show the logits of all other classes to the reduction.

        Args:
            rows: what the loss said of each row, detached.
            reduction: takes the logits.
            moment: have it weigh psi as well, the derivative by `Rows.scale`.
        """
        self._rows, self._moment = rows, moment
        # where psi is the identity and nobody asks for the products as such, the rows' scale goes into the left factor
        probe = self.features.new_zeros(len(self.features), 1)
        self._folded = self.loss.others(probe, rows) is probe and not moment
        self._left = self.features * rows.scale[:, None] if self._folded else self.features
        self._chunks = list(self._split())
        self.space.owner = self
        budget = self.keep if self.subcenters == 1 else 0
        for chunk in self._chunks:
            size = len(self.features) * (chunk.stop - chunk.start) * self.weight.element_size()
            budget -= size
            kept = f"kept {chunk.number}" if budget >= 0 else "products"
            products = self._products(chunk, kept)
            if budget >= 0:
                self._kept.append((products.best, products.inverse))
            logits, values = self._logits(chunk, products.best)
            reduction.add(logits, values, self._scratch("shares", chunk))

    def _split(self) -> Iterator[Chunk]:
        count = len(self.chosen) if self.chosen is not None else len(self.weight) // self.subcenters
        held = (self.place >= 0).nonzero().squeeze(1)
        places, order = self.place[held].sort()
        rows = held[order]
        starts = list(range(0, count, self.at_once))
        edges = torch.searchsorted(places, torch.tensor([*starts, count], device=places.device)).tolist()
        for number, start in enumerate(starts):
            low, high = edges[number], edges[number + 1]
            own = torch.stack([rows[low:high], places[low:high] - start], dim=1)
            yield Chunk(number, start, min(start + self.at_once, count), own)

    def _scratch(self, name: str, chunk: Chunk) -> Tensor:
        return self.space.get(name, (len(self.features), chunk.stop - chunk.start), self.weight)

    def _weight_rows(self, chunk: Chunk) -> slice | Tensor:
        """Rows of the weight: a slice, or numbers."""
        if self.chosen is None:
            return slice(chunk.start * self.subcenters, chunk.stop * self.subcenters)
        classes = self.chosen[chunk.start : chunk.stop]
        if self.subcenters == 1:
            return classes
        return (classes[:, None] * self.subcenters + torch.arange(self.subcenters, device=classes.device)).flatten()

    def _centres(self, chunk: Chunk) -> Tensor:
        """(m, K, d) centres: a view of the weight, or a copy in the workspace."""
        rows = self._weight_rows(chunk)
        if isinstance(rows, slice):
            found = self.weight[rows]
        else:
            found = self.space.get("centres", (len(rows), self.weight.shape[1]), self.weight)
            torch.index_select(self.weight, 0, rows, out=found)
        return found.view(-1, self.subcenters, found.shape[1])

    def _products(self, chunk: Chunk, name: str) -> Products:
        centres = self._centres(chunk)
        lengths = None
        if self.loss.unit_weights:
            lengths = inverse(torch.linalg.vector_norm(centres, dim=2))
        left = self.left
        if self.subcenters == 1:
            best = self._scratch(name, chunk)
            torch.mm(left, centres[:, 0].t(), out=best)
            if lengths is not None:
                best.mul_(lengths[:, 0])
            return Products(centres, lengths, [], best)
        each = [self._scratch(f"products {k}", chunk) for k in range(self.subcenters)]
        for k, product in enumerate(each):
            torch.mm(left, centres[:, k].t(), out=product)
            if lengths is not None:
                product.mul_(lengths[:, k])
        best = self._scratch(name, chunk)
        torch.maximum(each[0], each[1], out=best)
        for product in each[2:]:
            torch.maximum(best, product, out=best)
        return Products(centres, lengths, each, best)

    @property
    def left(self) -> Tensor:
        """(n, d) left factor of the products."""
        return self.features if self._left is None else self._left

    def _logits(self, chunk: Chunk, products: Tensor) -> tuple[Tensor, Tensor | None]:
        """((n, m) logits without those of the rows' own classes, psi where it is wanted).

        The logits may be the products themselves, which then are changed.
        """
        assert self._rows is not None  # noqa: S101  forward comes first
        values = None
        logits = products
        if not self._folded:
            products[chunk.own[:, 0], chunk.own[:, 1]] = 0.0  # a slope at +-1 may be infinite, and inf * 0 is NaN
            values = self.loss.others(products, self._rows)
            logits = torch.mul(values, self._rows.scale[:, None], out=self._scratch("logits", chunk))
        elif (
            self.bias is not None or self.loss.reduction == "binary"
        ):  # a summand comes, and the products are wanted later
            logits = self._scratch("logits", chunk)
            logits.copy_(products)
        if self.bias is not None:
            logits.add_(self.bias[chunk.start : chunk.stop] if self.chosen is None else self.bias[self._classes(chunk)])
        if self.loss.reduction == "binary":
            logits.add_(self._rows.offset[:, None])  # a softmax does not see it before the target comes in
        logits[chunk.own[:, 0], chunk.own[:, 1]] = ABSENT
        return logits, values if self._moment else None

    def _classes(self, chunk: Chunk) -> Tensor:
        assert self.chosen is not None  # noqa: S101  asked for only where classes are chosen
        return self.chosen[chunk.start : chunk.stop]

    # --- back -----------------------------------------------------------------------------------------------------------

    def backward(
        self,
        reduction: Reduction,
        weigh: Tensor,
        owed: Owed,
        *,
        features: bool,
        centres: Sink | None,
        biases: Tensor | None,
    ) -> Tensor | None:
        """Go over the chunks again with the derivatives.

        Args:
            reduction: that took the logits.
            weigh: (n,) derivative of the loss by each row's sum over the other classes.
            owed: gradient of the centres from the rows' own classes.
            features: whether to give the features' gradient.
            centres: takes the gradient of the centres, or None.
            biases: (classes that take part,) to which the gradient of the biases is written, or None.

        Returns:
            (n, d) gradient of the unit features but for their own classes, or None.
        """
        assert self._rows is not None  # noqa: S101  forward comes first
        left = self.left
        n, d = left.shape
        total = torch.zeros_like(left) if features else None
        kept = self._kept if self.space.owner is self else []
        self._kept = []  # they are overwritten on the way
        edges = torch.searchsorted(owed.rows, self._edges(owed.rows.device)).tolist() if centres else []
        part, scaled = self.space.get("part", (n, d), left), self.space.get("scaled", (n, d), left)
        for chunk in self._chunks:
            if chunk.number < len(kept):
                best, lengths = kept[chunk.number]
                products = Products(self._centres(chunk), lengths, [], best)
            else:
                products = self._products(chunk, "products")
            logits, _ = self._logits(chunk, products.best)
            shares = self._scratch("shares", chunk)
            factor = (weigh * reduction.shares(logits, chunk.number, shares)).to(left.dtype)
            if biases is not None:
                torch.mv(shares.t(), factor, out=biases[chunk.start : chunk.stop])
            if not self._folded:
                factor = factor * self._rows.scale
                slope = self.loss.others_slope(products.best, self._rows)
                if slope is not None:
                    shares.mul_(slope)
            torch.mul(left, factor[:, None], out=scaled)
            gradient = ChunkGradient(products, shares, factor, scaled)
            if centres is not None:
                gradient.take_inverse()
                low, high = edges[chunk.number], edges[chunk.number + 1]
                gradient.owe(owed.rows[low:high], owed.vectors[low:high], self._weight_rows(chunk))
                if total is not None:
                    gradient.add_features(total, part)
                centres.take(self._weight_rows(chunk), products.weight.flatten(0, 1), gradient, self.space)
            elif total is not None:
                gradient.take_inverse()
                gradient.add_features(total, part)
        if self.space.owner is self:
            self.space.owner = None
        if total is not None and self._folded:
            total.mul_(self._rows.scale[:, None])
        return total

    def _edges(self, device: torch.device) -> Tensor:
        """First row of the weight of each chunk, and one beyond the last."""
        if self.chosen is None or not self._chunks:
            edges = [c.start * self.subcenters for c in self._chunks]
            return torch.tensor([*edges, len(self.weight)], device=device)
        starts = torch.tensor([c.start for c in self._chunks], device=device)
        return torch.cat([self.chosen[starts] * self.subcenters, torch.tensor([len(self.weight)], device=device)])


class ChunkGradient(Gradient):
    """The gradient of the centres of a chunk, as factors whose product goes straight where it is wanted.

    Args:
        products: of the chunk; its numbers are used up.
        slopes: (n, m) derivative by the products but for a factor of each row; used up.
        factor: (n,) that factor.
        scaled: (n, d) the left factor of the products times it.
    """

    def __init__(self, products: Products, slopes: Tensor, factor: Tensor, scaled: Tensor) -> None:
        self._products = products
        self._factor = factor
        self._scaled = scaled
        self._slopes = self._of_subcentres(slopes)
        self._pull: Tensor | None = None
        self._owed: tuple[Tensor, Tensor] | None = None

    def _of_subcentres(self, slopes: Tensor) -> list[Tensor]:
        """The slopes of each sub-centre: only the largest product counts, the first of equal ones."""
        products = self._products
        if not products.each:
            return [slopes]
        taken = torch.zeros_like(slopes, dtype=torch.bool)
        found = []
        for product in products.each:
            wins = (product == products.best).logical_and_(~taken)
            taken |= wins
            found.append(slopes * wins)
        return found

    def take_inverse(self) -> None:
        """Take the centres' lengths into the slopes."""
        lengths = self._products.inverse
        if lengths is None:
            return
        pulls = []
        products = self._products.each or [self._products.best]
        for k, (slopes, product) in enumerate(zip(self._slopes, products, strict=True)):
            pulls.append(torch.mv(product.mul_(slopes).t(), self._factor))
            slopes.mul_(lengths[:, k])
        self._pull = torch.stack(pulls, dim=1).mul_(lengths).mul_(lengths).neg_()

    def owe(self, rows: Tensor, vectors: Tensor, of: slice | Tensor) -> None:
        """Add (k, d) vectors to the given rows of the weight, which are all among those of the chunk."""
        places = rows - of.start if isinstance(of, slice) else torch.searchsorted(of, rows)
        self._owed = places, vectors

    def add_features(self, total: Tensor, part: Tensor) -> None:
        """Add the gradient of the left factor to `total`, by way of `part`, both (n, d)."""
        for k, slopes in enumerate(self._slopes):
            torch.mm(slopes, self._products.weight[:, k], out=part)
            total.addcmul_(part, self._factor[:, None])

    def into(self, target: Tensor, *, keep: float, pull: float) -> Tensor:
        """See `Gradient.into`."""
        weight = self._products.weight
        rows = target.view(weight.shape)
        for k, slopes in enumerate(self._slopes):
            torch.addmm(rows[:, k], slopes.t(), self._scaled, beta=keep, out=rows[:, k])
        if self._pull is not None:
            rows.addcmul_(weight, (self._pull + pull if pull else self._pull)[:, :, None])
        elif pull:
            rows.add_(weight, alpha=pull)
        if self._owed is not None:
            target.index_add_(0, *self._owed)
        return target


class Sink(ABC):
    """Takes the gradient of the centres, chunk by chunk."""

    @abstractmethod
    def take(self, rows: slice | Tensor, values: Tensor, gradient: Gradient, space: Workspace) -> None:
        """Take the gradient of some rows.

        Args:
            rows: which: a slice, or ascending numbers.
            values: (m, d) those rows of the weight.
            gradient: of them.
            space: for what is computed on the way.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Whole(Sink):
    """Writes the gradient of each row into a tensor of the weight's shape, which is 0 where no row is taken.

    Args:
        gradient: (rows, d).
    """

    gradient: Tensor

    def take(self, rows: slice | Tensor, values: Tensor, gradient: Gradient, space: Workspace) -> None:
        """See `Sink.take`."""
        if isinstance(rows, slice):
            gradient.into(self.gradient[rows], keep=0.0, pull=0.0)
        else:
            formed = gradient.into(space.get("gradient", values.shape, values), keep=0.0, pull=0.0)
            self.gradient.index_copy_(0, rows, formed)


@dataclass(slots=True, eq=False)
class Sparse(Sink):
    """Writes the gradients of the rows that take part one after another.

    Args:
        gradient: (rows that take part, d).
    """

    gradient: Tensor
    _at: int = 0

    def take(self, rows: slice | Tensor, values: Tensor, gradient: Gradient, space: Workspace) -> None:
        """See `Sink.take`."""
        del rows, space
        gradient.into(self.gradient[self._at : self._at + len(values)], keep=0.0, pull=0.0)
        self._at += len(values)


@dataclass(frozen=True, slots=True, eq=False)
class Moved(Sink):
    """Moves the rows at once.

    Args:
        stepper: moves them.
    """

    stepper: Stepper

    def take(self, rows: slice | Tensor, values: Tensor, gradient: Gradient, space: Workspace) -> None:
        """See `Sink.take`."""
        self.stepper.step(rows, values, gradient, space)
