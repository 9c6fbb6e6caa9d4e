"""Is a batch fit to learn from? Asked on all ranks at once, so that all of them raise the same error and none waits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vultus.errors import BadBatch
from vultus.train.heads.ranks import Ranks

_FINE, _SHAPE, _KIND, _FINITE, _RANGE = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Features and labels of this rank.

    Args:
        features: (n, d) as they came.
        labels: (n,) int64.
        sizes: n of every rank.
    """

    features: Tensor
    labels: Tensor
    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """Rows of all ranks together."""
        return sum(self.sizes)


def checked_batch(features: Tensor, labels: Tensor, *, dim: int, classes: int, ranks: Ranks) -> Batch:
    """The batch, once every rank has said that its part is fine.

    Raises:
        BadBatch: shapes that do not fit, types that are not those of features and labels, NaN or infinite features,
            labels out of range, or no row on any rank; names the rank where there are several.
    """
    told = torch.tensor(_problem(features, labels, dim=dim, classes=classes), device=features.device)
    answers = ranks.listed(told).tolist()
    for rank, (size, problem, row, value) in enumerate(answers):
        if problem != _FINE:
            where = f"rank {rank}: " if ranks.size > 1 else ""
            raise BadBatch(where + _said(problem, size, row, value, dim=dim, classes=classes))
    sizes = tuple(answer[0] for answer in answers)
    if not sum(sizes):
        raise BadBatch("the batch has no row on any rank; its mean does not exist: leave empty batches out")
    return Batch(features, labels.to(features.device, torch.int64), sizes)


def _problem(features: Tensor, labels: Tensor, *, dim: int, classes: int) -> list[int]:
    """[rows, kind of problem, row of it, value of it]: numbers, because they travel between the ranks."""
    if features.ndim != 2 or features.shape[1] != dim or labels.shape != features.shape[:1]:
        return [
            features.shape[0] if features.ndim else 0,
            _SHAPE,
            features.shape[-1] if features.ndim else 0,
            labels.numel(),
        ]
    n = len(features)
    floating = features.is_floating_point()
    if not floating or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        return [n, _KIND, int(floating), 0]
    finite = torch.isfinite(features.detach())
    if not finite.all():
        return [n, _FINITE, int((~finite.all(dim=1)).nonzero()[0]), 0]
    if n and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        row = int(((labels < 0) | (labels >= classes)).nonzero()[0])
        return [n, _RANGE, row, int(labels[row])]
    return [n, _FINE, 0, 0]


def _said(problem: int, size: int, row: int, value: int, *, dim: int, classes: int) -> str:
    if problem == _SHAPE:
        return (
            f"features have {size} rows of {row} numbers and there are {value} labels; expected (n, {dim}) features and "
            "(n,) labels"
        )
    if problem == _KIND:
        what = "labels are not whole numbers" if row else "features are not floating-point numbers"
        return f"{what}; expected features of float32, float64, bfloat16 or float16 and labels of an integer type"
    if problem == _FINITE:
        return (
            f"features: row {row} of {size} has NaN or infinite values; lower the learning rate or look at that row of the "
            "batch. Nothing was changed"
        )
    return (
        f"labels: row {row} of {size} is of class {value}, outside 0 to {classes - 1}; the head was made for {classes} "
        "classes: use the data set's own numbers, or add_classes"
    )


def unit(features: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """((n, d) rows of length 1, (n,) their lengths), differentiable.

    A row of length 0 has no direction: it stays 0 and receives no gradient through the direction.
    """
    x = features.to(dtype)
    norms = torch.linalg.vector_norm(x, dim=1)
    return x * inverse(norms)[:, None], norms


def inverse(norms: Tensor) -> Tensor:
    """1 / norms, and 0 where a norm is 0."""
    some = norms > 0
    return torch.where(some, 1 / torch.where(some, norms, 1), 0)
