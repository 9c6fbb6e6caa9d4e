"""Losses on pairs and triplets of features in one batch; they need no class centres."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vultus._export import export
from vultus.errors import BadBatch
from vultus.train.functional._batch import checked_choice, checked_labels, checked_matrix

Mining = Literal["semi-hard", "all"]
MINING = ("semi-hard", "all")

# Triplets looked at in one go: 2^24 differences of 4 bytes.
_TRIPLETS_AT_ONCE = 1 << 24


@export("vultus.train.functional.contrastive")
def contrastive(features: Tensor, labels: Tensor, *, margin: float = 1.0) -> Tensor:
    """Mean over all pairs of d^2 where the labels are equal and of max(0, m - d)^2 where they are not.

    Args:
        features: (n, d), as they are; n at least 2.
        labels: (n,).
        margin: m, in units of the features.

    Returns:
        0-d. Two equal features of different classes count m^2 and give no gradient, as the distance has none at 0.

    Raises:
        BadBatch: fewer than two rows, shapes that do not fit, numbers that are not finite.

    Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, CVPR 2006, eq. 4, without its
    factor 1/2; used for faces by DeepID2 (arXiv:1406.4773), eq. 2.
    """
    features, labels = _checked(features, labels)
    first, second = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    distance = _distances(features)[first, second]
    same = labels[first] == labels[second]
    apart = (margin - distance).clamp(min=0)
    return torch.where(same, distance**2, apart**2).mean()


@export("vultus.train.functional.triplet")
def triplet(features: Tensor, labels: Tensor, *, margin: float = 0.2, mining: Mining = "semi-hard") -> Tensor:
    """Mean over triplets of max(0, d(a, p)^2 - d(a, n)^2 + alpha), on features of length 1.

    Args:
        features: (n, d), of any length above 0; they are divided by it.
        labels: (n,).
        margin: alpha.
        mining: "semi-hard": all triplets with d(a, p)^2 < d(a, n)^2 < d(a, p)^2 + alpha. "all": every triplet, those
            that cost nothing too.

    Returns:
        0-d; 0 without a triplet, still attached to the features.

    Raises:
        BadArgument: an unknown `mining`.
        BadBatch: fewer than two rows, shapes that do not fit, numbers that are not finite, a feature of no length.

    Schroff, Kalenichenko and Philbin, FaceNet, CVPR 2015 (arXiv:1503.03832), eq. 3 and 4. The paper sums, and takes
    one semi-hard negative for each pair (a, p), which one is not said; here all of them count.
    """
    checked_choice(mining, MINING, name="mining")
    features, labels = _checked(features, labels)
    lengths = features.norm(dim=1, keepdim=True)
    if bool((lengths.detach() == 0).any()):
        raise BadBatch("a feature has no length and cannot be made one of length 1")
    squared = _distances(features / lengths) ** 2
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    anchor, positive = (same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)).nonzero().unbind(1)
    total, count = squared.new_zeros(()), 0
    for part in torch.split(torch.arange(len(anchor), device=labels.device), max(1, _TRIPLETS_AT_ONCE // len(labels))):
        near = squared[anchor[part], positive[part]].unsqueeze(1)
        far = squared[anchor[part]]
        taken = ~same[anchor[part]]
        if mining == "semi-hard":
            taken = taken & (near < far).detach() & (far < near + margin).detach()
        total = total + torch.where(taken, (near - far + margin).clamp(min=0), 0).sum()
        count += int(taken.sum())
    return total / count if count else features.sum() * 0


def _checked(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    features = checked_matrix(features, name="features")
    if len(features) < 2:
        raise BadBatch("features has one row, expected at least two: a pair is needed")
    return features, checked_labels(labels, len(features), torch.iinfo(torch.int64).max, absent=False)


def _distances(features: Tensor) -> Tensor:
    # Differences, not products: |a|^2 + |b|^2 - 2ab loses what is near.
    return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
