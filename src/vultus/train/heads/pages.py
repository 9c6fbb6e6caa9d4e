"""Memory for a whole gradient of the class centres, which is new in each step: on huge pages where the system has them.

A gradient of 200 MB is 50,000 pages of 4 KB, and the first touch of each costs more than the arithmetic on it. On Linux a
program has to ask for pages of 2 MB (transparent huge pages, set to "madvise" on most systems); torch does so only where
the environment says THP_MEM_ALLOC_ENABLE=1 before it starts.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 32 * 2**20  # bytes; below it, the allocator's own reuse of memory is worth more


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """A contiguous tensor of zeros with the type and place of `like`."""
    count = math.prod(shape)
    size = count * like.element_size()
    asked = getattr(mmap, "MADV_HUGEPAGE", None)
    if like.device.type != "cpu" or size < LEAST or asked is None:
        return like.new_zeros(tuple(shape))
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # zeros, as the system gives it
        memory.madvise(asked)
    except OSError:  # no such pages in this kernel, or no memory: torch's own error is the one to show
        return like.new_zeros(tuple(shape))
    return torch.frombuffer(memory, dtype=like.dtype, count=count).view(tuple(shape))
