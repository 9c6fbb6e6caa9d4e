"""Which nodes are similar enough to matter? Nodes, and the exact graph of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vultus.gallery.cluster.constraints import NO_MARKS, Marks
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

NEIGHBOURS = 128
"""How many neighbours a node has at most in the graph."""

_BLOCK = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """m things to be grouped: single faces, and sets of faces that are together already.

    Args:
        sums: (m, d) float64, the sum of the unit rows of each node's faces.
        sizes: (m,) how many faces each node has.
        marks: of each node; nodes with a mark in common must stay apart.
    """

    sums: Float64Array
    sizes: IntArray
    marks: tuple[Marks, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def templates(self) -> FloatArray:
        """(m, d) float32, the mean of each node's rows at length 1; zeros where the rows cancel out."""
        lengths = np.linalg.norm(self.sums, axis=1, keepdims=True)
        means: FloatArray = (self.sums / np.maximum(lengths, 1e-9)).astype(np.float32)
        return means

    def united(self, labels: IntArray) -> Nodes:
        """One node for each label 0, 1, ..., with the faces and marks of all nodes of that label."""
        count = int(labels.max()) + 1 if len(labels) else 0
        sums = sums_by(labels, self.sums, count)
        sizes = np.bincount(labels, weights=self.sizes, minlength=count).astype(np.intp)
        marks = [NO_MARKS] * count
        for label, own in zip(labels.tolist(), self.marks, strict=True):
            if own:
                marks[label] |= own
        return Nodes(sums, sizes, tuple(marks))


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """e pairs of similar nodes.

    Args:
        first, second: (e,) nodes, first < second; no pair twice.
        scores: (e,) float32, the cosine of their templates.
    """

    first: IntArray
    second: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.first)


def sums_by(labels: IntArray, rows: Float64Array, count: int) -> Float64Array:
    """(count, d) the sum of the rows of each label."""
    sums = np.zeros((count, rows.shape[1]))
    if not len(labels):
        return sums
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    sums[present] = np.add.reduceat(rows[order], starts, axis=0)
    return sums


def similar(
    templates: FloatArray, *, floor: float, neighbours: int = NEIGHBOURS, only: BoolArray | None = None
) -> Edges:
    """All pairs with a score of at least `floor`, found by comparing everything with everything.

    Args:
        templates: (m, d) float32 unit rows.
        floor: lowest score.
        neighbours: a node that has more of them looks at its best ones only; a pair is kept if either end looks at it.
        only: (m,) leave out pairs of which neither node is marked here.
    """
    m = len(templates)
    rows = np.arange(m) if only is None else np.flatnonzero(only)
    width = max(1, _BLOCK // max(m, 1))
    found: list[tuple[IntArray, IntArray, FloatArray]] = []
    for start in range(0, len(rows), width):
        block = rows[start : start + width]
        scores = templates[block] @ templates.T
        scores[np.arange(len(block)), block] = -2.0
        at, other = _kept(scores, floor, neighbours)
        found.append((block[at], other, scores[at, other]))
    first, second = (np.concatenate([f[i] for f in found] or [np.zeros(0, np.intp)]) for i in (0, 1))
    scores = np.concatenate([f[2] for f in found] or [np.zeros(0, np.float32)])
    codes, places = np.unique(np.minimum(first, second) * m + np.maximum(first, second), return_index=True)
    return Edges(codes // max(m, 1), codes % max(m, 1), scores[places].astype(np.float32))


def _kept(scores: FloatArray, floor: float, neighbours: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of the scores that reach the floor and are among the best of their row."""
    high = scores >= floor
    for row in np.flatnonzero(np.count_nonzero(high, axis=1) > neighbours).tolist():
        columns = np.flatnonzero(high[row])
        best = columns[np.argsort(-scores[row, columns], kind="stable")[:neighbours]]
        high[row] = False
        high[row, best] = True
    at, other = np.nonzero(high)
    return at, other
