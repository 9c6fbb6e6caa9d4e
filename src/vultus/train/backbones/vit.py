"""Vision transformers for faces, with the conventions of insightface's arcface_torch.

Patches of 9 x 9 pixels (12 x 12 of them; the last four rows and columns of 112 are left out), no class token: the
feature is read from all tokens together, since an aligned face has its parts always in the same places. Blocks after
Dosovitskiy et al. (2021) with ReLU6 for GELU and no bias in query, key and value. In training, each block is left out
with a chance that grows to `drop_path` with depth (Huang et al. 2016), and a share `mask` of the patches is not looked at
(He et al. 2022), a learned token standing in their place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus.errors import BadArgument
from vultus.train.backbones.layers import linear_bn

SIZES = {"t": (256, 12), "s": (512, 12), "b": (512, 24)}  # width of a token, number of blocks
_HEADS = 8
_SIDE = 112


class Attention(nn.Module):
    """Scaled dot-product attention of all tokens with each other.

    Args:
        width: length of a token.
        heads: number of parts that attend each for itself.
    """

    def __init__(self, width: int, heads: int = _HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same shape."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        summed: Tensor = self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        return summed


class Block(nn.Module):
    """Attention and a two-layer perceptron, each with a LayerNorm before it and a sum after it.

    Args:
        width: length of a token.
        drop_path: chance that a sample skips a branch in training.
    """

    def __init__(self, width: int, *, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.attend = nn.Sequential(nn.LayerNorm(width), Attention(width))
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.ReLU6(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same shape."""
        x = x + self._kept(self.attend(x))
        return x + self._kept(self.think(x))

    def _kept(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        return branch * (torch.rand(len(branch), 1, 1, device=branch.device) < keep).to(branch.dtype) / keep


class ViT(nn.Module):
    """A vision transformer whose feature is read from every token.

    Args:
        dim: length of the feature.
        width: length of a token.
        depth: number of blocks.
        patch: side of a patch in pixels.
        drop_path: chance of skipping the last block in training; earlier blocks have a smaller one.
        mask: share of the patches that training does not look at.
    """

    def __init__(
        self, dim: int, width: int, depth: int, *, patch: int = 9, drop_path: float = 0.1, mask: float = 0.1
    ) -> None:
        super().__init__()
        if not 1 <= patch <= _SIDE:
            raise BadArgument(f"patch is {patch!r}; expected pixels from 1 to {_SIDE}")
        for name, share in (("drop_path", drop_path), ("mask", mask)):
            if not 0 <= share < 1:
                raise BadArgument(f"{name} is {share!r}; expected a share in [0, 1)")
        self.dim = dim
        self.mask = mask
        self.tokens = (_SIDE // patch) ** 2
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.position = nn.Parameter(torch.zeros(1, self.tokens, width))
        self.unseen = nn.Parameter(torch.zeros(1, 1, width), requires_grad=mask > 0)
        self.blocks = nn.Sequential(*(Block(width, drop_path=drop_path * i / (depth - 1)) for i in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(*linear_bn(self.tokens * width, width), *linear_bn(width, dim))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for token in (self.position, self.unseen):
            nn.init.trunc_normal_(token, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, dim)."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.position
        masked = self.training and self.mask > 0
        x = self._masked(x) if masked else self.norm(self.blocks(x))
        features: Tensor = self.feature(torch.flatten(x, 1))
        return features

    def _masked(self, x: Tensor) -> Tensor:
        """Tokens after the blocks, which see a random part of them; the rest become the learned token."""
        n, tokens, width = x.shape
        order = torch.rand(n, tokens, device=x.device).argsort(dim=1)
        seen = order[:, : max(1, int(tokens * (1 - self.mask)))].unsqueeze(2).expand(-1, -1, width)
        y = self.norm(self.blocks(x.gather(1, seen)))
        return self.unseen.to(y.dtype).expand(n, tokens, width).scatter(1, seen, y)
