"""Which pixels each unit really sees: boxes of pixels, carried through the operators, with padding and borders exact.

The boxes of a value of shape (a, b, ...) are an array of shape (4, a, b, ...): minus the first row, the last row, minus the
first column, the last column. An axis along which all boxes are alike may have length 1. Written this way the union of two
boxes is the larger of both in every place, and a unit that sees no pixel has `NOTHING` in all four. A unit that sees two
pixels counts as seeing those between them: a dilated kernel leaves holes that a box does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vultus.analyze.receptive_field.taps import OUTSIDE, Taps

Boxes = npt.NDArray[np.int32]
Shape = tuple[int, ...]
NOTHING = -(1 << 30)


def pixels(shape: Shape) -> Boxes:
    """Boxes of the picture itself, shape (n, c, h, w): each pixel sees itself."""
    height, width = shape[-2:]
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    boxes: Boxes = np.stack([-y, y, -x, x]).astype(np.int32)[:, None, None]
    return boxes


def blank(rank: int) -> Boxes:
    """Boxes of a value of that many axes which does not depend on the picture."""
    return np.full((4, *[1] * rank), NOTHING, dtype=np.int32)


def full(boxes: Boxes, shape: Shape) -> Boxes:
    """The same boxes with every axis at its full length."""
    return np.broadcast_to(boxes, (4, *shape))


def lean(boxes: Boxes) -> Boxes:
    """The same boxes with axes of length 1 where all are alike."""
    for axis in range(1, boxes.ndim):
        if boxes.shape[axis] > 1:
            first = boxes.take([0], axis=axis)
            if (boxes == first).all():
                boxes = first
    return boxes


def joined(parts: Sequence[Boxes], rank: int) -> Boxes:
    """Union of values that are combined element by element, with numpy's rules for shapes."""
    result = blank(rank)
    for part in parts:
        result = np.maximum(result, part.reshape(4, *[1] * (rank + 1 - part.ndim), *part.shape[1:]))
    return result


def reduced(boxes: Boxes, axes: Iterable[int], *, keep: bool = True) -> Boxes:
    """Union along axes of the value; negative axes count from the end."""
    rank = boxes.ndim - 1
    result: Boxes = boxes.max(axis=tuple(sorted({a % rank + 1 for a in axes})), keepdims=keep)
    return result


def windowed(boxes: Boxes, shape: Shape, out: Shape, taps: Sequence[Taps], groups: int | None) -> Boxes:
    """Union over windows along the last axes, as in convolution, pooling, padding and resizing.

    Args:
        boxes: of the input.
        shape, out: of the input and the output, (n, c, ...).
        taps: one for each of the last axes.
        groups: of a convolution; None where each channel is for itself.
    """
    if groups is not None and boxes.shape[2] > 1:
        n, c = boxes.shape[1:3]
        by_group = boxes.reshape(4, n, groups, c // groups, *boxes.shape[3:]).max(axis=3)
        boxes = by_group if groups == 1 else np.repeat(by_group, out[1] // groups, axis=2)
    for i, tap in enumerate(taps):
        axis = boxes.ndim - len(taps) + i
        inputs, outputs = shape[axis - 1], out[axis - 1]
        if boxes.shape[axis] != inputs:
            boxes = np.repeat(boxes, inputs, axis=axis)
        table = tap.table(inputs, outputs)
        edge = np.full_like(boxes.take([0], axis=axis), NOTHING)
        padded = np.concatenate([boxes, edge], axis=axis)  # what is outside reads this last place
        table[table == OUTSIDE] = inputs
        result = padded.take(table[:, 0], axis=axis)
        for column in table.T[1:]:
            result = np.maximum(result, padded.take(column, axis=axis))
        boxes = result
    return lean(boxes)


def multiplied(left: Boxes, right: Boxes, left_shape: Shape, right_shape: Shape, rank: int) -> Boxes:
    """Boxes of a matrix product: an element sees its whole row of the left and its whole column of the right."""
    rows, columns = reduced(left, [-1]), reduced(right, [-2 if len(right_shape) > 1 else -1])
    if len(right_shape) == 1:
        rows = rows[..., 0]
    if len(left_shape) == 1:
        columns = columns[..., 0, :]
    return joined([rows, columns], rank)
