"""Canonical public names: one registry from which `__all__`, api.json and `vultus api` are checked or made.

A public object is defined in the room where it belongs and published under a shorter name. `@export` writes that
name down at the definition, so that documentation and errors can tell users the name they should import.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One public object: its canonical dotted name, the object, and the function that a module form calls."""

    name: str
    target: object
    form_of: str | None = None

    @property
    def namespace(self) -> str:
        """The module that publishes the name."""
        return self.name.rpartition(".")[0]


_entries: dict[str, Entry] = {}


def export(name: str, *, form_of: str | None = None) -> Callable[[_T], _T]:
    """Register the decorated function or class under its canonical public name.

    Args:
        name: dotted name below the package, such as "vultus.read_image".
        form_of: for a class that holds state or hyper-parameters and calls a function: that function's canonical name.

    Raises:
        ValueError: the name lies outside the package, or another object has it already.
    """
    if not name.startswith("vultus.") or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} is not a dotted name below 'vultus'")

    def register(target: _T) -> _T:
        known = _entries.get(name)
        if known is not None and not _same_definition(known.target, target):
            raise ValueError(f"public name {name!r} is taken by {known.target!r}; {target!r} needs another")
        _entries[name] = Entry(name, target, form_of)
        return target

    return register


def _same_definition(one: object, other: object) -> bool:
    """True where a module was only reloaded: the same qualified name from the same module."""
    where = [(getattr(x, "__module__", None), getattr(x, "__qualname__", None)) for x in (one, other)]
    return where[0] == where[1] and None not in where[0]


def entries() -> dict[str, Entry]:
    """Everything registered so far, by canonical name, sorted."""
    return dict(sorted(_entries.items()))


def canonical_name(target: object) -> str | None:
    """The public name of an object, or None where it has none."""
    return next((entry.name for entry in _entries.values() if entry.target is target), None)


def resolve(name: str) -> object:
    """The object behind a canonical name, imported through the public path that users write.

    Raises:
        ValueError: no module along the name publishes it.
    """
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[cut:]:
                found = getattr(found, part)
        except AttributeError:
            break
        return found
    raise ValueError(f"nothing public is named {name!r}")


def forms() -> list[tuple[Entry, Entry]]:
    """(function, class) for each registered pair of a function and the class that calls it.

    Raises:
        ValueError: a class names a function that is not registered.
    """
    pairs = []
    for entry in entries().values():
        if entry.form_of is not None:
            if entry.form_of not in _entries:
                raise ValueError(f"{entry.name!r} calls {entry.form_of!r}, which is not registered")
            pairs.append((_entries[entry.form_of], entry))
    return pairs


def describe(target: object) -> str:
    """One line for api.json: the kind, and the signature where there is one."""
    kind = "class" if inspect.isclass(target) else "function" if callable(target) else "value"
    if kind == "value":
        return kind
    try:
        signature = str(inspect.signature(target))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return kind
    return f"{kind} {re.sub(r' at 0x[0-9a-f]+', '', signature)}"  # a function as a default: its address says nothing
