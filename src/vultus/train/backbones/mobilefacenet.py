"""MobileFaceNet (Chen et al. 2018, table 1): about a million parameters, and a global depthwise convolution at the end.

A mean over the last map treats its corners like its middle; a depthwise convolution as large as the map learns a weight
for each place instead. The paper's feature has 128 numbers, and so its parameters are counted at `dim=128`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus.train.backbones.layers import conv_bn, fan_out, linear_bn

# Table 1: expansion, channels, repeats, stride of the first.
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class Bottleneck(nn.Module):
    """Inverted residual of MobileNetV2 (Sandler et al. 2018) with PReLU: widen, depthwise, narrow without activation.

    Args:
        inputs, outputs: channels.
        expansion: how many times the inputs are widened.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.layers = nn.Sequential(
            conv_bn(inputs, wide, 1, activation=nn.PReLU),
            conv_bn(wide, wide, 3, stride=stride, groups=wide, activation=nn.PReLU),
            conv_bn(wide, outputs, 1),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class MobileFaceNet(nn.Module):
    """The paper's primary network for 112 x 112 pixels.

    Args:
        dim: length of the feature.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.stem = nn.Sequential(
            conv_bn(3, 64, stride=2, activation=nn.PReLU), conv_bn(64, 64, groups=64, activation=nn.PReLU)
        )
        stages: list[nn.Module] = []
        inputs = 64
        for expansion, outputs, count, stride in _STAGES:
            for i in range(count):
                stages.append(Bottleneck(inputs, outputs, expansion=expansion, stride=stride if i == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.place = nn.Sequential(
            conv_bn(inputs, 512, 1, activation=nn.PReLU), conv_bn(512, 512, 7, groups=512, padding=0)
        )
        self.feature = linear_bn(512, dim)
        fan_out(self)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, dim)."""
        features: Tensor = self.feature(torch.flatten(self.place(self.blocks(self.stem(images))), 1))
        return features
