"""A network as a list of steps, whichever format it was read from, and the fields of all its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vultus.analyze.receptive_field import boxes as bx
from vultus.analyze.receptive_field.boxes import Boxes, Shape
from vultus.analyze.receptive_field.rules import Pattern, Rule
from vultus.analyze.receptive_field.taps import PIXELS, Axis, Span

PICTURE = "input"
# For each value in order: what of the picture its operator reads, and in which pattern.
Reads = Sequence[tuple[str, Sequence[tuple[str, Pattern]]]]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operator that depends on the picture.

    Args:
        key: name of the value that it makes, unique.
        name: for people: the module's path, or the operator's name in the file.
        operator: what it does, such as "convolution".
        inputs: keys of the values that it reads; None for one that does not depend on the picture.
        shapes: of the inputs.
        shape: of the value.
        rule: how fields go through it.
    """

    key: str
    name: str
    operator: str
    inputs: tuple[str | None, ...]
    shapes: tuple[Shape, ...]
    shape: Shape
    rule: Rule

    def patterns(self) -> list[tuple[str, Pattern]]:
        """(input, pattern) for everything of the picture that it reads."""
        return [
            (key, pattern)
            for i, key in enumerate(self.inputs)
            if key is not None
            for pattern in self.rule.patterns(i, self.shapes, self.shape)
        ]


def exact_boxes(steps: Sequence[Step], shape: Shape) -> dict[str, Boxes]:
    """Boxes of every value: what each unit really sees of a picture of that shape, (n, c, h, w)."""
    known = {PICTURE: bx.pixels(shape)}
    for step in steps:
        parts = [
            bx.blank(len(s)) if key is None else known[key] for key, s in zip(step.inputs, step.shapes, strict=True)
        ]
        known[step.key] = bx.lean(step.rule.boxes(parts, step.shapes, step.shape))
    return known


def bottom_up(reads: Reads) -> dict[str, tuple[Axis, Axis] | None]:
    """The fields on an endless picture, of every value for which there is a formula."""
    known: dict[str, tuple[Axis, Axis] | None] = {PICTURE: (PIXELS, PIXELS)}
    for key, patterns in reads:
        known[key] = _through(patterns, known)
    return known


def _through(
    patterns: Sequence[tuple[str, Pattern]], known: dict[str, tuple[Axis, Axis] | None]
) -> tuple[Axis, Axis] | None:
    total: tuple[Axis, Axis] | None = None
    for key, pattern in patterns:
        before = known[key]
        if before is None or pattern is None:
            return None
        down, across = before[0].through(pattern[0]), before[1].through(pattern[1])
        if total is None:
            total = (down, across)
        else:
            both = (total[0].joined(down), total[1].joined(across))
            if both[0] is None or both[1] is None:
                return None
            total = (both[0], both[1])
    return total


def top_down(reads: Reads, key: str, unit: tuple[int, int] = (0, 0)) -> tuple[Span | None, Span | None]:
    """First and last row, and first and last column, that a unit needs, found by walking from the unit to the pixels.

    The value must have a formula, and the picture counts as endless.
    """
    wanted: dict[str, list[Span | None]] = {key: [(unit[0], unit[0]), (unit[1], unit[1])]}
    for value, patterns in reversed(reads):
        spans = wanted.pop(value, None)
        if spans is None:
            continue
        for source, pattern in patterns:
            if pattern is None:
                raise ValueError(f"{value} has no formula")
            here = wanted.setdefault(source, [None, None])
            for axis in (0, 1):
                span = spans[axis]
                here[axis] = _union(here[axis], None if span is None else pattern[axis].demand(span))
    found = wanted.get(PICTURE, [None, None])
    return found[0], found[1]


def _union(one: Span | None, other: Span | None) -> Span | None:
    if one is None or other is None:
        return one or other
    return (min(one[0], other[0]), max(one[1], other[1]))
