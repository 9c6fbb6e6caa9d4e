"""How is a recipe read? TOML, overrides, one recipe building on another, and what a configuration of any kind has from it.

A recipe may start with `base = "other.toml"`: what it does not say comes from there. Paths in `base` are relative to the
recipe; all other paths are relative to the folder that the command runs in.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from vultus.errors import BadRecipe
from vultus.tables import from_table, to_table

_DEEPEST = 8


class FromRecipe:
    """Base of the configurations, which are frozen dataclasses of sections."""

    __slots__ = ()

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Self:
        """Read a recipe.

        Args:
            path: of the TOML file.
            overrides: of the form "run.seed=3"; the value is read as TOML, or as text where it is none.

        Raises:
            BadRecipe: the file cannot be read or parsed, or a key or value is wrong; an unknown key names the nearest.
        """
        where = Path(path)
        return cls.of(_read(where, depth=0), overrides=overrides, where=where.name)

    @classmethod
    def of(cls, table: Mapping[str, Any], *, overrides: Iterable[str] = (), where: str = "recipe") -> Self:
        """The configuration that a parsed table states.

        Raises:
            BadRecipe: a key or value is wrong; an unknown key names the nearest.
        """
        for override in overrides:
            table = _merged(table, _override(override))
        return from_table(cls, table, where=where, error=BadRecipe)

    def table(self) -> dict[str, Any]:
        """The recipe as plain values; what equals its default is left out."""
        return to_table(self)


def _read(path: Path, *, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise BadRecipe(f"{path}: recipes build on each other more than {_DEEPEST} deep; is there a circle?")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as problem:
        raise BadRecipe(f"{path.name}: not valid TOML: {problem}") from problem
    except (OSError, ValueError) as problem:
        raise BadRecipe(f"cannot read the recipe {path}: {problem}") from problem
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise BadRecipe(f"{path.name}: base is {base!r}; expected the path of a recipe")
    return _merged(_read(path.parent / base, depth=depth + 1), table)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            merged[key] = _merged(known, value)
        else:
            merged[key] = value
    return merged


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    parts = [p.strip() for p in key.split(".")]
    if not equals or not all(parts) or len(parts) < 2:
        raise BadRecipe(f"the override {text!r} is not of the form section.key=value, such as run.seed=3")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(parts):
        parsed = {part: parsed}
    table: dict[str, Any] = parsed
    return table
