"""Which classes take part in a step (PartialFC: An et al. 2022, "Killing two birds with one stone", arXiv:2203.15565).

Each class is drawn by a random number of its own, a function of the seed, the step and the class. So the same classes are
drawn however many ranks share them, without a word between the ranks, and each rank draws for its own classes only. The
paper's code fills up to a fixed number for each rank instead; here that number is the expectation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_EACH = 8  # 32-bit numbers in one block of the counter-based generator Philox 4x64


def draw(start: int, stop: int, *, rate: float, seed: int, step: int) -> npt.NDArray[np.bool_]:
    """(stop - start,) True for each class in [start, stop) that is drawn, each with probability `rate`."""
    first, last = start // _EACH, -(-stop // _EACH)
    key = np.array([seed, step], dtype=np.uint64)
    philox = np.random.Philox(key=key, counter=np.array([first, 0, 0, 0], dtype=np.uint64))
    numbers = philox.random_raw((last - first) * (_EACH // 2)).view(np.uint32)
    mine = numbers[start - first * _EACH : stop - first * _EACH]
    return mine < np.uint32(min(round(rate * 2**32), 2**32 - 1))


def chosen_classes(held: Tensor, *, start: int, stop: int, rate: float, seed: int, step: int) -> Tensor:
    """Ascending local ids of the classes that take part: those drawn, and every class of the batch.

    Args:
        held: local ids of the batch's classes that lie in [start, stop).
        start, stop: ids of the classes of this rank.
        rate: probability of a class to be drawn.
        seed: of the head.
        step: number of the step.
    """
    bitmap = draw(start, stop, rate=rate, seed=seed, step=step)
    bitmap[held.cpu().numpy()] = True
    return torch.from_numpy(np.flatnonzero(bitmap)).to(held.device)
