"""Presentation attacks: where a detector can be plugged in. Without one every answer says that none looked."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from vultus._export import export
from vultus.errors import BadSettings
from vultus.image import Photo
from vultus.types import Faces


@export("vultus.service.PadVerdict")
@dataclass(frozen=True, slots=True)
class PadVerdict:
    """What a detector says of one face.

    Args:
        attack: whether it takes the presentation for an attack, such as a printed photo or a screen.
        score: its own measure, where it has one.
    """

    attack: bool
    score: float | None = None


@export("vultus.service.AttackDetector")
class AttackDetector(Protocol):
    """Looks at one face of a photo: is a living person in front of the camera? Must be safe for many threads."""

    @property
    def name(self) -> str:
        """Stands in every answer."""
        ...

    def __call__(self, photo: Photo, face: Faces, /) -> PadVerdict:
        """The verdict on the one face of `face`."""
        ...


def load_detector(name: str | None) -> AttackDetector | None:
    """The detector that "package.module:function" makes; None for none.

    Raises:
        BadSettings: there is no such function, or it makes no detector.
    """
    if name is None:
        return None
    module, _, function = name.partition(":")
    try:
        made = cast("Callable[[], AttackDetector]", getattr(importlib.import_module(module), function))()
    except (ImportError, AttributeError, TypeError, ValueError) as problem:
        raise BadSettings(
            f"pad is {name!r}; expected 'package.module:function' that makes a detector ({problem})"
        ) from problem
    if not (isinstance(getattr(made, "name", None), str) and callable(made)):
        raise BadSettings(f"pad {name!r} made {type(made).__name__}; expected something with a name that can be called")
    return made
