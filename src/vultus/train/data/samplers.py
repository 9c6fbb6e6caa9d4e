"""Which photos make up which batch: an order that depends on the seed and the epoch alone.

An epoch is one sequence of photos, the same for every rank and every number of ranks. It is cut into global batches, and
each rank takes its share of each: consecutive photos, rank 0 the first. Who has trained on the first m photos of an epoch
can therefore go on with any number of ranks.

What was trained on is told by `advance`, and not by what was handed out: a loader with workers asks for batches ahead.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from vultus._export import export
from vultus.errors import BadArgument, CheckpointMismatch, DatasetError, WorldSizeError
from vultus.types import IntArray

Last = Literal["drop", "wrap"]


@export("vultus.train.data.samplers.Order")
class Order(Sampler[list[int]], ABC):
    """Batches of one rank; a `batch_sampler` for `torch.utils.data.DataLoader`.

    Args:
        labels: (n,) class of each photo.
        batch_size: photos in a batch over all ranks together.
        seed: another seed gives another order.
        rank, world_size: which rank this is, and of how many.

    Raises:
        BadArgument: a batch or rank out of range.
        WorldSizeError: the batch cannot be shared evenly among the ranks.
        DatasetError: there are too few photos for one batch.
    """

    def __init__(
        self, labels: npt.ArrayLike, *, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.labels = np.ascontiguousarray(labels, dtype=np.int64)
        if batch_size < 1 or seed < 0:
            raise BadArgument(f"batch_size is {batch_size} and seed {seed}; expected at least 1 and at least 0")
        if not 0 <= rank < world_size:
            raise BadArgument(f"rank is {rank} of {world_size}; expected a rank from 0 to {world_size - 1}")
        if batch_size % world_size:
            near = max(world_size, batch_size // world_size * world_size)
            raise WorldSizeError(
                f"a batch of {batch_size} photos cannot be shared evenly among {world_size} ranks; use {near} photos, or "
                "another number of ranks"
            )
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.done = 0
        self._known: tuple[int, IntArray] | None = None
        self._expected: int | None = None
        if not len(self):
            raise DatasetError(
                f"{len(self.labels)} photos do not fill one batch of {batch_size}; make the batch smaller"
            )

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch, the same on every rank."""

    @abstractmethod
    def sequence(self, epoch: int) -> IntArray:
        """(batches * batch_size,) photos of an epoch in their order, over all ranks."""

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of this rank from where `advance` left off to the end of the epoch."""
        share = self.batch_size // self.world_size
        order = self._order().reshape(len(self), self.world_size, share)
        for batch in range(self.done // self.batch_size, len(self)):
            yield order[batch, self.rank].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; in the current one, stay where it is."""
        if epoch < 0:
            raise BadArgument(f"epoch is {epoch}; expected at least 0")
        if epoch != self.epoch:
            self.epoch, self.done, self._expected = epoch, 0, None

    def advance(self, batches: int = 1) -> None:
        """Say that so many more batches of this epoch were trained on."""
        done = self.done + batches * self.batch_size
        if not 0 <= done <= len(self) * self.batch_size:
            raise BadArgument(f"{done} photos of an epoch of {len(self) * self.batch_size} are done")
        self.done = done

    def state_dict(self) -> dict[str, Any]:
        """Where training stands, as plain numbers: the same on every rank."""
        return {
            "kind": type(self).__name__,
            "seed": self.seed,
            "epoch": self.epoch,
            "done": self.done,
            "order": zlib.crc32(self._order().data),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where another run of the same data stood, with any number of ranks.

        Raises:
            CheckpointMismatch: the state is of another kind of sampler, seed, batch or data set, so that the order of the
                epoch would be another.
        """
        for name, mine in (("kind", type(self).__name__), ("seed", self.seed)):
            if state[name] != mine:
                raise CheckpointMismatch(
                    f"the saved order of photos has {name} {state[name]!r} and this run {mine!r}; use the same settings, or "
                    "start a new run"
                )
        epoch, done = int(state["epoch"]), int(state["done"])
        before = self.epoch, self.done
        self.epoch = epoch
        if zlib.crc32(self._order().data) != state["order"] or done % self.batch_size:
            self.epoch, self.done = before
            raise CheckpointMismatch(
                f"epoch {epoch} orders the photos differently from the saved run: the data set, the batch of "
                f"{self.batch_size} or numpy changed; use what the run began with, or start a new run"
            )
        self.done = done

    def _order(self) -> IntArray:
        if self._known is None or self._known[0] != self.epoch:
            self._known = self.epoch, np.ascontiguousarray(self.sequence(self.epoch))
        return self._known[1]

    def _rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch))


@export("vultus.train.data.samplers.Batches")
class Batches(Order):
    """Every photo once an epoch, in random order.

    Args:
        labels: (n,) class of each photo.
        batch_size: photos in a batch over all ranks together.
        seed: another seed gives another order.
        rank, world_size: which rank this is, and of how many.
        last: what becomes of photos that do not fill the last batch: "drop" leaves them out of this epoch, "wrap" fills
            it up with the first photos of the epoch.
        window: shuffle only among so many consecutive photos of the order that `block` gives; 0 shuffles all. For sets
            on disks that read neighbours much faster than photos far apart.
        block: with a window, how many neighbours stay together before the shuffling.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        last: Last = "drop",
        window: int = 0,
        block: int = 1024,
    ) -> None:
        if last not in ("drop", "wrap"):
            raise BadArgument(f"last is {last!r}; expected 'drop' or 'wrap'")
        if window < 0 or block < 1:
            raise BadArgument(f"window is {window} and block {block}; expected at least 0 and at least 1")
        self.last = last
        self.window = window
        self.block = block
        super().__init__(labels, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)

    def __len__(self) -> int:
        n = len(self.labels)
        return n // self.batch_size if self.last == "drop" else -(-n // self.batch_size)

    def sequence(self, epoch: int) -> IntArray:
        """See `Order`."""
        order = self._shuffled(self._rng(epoch), len(self.labels))
        filled: IntArray = np.resize(order, len(self) * self.batch_size)
        return filled

    def _shuffled(self, rng: np.random.Generator, n: int) -> IntArray:
        if not self.window:
            return rng.permutation(n)
        blocks = rng.permutation(-(-n // self.block))
        places = (blocks[:, None] * self.block + np.arange(self.block)).ravel()
        near = places[places < n]
        return near[np.lexsort((rng.random(n), np.arange(n) // self.window))]


@export("vultus.train.data.samplers.BalancedBatches")
class BalancedBatches(Order):
    """Every class equally often: an epoch has as many photos as the set, but those of rare classes come again.

    In an epoch the counts of two classes differ by at most one, and so do those of two photos of one class.
    """

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def sequence(self, epoch: int) -> IntArray:
        """See `Order`."""
        rng = self._rng(epoch)
        photos, starts, counts = _grouped(self.labels, rng)
        length = len(self) * self.batch_size
        rounds = -(-length // len(counts))
        classes = np.concatenate([rng.permutation(len(counts)) for _ in range(rounds)])[:length]
        turn = np.arange(length) // len(counts)
        drawn: IntArray = photos[starts[classes] + turn % counts[classes]]
        return drawn


@export("vultus.train.data.samplers.ClassBatches")
class ClassBatches(Order):
    """P classes with K photos each in every batch, for losses that compare photos of a batch.

    The photos of a class are consecutive and of one rank. A class of fewer than K photos has some of them twice. In an
    epoch a class is drawn about as often as any other.

    Args:
        labels: (n,) class of each photo.
        batch_size: photos in a batch over all ranks together, P times K.
        photos: K.
        seed: another seed gives another order.
        rank, world_size: which rank this is, and of how many.

    Raises:
        BadArgument: K does not divide the batch.
        WorldSizeError: the P classes cannot be shared evenly among the ranks.
        DatasetError: there are fewer than P classes.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        *,
        batch_size: int,
        photos: int = 4,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if photos < 1 or batch_size % photos:
            raise BadArgument(
                f"a batch of {batch_size} cannot hold {photos} photos of each of its classes; use a multiple"
            )
        self.photos = photos
        self.classes = batch_size // photos
        if self.classes % world_size:
            raise WorldSizeError(f"{self.classes} classes of a batch cannot be shared evenly among {world_size} ranks")
        known = len(np.unique(np.asarray(labels)))
        if known < self.classes:
            raise DatasetError(
                f"a batch of {batch_size} with {photos} photos of a class needs {self.classes} classes; there are {known}"
            )
        super().__init__(labels, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)

    def __len__(self) -> int:
        return max(1, len(self.labels) // self.batch_size)

    def sequence(self, epoch: int) -> IntArray:
        """See `Order`."""
        rng = self._rng(epoch)
        photos, starts, counts = _grouped(self.labels, rng)
        drawn = np.zeros_like(counts)
        whole = len(counts) // self.classes * self.classes
        parts = []
        for _ in range(-(-len(self) * self.classes // whole)):
            classes = rng.permutation(len(counts))[:whole, None]
            parts.append(photos[starts[classes] + (drawn[classes] + np.arange(self.photos)) % counts[classes]].ravel())
            drawn[classes] += self.photos
        return np.concatenate(parts)[: len(self) * self.batch_size]


def _grouped(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[IntArray, IntArray, IntArray]:
    """Photos by class, those of a class in random order; where each class begins, and how many photos it has."""
    photos = np.lexsort((rng.random(len(labels)), labels))
    _, starts, counts = np.unique(labels[photos], return_index=True, return_counts=True)
    return photos, starts, counts
