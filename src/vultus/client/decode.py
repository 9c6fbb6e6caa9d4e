"""From the JSON of an answer to its dataclass. A member that is not known is passed over: a newer service may send more."""

from __future__ import annotations

import dataclasses
import types
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vultus.errors import BadAnswer

_T = TypeVar("_T")


def decoded(kind: type[_T], value: object, *, where: str = "answer") -> _T:
    """A value of JSON as a dataclass, or a tuple, of what the types say.

    Args:
        kind: what it must be.
        value: as `json.loads` gives it.
        where: its place, for the message.

    Raises:
        BadAnswer: it is something else.
    """
    return cast("_T", _decoded(kind, value, where))


def _decoded(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _record(cast("type", kind), value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(args, value, where)
    if origin is Literal:
        if value in args:
            return value
    elif origin is tuple:
        return _row(args, value, where)
    elif origin is dict:
        if isinstance(value, dict):
            return value
    elif kind is datetime:
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                pass
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind is type(None):
        if value is None:
            return None
    elif type(value) is kind:
        return value
    raise BadAnswer(f"{where} is of the type {type(value).__name__}; expected {getattr(kind, '__name__', kind)}")


def _record(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise BadAnswer(f"{where} is of the type {type(value).__name__}; expected an object")
    hints, found = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            found[field.name] = _decoded(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING:
            raise BadAnswer(f"{where} lacks {field.name}; does the address lead to a vultus service of this version?")
    return kind(**found)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    problem: BadAnswer | None = None
    for kind in kinds:
        try:
            return _decoded(kind, value, where)
        except BadAnswer as found:
            problem = problem or found
    raise problem or BadAnswer(f"{where} is of no known type")


def _row(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if isinstance(value, list):
        if kinds[-1] is Ellipsis:
            return tuple(_decoded(kinds[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) == len(kinds):
            return tuple(_decoded(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    raise BadAnswer(f"{where} is of the type {type(value).__name__}; expected a list that fits")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
