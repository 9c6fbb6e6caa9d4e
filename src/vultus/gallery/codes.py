"""Rows at two bits a number, so that all of them can be looked at in a tenth of the time, with a proof of what that misses.

A random rotation makes the unit row o of a template a uniformly random point x of the sphere, whatever the data. x is
replaced by c: each pair of its numbers by the nearest of 16 fixed points. A probe at angle cos = s from o is, rotated,
s x + sqrt(1 - s^2) u, where u is uniform among the unit vectors at right angles to x. So its product with c is

    a = s <x, c> + sqrt(1 - s^2) |c'| g,    c' = c - <x, c> x,    g = <u, c'> / |c'|,

and g has the distribution of one coordinate of a random point on the sphere in D - 1 dimensions, exactly. With
probability 1 - p it is above -t(p). <x, c> and |c'| are known of each row. So a row that scores at least s has, but for
that probability, a product of at least s <x, c> - t sqrt(1 - s^2) |c'|; the smallest of those over all rows is what
`Codes.least` gives. Rows for which it is unusually small are listed, and always looked at.

The idea to quantise after a random rotation and to bound the error by it is that of J. Gao and C. Long, "RaBitQ:
Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest Neighbor Search" (SIGMOD 2024).
Deviations: two-dimensional codes of 4 bits in place of 1 bit a number, and no factor for each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import faiss
import numpy as np

from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

AnyFloats = FloatArray | Float64Array
SMALLEST, LARGEST = 32, 512  # dimensions: below there is nothing to gain, above the scan's 16-bit sums overflow
MISSED = 1e-8
_STEPS = 128
_AWKWARD = 1e-3
_REFERENCE = 0.55
_DISTORTION = 0.1076
_BATCH = 16_384
_ROUNDING = 1e-4
_LENGTHS = 1 - 2.5e-3  # lengths are 1 to 1e-3, so a cosine is at least this share of a score

# The 16 points that represent the two-dimensional normal distribution with the least mean squared error (Lloyd's rule
# on a fine grid): 0.1076 of the variance.
_POINTS = np.array(
    [
        (0.0, 0.0), (-0.7666, -0.4532), (0.7774, -0.4373), (-0.0082, 0.8911),
        (0.0102, -0.9544), (0.8247, 0.4872), (-0.8323, 0.4695), (-1.8375, -0.3235),
        (-1.1637, -1.4580), (1.1975, -1.4312), (1.8465, -0.2799), (0.6376, 1.7542),
        (-0.6835, 1.7366), (0.0235, -2.0022), (1.7224, 1.0240), (-1.7473, 0.9781),
    ],
    dtype=np.float32,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The codes of the first rows of a gallery. Immutable: more rows make other codes.

    Args:
        index: the packed codes.
        rotation: (D, d) float32 with orthonormal columns, drawn at random for this gallery.
        along, across: (n,) float32, <x, c> and |c'| of each row.
        envelope: (129,) the least product of a row with a probe of score 0, 1/128, ... 1, but for probability p.
        awkward: places of rows that the envelope does not hold for.
        awkward_rows: those rows themselves, which every search looks at.
        hint: how many rows searches have needed lately, its only element.
    """

    index: Any
    rotation: FloatArray
    along: FloatArray
    across: FloatArray
    envelope: Float64Array
    awkward: IntArray
    awkward_rows: FloatArray
    hint: list[int]

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @classmethod
    def empty(cls, dimension: int) -> Codes:
        """Codes of no rows, under a new random rotation."""
        even = dimension + dimension % 2
        q, r = np.linalg.qr(np.random.default_rng().standard_normal((even, even)))
        rotation = np.ascontiguousarray((q * np.sign(np.diag(r)))[:, :dimension], dtype=np.float32)
        none, no_rows = np.zeros(0, dtype=np.float32), np.zeros((0, dimension), dtype=np.float32)
        places = np.zeros(0, dtype=np.intp)
        return cls(_new_index(even), rotation, none, none, np.full(_STEPS + 1, np.inf), places, no_rows, [512])

    def copy(self) -> Codes:
        """The same codes, to be extended without disturbing whoever searches these."""
        return replace(self, index=faiss.clone_index(self.index))

    def append(self, rows: FloatArray) -> Codes:
        """These codes and those of further rows; these must not be used any more."""
        index, envelope, parts = self.index, self.envelope, [(self.along, self.across)]
        awkward, awkward_rows = [self.awkward], [self.awkward_rows]
        for first in range(0, len(rows), _BATCH):
            start, batch = int(index.ntotal), rows[first : first + _BATCH]
            along, across = _add(index, self.rotation, batch)
            parts.append((along.astype(np.float32), across.astype(np.float32)))
            erased = ~batch.any(axis=1)  # the rows of deleted templates, which nothing needs to find
            reference = _least(along, across, np.array([_REFERENCE]), len(self.rotation))[:, 0]
            odd = ~erased & (reference < _usual(len(self.rotation)))
            awkward.append(start + np.flatnonzero(odd))
            awkward_rows.append(batch[odd])
            usual = ~odd & ~erased
            if usual.any():
                least = _least(along[usual], across[usual], np.arange(_STEPS + 1) / _STEPS, len(self.rotation))
                envelope = np.minimum(envelope, least.min(axis=0))
        all_along, all_across = (np.concatenate(column) for column in zip(*parts, strict=True))
        found = np.concatenate(awkward), np.concatenate(awkward_rows)
        return Codes(index, self.rotation, all_along, all_across, envelope, *found, self.hint)

    def rotated(self, probe: FloatArray) -> FloatArray:
        """(1, D) the probe in the codes' system, of length 1."""
        turned = self.rotation @ (probe / np.linalg.norm(probe))
        unit: FloatArray = np.ascontiguousarray(turned[None], dtype=np.float32)
        return unit

    def slack(self, rotated: FloatArray) -> float:
        """How far a product as it is scanned can lie from the product of the probe with the code.

        The scan rounds what each pair of numbers can contribute to 255 steps of the widest range.
        """
        pairs = rotated.reshape(-1, 2) @ _scaled_points(rotated.shape[1]).T
        return len(pairs) * float((pairs.max(axis=1) - pairs.min(axis=1)).max()) / 510 + _ROUNDING

    def least(self, score: float) -> float:
        """What the product of a row that scores that much, or more, is at least, awkward rows excepted."""
        if score <= 0:
            return -math.inf
        return float(self.envelope[math.floor(_STEPS * score * _LENGTHS)])

    def below(self, product: float) -> float:
        """The score that rows whose product is at most this stay below, awkward rows excepted."""
        sure = np.flatnonzero(self.envelope > product)
        return math.inf if not len(sure) else sure[0] / _STEPS / _LENGTHS

    def can_reach(self, places: IntArray, products: FloatArray, score: float) -> BoolArray:
        """Which rows can score that much, by what their products are at most: all but those of probability p."""
        if score <= 0:
            return np.ones(len(places), dtype=np.bool_)
        least = (
            _LENGTHS * score * self.along[places]
            - tail_point(len(self.rotation) - 1) * math.sqrt(1 - (_LENGTHS * score) ** 2) * self.across[places]
        )
        reach: BoolArray = products >= least - np.float32(1e-6)
        return reach


class CodesWriter:
    """Codes on their way into a file: is given all rows in turn, and encodes those that have no code yet.

    Args:
        codes: of the first rows, or of none; they are not changed.
    """

    def __init__(self, codes: Codes) -> None:
        self._codes = codes.copy()
        self._erased: list[IntArray] = []
        self._seen = 0

    def take(self, rows: FloatArray) -> None:
        """The next rows."""
        known = max(0, len(self._codes) - self._seen)
        gone = ~rows.any(axis=1)
        self._erased.append(self._seen + np.flatnonzero(gone))
        self._seen += len(rows)
        if known < len(rows):
            self._codes = self._codes.append(rows[known:])

    def sections(self) -> dict[str, np.ndarray[Any, Any]]:
        """The codes as arrays, and which bits of a block belong to each of its rows; erased rows have none set."""
        packed, masks = faiss.vector_to_array(self._codes.index.codes), _masks(self._codes.index)
        blocks = packed.reshape(-1, masks.shape[1])
        for place in np.concatenate(self._erased).tolist():
            blocks[place // len(masks)] &= ~masks[place % len(masks)]
        return {
            "codes": packed,
            "code_masks": masks,
            "rotation": self._codes.rotation,
            "along": self._codes.along,
            "across": self._codes.across,
            "envelope": self._codes.envelope,
            "awkward": self._codes.awkward.astype(np.int64),
        }


def codes_of(
    sections: dict[str, np.ndarray[Any, Any]], count: int, dimension: int, take: Callable[[IntArray], FloatArray]
) -> Codes | None:
    """The codes of the first `count` rows from arrays of a file; None where those hold none.

    Args:
        sections: the arrays.
        count: how many rows there are.
        dimension: numbers in a row.
        take: gives the rows at ascending places.
    """
    if not {"codes", "rotation", "along", "across", "envelope", "awkward"} <= sections.keys():
        return None
    rotation = sections["rotation"]
    index = _new_index(len(rotation))
    packed = sections["codes"]
    if rotation.shape[1] != dimension or len(packed) != -(-count // index.bbs) * index.bbs * index.M2 // 2:
        return None
    faiss.copy_array_to_AlignedTable(packed, index.codes)
    index.ntotal, index.ntotal2 = count, len(packed) * 2 // index.M2
    parts = sections["along"], sections["across"]
    awkward = sections["awkward"].astype(np.intp)
    return Codes(index, rotation, *parts, sections["envelope"], awkward, take(awkward), [512])


def _new_index(dimension: int) -> Any:
    index = faiss.IndexPQFastScan(dimension, dimension // 2, 4, faiss.METRIC_INNER_PRODUCT)
    points = np.tile(_scaled_points(dimension), (dimension // 2, 1))
    faiss.copy_array_to_vector(points.ravel(), index.pq.centroids)
    index.is_trained = True
    return index


def _scaled_points(dimension: int) -> FloatArray:
    points: FloatArray = _POINTS / np.float32(math.sqrt(dimension))
    return points


def _add(index: Any, rotation: FloatArray, rows: FloatArray) -> tuple[Float64Array, Float64Array]:
    """Encode rows at the end; <x, c> and |c'| of each.

    Each row is scaled a little before it is encoded, so that the least product at the reference score is about the same
    for all: the envelope, which is the smallest of them, then lies close to most.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    turned = (rows / np.where(lengths > 0, lengths, 1)) @ rotation.T
    scale, usual = np.ones((len(rows), 1), dtype=np.float32), np.array([_REFERENCE])
    kept = 1 - _DISTORTION
    target = float(_least(np.array([kept]), np.sqrt([kept * _DISTORTION]), usual, len(rotation))[0, 0])
    for _ in range(2):
        codes = index.pq.compute_codes(np.ascontiguousarray(turned * scale))
        least = _least(*_parts(turned, index.pq.decode(codes)), usual, len(rotation))
        scale *= np.clip(target / np.maximum(least, 0.1 * target), 0.7, 1.4).astype(np.float32)
    start = int(index.ntotal)
    index.add(np.ascontiguousarray(turned * scale))
    return _parts(turned, index.reconstruct_n(start, len(rows)))


def _parts(turned: AnyFloats, codes: AnyFloats) -> tuple[Float64Array, Float64Array]:
    """<x, c> and |c'| of each row."""
    x, c = turned.astype(np.float64), codes.astype(np.float64)
    along = np.einsum("ij,ij->i", x, c)
    return along, np.sqrt(np.maximum(np.einsum("ij,ij->i", c, c) - along**2, 0))


def _least(along: Float64Array, across: Float64Array, scores: Float64Array, dimension: int) -> Float64Array:
    """(n, k) the least product of each row with a probe of each score, but for probability p."""
    least: Float64Array = np.outer(along, scores) - np.outer(across, tail_point(dimension - 1) * np.sqrt(1 - scores**2))
    return least


@cache
def tail_point(dimension: int) -> float:
    """t for which one coordinate of a random point on the sphere exceeds t with a probability of at most `MISSED`.

    The probability is at most (1 - t^2)^((m - 1) / 2) / (2 t sqrt(m)) for t >= sqrt(2 / m) in m dimensions (A. Brieden
    et al., "Deterministic and randomized polynomial-time approximation of radii", Mathematika 48, 2001).
    """
    low, high = math.sqrt(2 / dimension), 1.0
    for _ in range(60):
        t = (low + high) / 2
        exceeded = (dimension - 1) / 2 * math.log1p(-t * t) - math.log(2 * t * math.sqrt(dimension))
        low, high = (t, high) if exceeded > math.log(MISSED) else (low, t)
    return high


@cache
def _usual(dimension: int) -> float:
    """What all rows but a share of `_AWKWARD` reach at the reference score; it is the same for any data."""
    rows = np.random.default_rng(0).standard_normal((32_768, dimension)).astype(np.float32)
    along, across = _add(_new_index(dimension), np.eye(dimension, dtype=np.float32), rows)
    return float(np.quantile(_least(along, across, np.array([_REFERENCE]), dimension)[:, 0], _AWKWARD))


def _masks(index: Any) -> np.ndarray[Any, Any]:
    """(32, block) the bits that belong to each row of a block of packed codes."""
    packer = index.get_CodePacker()
    masks = np.zeros((packer.nvec, 1, packer.block_size), dtype=np.uint8)
    for place, mask in enumerate(masks):
        packer.pack_1(np.full(packer.code_size, 255, dtype=np.uint8), place, mask)
    return masks[:, 0]
