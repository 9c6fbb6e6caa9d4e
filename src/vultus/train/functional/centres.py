"""Losses that name a centre for each class: center loss, COCO, and the maximum over several centres."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument, BadBatch
from vultus.train.functional._batch import (
    assembled,
    checked_cosine,
    checked_labels,
    checked_matrix,
    described,
    own,
)
from vultus.train.functional.plain import scaled_rows


@export("vultus.train.functional.center")
def center(features: Tensor, labels: Tensor, centres: Tensor, *, weight: float = 0.003) -> Tensor:
    """weight / 2 * mean over the rows of |x - c_y|^2, to be added to a softmax loss.

    Args:
        features: (n, d), as they are.
        labels: (n,).
        centres: (C, d); no gradient flows into it, see `center_update`.
        weight: lambda.

    Returns:
        0-d.

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite.

    Wen et al., A discriminative feature learning approach for deep face recognition, ECCV 2016, eq. 2 and 5. A mean
    over the rows, as in the authors' code; the paper sums.
    """
    features, labels = _checked(features, labels, centres)
    away = features - centres.detach().to(features)[labels]
    return weight / 2 * away.square().sum(dim=1).mean()


@export("vultus.train.functional.center_update")
def center_update(centres: Tensor, features: Tensor, labels: Tensor, *, rate: float = 0.5) -> Tensor:
    """The centres after a batch: c_j - rate * sum(c_j - x) / (1 + n_j) over the n_j rows of the class.

    Args:
        centres: (C, d), before.
        features: (n, d).
        labels: (n,).
        rate: alpha, in [0, 1].

    Returns:
        (C, d), new, without gradient; classes that the batch does not hold are as they were.

    Raises:
        BadArgument: a rate outside [0, 1].
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite.

    Wen et al., ECCV 2016, eq. 4.
    """
    if not 0 <= rate <= 1:
        raise BadArgument(f"rate is {rate:g}, expected a number in [0, 1]")
    features, labels = _checked(features, labels, centres)
    centres = centres.detach()
    away = centres[labels] - features.detach().to(centres)
    total = torch.zeros_like(centres).index_add(0, labels, away)
    return centres - rate * total / (1 + labels.bincount(minlength=len(centres))).unsqueeze(1)


@export("vultus.train.functional.coco")
def coco(cosine: Tensor, labels: Tensor, *, scale: float = 6.25) -> Tensor:
    """Logits scale * cosine with the class centroids, of features and centroids of length 1.

    The centroids may be learned, which is what a head does, or those of the batch: `class_centroids`.

    Args:
        cosine: (n, C), of features with class centroids.
        labels: (n,), -1 where the class is held elsewhere.
        scale: alpha; see `coco_scale`.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Liu, Li and Wang, Learning deep features via congenerous cosine loss, 2017 (arXiv:1702.06890), with centroids of
    the batch; Rethinking feature discrimination and polymerization, 2017 (arXiv:1710.00870), with learned ones and the
    scale.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    return assembled(cosine, labels, scaled_rows(own(cosine, labels), scale))


@export("vultus.train.functional.class_centroids")
def class_centroids(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean direction of each class in the batch.

    Args:
        features: (n, d), of any length above 0.
        labels: (n,).

    Returns:
        (k, d) unit centroids of the k classes that the batch holds, in rising order of the label, differentiable in
        the features; and (n,) the row's place among them.

    Raises:
        BadBatch: shapes that do not fit, numbers that are not finite, features of a class that add up to nothing.

    Liu, Li and Wang, 2017 (arXiv:1702.06890), the centroid of a class in a batch.
    """
    features = checked_matrix(features, name="features")
    labels = checked_labels(labels, len(features), torch.iinfo(torch.int64).max, absent=False)
    lengths = features.norm(dim=1, keepdim=True)
    present, place = torch.unique(labels, return_inverse=True)
    total = features.new_zeros(len(present), features.shape[1]).index_add(
        0, place, features / lengths.clamp(min=torch.finfo(features.dtype).tiny)
    )
    size = total.norm(dim=1, keepdim=True)
    if bool((size.detach() == 0).any()):
        raise BadBatch("the features of a class add up to nothing: they have no length or point opposite ways")
    return total / size, place


@export("vultus.train.functional.subcenter_max")
def subcenter_max(cosine: Tensor, *, subcenters: int = 3) -> Tensor:
    """The cosine with the nearest of the K centres of each class: what a margin function then takes.

    Args:
        cosine: (n, C * K); the centres of class j are columns j K to j K + K - 1.
        subcenters: K.

    Returns:
        (n, C). The gradient flows into the nearest centre, into the first of them where several are equally near.

    Raises:
        BadArgument: subcenters below 1.
        BadBatch: numbers that are not finite or no cosines, or columns that are no multiple of K.

    Deng et al., Sub-center ArcFace, ECCV 2020, the maximum over the subclass-wise cosines.
    """
    if subcenters < 1:
        raise BadArgument(f"subcenters is {subcenters}, expected at least 1")
    cosine = checked_cosine(cosine)
    if cosine.shape[1] % subcenters:
        raise BadBatch(f"cosine is {described(cosine)}, expected a multiple of {subcenters} columns")
    grouped = cosine.reshape(len(cosine), -1, subcenters)
    nearest = grouped.detach().argmax(dim=2, keepdim=True)
    return grouped.gather(2, nearest).squeeze(2)


@export("vultus.train.functional.far_from_centre")
def far_from_centre(cosine: Tensor, *, degrees: float = 75.0) -> Tensor:
    """Which samples lie further than an angle from the dominant centre of their class, and are likely to be noise.

    Args:
        cosine: of each sample with the dominant sub-center of its own class, of any shape.
        degrees: the angle, 0 to 180.

    Returns:
        bool, of the same shape.

    Raises:
        BadArgument: an angle outside [0, 180].

    Deng et al., Sub-center ArcFace, ECCV 2020: train with K = 3, drop these, train again with K = 1.
    """
    if not 0 <= degrees <= 180:
        raise BadArgument(f"degrees is {degrees:g}, expected 0 to 180")
    return cosine < torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)).cos().item()


def _checked(features: Tensor, labels: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    features = checked_matrix(features, name="features")
    centres = checked_matrix(centres, name="centres")
    if features.shape[1] != centres.shape[1]:
        raise BadBatch(f"features are {described(features)} and centres {described(centres)}: their widths differ")
    return features, checked_labels(labels, len(features), len(centres), absent=False)
