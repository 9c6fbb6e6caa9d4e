"""Near-duplicates: one photo saved twice, cropped anew, resized or compressed again.

Two aligned faces are near-duplicates if their embeddings are nearly parallel *and* their pictures have nearly the same
difference hash. The embedding alone would take two good photos of one person for duplicates; the hash alone would take
two people in one pose for them.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt

from vultus.types import BoolArray, FloatArray, IntArray, UInt8Array

Hashes = npt.NDArray[np.uint64]

BITS = 64
_BLOCK = 2048
_CROWDED = 64


def difference_hash(crop: UInt8Array) -> int:
    """64 bits: whether each of 8 x 8 cells is brighter than its neighbour to the left.

    Args:
        crop: (h, w, 3) uint8 RGB, aligned.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def distance(one: Hashes, other: Hashes) -> npt.NDArray[np.uint8]:
    """In how many bits hashes differ."""
    bits: npt.NDArray[np.uint8] = np.bitwise_count(one ^ other)
    return bits


def distinct(rows: FloatArray, hashes: Hashes, quality: FloatArray, *, cosine: float, bits: int) -> BoolArray:
    """Which photos of one person stay: the best of each group of near-duplicates.

    Photos are taken from the best down, and one that is a near-duplicate of a photo taken before is left out.

    Args:
        rows: (n, d) unit embeddings.
        hashes: (n,) difference hashes.
        quality: (n,) higher is better; of equals the first is taken.
        cosine: lowest cosine of near-duplicates.
        bits: most bits in which the hashes of near-duplicates differ.

    Returns:
        (n,) True for those that stay.
    """
    order = np.argsort(-quality, kind="stable")
    stays = np.ones(len(rows), dtype=np.bool_)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        close = rows[block] @ rows.T >= cosine
        close &= distance(hashes[block, None], hashes[None, :]) <= bits
        close[np.arange(len(block)), block] = False
        for k in np.flatnonzero(close.any(axis=1)):
            i = block[k]
            if stays[i]:
                worse = close[k].copy()
                worse[order[: start + k]] = False
                stays[worse] = False
    return stays


def across(rows: FloatArray, hashes: Hashes, labels: npt.NDArray[np.int64], *, cosine: float, bits: int) -> IntArray:
    """Pairs of near-duplicates that carry different labels.

    Hashes that differ in at most `bits` bits agree in one of `bits` + 1 parts of them, so only photos that agree in a part
    are compared. Parts that very many photos share, such as those of blank pictures, are compared in the order of their
    hashes only.

    Args:
        rows: (n, d) unit embeddings.
        hashes: (n,) difference hashes.
        labels: (n,) class of each.
        cosine, bits: see `distinct`.

    Returns:
        (m, 2) pairs, the lower number first, in ascending order.
    """
    found: set[tuple[int, int]] = set()
    edges = np.linspace(0, BITS, bits + 2).round().astype(int)
    for low, high in itertools.pairwise(edges):
        part = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.lexsort((hashes, part))
        for step in range(1, _CROWDED):
            one, other = order[:-step], order[step:]
            same = part[one] == part[other]
            if not same.any():
                break
            one, other = one[same], other[same]
            close = (labels[one] != labels[other]) & (distance(hashes[one], hashes[other]) <= bits)
            one, other = one[close], other[close]
            alike = np.einsum("nd,nd->n", rows[one], rows[other]) >= cosine
            found.update(zip(*np.sort([one[alike], other[alike]], axis=0).tolist(), strict=True))
    return np.array(sorted(found), dtype=np.intp).reshape(-1, 2)
