"""Memory that the passes over the chunks use again and again, so that its size does not grow with the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Workspace:
    """Buffers by name. One that is asked for again in no larger a size is the same memory."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self.owner: object = None  # the forward pass whose products are kept

    def __deepcopy__(self, memo: dict[int, Any]) -> Workspace:
        return Workspace()

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()

    def get(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """An uninitialised tensor with the type and place of `like`."""
        count = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.numel() < count or held.dtype != like.dtype or held.device != like.device:
            held = torch.empty(count, dtype=like.dtype, device=like.device)
            self._held[name] = held
        return held[:count].view(tuple(shape))

    @property
    def bytes(self) -> int:
        """Size of all buffers."""
        return sum(held.numel() * held.element_size() for held in self._held.values())
