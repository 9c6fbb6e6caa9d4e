"""Does a tensor own each of its elements, so that writing in place is safe?"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from vultus.errors import BadArgument


def overlaps(tensor: Tensor) -> bool:
    """True where two elements share memory: an expanded tensor, or overlapping windows of one."""
    if tensor.numel() < 2:
        return False
    reach = 0  # the furthest element, in steps of storage, that the smaller strides lead to
    for stride, size in sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def require_own(named: Iterable[tuple[str, Tensor]], *, what: str) -> None:
    """Refuse tensors that cannot be written in place.

    Raises:
        BadArgument: one is expanded or overlaps itself; names the tensor and the remedy.
    """
    for name, tensor in named:
        if overlaps(tensor):
            raise BadArgument(
                f"{what} writes {name!r} in place, and its elements share memory (shape {tuple(tensor.shape)}, strides "
                f"{tensor.stride()}): it is expanded or overlaps itself. Give it storage of its own: {name} = "
                f"{name}.clone(memory_format=torch.contiguous_format)"
            )
