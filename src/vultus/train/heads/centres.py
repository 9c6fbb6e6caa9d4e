"""The class centres that a training starts with: a function of the seed and the class alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BLOCK = 1_024  # classes that share one random stream; part of what a seed means


def fill_initial(weight: Tensor, *, first: int, subcenters: int, seed: int, deviation: float) -> None:
    """Write normal random numbers into the rows of the classes from `first` on.

    Every class has the same centre whatever other classes lie beside it, so that it does not depend on the number of ranks.

    Args:
        weight: (m * subcenters, d) rows of m classes; written to.
        first: id of the first class.
        subcenters: rows for each class.
        seed: of the head.
        deviation: standard deviation of each number.
    """
    rows = weight.view(-1, subcenters, weight.shape[1])
    last = first + len(rows)
    generator = torch.Generator()
    for block in range(first // _BLOCK, -(-last // _BLOCK)):
        generator.manual_seed(int(np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0] >> 1))
        drawn = torch.empty(_BLOCK, subcenters, weight.shape[1]).normal_(0.0, deviation, generator=generator)
        begin, end = max(first, block * _BLOCK), min(last, (block + 1) * _BLOCK)
        rows[begin - first : end - first] = drawn[begin - block * _BLOCK : end - block * _BLOCK]
