"""What the public functions share: inputs are checked, and each row's terms become a matrix of logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from vultus.errors import BadArgument, BadBatch
from vultus.train.loss import Rows

_Choice = TypeVar("_Choice", bound=str)

# A cosine of bfloat16 vectors may exceed 1 by its rounding; more than this is no cosine.
_COSINE_SLACK = 0.02


def single(values: Tensor) -> Tensor:
    """Half-precision numbers as float32; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def checked_cosine(cosine: Tensor, *, name: str = "cosine") -> Tensor:
    """(n, C) cosines in single or double precision, or BadBatch."""
    cosine = checked_matrix(cosine, name=name)
    low, high = torch.aminmax(cosine.detach())
    if low < -1 - _COSINE_SLACK or high > 1 + _COSINE_SLACK:
        raise BadBatch(
            f"{name} holds numbers from {float(low):.4g} to {float(high):.4g}, expected [-1, 1]: "
            "divide features and class centres by their lengths first"
        )
    return cosine


def checked_matrix(values: Tensor, *, name: str) -> Tensor:
    """(n, k) finite numbers, n and k at least 1, in single or double precision, or BadBatch."""
    if not _floating(values) or values.dim() != 2 or values.numel() == 0:
        raise BadBatch(f"{name} is {described(values)}, expected a matrix of floating-point numbers, not empty")
    return _finite(single(values), name)


def checked_vector(values: Tensor, length: int, *, name: str, positive: bool = False) -> Tensor:
    """(length,) finite numbers in single or double precision, above 0 where `positive`, or BadBatch."""
    if not _floating(values) or values.shape != (length,):
        raise BadBatch(f"{name} is {described(values)}, expected {length} floating-point numbers")
    values = _finite(single(values), name)
    if positive and bool((values.detach() <= 0).any()):
        raise BadBatch(f"{name} has an entry that is not above 0: a vector of no length has no direction")
    return values


def checked_labels(labels: Tensor, n: int, classes: int, *, absent: bool = True) -> Tensor:
    """(n,) labels below `classes` as int64, -1 allowed where `absent`, or BadBatch."""
    if not _whole(labels) or labels.shape != (n,):
        raise BadBatch(f"labels are {described(labels)}, expected {n} whole numbers")
    labels = labels.long()
    lowest = -1 if absent else 0
    wrong = (labels < lowest) | (labels >= classes)
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        also = " (or -1 for a class that is held elsewhere)" if absent else ""
        raise BadBatch(f"labels[{at}] is {int(labels[at])}, expected 0 to {classes - 1}{also}")
    return labels


def _floating(values: object) -> bool:
    return isinstance(values, Tensor) and values.is_floating_point()


def _whole(values: object) -> bool:
    return isinstance(values, Tensor) and values.dtype in (
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
    )


def checked_number(value: float, *, name: str, low: float = -math.inf, above: float | None = None) -> float:
    """A finite number, at least `low` and more than `above`, or BadArgument."""
    if not math.isfinite(value) or value < low or (above is not None and value <= above):
        wanted = f"above {above:g}" if above is not None else f"at least {low:g}" if low > -math.inf else "finite"
        raise BadArgument(f"{name} is {value:g}, expected a number that is {wanted}")
    return value


def checked_choice(value: _Choice, choices: tuple[str, ...], *, name: str) -> _Choice:
    """One of the choices, or BadArgument."""
    if value not in choices:
        raise BadArgument(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
    return value


def described(values: object) -> str:
    """Shape and type of a tensor, or the type of something else, for messages."""
    if isinstance(values, Tensor):
        return f"{tuple(values.shape)} {str(values.dtype).removeprefix('torch.')}"
    return f"a {type(values).__name__}"


def _finite(values: Tensor, name: str) -> Tensor:
    finite = torch.isfinite(values.detach())
    if not bool(finite.all()):
        at = [int(i) for i in (~finite).nonzero()[0]]
        raise BadBatch(f"{name}{at} is {float(values.detach()[tuple(at)])}, expected finite numbers")
    return values


def own(products: Tensor, labels: Tensor) -> Tensor:
    """(n,) product of each row with its own class; 0 where the label is -1."""
    picked = products.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    return torch.where(labels >= 0, picked, picked.new_zeros(()))


def own_of(values: Tensor, labels: Tensor) -> Tensor:
    """(n,) number of each row's class out of (C,); 1 where the label is -1."""
    return torch.where(labels >= 0, values[labels.clamp(min=0)], values.new_ones(()))


def assembled(
    products: Tensor,
    labels: Tensor,
    rows: Rows,
    others: Callable[[Tensor, Rows], Tensor] | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """(n, C) logits: the map of the others everywhere, then the target's entry in its place."""
    mapped = products if others is None else others(products, rows)
    logits = rows.scale.unsqueeze(1) * mapped + rows.offset.unsqueeze(1)
    held = (labels >= 0).nonzero().squeeze(1)
    logits = logits.index_put((held, labels[held]), rows.target[held])
    return logits if bias is None else logits + bias
