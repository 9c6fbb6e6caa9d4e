"""What does a recipe say? TOML to a frozen `Config`, with overrides and one recipe building on another.

A recipe may start with `base = "other.toml"`: what it does not say comes from there. Paths in `base` are relative to the
recipe; all other paths are relative to the folder that the command runs in.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vultus._export import export
from vultus.errors import BadRecipe
from vultus.tables import from_table, to_table
from vultus.train.sections import (
    Added,
    Augment,
    Average,
    Data,
    Evaluation,
    Export,
    Head,
    LossTable,
    Model,
    Optimizer,
    Run,
    Schedule,
)

# Keys that say where and how a run runs and not what it computes: ranks and resumed runs may differ in them.
PLACES = frozenset(
    {"run.folder", "run.device", "run.threads", "run.progress", "run.timeout", "run.keep", "data.train", "data.workers"}
)
_DEEPEST = 8


@export("vultus.train.Config")
@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a run depends on, as a recipe states it. See docs/training.md for each key."""

    run: Run
    data: Data
    model: Model = field(default_factory=Model)
    loss: LossTable = field(default_factory=LossTable)
    added: tuple[Added, ...] = ()
    head: Head = field(default_factory=Head)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)
    average: Average = field(default_factory=Average)
    evaluation: Evaluation = field(default_factory=Evaluation)
    export: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        if self.head.fused and self.optimizer.name != "sgd":
            raise ValueError(f"head.fused needs optimizer.name 'sgd', got {self.optimizer.name!r}")
        if self.head.fused and self.data.accumulate > 1:
            raise ValueError(
                "head.fused moves the centres in every part of an accumulated batch, which is not the step of the whole "
                "batch; set data.accumulate = 1 or head.fused = false"
            )
        if self.head.fused and self.head.kind not in ("chunked", "sharded"):
            raise ValueError("head.fused needs head.kind 'chunked' or 'sharded'")
        if self.head.kind == "none" and not self.added:
            raise ValueError("head.kind 'none' needs an added loss; without it nothing would be learned")
        if any(s.kind == "held-out" for s in self.evaluation.sets) and not self.data.hold_out:
            raise ValueError("an evaluation set of the kind 'held-out' needs data.hold_out above 0")

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> Config:
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
    def of(cls, table: Mapping[str, Any], *, overrides: Iterable[str] = (), where: str = "recipe") -> Config:
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

    def facts(self) -> dict[str, Any]:
        """Every key that decides what the run computes, by dotted name."""
        return {k: v for k, v in sorted(_flat(_complete(self))) if k not in PLACES and not k.startswith("evaluation.")}

    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for `facts`."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:16]


def read_table(path: str | os.PathLike[str], *, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The table that a recipe states, with what it builds on, and overrides.

    Raises:
        BadRecipe: a file cannot be read or parsed, or an override is of another form.
    """
    table = _read(Path(path), depth=0)
    for override in overrides:
        table = _merged(table, _override(override))
    return table


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


def _complete(record: object) -> object:
    """All fields of nested dataclasses, defaults included."""
    if hasattr(record, "__dataclass_fields__"):
        return {name: _complete(getattr(record, name)) for name in record.__dataclass_fields__}
    if isinstance(record, Mapping):
        return {str(k): _complete(v) for k, v in record.items()}
    if isinstance(record, tuple | list):
        return [_complete(v) for v in record]
    return record


def _flat(value: object, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [pair for k, v in value.items() for pair in _flat(v, f"{prefix}.{k}" if prefix else str(k))]
    return [(prefix, value)]
