"""The head whose class centres are divided among the ranks of a process group."""

from __future__ import annotations

import torch.distributed as dist

from vultus._export import export
from vultus.train.heads.chunked import CHUNK, KEEP, ChunkedHead, Decay
from vultus.train.heads.optimizer import SGD
from vultus.train.heads.ranks import Ranks
from vultus.train.loss import Loss


@export("vultus.train.heads.Sharded")
class Sharded(ChunkedHead):
    """Each rank holds its share of the classes; the batch is that of all ranks together.

    Called on every rank with that rank's features (n, dim) and labels (n,) it gives the mean loss over the rows of all ranks,
    the same on each. The numbers of rows may differ. Features and labels are gathered; one sum joins the softmax of all
    ranks; the gradient of the features is summed and returned to the rank they came from, times the number of ranks, so that
    the mean that DDP takes of the backbone's gradients is the gradient of the mean loss. Gradients of the class centres and
    of the loss's own numbers are whole as they are: do not wrap the head in DDP.

    Without a process group it is `Chunked`. Initial centres, sampled classes and saved rows depend on class ids alone and
    not on the number of ranks.

    Args:
        dim, classes, loss, subcenters, sample_rate, decay, optimizer, chunk, keep, seed, deviation: see `Chunked`; the same
            on all ranks.
        group: of torch.distributed; None for the default one.

    Raises:
        BadArgument: see `Chunked`.
        WorldSizeError: more ranks than classes.
        BadBatch: when called, on all ranks, if the batch of one is not fit; names the rank.
    """

    sharded = True

    def __init__(
        self,
        dim: int,
        classes: int,
        loss: Loss,
        *,
        group: dist.ProcessGroup | None = None,
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
            ranks=Ranks(group),
        )
