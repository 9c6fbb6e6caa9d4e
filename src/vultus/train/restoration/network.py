"""The network: an encoder-decoder with shortcuts (U-Net, Ronneberger et al. 2015, arXiv:1505.04597) that changes what it must.

The encoder halves the side four times by pooling, the decoder doubles it four times by `vultus.train.upsample.Upsample` and
is given the encoder's maps of the same size. The network sees the picture and its mirror image, for a face has two halves that
are alike, and a canvas, a picture that is learned with the weights: in an aligned crop each place has a meaning. It says
for each value what is added to it: a share of itself, as light asks for, a share of the mirror image's and one of the
canvas', as what is shaded, covered or turned away asks for, and a number of its own (residual learning, Zhang et al. 2017,
arXiv:1608.03981). All four start at zero: an untrained network leaves the picture as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus.errors import BadArgument
from vultus.train.backbones.layers import conv_bn, fan_out
from vultus.train.upsample import Upsample, Way, pool

LEVELS = 5
SIZE = (112, 112)  # of the canvas


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
            for i, o in zip([9, *maps[:-1]], maps, strict=True)
        )
        self.up = nn.ModuleList(Upsample(maps[level + 1], maps[level], way=way) for level in range(LEVELS - 1))
        self.decoder = nn.ModuleList(conv_bn(2 * m, m, activation=_relu) for m in maps[:-1])
        self.last = nn.Conv2d(width, 12, 3, padding=1)
        self.canvas = nn.Parameter(torch.zeros(1, 3, *SIZE))
        fan_out(self.encoder)
        fan_out(self.decoder)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [-1, 1] to the same, h and w multiples of 16; values may leave the range a little."""
        canvas: Tensor = self.canvas
        if images.shape[-2:] != canvas.shape[-2:]:
            canvas = functional.interpolate(canvas, images.shape[-2:], mode="bilinear", align_corners=False)
        sources = [images, images.flip(-1), canvas + torch.zeros_like(images)]  # of any number of images
        x, kept = torch.cat(sources, dim=1), []
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
        *shares, added = self.last(x).chunk(4, dim=1)
        changed: Tensor = images + added
        for share, source in zip(shares, sources, strict=True):
            changed = changed + share * (source + 1)
        return changed


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
