"""A network that a laptop trains: some minutes for a few thousand photos on two cores.

Residual units (He et al. 2016) with what a CPU rewards: the first convolution halves the side, three stages follow at 28,
14 and 7 pixels, and a global depthwise convolution (MobileFaceNet) stands for the large linear layer. Where a shortcut
halves the side it averages first (He et al. 2019, ResNet-D) and so looks at every pixel; strided 1 x 1 convolutions of few
channels also crash in oneDNN 3 where the channels come last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus.errors import BadArgument
from vultus.train.backbones.layers import conv_bn, fan_out, linear_bn


class Block(nn.Module):
    """Two convolutions and a sum.

    Args:
        inputs, outputs: channels.
        stride: 1, or 2 to halve the side.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *conv_bn(inputs, outputs, stride=stride, activation=_relu), *conv_bn(outputs, outputs)
        )
        same = stride == 1 and inputs == outputs
        shorter = [nn.AvgPool2d(stride)] if stride > 1 else []
        self.shortcut = nn.Identity() if same else nn.Sequential(*shorter, *conv_bn(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        return torch.relu(self.residual(x) + self.shortcut(x))


class Small(nn.Module):
    """The network.

    Args:
        dim: length of the feature.
        width: channels of the first stage; the others have two and four times as many.
        blocks: number of blocks in each stage.
    """

    def __init__(self, dim: int, *, width: int = 32, blocks: int = 1) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise BadArgument(f"width is {width!r} and blocks {blocks!r}; expected at least 1 of each")
        self.dim = dim
        self.stem = conv_bn(3, width // 2 or 1, stride=2, activation=_relu)
        stages: list[nn.Module] = []
        inputs = width // 2 or 1
        for outputs in (width, 2 * width, 4 * width):
            stages += [Block(inputs if i == 0 else outputs, outputs, stride=2 if i == 0 else 1) for i in range(blocks)]
            inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.place = conv_bn(inputs, inputs, 7, groups=inputs, padding=0)
        self.feature = linear_bn(inputs, dim)
        fan_out(self)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, dim)."""
        features: Tensor = self.feature(torch.flatten(self.place(self.blocks(self.stem(images))), 1))
        return features


def _relu(channels: int) -> nn.Module:
    """ReLU, whatever the number of channels."""
    del channels
    return nn.ReLU()
