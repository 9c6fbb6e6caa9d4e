"""DeepFace's network: two convolutions, three locally connected layers, one fully connected feature.

Taigman, Yang, Ranzato and Wolf, DeepFace: Closing the Gap to Human-Level Performance in Face Verification, CVPR 2014,
section 3 and figure 2. The last layer of the figure, F8, is the class centres of the head with the loss "softmax". The pool
M2 takes a last window that reaches one pixel over the edge, which is the only way to the 71 x 71 of the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.backbones.deepface.local import LocallyConnected2d
from vultus.train.backbones.resizing import Resample

CHANNELS = (32, 16, 16, 16, 16)
KERNELS = (11, 9, 9, 7, 5)
VIEWS: tuple[str, ...] = ("rgb", "gradient")
STARTS: tuple[str, ...] = ("he", "paper")
_LUMA = (0.299, 0.587, 0.114)
_FEATURE = 4096


@export("vultus.train.deepface.gradient_view")
def gradient_view(images: Tensor) -> Tensor:
    """The grey picture, the length of its gradient and the gradient's direction: what one of the ensemble's networks sees.

    Args:
        images: (n, 3, h, w) RGB in [-1, 1].

    Returns:
        (n, 3, h, w): luma in [-1, 1]; the length of half the difference of the neighbours along each axis, at most
        sqrt(2); and the angle in units of pi, in [-1, 1]. The outermost pixels are repeated.

    Raises:
        BadArgument: other than three channels.

    The paper (section 5.3) names the three channels and not how they are computed or scaled.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise BadArgument(f"images have shape {tuple(images.shape)}; expected (n, 3, h, w)")
    share = images.new_tensor(_LUMA).reshape(1, 3, 1, 1)
    grey = (images * share).sum(dim=1, keepdim=True)
    wide = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    length = torch.sqrt(across * across + down * down + 1e-12)
    return torch.cat([grey, length, torch.atan2(down, across + 1e-12) / torch.pi], dim=1)


@export("vultus.train.deepface.DeepFace")
class DeepFace(nn.Module):
    """The network up to F7; faces of 112 x 112 pixels are resampled at its door.

    Args:
        dim: length of F7; 4096 in the paper.
        side: of the input; 152 in the paper.
        channels: of C1, C3, L4, L5 and L6.
        kernels: sides of their filters.
        dropout: share of F7 that is blanked in training; the paper says that there is dropout, not how much.
        view: "rgb", or "gradient" for the channels of `gradient_view`.
        start: "he": variance 2 / inputs and no bias (He et al. 2015); "paper": variance 0.01 ** 2 and biases of 0.5, which
            needs the paper's size to learn.

    Raises:
        BadArgument: a value out of range, or a side that the layers use up.
    """

    def __init__(
        self,
        dim: int = _FEATURE,
        *,
        side: int = 152,
        channels: Sequence[int] = CHANNELS,
        kernels: Sequence[int] = KERNELS,
        dropout: float = 0.5,
        view: Literal["rgb", "gradient"] = "rgb",
        start: Literal["he", "paper"] = "he",
    ) -> None:
        super().__init__()
        for name, given in (("channels", channels), ("kernels", kernels)):
            if len(given) != 5 or any(type(v) is not int or v < 1 for v in given):
                raise BadArgument(f"{name} is {given!r}; expected five whole numbers of at least 1")
        if str(view) not in VIEWS or str(start) not in STARTS:
            raise BadArgument(f"view is {view!r} and start {start!r}; expected 'rgb' or 'gradient', 'he' or 'paper'")
        if not 0 <= dropout < 1:
            raise BadArgument(f"dropout is {dropout!r}; expected 0 to less than 1")
        sides = map_sides(side, kernels)
        if min(sides) < 1:
            raise BadArgument(
                f"side is {side!r}: maps of {sides} pixels; expected a side that the layers do not use up"
            )
        self.dim = dim
        self.view = view
        self.side = side
        c1, c3, l4, l5, l6 = channels
        self.door = Resample((side, side))
        self.C1 = nn.Conv2d(3, c1, kernels[0])
        self.M2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.C3 = nn.Conv2d(c1, c3, kernels[1])
        self.L4 = LocallyConnected2d(c3, l4, kernels[2], size=(sides[2],) * 2)
        self.L5 = LocallyConnected2d(l4, l5, kernels[3], size=(sides[3],) * 2, stride=2)
        self.L6 = LocallyConnected2d(l5, l6, kernels[4], size=(sides[4],) * 2)
        self.F7 = nn.Linear(l6 * sides[5] ** 2, dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.C1, self.C3, self.L4, self.L5, self.L6, self.F7):
            inputs = (
                layer.weight[0].numel() if isinstance(layer, nn.Conv2d | nn.Linear) else layer.weight[0, 0, 0].numel()
            )
            nn.init.normal_(layer.weight, 0.0, 0.01 if start == "paper" else (2 / inputs) ** 0.5)
            nn.init.constant_(layer.bias, 0.5 if start == "paper" else 0.0)  # type: ignore[arg-type]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """The maps by the paper's names, from "input" to "F7", which has no dropout; each after its ReLU."""
        x = self.door(images)
        if self.view == "gradient":
            x = gradient_view(x)
        found = {"input": x}
        for name in ("C1", "M2", "C3", "L4", "L5", "L6"):
            layer = self.get_submodule(name)
            x = layer(x) if name == "M2" else torch.relu(layer(x))
            found[name] = x
        found["F7"] = torch.relu(self.F7(torch.flatten(x, 1)))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1], or (n, 3, side, side), to (n, dim); no number of it is below 0."""
        features: Tensor = self.dropout(self.maps(images)["F7"])
        return features


def map_sides(side: int, kernels: Sequence[int]) -> tuple[int, ...]:
    """Sides of the maps C1, M2, C3, L4, L5 and L6."""
    first = side - kernels[0] + 1
    pooled = -((3 - first) // 2) + 1  # the last window may reach over the edge
    third = pooled - kernels[1] + 1
    fourth = third - kernels[2] + 1
    fifth = (fourth - kernels[3]) // 2 + 1
    return first, pooled, third, fourth, fifth, fifth - kernels[4] + 1
