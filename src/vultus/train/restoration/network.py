"""The network: an encoder-decoder with shortcuts (U-Net, Ronneberger et al. 2015, arXiv:1505.04597) that changes what it must.

The encoder halves the side four times by pooling, the decoder doubles it four times by `vultus.train.upsample.Upsample` and
is given the encoder's maps of the same size. The result is added to the picture (Zhang et al. 2017, residual learning), and
starts at zero: an untrained network leaves the picture as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus.errors import BadArgument
from vultus.train.backbones.layers import conv_bn, fan_out
from vultus.train.upsample import Upsample, Way, pool

LEVELS = 5


class UNet(nn.Module):
    """The encoder-decoder.

    Args:
        width: maps of the first level; the others have two, four, eight and ten times as many.
        way: how maps are made larger, see `vultus.train.upsample.WAYS`.

    Raises:
        BadArgument: a width out of range.
    """

    def __init__(self, *, width: int = 8, way: Way = "bilinear") -> None:
        super().__init__()
        if width < 4:
            raise BadArgument(f"width is {width}; expected at least 4")
        maps = [width * factor for factor in (1, 2, 4, 8, 10)]
        self.encoder = nn.ModuleList(
            nn.Sequential(conv_bn(i, o, activation=_relu), conv_bn(o, o, activation=_relu))
            for i, o in zip([3, *maps[:-1]], maps, strict=True)
        )
        self.up = nn.ModuleList(Upsample(maps[level + 1], maps[level], way=way) for level in range(LEVELS - 1))
        self.decoder = nn.ModuleList(conv_bn(2 * m, m, activation=_relu) for m in maps[:-1])
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        fan_out(self.encoder)
        fan_out(self.decoder)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [-1, 1] to the same, h and w multiples of 16; values may leave the range a little."""
        x, kept = images, []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level < LEVELS - 1:
                smaller, places = pool(x)
                kept.append((x, places))
                x = smaller
        for level in range(LEVELS - 2, -1, -1):
            beside, places = kept[level]
            block = self.up[level]
            larger = torch.relu(block(x, places if block.takes_indices else None))
            x = self.decoder[level](torch.cat([beside, larger], dim=1))
        change: Tensor = self.last(x)
        return images + change


class Deployed(nn.Module):
    """The network as it is exported: values stay in [-1, 1].

    Args:
        inner: a `UNet`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [-1, 1] to the same."""
        restored: Tensor = self.inner(images).clamp(-1, 1)
        return restored


def _relu(channels: int) -> nn.Module:
    del channels
    return nn.ReLU()
