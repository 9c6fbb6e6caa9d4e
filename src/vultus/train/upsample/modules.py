"""Upsampling as modules, and the one block."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.upsample.functions import (
    bilinear,
    bilinear_start,
    icnr,
    nearest,
    pixel_shuffle,
    pool,
    transposed,
    unpool,
)

Way = Literal["nearest", "bilinear", "pixel_shuffle", "unpool", "transposed"]
WAYS: tuple[Way, ...] = get_args(Way)


@export("vultus.train.upsample.Nearest", form_of="vultus.train.upsample.nearest")
class Nearest(nn.Module):
    """The class form of `nearest`."""

    def __init__(self, *, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c, scale * h, scale * w)."""
        return nearest(x, scale=self.scale)


@export("vultus.train.upsample.Bilinear", form_of="vultus.train.upsample.bilinear")
class Bilinear(nn.Module):
    """The class form of `bilinear`."""

    def __init__(self, *, scale: int = 2, align_corners: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c, scale * h, scale * w)."""
        return bilinear(x, scale=self.scale, align_corners=self.align_corners)


@export("vultus.train.upsample.PixelShuffle", form_of="vultus.train.upsample.pixel_shuffle")
class PixelShuffle(nn.Module):
    """The class form of `pixel_shuffle`; holds the convolution.

    Args:
        inputs, outputs: maps.
        kernel: side of the convolution, odd.
        start: "icnr", without a checkerboard; "random", each map for itself.
        scale: whole number of at least 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        start: Literal["icnr", "random"] = "icnr",
        scale: int = 2,
    ) -> None:
        super().__init__()
        self.scale = scale
        drawn = nn.Conv2d(inputs, outputs * scale**2, kernel)
        with torch.no_grad():
            repeated = start == "icnr"
            self.weight = nn.Parameter(icnr(drawn.weight, scale=scale) if repeated else drawn.weight)
        self.bias = nn.Parameter(torch.zeros(outputs * scale**2))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, scale * h, scale * w)."""
        return pixel_shuffle(x, self.weight, self.bias, scale=self.scale)


@export("vultus.train.upsample.Pool", form_of="vultus.train.upsample.pool")
class Pool(nn.Module):
    """The class form of `pool`."""

    def __init__(self, *, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, h, w) to maxima and places, both (n, c, h / scale, w / scale)."""
        return pool(x, scale=self.scale)


@export("vultus.train.upsample.Unpool", form_of="vultus.train.upsample.unpool")
class Unpool(nn.Module):
    """The class form of `unpool`."""

    def __init__(self, *, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        """(n, c, h, w) and places of that shape to (n, c, scale * h, scale * w)."""
        return unpool(x, indices, scale=self.scale)


@export("vultus.train.upsample.Transposed", form_of="vultus.train.upsample.transposed")
class Transposed(nn.Module):
    """The class form of `transposed`; holds the weights.

    Args:
        inputs, outputs: maps.
        kernel: side of the kernel, at least `scale`; with an odd difference of both, maps move by half a pixel.
        start: "bilinear", without a checkerboard; "random", each weight for itself.
        scale: whole number of at least 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 4,
        start: Literal["bilinear", "random"] = "bilinear",
        scale: int = 2,
    ) -> None:
        super().__init__()
        self.scale = scale
        drawn = nn.ConvTranspose2d(inputs, outputs, kernel, stride=scale)
        with torch.no_grad():
            smooth = start == "bilinear"
            self.weight = nn.Parameter(bilinear_start(drawn.weight, scale=scale) if smooth else drawn.weight)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, scale * h, scale * w)."""
        return transposed(x, self.weight, self.bias, scale=self.scale)


@export("vultus.train.upsample.Upsample")
class Upsample(nn.Module):
    """One block for a decoder or a feature pyramid: larger maps, of another number, in any of the five ways.

    The block is linear; a norm and an activation are the caller's. "unpool" convolves before, to as many maps as there are
    places, and after, to fill what is empty.

    Args:
        inputs, outputs: maps.
        way: one of `WAYS`.
        scale: whole number of at least 1.

    Raises:
        BadArgument: no such way, or a scale out of range.
    """

    def __init__(self, inputs: int, outputs: int, *, way: Way = "nearest", scale: int = 2) -> None:
        super().__init__()
        if way not in WAYS:
            raise BadArgument(f"no way {way!r} of upsampling; expected one of {', '.join(WAYS)}")
        if scale < 1:
            raise BadArgument(f"scale is {scale!r}; expected a whole number of at least 1")
        self.way, self.scale = way, scale
        self.before: nn.Module = nn.Identity()
        self.after: nn.Module = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.rise: nn.Module
        match way:
            case "nearest":
                self.rise = Nearest(scale=scale)
            case "bilinear":
                self.rise = Bilinear(scale=scale)
            case "pixel_shuffle":
                self.rise, self.after = PixelShuffle(inputs, outputs, scale=scale), nn.Identity()
            case "unpool":
                self.before, self.rise = nn.Conv2d(inputs, outputs, 1), Unpool(scale=scale)
                self.after = nn.Conv2d(outputs, outputs, 3, padding=1)
            case "transposed":
                self.rise, self.after = (
                    Transposed(inputs, outputs, kernel=2 * scale - scale % 2, scale=scale),
                    nn.Identity(),
                )

    @property
    def takes_indices(self) -> bool:
        """True where `forward` needs the places of the maxima."""
        return self.way == "unpool"

    def forward(self, x: Tensor, indices: Tensor | None = None) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, scale * h, scale * w).

        Args:
            x: the maps.
            indices: (n, outputs, h, w) places that `pool` gave; only "unpool" reads them.

        Raises:
            BadArgument: shapes that do not fit, or no places where they are needed.
        """
        x = self.before(x)
        if not self.takes_indices:
            raised = self.rise(x)
        elif indices is None:
            raise BadArgument("the way 'unpool' needs indices: the places that pool gave for the larger maps")
        else:
            raised = self.rise(x, indices)
        larger: Tensor = self.after(raised)
        return larger
