"""What an operator does to the fields of its inputs, whichever format it was read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vultus.analyze.receptive_field import boxes as bx
from vultus.analyze.receptive_field.boxes import Boxes, Shape
from vultus.analyze.receptive_field.taps import SAME, Taps, taps_of

# For one input: what the last two axes of the output read of its last two axes; None where that is no such pattern.
Pattern = tuple[Taps, Taps] | None
Numbers = npt.NDArray[np.int32]


class Rule(Protocol):
    """How the fields of an output follow from those of the inputs."""

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """Boxes of the output from those of the inputs."""

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """The patterns in which the output reads one input; several where its channels read in different ways."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Convolution, pooling, padding, resizing: windows along the last axes.

    Args:
        taps: one for each of the last axes.
        groups: of a convolution; None where each channel is for itself.
    """

    taps: tuple[Taps, ...]
    groups: int | None = None

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """Boxes of the output."""
        return bx.windowed(parts[0], shapes[0], out, self.taps, self.groups)

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """The windows themselves, where they lie along two axes."""
        return [(self.taps[0], self.taps[1]) if len(self.taps) == 2 else None]


@dataclass(frozen=True, slots=True)
class Join:
    """Element by element: activations, sums, products, normalisations with fixed statistics."""

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """Union of the inputs."""
        return bx.joined(parts, len(out))

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """Each unit reads the unit in its place, unless an axis is stretched."""
        return [(SAME, SAME) if len(out) > 2 and shapes[index][-2:] == out[-2:] else None]


@dataclass(frozen=True, slots=True)
class Reduce:
    """Mean, sum, maximum and the like along axes.

    Args:
        axes: of the input, negative ones from the end.
        keep: whether they stay with length 1.
    """

    axes: tuple[int, ...]
    keep: bool

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """Union along the axes."""
        return bx.reduced(parts[0], self.axes, keep=self.keep)

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """A reduction of channels keeps the places."""
        rank = len(shapes[index])
        kept = rank > 2 and len(out) > 2 and not {a % rank for a in self.axes} & {rank - 2, rank - 1}
        return [(SAME, SAME) if kept else None]


@dataclass(frozen=True, slots=True)
class Spread:
    """Softmax, layer and instance normalisation: each element depends on all along some axes.

    Args:
        axes: of the value, negative ones from the end.
        groups: parts of the channels (axis 1) that are taken together, for group normalisation; None where the channels are
            reduced or left apart as `axes` says.
    """

    axes: tuple[int, ...]
    groups: int | None = None

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """Union along the axes, for every element of them; further inputs are combined element by element."""
        first = parts[0]
        if self.groups is not None and first.shape[2] > 1:
            n, c = first.shape[1:3]
            grouped = first.reshape(4, n, self.groups, c // self.groups, *first.shape[3:]).max(axis=3)
            first = np.repeat(grouped, c // self.groups, axis=2)
        return bx.joined([bx.reduced(first, self.axes), *parts[1:]], len(out))

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """As of a reduction."""
        rank = len(shapes[index])
        places = {rank - 2, rank - 1} & {a % rank for a in self.axes}
        return [(SAME, SAME) if rank > 2 and not places and shapes[index][-2:] == out[-2:] else None]


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product of the first two inputs; a third is added."""

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """Rows of the left with columns of the right."""
        product = bx.multiplied(parts[0], parts[1], shapes[0], shapes[1], len(out))
        return bx.joined([product, *parts[2:]], len(out))

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """None: the places are mixed, or are no places."""
        return [None]


@dataclass(frozen=True, slots=True)
class Attention:
    """Scaled dot-product attention: a query with all keys and values."""

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """The query's row, and everything that the keys and values see."""
        query, key, value = parts[:3]
        return bx.joined([bx.reduced(query, [-1]), bx.reduced(key, [-2, -1]), bx.reduced(value, [-2, -1])], len(out))

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """None: every token sees every other one."""
        return [None]


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """Operators that only move elements: reshape, transpose, slice, concatenate and the like.

    Args:
        apply: the operator itself on int32 arrays of the inputs' shapes.
    """

    apply: Callable[[list[Numbers]], Numbers]

    def boxes(self, parts: Sequence[Boxes], shapes: Sequence[Shape], out: Shape) -> Boxes:
        """The boxes moved like the elements."""
        whole = [bx.full(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        moved = [self.apply([np.ascontiguousarray(part[i]) for part in whole]) for i in range(4)]
        return bx.lean(np.stack(moved))

    def patterns(self, index: int, shapes: Sequence[Shape], out: Shape) -> list[Pattern]:
        """Found by moving the numbers of rows and columns: a crop, every second pixel, pixels dealt out to channels."""
        if len(out) < 3 or len(shapes[index]) < 3:
            return [None]
        height, width = shapes[index][-2:]
        numbers = [np.full(shape, -1, dtype=np.int32) for shape in shapes]
        numbers[index][...] = np.arange(height * width, dtype=np.int32).reshape(height, width)
        maps = np.unique(self.apply(numbers).reshape(-1, *out[-2:]), axis=0)
        found: list[Pattern] = []
        for moved in maps:
            if (moved == -1).all():
                continue
            rows, columns = moved // width, moved % width
            straight = (rows == rows[:, :1]).all() and (columns == columns[:1]).all() and (moved >= 0).all()
            down, across = taps_of(rows[:, 0].tolist()), taps_of(columns[0].tolist())
            if not straight or down is None or across is None:
                return [None]
            found.append((down, across))
        return found or [None]
