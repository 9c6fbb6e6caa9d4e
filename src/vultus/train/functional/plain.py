"""Softmax without a margin: what is normalised, and by what it is scaled."""

from __future__ import annotations

import torch
from torch import Tensor

from vultus._export import export
from vultus.train.functional._batch import (
    assembled,
    checked_cosine,
    checked_labels,
    checked_matrix,
    checked_number,
    checked_vector,
    own,
)
from vultus.train.loss import Rows


def scaled_rows(target: Tensor, scale: Tensor | float, phi: Tensor | None = None) -> Rows:
    """Target scale * phi, others scale * psi; phi is the target itself where none is given."""
    zero = target.new_zeros(()).expand_as(target)
    if not isinstance(scale, Tensor):
        scale = target.new_tensor(checked_number(scale, name="scale", above=0.0))
    scale = scale.to(target.dtype).expand_as(target)
    return Rows(scale * (target if phi is None else phi), scale, zero, zero)


@export("vultus.train.functional.softmax")
def softmax(products: Tensor, labels: Tensor, norms: Tensor, bias: Tensor | None = None) -> Tensor:
    """Logits of the plain softmax loss, W x + b, from the products of unit features with free class centres.

    Args:
        products: (n, C), W_j . x / |x|.
        labels: (n,), -1 where the class is held elsewhere.
        norms: (n,) |x|.
        bias: (C,), or None for no bias.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite.
    """
    products = checked_matrix(products, name="products")
    n, classes = products.shape
    labels = checked_labels(labels, n, classes)
    norms = checked_vector(norms, n, name="norms", positive=True)
    if bias is not None:
        bias = checked_vector(bias, classes, name="bias")
    return assembled(products, labels, scaled_rows(own(products, labels), norms), bias=bias)


@export("vultus.train.functional.modified_softmax")
def modified_softmax(cosine: Tensor, labels: Tensor, norms: Tensor) -> Tensor:
    """Logits |x| cos(theta_j): class centres of length 1 and no bias.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        norms: (n,) |x|.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Liu et al., SphereFace, CVPR 2017 (arXiv:1704.08063), the modified softmax loss.
    """
    cosine = checked_cosine(cosine)
    n, classes = cosine.shape
    labels = checked_labels(labels, n, classes)
    norms = checked_vector(norms, n, name="norms", positive=True)
    return assembled(cosine, labels, scaled_rows(own(cosine, labels), norms))


@export("vultus.train.functional.l2_softmax")
def l2_softmax(products: Tensor, labels: Tensor, bias: Tensor | None = None, *, scale: float = 16.0) -> Tensor:
    """Logits alpha W_j . x / |x| + b_j: features of one length, class centres free.

    Args:
        products: (n, C), W_j . x / |x|.
        labels: (n,), -1 where the class is held elsewhere.
        bias: (C,), or None for no bias.
        scale: alpha, the length; see `l2_softmax_scale` for the least that makes sense.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite.

    Ranjan, Castillo and Chellappa, L2-constrained softmax loss, 2017 (arXiv:1703.09507).
    """
    products = checked_matrix(products, name="products")
    n, classes = products.shape
    labels = checked_labels(labels, n, classes)
    if bias is not None:
        bias = checked_vector(bias, classes, name="bias")
    return assembled(products, labels, scaled_rows(own(products, labels), scale), bias=bias)


@export("vultus.train.functional.normface")
def normface(cosine: Tensor, labels: Tensor, *, scale: float | Tensor = 20.0) -> Tensor:
    """Logits s cos(theta_j): features and class centres of length 1, then a scale, fixed or learned.

    Args:
        cosine: (n, C).
        labels: (n,), -1 where the class is held elsewhere.
        scale: s; a 0-d tensor receives a gradient.

    Returns:
        (n, C).

    Raises:
        BadBatch: shapes that do not fit, labels out of range, numbers that are not finite or no cosines.

    Wang et al., NormFace, ACM MM 2017 (arXiv:1704.06369), softmax over scaled cosines.
    """
    cosine = checked_cosine(cosine)
    labels = checked_labels(labels, *cosine.shape)
    scale = torch.as_tensor(scale, dtype=cosine.dtype, device=cosine.device)
    return assembled(cosine, labels, scaled_rows(own(cosine, labels), scale))
