"""The network: a small residual backbone, a feature pyramid over it, and one head for all levels.

Feature pyramid (Lin et al. 2017, arXiv:1612.03144): each level is the sum of a lateral 1 x 1 convolution and the level above
it, made larger by `vultus.train.upsample.Upsample`. The head is anchor-free (Tian et al. 2019, FCOS, arXiv:1904.01355): a
cell says whether a face has its centre here, where its box lies, and where its landmarks are within the box.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vultus.align import TEMPLATES
from vultus.errors import BadArgument
from vultus.train.backbones.layers import conv_bn, fan_out
from vultus.train.backbones.small import Block
from vultus.train.upsample import Upsample, Way, pool

STRIDES = (8, 16, 32)
_OUTPUTS = 1 + 4 + 10
_START = 0.01  # the score of each cell at the start, so that the many empty ones do not drown the rest (RetinaNet, 4.1)
_FACE = 4.0  # side of a box at the start, in cells


class Pyramid(nn.Module):
    """The detector.

    Args:
        width: maps of each level of the pyramid.
        depth: blocks in each stage of the backbone.
        way: how a level is made larger, see `vultus.train.upsample.WAYS`.

    Raises:
        BadArgument: numbers out of range.
    """

    def __init__(self, *, width: int = 48, depth: int = 2, way: Way = "nearest") -> None:
        super().__init__()
        if width < 8 or depth < 1:
            raise BadArgument(f"width is {width} and depth {depth}; expected at least 8 and 1")
        self.stem = nn.Sequential(conv_bn(3, 16, stride=2, activation=_relu), Block(16, 32, stride=2))
        inputs, stages = 32, []
        for outputs in (width, width * 4 // 3, width * 2):
            blocks = [Block(inputs if i == 0 else outputs, outputs, stride=2 if i == 0 else 1) for i in range(depth)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(conv_bn(c, width, 1) for c in (width, width * 4 // 3, width * 2))
        self.up = nn.ModuleList(Upsample(width, width, way=way) for _ in STRIDES[1:])
        self.smooth = nn.ModuleList(conv_bn(width, width, activation=_relu) for _ in STRIDES)
        # without a norm: the levels share the head, and their statistics differ
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))  # of the boxes of each level, which share the head
        fan_out(self.stem)
        fan_out(self.stages)
        last = nn.Conv2d(width, _OUTPUTS, 1)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias = nn.Parameter(_first_answer())
        self.head.append(last)

    def forward(self, images: Tensor) -> list[Tensor]:
        """For each stride s, (n, 15, h / s, w / s): score (a logit), box (4) and landmarks (10) of each cell.

        Args:
            images: (n, 3, h, w) in [-1, 1]; h and w multiples of 32.
        """
        x, found = self.stem(images), []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            found.append(lateral(x))
        for level in (1, 0):
            block, finer = self.up[level], found[level]
            found[level] = finer + block(found[level + 1], pool(finer)[1] if block.takes_indices else None)
        outputs = []
        for level, smooth in enumerate(self.smooth):
            raw = self.head(smooth(torch.relu(found[level])))
            score, box, points = raw.split((1, 4, 10), dim=1)
            outputs.append(torch.cat([score, box * self.scales[level], points], dim=1))
        return outputs


class Deployed(nn.Module):
    """The network as it is exported: scores as probabilities, one output for each kind and stride.

    Args:
        inner: a `Pyramid`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(n, 3, h, w) to score_8, box_8, points_8, score_16 ... of (n, 1 | 4 | 10, h / s, w / s)."""
        flat: list[Tensor] = []
        for raw in self.inner(images):
            score, box, points = raw.split((1, 4, 10), dim=1)
            flat += [torch.sigmoid(score), box, points]
        return tuple(flat)


OUTPUTS = tuple(f"{kind}_{stride}" for stride in STRIDES for kind in ("score", "box", "points"))


def typical_landmarks() -> Tensor:
    """(5, 2) where the landmarks of a face from the front lie, in units of its box from its middle."""
    corner, side = torch.tensor([14.0, 4.0]), torch.tensor([84.0, 106.0])  # of the face that an aligned crop shows
    return (torch.from_numpy(TEMPLATES["arcface-112"]).float() - corner) / side - 0.5


def _first_answer() -> Tensor:
    """(15,) what each cell says at the start: hardly a face, and one of `_FACE` cells about its middle."""
    box = torch.tensor([0.0, 0.0, math.log(_FACE), math.log(_FACE)])
    return torch.cat([torch.tensor([math.log(_START / (1 - _START))]), box, typical_landmarks().flatten()])


def _relu(channels: int) -> nn.Module:
    del channels
    return nn.ReLU()
