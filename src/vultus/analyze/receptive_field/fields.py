"""The receptive fields of a network: what is found for each node, as numbers, boxes and JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vultus._export import export
from vultus.analyze.receptive_field.boxes import NOTHING, Boxes, full
from vultus.analyze.receptive_field.graph import PICTURE, Step, bottom_up, exact_boxes, top_down
from vultus.analyze.receptive_field.taps import Axis, Span
from vultus.errors import BadArgument

Pair = tuple[float, float]


@export("vultus.analyze.receptive_field.Node")
@dataclass(frozen=True, slots=True)
class Node:
    """The receptive field of one operator's units. All pairs are (vertical, horizontal), in pixels of the picture.

    Args:
        name: the module's path, or the operator's name in the file.
        operator: what it does, such as "convolution".
        shape: of its output.
        size: pixels from the first to the last that a unit sees, of the widest unit. By the formula it may be larger than
            the picture.
        jump: pixels from one unit's field to the next one's; 0 where all units see the same; None where the units have no
            order that follows the picture, as tokens.
        start: centre of the first unit's field; pixel 0 has its centre at 0, so a negative number lies in the padding.
        padding: ((top, bottom), (left, right)) pixels outside the picture in the fields of the first and the last unit.
        formula: True where size, jump and start follow from the formulas for an endless picture. False where no formula
            holds (global pooling, linear layers, attention, branches of different jumps): then they are those of the pixels
            that the units really see.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    size: tuple[int, int]
    jump: Pair | None
    start: Pair
    padding: tuple[tuple[int, int], tuple[int, int]]
    formula: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "name": self.name,
            "operator": self.operator,
            "shape": list(self.shape),
            "size": list(self.size),
            "jump": None if self.jump is None else list(self.jump),
            "start": list(self.start),
            "padding": [list(p) for p in self.padding],
            "formula": self.formula,
        }


@export("vultus.analyze.receptive_field.PixelBox")
@dataclass(frozen=True, slots=True)
class PixelBox:
    """Rows `top` to `bottom` and columns `left` to `right`, all of them included."""

    top: int
    left: int
    bottom: int
    right: int


@export("vultus.analyze.receptive_field.ReceptiveFields")
class ReceptiveFields(Sequence[Node]):
    """The nodes of a network in the order in which they run. Made by `receptive_field`.

    A node is taken by position or by name.
    """

    def __init__(self, model: str, shape: tuple[int, int, int], steps: Sequence[Step]) -> None:
        self.model = model
        self.input_size = shape
        self._steps = list(steps)
        self._keys = {step.name: step.key for step in self._steps}
        self._boxes = exact_boxes(self._steps, (1, *shape))
        self._reads = [(step.key, step.patterns()) for step in self._steps]
        self._axes = bottom_up(self._reads)
        self._nodes = tuple(self._node(step) for step in self._steps)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, str):
            return self._nodes[list(self._keys).index(self._known(which))]
        return self._nodes[which]

    def _known(self, name: str) -> str:
        if name not in self._keys:
            near = difflib.get_close_matches(name, self._keys, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"the last one is {self._nodes[-1].name!r}"
            raise BadArgument(f"{self.model} has no node {name!r}; {advice}")
        return name

    def seen(self, name: str, unit: tuple[int, ...] | None = None) -> PixelBox | None:
        """The smallest box with all pixels that a unit really sees, borders and padding included.

        Args:
            name: of a node.
            unit: (row, column) of the unit, or the index along each axis of the output but the first. The middle one
                unless told otherwise. A (row, column) takes all channels together.

        Returns:
            the box, or None where the unit sees no pixel.

        Raises:
            BadArgument: no such node or unit.
        """
        node, boxes = self[name], self._boxes[self.value_of(name)]
        shape = node.shape
        if unit is None:
            unit = middle_unit(shape)
        index: Any = (..., *unit) if len(unit) == 2 and len(shape) > 3 else (slice(None), slice(None), *unit)
        length = shape[-2:] if len(unit) == 2 and len(shape) > 3 else shape[1:]
        if len(unit) != len(length) or any(not 0 <= u < n for u, n in zip(unit, length, strict=False)):
            raise BadArgument(f"{name!r} of shape {shape} has no unit {unit}; expected an index below {tuple(length)}")
        top, bottom, left, right = (int(v) for v in full(boxes, shape)[index].reshape(4, -1).max(axis=1))
        return None if top == NOTHING else PixelBox(-top, -left, bottom, right)

    def top_down(self, name: str) -> tuple[int, int]:
        """(height, width) of the field by the formula from the top down, N' = (N - 1) * stride + kernel, from that node.

        Raises:
            BadArgument: no such node, or none of the formulas holds for it.
        """
        axes = self._axes[self.value_of(name)]
        if axes is None:
            raise BadArgument(f"no formula holds for {name!r}, of which all that is known are the pixels that are seen")
        sizes = []
        for axis in (0, 1):
            spans = [
                top_down(self._reads, self._keys[name], (unit, unit))[axis] for unit in range(len(axes[axis].spans))
            ]
            sizes.append(max((s[1] - s[0] + 1 for s in spans if s is not None), default=0))
        return sizes[0], sizes[1]

    def theoretical(self, name: str, unit: tuple[int, int]) -> PixelBox | None:
        """The field of the unit in (row, column) by the formula, which may reach over the picture; None without formula.

        Raises:
            BadArgument: no such node.
        """
        axes = self._axes[self.value_of(name)]
        if axes is None:
            return None
        down, across = axes[0].span(unit[0]), axes[1].span(unit[1])
        return None if down is None or across is None else PixelBox(down[0], across[0], down[1], across[1])

    def value_of(self, name: str) -> str:
        """Name of the value that a node makes: in an ONNX graph, that of its output.

        Raises:
            BadArgument: no such node.
        """
        return self._keys[self._known(name)]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {"model": self.model, "input_size": list(self.input_size), "nodes": [n.to_dict() for n in self._nodes]}

    def _node(self, step: Step) -> Node:
        axes = self._axes[step.key]
        if axes is not None:
            height, width = self.input_size[1:]
            padding = (_outside(axes[0], step.shape[-2], height), _outside(axes[1], step.shape[-1], width))
            jump = (float(axes[0].jump), float(axes[1].jump))
            start, size = (axes[0].start, axes[1].start), (axes[0].size, axes[1].size)
            return Node(step.name, step.operator, step.shape, size, jump, start, padding, formula=True)
        size, jump_seen, start = _measured(self._boxes[step.key], step.shape)
        return Node(step.name, step.operator, step.shape, size, jump_seen, start, ((0, 0), (0, 0)), formula=False)


def middle_unit(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The middle (row, column) of a map, or the middle along each axis but the first of anything else."""
    return tuple(n // 2 for n in (shape[-2:] if len(shape) > 3 else shape[1:]))


def _outside(axis: Axis, units: int, pixels: int) -> tuple[int, int]:
    first: Span | None = axis.span(0)
    last = axis.span(units - 1)
    return (max(0, -first[0]) if first else 0, max(0, last[1] - pixels + 1) if last else 0)


def _measured(boxes: Boxes, shape: tuple[int, ...]) -> tuple[tuple[int, int], Pair | None, Pair]:
    """Size, jump and start of what the units see."""
    sees = boxes[0] != NOTHING
    if not sees.any():
        return (0, 0), (0.0, 0.0), (0.0, 0.0)
    tall, wide = (boxes[i] + boxes[i + 1] + 1 for i in (0, 2))
    size = (int(tall[sees].max()), int(wide[sees].max()))
    first = boxes.reshape(4, -1)[:, int(sees.reshape(-1).argmax())]
    start = (float(first[1] - first[0]) / 2, float(first[3] - first[2]) / 2)
    if all(n == 1 for n in boxes.shape[1:]):
        return size, (0.0, 0.0), start
    if len(shape) < 4 or not sees.all():
        return size, None, start
    union = full(boxes, shape).reshape(4, -1, *shape[-2:]).max(axis=1)
    down, across = (union[1] - union[0]) / 2, (union[3] - union[2]) / 2
    jump = []
    for centres in (down, across.T):
        if (centres != centres[:, :1]).any():
            return size, None, start
        jump.append(float(centres[-1, 0] - centres[0, 0]) / max(1, len(centres) - 1))
    return size, (jump[0], jump[1]), start


__all__ = ["PICTURE", "Node", "PixelBox", "ReceptiveFields", "middle_unit"]
