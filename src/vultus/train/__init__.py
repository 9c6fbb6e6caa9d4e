"""Training: losses, heads, data, backbones, and a loop from a recipe to a model that `vultus.Recognizer.load` takes.

Needs the extra: pip install 'vultus[train]'. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vultus.train import backbones, data, deepface, deepid, detector, functional, heads, nn, restoration, upsample
    from vultus.train.average import Ema
    from vultus.train.checkpoint import Checkpoint, open_checkpoint
    from vultus.train.config import Config
    from vultus.train.export import Exported, export_model
    from vultus.train.exporting import Written
    from vultus.train.fitting import Fitted
    from vultus.train.loop import Result, resume, run
    from vultus.train.overfitting import Overfit, overfit
    from vultus.train.schedule import rate_factor
    from vultus.train.validation import Figures

__all__ = [
    "Checkpoint",
    "Config",
    "Ema",
    "Exported",
    "Figures",
    "Fitted",
    "Overfit",
    "Result",
    "Written",
    "backbones",
    "data",
    "deepface",
    "deepid",
    "detector",
    "export_model",
    "functional",
    "heads",
    "nn",
    "open_checkpoint",
    "overfit",
    "rate_factor",
    "restoration",
    "resume",
    "run",
    "upsample",
]

_ROOMS = {
    "vultus.train.average": ("Ema",),
    "vultus.train.checkpoint": ("Checkpoint", "open_checkpoint"),
    "vultus.train.config": ("Config",),
    "vultus.train.export": ("Exported", "export_model"),
    "vultus.train.exporting": ("Written",),
    "vultus.train.fitting": ("Fitted",),
    "vultus.train.loop": ("Result", "resume", "run"),
    "vultus.train.overfitting": ("Overfit", "overfit"),
    "vultus.train.schedule": ("rate_factor",),
    "vultus.train.validation": ("Figures",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
_MODULES = (
    "backbones",
    "data",
    "deepface",
    "deepid",
    "detector",
    "functional",
    "heads",
    "nn",
    "restoration",
    "upsample",
)


def __getattr__(name: str) -> object:
    if name in _HOME:
        value: object = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"vultus.train.{name}")
    else:
        raise AttributeError(f"module 'vultus.train' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
