"""What does a recipe of the loop say? A frozen `Config` of sections; `recipes` reads the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vultus._export import export
from vultus.train.recipes import FromRecipe
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


@export("vultus.train.Config")
@dataclass(frozen=True, slots=True)
class Config(FromRecipe):
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

    def facts(self) -> dict[str, Any]:
        """Every key that decides what the run computes, by dotted name."""
        return {k: v for k, v in sorted(_flat(_complete(self))) if k not in PLACES and not k.startswith("evaluation.")}

    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for `facts`."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:16]


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
