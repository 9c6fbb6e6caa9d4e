"""Where a loss draws its boundary: found by root finding on the logits that it computes itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vultus._export import export
from vultus.analyze.boundaries.pair import Pair
from vultus.errors import BadArgument
from vultus.train.loss import Loss
from vultus.types import Float64Array

_SAMPLES = 2048
_PARTS = 32
_ROUNDS = 9  # each divides by 32: from pi / 2,047 to the last bit of a double


@export("vultus.analyze.boundaries.loss_logits")
def loss_logits(
    loss: Loss,
    features: npt.ArrayLike,
    centres: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    biases: npt.ArrayLike | None = None,
) -> Float64Array:
    """(n, C) logits that a head with this loss computes, in float64.

    Args:
        loss: of `vultus.train.nn`, or one's own. A copy in evaluation mode is asked, so that its state stays.
        features: (n, d), none of length 0.
        centres: (C, d); made unit where the loss says so.
        labels: (n,) class of each row, or one class for all: the target's logit depends on it.
        biases: (C,), added where the loss has them; None for 0.

    Raises:
        BadArgument: shapes that do not fit, numbers that are not finite, labels out of range, or vectors of length 0.
    """
    return _checked(frozen(loss), features, centres, labels, biases)


def _checked(
    loss: Loss, features: npt.ArrayLike, centres: npt.ArrayLike, labels: npt.ArrayLike, biases: npt.ArrayLike | None
) -> Float64Array:
    """`loss_logits` of a loss that is in evaluation mode and double precision."""
    x, w = (torch.tensor(np.asarray(v), dtype=torch.float64) for v in (features, centres))
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1] or len(x) == 0:
        raise BadArgument(f"features {tuple(x.shape)} and centres {tuple(w.shape)}; expected (n, d) and (C, d)")
    given = np.asarray(labels)
    if given.shape not in ((), (len(x),)) or given.dtype.kind not in "iu":
        raise BadArgument(
            f"labels of shape {given.shape} and {given.dtype}; expected a whole number, or {len(x)} of them"
        )
    own = torch.tensor(given, dtype=torch.int64).expand(len(x))
    if bool((own < 0).any()) or bool((own >= len(w)).any()):
        raise BadArgument(f"labels from {int(own.min())} to {int(own.max())}; expected 0 to {len(w) - 1}")
    norms, lengths = x.norm(dim=1), w.norm(dim=1)
    if not bool(torch.isfinite(norms).all() & torch.isfinite(lengths).all()):
        raise BadArgument("features or centres hold numbers that are not finite")
    if bool((norms == 0).any()) or bool((lengths == 0).any()):
        raise BadArgument("a feature or a centre has length 0, and thus no direction")
    logits = _logits(loss, x / norms[:, None], norms, w, lengths, own)
    if loss.bias and biases is not None:
        added = torch.tensor(np.asarray(biases), dtype=torch.float64)
        if added.shape != (len(w),):
            raise BadArgument(f"biases of shape {tuple(added.shape)}; expected ({len(w)},)")
        logits = logits + added
    result: Float64Array = logits.numpy()
    return result


@torch.no_grad()
def _logits(loss: Loss, x: Tensor, norms: Tensor, centres: Tensor, lengths: Tensor, own: Tensor) -> Tensor:
    products = x @ (centres / lengths[:, None] if loss.unit_weights else centres).T
    at = own[:, None]
    rows = loss.rows(products.gather(1, at).squeeze(1), norms, lengths[own], own)
    logits = loss.others(products, rows) * rows.scale[:, None] + rows.offset[:, None]
    return logits.scatter(1, at, rows.target[:, None])


def frozen(loss: Loss) -> Loss:
    """A copy in evaluation mode and double precision."""
    return copy.deepcopy(loss).eval().double()


@export("vultus.analyze.boundaries.lead")
def lead(
    loss: Loss,
    features: npt.ArrayLike,
    centres: npt.ArrayLike,
    label: int,
    *,
    biases: npt.ArrayLike | None = None,
) -> Float64Array:
    """(n,) how far a class is ahead for samples of it: not below 0 in the region that the loss grants the class.

    For a softmax loss the logit of the target minus the largest other; for a binary loss the target's logit itself,
    because each class then has a boundary of its own. Arguments and errors are those of `loss_logits`.
    """
    return _lead(frozen(loss), features, centres, label, biases)


def _lead(
    loss: Loss, features: npt.ArrayLike, centres: npt.ArrayLike, label: int, biases: npt.ArrayLike | None
) -> Float64Array:
    logits = _checked(loss, features, centres, label, biases)
    target = logits[:, label]
    if loss.reduction == "binary":
        return target
    result: Float64Array = target - np.delete(logits, label, axis=1).max(axis=1)
    return result


@export("vultus.analyze.boundaries.numeric_boundary")
def numeric_boundary(loss: Loss, pair: Pair, *, azimuth: float = 0.0, norm: float = 1.0) -> Float64Array:
    """Where the region of the pair's first class begins and ends along an azimuth, from the loss's own logits.

    Args:
        loss: any.
        pair: two centres; `pair.swapped` for the second class.
        azimuth: see `Pair`; 0 is the arc to the other centre.
        norm: length of the feature, for losses that look at it.

    Returns:
        (k,) ascending angles from the first centre, in [0, pi], where `lead` changes its sign: by division of the
        intervals between 2,048 samples, so that two borders nearer than pi / 2,047 are not seen. k may be 0.

    Raises:
        BadArgument: a length that is not above 0.
    """
    if not math.isfinite(norm) or norm <= 0:
        raise BadArgument(f"norm is {norm:g}; expected a finite number above 0")
    still = frozen(loss)

    def ahead(u: Float64Array) -> npt.NDArray[np.bool_]:
        return _lead(still, norm * pair.places(u, azimuth=azimuth), pair.centres, 0, pair.biases) >= 0

    return _changes(ahead, np.linspace(0, math.pi, _SAMPLES))


def _changes(ahead: Callable[[Float64Array], npt.NDArray[np.bool_]], samples: Float64Array) -> Float64Array:
    inside = ahead(samples)
    at = np.flatnonzero(inside[1:] != inside[:-1])
    low, high, before = samples[at], samples[at + 1], inside[at]
    if not len(at):
        return low
    shares = np.linspace(0, 1, _PARTS + 1)[1:-1]
    each = np.arange(len(at))
    for _ in range(_ROUNDS):
        places = low[:, None] + (high - low)[:, None] * shares
        changed = ahead(places.ravel()).reshape(places.shape) != before[:, None]
        first = np.where(changed.any(axis=1), changed.argmax(axis=1), len(shares))
        edges = np.column_stack([low, places, high])
        low, high = edges[each, first], edges[each, first + 1]
    result: Float64Array = (low + high) / 2
    return result
