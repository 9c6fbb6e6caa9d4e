"""One direction of one operator: which inputs an output reads. From it, both formulas of the receptive field.

Along one axis, an operator reads inputs at a pattern that repeats: output q*m + r reads inputs s*m + o for each offset o of
phase r. A convolution has one phase, and its step s is the stride. A transposed convolution or an upsampling has as many
phases as it makes outputs of one input, and step 1.

The field of a unit is then found in two ways, which must agree:

- from the bottom up, `Axis.through` keeps first and last pixel of every unit's field, operator by operator;
- from the top down, `Taps.demand` asks which inputs a span of outputs needs. For a span of n outputs of a convolution that
  is the formula N' = (n - 1) * stride + (kernel - 1) * dilation + 1.

Both work on an endless picture: padding counts as if pixels lay there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from vultus.types import IntArray

Edge = Literal["nothing", "nearest", "mirror", "around"]
Span = tuple[int, int]
OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Taps:
    """The inputs that each output reads along one axis.

    Args:
        offsets: for each of q phases, the offsets that it reads, ascending; a phase may read nothing.
        step: how many inputs further the pattern repeats after q outputs.
        edge: what stands outside: nothing (zeros), the nearest input, the mirrored inputs without the border itself, or the
            inputs of the other end.
    """

    offsets: tuple[tuple[int, ...], ...]
    step: int
    edge: Edge = "nothing"

    @property
    def period(self) -> int:
        """q: after how many outputs the pattern repeats."""
        return len(self.offsets)

    def reads(self, output: int) -> Span | None:
        """First and last input that an output reads on an endless axis, or None."""
        m, r = divmod(output, self.period)
        here = self.offsets[r]
        return (self.step * m + here[0], self.step * m + here[-1]) if here else None

    def demand(self, span: Span) -> Span | None:
        """First and last input that the outputs from `span[0]` to `span[1]` need: the formula from the top down."""
        first, last = span
        # offsets grow with the output, so the ends are reached within one period of both ends
        ends = {
            *range(first, min(last, first + self.period - 1) + 1),
            *range(max(first, last - self.period + 1), last + 1),
        }
        spans = [s for s in map(self.reads, ends) if s is not None]
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None

    def table(self, inputs: int, outputs: int) -> IntArray:
        """(outputs, k) the inputs that are really there for each output; `OUTSIDE` fills what reads nothing."""
        longest = max(map(len, self.offsets))
        pattern = np.array([[*o, *[None] * (longest - len(o))] for o in self.offsets], dtype=float).reshape(-1, longest)
        j = np.arange(outputs)
        read = pattern[j % self.period] + (self.step * (j // self.period))[:, None]
        known = np.isfinite(read)
        index = np.where(known, read, 0).astype(np.intp)
        if self.edge == "nearest":
            index = index.clip(0, inputs - 1)
        elif self.edge == "mirror" and inputs > 1:
            index = np.abs((index + inputs - 1) % (2 * inputs - 2) - (inputs - 1))
        elif self.edge == "around":
            index %= inputs
        there = known & (index >= 0) & (index < inputs)
        table: IntArray = np.where(there, index, OUTSIDE)
        return table


SAME = Taps(((0,),), 1)


def convolution(kernel: int, stride: int = 1, *, padding: int = 0, dilation: int = 1) -> Taps:
    """A convolution or a pooling; `padding` is that before the first input."""
    return Taps((tuple(dilation * t - padding for t in range(kernel)),), stride)


def transposed(kernel: int, stride: int = 1, *, padding: int = 0, dilation: int = 1) -> Taps:
    """A transposed convolution: output j reads input i where j = i * stride - padding + dilation * t for a tap t."""
    reached = [[r + padding - dilation * t for t in range(kernel)] for r in range(stride)]
    return Taps(tuple(tuple(sorted({x // stride for x in row if x % stride == 0})) for row in reached), 1)


def padded(before: int, *, edge: Edge = "nothing") -> Taps:
    """Padding by `before` at the start; negative padding cuts off."""
    return Taps(((-before,),), 1, edge)


def adaptive(inputs: int, outputs: int) -> Taps:
    """Adaptive pooling: output j reads from floor(j * inputs / outputs) up to ceil((j + 1) * inputs / outputs)."""
    ratio = Fraction(inputs, outputs)
    q, s = ratio.denominator, ratio.numerator
    return Taps(tuple(tuple(range(r * s // q, -(-(r + 1) * s // q))) for r in range(q)), s)


def nearest(ratio: Fraction, *, centred: bool) -> Taps:
    """Nearest neighbour: output j reads input floor(j * ratio), or floor((j + 1/2) * ratio) where `centred`."""
    shift = Fraction(1, 2) if centred else Fraction(0)
    q, s = ratio.denominator, ratio.numerator
    return Taps(tuple((math.floor((r + shift) * ratio),) for r in range(q)), s, "nearest")


def interpolated(ratio: Fraction, *, reach: int, corners: bool) -> Taps:
    """Linear (`reach` 1) or cubic (2) interpolation: inputs of weight 0 are not read.

    Args:
        ratio: inputs per output.
        reach: taps on each side of the place.
        corners: whether the centres of the corner pixels fall on each other.
    """
    places = [r * ratio if corners else (r + Fraction(1, 2)) * ratio - Fraction(1, 2) for r in range(ratio.denominator)]
    offsets = []
    for place in places:
        floor = math.floor(place)
        offsets.append((floor,) if place == floor else tuple(range(floor - reach + 1, floor + reach + 1)))
    return Taps(tuple(offsets), ratio.numerator, "nearest")


def taps_of(reads: Sequence[int]) -> Taps | None:
    """The pattern of a list that names one input for each output, or None where it does not repeat with a step above 0."""
    x = np.asarray(reads)
    if len(x) == 1:
        return Taps(((int(x[0]),),), 1)
    for period in range(1, len(x) // 2 + 1):
        steps = x[period:] - x[:-period]
        if steps[0] > 0 and (steps == steps[0]).all():
            return Taps(tuple((int(v),) for v in x[:period]), int(steps[0]))
    return None


@dataclass(frozen=True, slots=True)
class Axis:
    """The fields of all units along one axis of an endless picture: the formula from the bottom up.

    Args:
        spans: for each of q phases, first and last pixel of unit r, or None where it sees nothing.
        step: how many pixels further the field lies q units on.
    """

    spans: tuple[Span | None, ...]
    step: int

    @property
    def size(self) -> int:
        """Pixels from the first to the last, of the widest phase."""
        return max((s[1] - s[0] + 1 for s in self.spans if s is not None), default=0)

    @property
    def jump(self) -> Fraction:
        """Pixels from one unit's field to the next, on average over the phases."""
        return Fraction(self.step, len(self.spans))

    @property
    def start(self) -> float:
        """Centre of the first unit's field; pixel 0 has its centre at 0."""
        first = next((s for s in self.spans if s is not None), (0, 0))
        return (first[0] + first[1]) / 2

    def span(self, unit: int) -> Span | None:
        """First and last pixel of a unit's field, outside the picture too."""
        m, r = divmod(unit, len(self.spans))
        here = self.spans[r]
        return None if here is None else (here[0] + self.step * m, here[1] + self.step * m)

    def through(self, taps: Taps) -> Axis:
        """The fields of the units of the next operator."""
        cycles = len(self.spans) // math.gcd(taps.step, len(self.spans))
        spans: list[Span | None] = []
        for j in range(taps.period * cycles):
            m, r = divmod(j, taps.period)
            seen = [s for o in taps.offsets[r] if (s := self.span(taps.step * m + o)) is not None]
            spans.append((min(s[0] for s in seen), max(s[1] for s in seen)) if seen else None)
        return Axis(tuple(spans), self.step * taps.step * cycles // len(self.spans)).reduced()

    def joined(self, other: Axis) -> Axis | None:
        """The smallest fields that hold those of both, or None where they move at different jumps."""
        if self.jump != other.jump:
            return None
        length = math.lcm(len(self.spans), len(other.spans))
        spans: list[Span | None] = []
        for unit in range(length):
            seen = [s for s in (self.span(unit), other.span(unit)) if s is not None]
            spans.append((min(s[0] for s in seen), max(s[1] for s in seen)) if seen else None)
        return Axis(tuple(spans), int(self.jump * length)).reduced()

    def reduced(self) -> Axis:
        """The same fields with as few phases as will do."""
        count = len(self.spans)
        for period in range(1, count):
            if count % period or self.step * period % count:
                continue
            short = Axis(self.spans[:period], self.step * period // count)
            if all(short.span(unit) == self.spans[unit] for unit in range(period, count)):
                return short
        return self


PIXELS = Axis(((0, 0),), 1)
