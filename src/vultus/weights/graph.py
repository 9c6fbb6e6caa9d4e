"""An ONNX graph taken apart for rewriting, and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Graph:
    """An ONNX graph taken apart for rewriting: nodes in order, and constants by name as arrays."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.model = model
        self.nodes: list[Any] = list(model.graph.node)
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.outputs = [o.name for o in model.graph.output]

    def uses(self, name: str) -> list[Any]:
        """The nodes that read a value."""
        return [n for n in self.nodes if name in n.input]

    def producer(self, name: str) -> Any | None:
        """The node that makes a value, or None for an input or a constant."""
        return next((n for n in self.nodes if name in n.output), None)

    def only_use(self, name: str) -> Any | None:
        """The one node that reads a value, where there is exactly one and the value is no output."""
        uses = self.uses(name)
        return uses[0] if len(uses) == 1 and name not in self.outputs else None

    def constant(self, wish: str, value: Array) -> str:
        """Add a constant under a name that is free."""
        name, n = wish, 0
        while name in self.constants:
            n += 1
            name = f"{wish}_{n}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def bypass(self, node: Any) -> None:
        """Remove a node whose first output equals its first input, unless it alone gives an output of the graph its name."""
        source, result = node.input[0], node.output[0]
        maker = self.producer(source)
        if result not in self.outputs:
            old, new = result, source
        elif maker is not None and source not in self.outputs:
            old, new = source, result
            renamed(maker.output, old, new)
        else:
            return
        self.nodes.remove(node)
        for user in self.uses(old):
            renamed(user.input, old, new)

    def rebuild(self) -> Any:
        """The ONNX model again, without constants and inputs that nothing reads."""
        from onnx import numpy_helper

        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input}
        inputs = [i for i in graph.input if i.name in used and i.name not in self.constants]
        for part, content in (
            (graph.node, self.nodes),
            (graph.input, inputs),
            (graph.initializer, [numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in used]),
            (graph.value_info, []),
        ):
            kept = [copied(item) for item in content]
            del part[:]
            part.extend(kept)
        self.model.ir_version = max(self.model.ir_version, 8)
        return self.model


def copied(message: Any) -> Any:
    """A protobuf message of its own, for a list that is about to be emptied."""
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


def renamed(names: Any, old: str, new: str) -> None:
    """Put one name in the place of another, in a list of names of a node."""
    for i, name in enumerate(names):
        if name == old:
            names[i] = new


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as plain values."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
