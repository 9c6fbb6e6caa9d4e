"""From logits to a number: the softmax loss, and the sum of one logistic loss for each class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from vultus._export import export
from vultus.train.functional._batch import checked_labels, checked_matrix, own


@export("vultus.train.functional.softmax_loss")
def softmax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the rows of -log(share of the target): all classes must be in the logits.

    Args:
        logits: (n, C), such as a margin function gives.
        labels: (n,), each 0 to C - 1.

    Returns:
        0-d.

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite.
    """
    logits = checked_matrix(logits, name="logits")
    labels = checked_labels(labels, *logits.shape, absent=False)
    return cross_entropy(logits, labels)


@export("vultus.train.functional.binary_loss")
def binary_loss(logits: Tensor, labels: Tensor, *, positive: float = 1.0, negative: float = 1.0) -> Tensor:
    """Mean over the rows of positive * softplus(-target) + negative * sum of softplus(others).

    Args:
        logits: (n, C), such as `sphereface2` and `uniface` give.
        labels: (n,), -1 where the class is held elsewhere: then all logits are those of others.
        positive: weight of the target's term.
        negative: weight of each other class's term.

    Returns:
        0-d.

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite.
    """
    logits = checked_matrix(logits, name="logits")
    labels = checked_labels(labels, *logits.shape)
    held = labels >= 0
    target = own(logits, labels)
    zero = target.new_zeros(())
    # The target is taken out of the sum rather than subtracted from it, where it could be most of it.
    is_target = torch.zeros_like(logits, dtype=torch.bool)
    is_target[held.nonzero().squeeze(1), labels[held]] = True
    others = softplus(logits).masked_fill(is_target, 0).sum(dim=1)
    own_terms = torch.where(held, softplus(-target), zero)
    return (positive * own_terms + negative * others).mean()
