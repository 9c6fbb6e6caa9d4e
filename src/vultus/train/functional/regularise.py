"""What is added to a softmax loss: Ring loss, the two terms of Guo and Zhang, in-batch negatives; and centred features."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.errors import BadBatch
from vultus.train.functional._batch import (
    checked_cosine,
    checked_labels,
    checked_matrix,
    checked_number,
    checked_vector,
    described,
    single,
)
from vultus.train.functional.plain import softmax


@export("vultus.train.functional.ring")
def ring(norms: Tensor, radius: Tensor, *, weight: float = 0.01) -> Tensor:
    """weight / 2 * (|x| - R)^2 of each row, to be added to its softmax loss.

    Args:
        norms: (n,) |x|.
        radius: 0-d, R, learned.
        weight: lambda.

    Returns:
        (n,).

    Raises:
        BadBatch: lengths that are not (n,) finite numbers above 0.

    Zheng, Pal and Savvides, Ring loss, CVPR 2018 (arXiv:1803.00130), the term L_R.
    """
    norms = checked_vector(norms, norms.numel(), name="norms", positive=True)
    return weight / 2 * (norms - radius.to(norms)).square()


@export("vultus.train.functional.uploss")
def uploss(products: Tensor, labels: Tensor, norms: Tensor, bias: Tensor | None = None) -> Tensor:
    """The logits of `softmax`, to whose loss `uploss_regulariser` is added.

    Args, result and errors are those of `softmax`.
    """
    return softmax(products, labels, norms, bias)


@export("vultus.train.functional.uploss_regulariser")
def uploss_regulariser(
    cosine: Tensor,
    labels: Tensor,
    centre_norms: Tensor,
    promoted: Tensor,
    *,
    direction: float = 1.0,
    norm: float = 1.0,
) -> Tensor:
    """-direction * cos(theta_y) + norm * (mean |W|^2 of promoted classes - mean |W|^2 of the others)^2, of each row.

    The first term turns features towards their class centre; the second lifts the length of the centres of classes
    with few photos to that of the others.

    Args:
        cosine: (n,) of each feature with its own class centre, of any value where the label is -1.
        labels: (n,), -1 where the class is held elsewhere: such a row counts 0 and is left out of the means.
        centre_norms: (n,) |W_y|.
        promoted: (C,), True for classes with few photos.
        direction: weight of the first term.
        norm: weight of the second term.

    Returns:
        (n,).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Guo and Zhang, One-shot face recognition by promoting underrepresented classes, 2017 (arXiv:1707.05574): the
    classification vector-centered cosine similarity (CCS) and the underrepresented-classes promotion (UP). The means
    run over the classes that the batch holds (the paper: all classes), and the second term is 0 where it lacks one
    kind. The length of the other classes is a goal and receives no gradient.
    """
    cosine = checked_cosine(cosine.reshape(-1, 1)).squeeze(1)
    if promoted.dim() != 1 or promoted.dtype != torch.bool:
        raise BadBatch(f"promoted is {described(promoted)}, expected one bool for each class")
    labels = checked_labels(labels, len(cosine), len(promoted))
    centre_norms = checked_vector(centre_norms, len(cosine), name="centre_norms", positive=True)
    return promotion(cosine, labels, centre_norms, promoted, direction=direction, norm=norm)


def promotion(
    cosine: Tensor, labels: Tensor, centre_norms: Tensor, promoted: Tensor, *, direction: float, norm: float
) -> Tensor:
    """`uploss_regulariser` on inputs that have been checked."""
    held = labels >= 0
    present, place, counts = torch.unique(labels[held], return_inverse=True, return_counts=True)
    squared = centre_norms.new_zeros(len(present)).index_add(0, place, centre_norms[held].square()) / counts
    few = promoted[present]
    gap = cosine.new_zeros(())
    if bool(few.any()) and not bool(few.all()):
        gap = (squared[few].mean() - squared[~few].mean().detach()).square()
    return torch.where(held, norm * gap - direction * cosine, cosine.new_zeros(()))


@export("vultus.train.functional.unpg")
def unpg(features: Tensor, labels: Tensor, *, scale: float = 64.0, whisker: float = 1.5) -> Tensor:
    """Logits scale * cos(x_i, x_j) of other classes' features in the batch: further negatives beside the class centres.

    A pair counts where its cosine lies within [Q1 - w IQR, Q3 + w IQR] of all negative pairs of the batch.

    Args:
        features: (n, d), of any length above 0; they are divided by it.
        labels: (n,); -1 for an unknown class, which gives no negatives.
        scale: s.
        whisker: w; infinity keeps all.

    Returns:
        (n, n), minus infinity where the pair does not count. Put beside the logits of a margin loss:
        `torch.cat([logits, unpg], 1)`.

    Raises:
        BadArgument: a negative whisker.
        BadBatch: shapes that do not fit, numbers that are not finite, a feature of no length.

    Jung et al., Unified negative pair generation, BMVC 2022 (arXiv:2203.11593). Each row sees the pairs that it is
    part of.
    """
    if whisker != float("inf"):
        checked_number(whisker, name="whisker", low=0.0)
    features = checked_matrix(features, name="features")
    labels = checked_labels(labels, len(features), torch.iinfo(torch.int64).max)
    lengths = features.norm(dim=1, keepdim=True)
    if bool((lengths.detach() == 0).any()):
        raise BadBatch("a feature has no length and no direction")
    return batch_negatives(features / lengths, labels, scale=scale, whisker=whisker)


def batch_negatives(features: Tensor, labels: Tensor, *, scale: float, whisker: float) -> Tensor:
    """`unpg` of unit features and labels that have been checked."""
    cosine = features @ features.T
    known = labels >= 0
    differ = (labels.unsqueeze(0) != labels.unsqueeze(1)) & known.unsqueeze(0) & known.unsqueeze(1)
    negatives = cosine.detach()[differ]
    if negatives.numel():
        ordered = negatives.sort().values
        low, high = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
        reach = whisker * (high - low) if whisker != float("inf") else ordered.new_tensor(float("inf"))
        differ = differ & (cosine.detach() >= low - reach) & (cosine.detach() <= high + reach)
    return torch.where(differ, scale * cosine, cosine.new_tensor(float("-inf")))


def _quantile(ordered: Tensor, share: float) -> Tensor:
    # torch.quantile takes 2^24 numbers at most, which a batch of 4,097 exceeds.
    at = share * (ordered.numel() - 1)
    below = int(at)
    above = min(below + 1, ordered.numel() - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


@export("vultus.train.functional.centred_coordinates")
def centred_coordinates(features: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """(x - o) / sigma: features spread around the origin, for `modified_softmax` and in the trained model.

    Args:
        features: (n, d).
        mean: (d,) o, without gradient.
        deviation: (d,) sigma, above 0, without gradient.

    Returns:
        (n, d).

    Raises:
        BadBatch: shapes that do not fit, numbers that are not finite, a deviation that is not above 0.

    Qi and Zhang, Face recognition via centralized coordinate learning, 2018 (arXiv:1801.05678). The adaptive angular
    margin of that paper is not part of this function.
    """
    features = checked_matrix(features, name="features")
    mean = checked_vector(mean.detach(), features.shape[1], name="mean")
    deviation = checked_vector(deviation.detach(), features.shape[1], name="deviation", positive=True)
    return (features - mean.to(features)) / deviation.to(features)


@export("vultus.train.functional.centred_statistics")
def centred_statistics(
    mean: Tensor, variance: Tensor, features: Tensor, *, momentum: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Running mean and variance of each coordinate after a batch: momentum * batch + (1 - momentum) * before.

    Args:
        mean: (d,), before the batch.
        variance: (d,), before the batch.
        features: (n, d); a single row has no variance and moves the mean only.
        momentum: weight of the batch.

    Returns:
        (mean, variance), without gradient.
    """
    features = single(features.detach())
    new_mean = momentum * features.mean(dim=0).to(mean) + (1 - momentum) * mean.detach()
    if len(features) < 2:
        return new_mean, variance.detach().clone()
    return new_mean, momentum * features.var(dim=0).to(variance) + (1 - momentum) * variance.detach()
