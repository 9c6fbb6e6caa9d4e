"""How does a network of another size take aligned faces of 112 x 112 pixels? It resamples them at its door.

Photos, augmentation, evaluation and export then know one size alone. The change of size is two products with fixed
matrices, one for rows and one for columns, which every runtime computes alike and which has a gradient.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument

_SIDE = 112


@export("vultus.train.backbones.Resample")
class Resample(nn.Module):
    """A region of aligned faces at another size: straight lines between pixels, means where it shrinks.

    Args:
        size: (height, width) that comes out.
        region: (x0, y0, x1, y1) of the part that is kept, in pixels of the face counted from its edge; all of it unless
            told otherwise. Where it reaches over the edge the outermost pixels are repeated.
        source: (height, width) of the face.

    Raises:
        BadArgument: a size below 1, or a region turned inside out.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        region: tuple[float, float, float, float] | None = None,
        source: tuple[int, int] = (_SIDE, _SIDE),
    ) -> None:
        super().__init__()
        x0, y0, x1, y1 = region if region is not None else (0.0, 0.0, float(source[1]), float(source[0]))
        if min(*size, *source) < 1:
            raise BadArgument(f"size is {size} and source {source}; expected sides of at least 1 pixel")
        if not (x0 < x1 and y0 < y1):
            raise BadArgument(f"region is {region}; expected x0 < x1 and y0 < y1")
        self.size = (int(size[0]), int(size[1]))
        self.whole = region is None
        self.source = (int(source[0]), int(source[1]))
        self.rows: Tensor
        self.columns: Tensor
        self.register_buffer("rows", _weights(source[0], size[0], y0, y1), persistent=False)
        self.register_buffer("columns", _weights(source[1], size[1], x0, x1).T.contiguous(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, *source) to (n, c, *size); images that have the size already are given back as they are.

        Where `size` and `source` are equal, images are sources.

        Raises:
            BadArgument: images of a third size.
        """
        shape = tuple(images.shape[-2:])
        if shape == self.size and (self.whole or self.size != self.source):
            return images
        if shape != self.source:
            raise BadArgument(f"images of {shape[0]} x {shape[1]} pixels; expected {self.source} or {self.size}")
        resampled: Tensor = (self.rows @ images) @ self.columns
        return resampled


def _weights(source: int, target: int, low: float, high: float) -> Tensor:
    """(target, source) shares of the source's pixels in each new one. Pixel i covers i to i + 1."""
    step = (high - low) / target
    reach = max(step, 1.0)
    centres = low + (np.arange(target) + 0.5) * step - 0.5
    margin = int(np.ceil(max(0.0, -centres.min(), centres.max() - (source - 1)) + reach)) + 1
    places = np.arange(-margin, source + margin)
    shares = np.maximum(1 - np.abs(places[None] - centres[:, None]) / reach, 0.0)
    shares /= shares.sum(axis=1, keepdims=True)
    kept = np.zeros((target, source))
    np.add.at(kept.T, np.clip(places, 0, source - 1), shares.T)
    return torch.from_numpy(kept.astype(np.float32))
