"""IResNet: the residual network that most published face models use.

Blocks of BN, conv, BN, PReLU, conv, BN ("improved residual units", Deng et al., ArcFace, CVPR 2019, section 3.1; Han et
al. 2017), a first convolution that keeps the 112 x 112 pixels, and BN, dropout, linear, BN at the end. The widths and
depths are those of insightface's arcface_torch, and so is the start of the convolutions, N(0, 0.1), on which published
learning rates rest. Deviation: the last linear layer has no bias, because a BatchNorm follows it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vultus.train.backbones.layers import conv_bn, linear_bn

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """One improved residual unit.

    Args:
        inputs, outputs: channels.
        stride: of the second convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            *conv_bn(inputs, outputs, activation=nn.PReLU),
            *conv_bn(outputs, outputs, stride=stride),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        total: Tensor = self.residual(x) + self.shortcut(x)
        return total


class IResNet(nn.Module):
    """A stack of blocks in four stages, each of half the side of the one before.

    Args:
        dim: length of the feature.
        blocks: number of blocks in each of the four stages.
        dropout: share of the last map that is blanked in training.
    """

    def __init__(self, dim: int, blocks: tuple[int, ...], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.stem = conv_bn(3, _WIDTHS[0], activation=nn.PReLU)
        stages: list[nn.Module] = []
        inputs = _WIDTHS[0]
        for outputs, count in zip(_WIDTHS, blocks, strict=True):
            stages += [Block(inputs if i == 0 else outputs, outputs, stride=2 if i == 0 else 1) for i in range(count)]
            inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(inputs)
        self.dropout = nn.Dropout(dropout)
        self.feature = linear_bn(inputs * 7 * 7, dim)
        self.feature[1].weight.requires_grad_(False)  # stays 1, as in arcface_torch
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, dim)."""
        maps = self.norm(self.blocks(self.stem(images)))
        features: Tensor = self.feature(self.dropout(torch.flatten(maps, 1)))
        return features
