"""DeepID's network: four convolutions, and a feature that sees the third and the fourth.

Sun, Wang and Tang, Deep Learning Face Representation from Predicting 10,000 Classes, CVPR 2014, section 3.1 and figure 2;
and, at another input size, Sun, Chen, Wang and Tang, Deep Learning Face Representation by Joint Identification-Verification,
NeurIPS 2014 (DeepID2), section 2 and figure 1. Weights of the third convolution are shared in cells of 2 x 2 places, those of
the fourth not at all. A cell has a bias of its own, which the papers leave open.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.backbones.deepid.patches import Patch
from vultus.train.backbones.deepid.regions import RegionConv2d
from vultus.train.backbones.resizing import Resample

DEEPID2 = (55, 47)
_LUMA = (0.299, 0.587, 0.114)
_FEATURE = 160


@export("vultus.train.deepid.DeepID")
class DeepID(nn.Module):
    """A network on one patch of the aligned face.

    The maps, for an input of 39 x 31: 36 x 28 x 20, pooled 18 x 14; 16 x 12 x 40, pooled 8 x 6; 6 x 4 x 60, pooled 3 x 2;
    2 x 1 x 80. The feature is max(0, linear of the 360 pooled numbers and the 160 last ones), eq. 3 of the paper.

    Args:
        dim: length of the feature; 160 in both papers.
        patch: what it looks at, as `Patch.of` takes it.
        size: (height, width) of the input; that of the patch unless told otherwise. DeepID2's is (55, 47).
        channels: of the four convolutions; both papers have 20, 40, 60 and 80.
        dropout: share of the numbers that feed the feature that is blanked in training; the papers have none.

    Raises:
        BadArgument: no such patch, a size whose maps do not divide into pools and cells, or other than four channels.
    """

    def __init__(
        self,
        dim: int = _FEATURE,
        *,
        patch: str | Patch = "face/1/rgb",
        size: tuple[int, int] | None = None,
        channels: tuple[int, int, int, int] = (20, 40, 60, 80),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.patch = Patch.of(patch) if isinstance(patch, str) else patch
        asked = tuple(self.patch.size if size is None else size)
        sides = [_sides(side) for side in asked]
        if len(sides) != 2 or None in sides:
            raise BadArgument(
                f"size is {asked}; expected (height, width) such as 31, 39, 47 or 55, that is 8 n + 7 with n at least 3, so "
                "that the maps divide into pools and cells"
            )
        self.size = (int(asked[0]), int(asked[1]))
        third, fourth = ([s[i] for s in sides if s is not None] for i in (0, 1))
        c1, c2, c3, c4 = _four(channels)
        self.door = Resample(self.size, region=self.patch.box())
        self.grey: Tensor
        self.register_buffer("grey", torch.tensor(_LUMA).reshape(1, 3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(self.patch.channels, c1, 4)
        self.conv2 = nn.Conv2d(c1, c2, 3)
        self.conv3 = RegionConv2d(c2, c3, 3, size=(third[0], third[1]), cell=(2, 2))
        self.conv4 = RegionConv2d(c3, c4, 2, size=(fourth[0], fourth[1]), cell=(1, 1))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Linear(third[0] * third[1] // 4 * c3 + fourth[0] * fourth[1] * c4, dim)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | RegionConv2d):
                # He et al. (2015) for ReLU, by the number of inputs of one place
                fan = layer.weight[0].numel() if not isinstance(layer, RegionConv2d) else layer.weight[0, 0, 0].numel()
                nn.init.normal_(layer.weight, 0.0, (2 / fan) ** 0.5)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """The maps after each convolution and pool, by name, for (n, 3, 112, 112) or (n, channels, *size)."""
        x = self.door(images)
        if self.patch.colour == "grey" and x.shape[1] == 3:
            x = (x * self.grey.to(x)).sum(dim=1, keepdim=True)
        found = {"input": x}
        for i, layer in enumerate((self.conv1, self.conv2, self.conv3), start=1):
            found[f"conv{i}"] = torch.relu(layer(x))
            found[f"pool{i}"] = x = self.pool(found[f"conv{i}"])
        found["conv4"] = torch.relu(self.conv4(x))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1], or (n, channels, *size), to (n, dim); no number of it is below 0."""
        maps = self.maps(images)
        both = torch.cat([torch.flatten(maps["pool3"], 1), torch.flatten(maps["conv4"], 1)], dim=1)
        return torch.relu(self.feature(self.dropout(both)))


def _four(channels: Sequence[object]) -> tuple[int, int, int, int]:
    whole = [c for c in channels if isinstance(c, int) and c >= 1]
    if len(channels) != 4 or len(whole) != 4:
        raise BadArgument(f"channels is {channels!r}; expected four whole numbers of at least 1")
    return whole[0], whole[1], whole[2], whole[3]


def _sides(side: object) -> tuple[int, int] | None:
    """Side of the third and fourth map, or None where a pool or cell does not come out even."""
    if not isinstance(side, int):
        return None
    first = side - 3
    second = first // 2 - 2
    third = second // 2 - 2
    if first % 2 or second % 2 or third % 2 or third < 4:
        return None
    return third, third // 2 - 1
