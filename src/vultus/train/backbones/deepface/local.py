"""A convolution that shares no weights: every place of the map has a filter bank of its own.

On an aligned face a place always shows the same part, so filters may specialise (Taigman et al. 2014, section 3.1). The
price is paid in parameters, not in operations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus._export import export
from vultus.errors import BadArgument


@export("vultus.train.deepface.locally_connected2d")
def locally_connected2d(images: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1) -> Tensor:
    """Filter without padding, with other weights at each place.

    Args:
        images: (n, c, h, w).
        weight: (h', w', o, c, k, k): the filters of each place of the output.
        bias: (h', w', o).
        stride: step in both directions.

    Returns:
        (n, o, h', w') with h' = (h - k) // stride + 1, and w' alike.

    Raises:
        BadArgument: shapes that do not fit.
    """
    tall, wide, outputs, inputs, k = weight.shape[:5]
    n, channels, height, width = images.shape
    expected = ((height - k) // stride + 1, (width - k) // stride + 1) if stride > 0 else None
    if channels != inputs or expected != (tall, wide):
        raise BadArgument(
            f"images of shape {tuple(images.shape)} at stride {stride} and weights of shape {tuple(weight.shape)}; expected "
            f"{inputs} channels and an output of {tall} x {wide}"
        )
    seen = functional.unfold(images, k, stride=stride).permute(2, 0, 1)  # (places, n, c k k)
    filters = weight.reshape(tall * wide, outputs, inputs * k * k).transpose(1, 2)
    maps = torch.bmm(seen, filters)
    if bias is not None:
        maps = maps + bias.reshape(tall * wide, 1, outputs)
    return maps.permute(1, 2, 0).reshape(n, outputs, tall, wide)


@export("vultus.train.deepface.LocallyConnected2d", form_of="vultus.train.deepface.locally_connected2d")
class LocallyConnected2d(nn.Module):
    """The class form of `vultus.train.deepface.locally_connected2d`.

    Starts like `torch.nn.Conv2d` at each place.

    Args:
        inputs, outputs: channels.
        kernel: side of the filters.
        size: (height, width) of the input.
        stride: step in both directions.
        bias: whether each place and channel has one.

    Raises:
        BadArgument: a number below 1, or an input smaller than a filter.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, size: tuple[int, int], stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        if min(inputs, outputs, kernel, stride) < 1 or min(size) < kernel:
            raise BadArgument(
                f"inputs is {inputs}, outputs {outputs}, kernel {kernel}, stride {stride} and size {size}; expected at least 1 "
                "of each, and an input at least as large as a filter"
            )
        self.stride = stride
        self.size = (int(size[0]), int(size[1]))
        self.out_size = ((size[0] - kernel) // stride + 1, (size[1] - kernel) // stride + 1)
        self.weight = nn.Parameter(torch.empty(*self.out_size, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(*self.out_size, outputs)) if bias else None
        bound = 1 / math.sqrt(inputs * kernel * kernel)
        for tensor in self.parameters():
            nn.init.uniform_(tensor, -bound, bound)

    def forward(self, images: Tensor) -> Tensor:
        """(n, inputs, *size) to (n, outputs, *out_size)."""
        return locally_connected2d(images, self.weight, self.bias, stride=self.stride)
