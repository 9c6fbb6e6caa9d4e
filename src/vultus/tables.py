"""TOML tables to frozen dataclasses and back. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from vultus.errors import VultusError

_T = TypeVar("_T")


def from_table(cls: type[_T], table: object, *, where: str, error: type[VultusError]) -> _T:
    """Build a dataclass from a parsed TOML table, checking every key and type.

    Nested dataclasses come from sub-tables, tuples from arrays; a field that is a Mapping takes a table of any keys; a
    missing key takes the field's default.

    Args:
        cls: a dataclass with plain annotations.
        table: what tomllib gave.
        where: how to name the place in messages, such as "sface.toml".
        error: the class to raise.

    Raises:
        VultusError: of the class `error`, naming the key, what came and what was expected.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where}: expected a table, got {type(table).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise error(f"{where}: unknown key {key!r}; {advice}")
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], where=f"{where}: {name}", error=error)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise error(f"{where}: key {name!r} is missing")
    try:
        return cls(**values)
    except ValueError as problem:
        raise error(f"{where}: {problem}") from problem


def _value(hint: Any, value: object, *, where: str, error: type[VultusError]) -> object:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not types.NoneType]
        return _value(inner[0], value, where=where, error=error)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_table(hint, value, where=where, error=error)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise error(f"{where}: expected a table, got {value!r}")
        return dict(value)
    if origin is tuple:
        if not isinstance(value, list):
            raise error(f"{where}: expected an array, got {value!r}")
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise error(f"{where}: expected {len(kinds)} values, got {len(value)}")
        return tuple(
            _value(k, v, where=f"{where}[{i}]", error=error) for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is typing.Literal:
        if value not in args:
            near = difflib.get_close_matches(str(value), map(str, args), n=1)
            raise error(
                f"{where}: {value!r} is none of {', '.join(map(repr, args))}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise error(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def to_table(record: object) -> dict[str, Any]:
    """The TOML table of a dataclass: the inverse of `from_table`; what equals the field's default is left out."""
    table: dict[str, Any] = {}
    for f in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        if value is not None and (f.default is dataclasses.MISSING or value != f.default):
            table[f.name] = _plain(value)
    return table


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return to_table(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value
