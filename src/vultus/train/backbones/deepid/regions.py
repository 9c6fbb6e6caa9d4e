"""A convolution whose weights are shared within cells of the map and differ from cell to cell.

On an aligned face the same place shows the same part, so filters may specialise. A cell as large as the map is an ordinary
convolution, a cell of one place a locally connected layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.errors import BadArgument


@export("vultus.train.deepid.region_conv2d")
def region_conv2d(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve without padding, at stride 1, with other weights in each cell of the output.

    Args:
        images: (n, c, h, w).
        weight: (rows, columns, o, c, k, k): one kernel for each cell of an evenly divided output.
        bias: (rows, columns, o).

    Returns:
        (n, o, h - k + 1, w - k + 1).

    Raises:
        BadArgument: the cells do not divide the output evenly, or channels do not fit.

    Huang, Lee and Learned-Miller, Learning hierarchical representations for face verification with convolutional deep belief
    networks, CVPR 2012: "local convolution".
    """
    rows, columns, outputs, inputs, k = weight.shape[:5]
    n, channels = images.shape[:2]
    height, width = images.shape[2] - k + 1, images.shape[3] - k + 1
    if channels != inputs or height < 1 or width < 1 or height % rows or width % columns:
        raise BadArgument(
            f"images of shape {tuple(images.shape)} and weights of shape {tuple(weight.shape)}; expected {inputs} channels, "
            f"and an output of a height that {rows} and a width that {columns} divides"
        )
    tall, wide = height // rows, width // columns
    # (n, c, height, width, k, k) -> (rows, columns, n * tall * wide, c * k * k): one product of matrices for each cell
    seen = images.unfold(2, k, 1).unfold(3, k, 1)
    seen = seen.reshape(n, inputs, rows, tall, columns, wide, k, k).permute(2, 4, 0, 3, 5, 1, 6, 7)
    seen = seen.reshape(rows * columns, n * tall * wide, inputs * k * k)
    kernels = weight.reshape(rows * columns, outputs, inputs * k * k).transpose(1, 2)
    maps = torch.baddbmm(bias.reshape(rows * columns, 1, outputs), seen, kernels)
    maps = maps.reshape(rows, columns, n, tall, wide, outputs).permute(2, 5, 0, 3, 1, 4)
    return maps.reshape(n, outputs, height, width)


@export("vultus.train.deepid.RegionConv2d", form_of="vultus.train.deepid.region_conv2d")
class RegionConv2d(nn.Module):
    """The class form of `vultus.train.deepid.region_conv2d`.

    Starts like `torch.nn.Conv2d` in each cell.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel.
        size: (height, width) of the output.
        cell: (height, width) of a cell, in places of the output.

    Raises:
        BadArgument: cells that do not divide the output evenly.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, size: tuple[int, int], cell: tuple[int, int]) -> None:
        super().__init__()
        if min(*size, *cell) < 1 or size[0] % cell[0] or size[1] % cell[1]:
            raise BadArgument(
                f"an output of {size[0]} x {size[1]} in cells of {cell[0]} x {cell[1]}; expected whole cells"
            )
        rows, columns = size[0] // cell[0], size[1] // cell[1]
        self.weight = nn.Parameter(torch.empty(rows, columns, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(rows, columns, outputs))
        bound = 1 / math.sqrt(inputs * kernel * kernel)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, images: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, *size)."""
        return region_conv2d(images, self.weight, self.bias)
