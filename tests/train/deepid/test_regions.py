from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vultus.errors import BadArgument
from vultus.train.deepid import RegionConv2d, region_conv2d


def inputs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def place_by_place(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each place of the output by itself, with the weights of its cell."""
    rows, columns, outputs, _, k, _ = weight.shape
    height, width = images.shape[2] - k + 1, images.shape[3] - k + 1
    found = torch.zeros(len(images), outputs, height, width, dtype=images.dtype)
    for y in range(height):
        for x in range(width):
            own, lift = weight[y * rows // height, x * columns // width], bias[y * rows // height, x * columns // width]
            found[:, :, y, x] = torch.einsum("ncij,ocij->no", images[:, :, y : y + k, x : x + k], own) + lift
    return found


@pytest.mark.parametrize(
    ("height", "width", "k", "rows", "columns"),
    [(8, 6, 3, 3, 2), (8, 6, 3, 6, 4), (5, 7, 2, 1, 3), (3, 2, 2, 2, 1), (6, 6, 3, 1, 1)],
)
def test_each_place_has_the_weights_of_its_cell(height: int, width: int, k: int, rows: int, columns: int) -> None:
    images, weight, bias = inputs(3, 4, height, width), inputs(rows, columns, 5, 4, k, k), inputs(rows, columns, 5)
    torch.testing.assert_close(region_conv2d(images, weight, bias), place_by_place(images, weight, bias))


def test_one_cell_is_an_ordinary_convolution() -> None:
    images, weight, bias = inputs(2, 3, 9, 7), inputs(1, 1, 4, 3, 3, 3), inputs(1, 1, 4)
    torch.testing.assert_close(
        region_conv2d(images, weight, bias), nn.functional.conv2d(images, weight[0, 0], bias[0, 0])
    )


def test_gradients_are_those_of_finite_differences() -> None:
    tensors = inputs(2, 2, 4, 3), inputs(3, 1, 2, 2, 2, 2), inputs(3, 1, 2)
    for tensor in tensors:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(region_conv2d, tensors)


def test_what_is_expanded_or_strided_is_taken() -> None:
    weight, bias = inputs(1, 1, 2, 3, 3, 3), inputs(1, 1, 2)
    wide = inputs(1, 3, 6, 12)[:, :, :, ::2].expand(4, -1, -1, -1)
    torch.testing.assert_close(
        region_conv2d(wide, weight, bias), region_conv2d(wide.contiguous(), weight.contiguous(), bias)
    )


@pytest.mark.parametrize(
    ("images", "weight"),
    [((1, 3, 6, 6), (3, 1, 2, 3, 3, 3)), ((1, 2, 6, 6), (1, 1, 2, 3, 3, 3)), ((1, 3, 2, 6), (1, 1, 2, 3, 3, 3))],
)
def test_what_does_not_fit_is_refused(images: tuple[int, ...], weight: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match="divides"):
        region_conv2d(inputs(*images), inputs(*weight), inputs(*weight[:3]))


def test_the_module_calls_the_function_and_refuses_parts_of_cells() -> None:
    layer = RegionConv2d(2, 5, 3, size=(4, 6), cell=(2, 3)).double()
    assert layer.weight.shape == (2, 2, 5, 2, 3, 3)
    images = inputs(2, 2, 6, 8)
    torch.testing.assert_close(layer(images), region_conv2d(images, layer.weight, layer.bias))
    with pytest.raises(BadArgument, match="whole cells"):
        RegionConv2d(2, 5, 3, size=(4, 6), cell=(3, 3))
