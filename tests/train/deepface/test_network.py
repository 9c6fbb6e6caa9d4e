"""DeepFace's network: shapes and parameters of the paper, filters of each place by hand, and what the options do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from vultus._export import forms
from vultus.errors import BadArgument
from vultus.train import backbones, heads
from vultus.train import nn as losses
from vultus.train.deepface import DeepFace, LocallyConnected2d, gradient_view, locally_connected2d
from vultus.train.export import to_onnx

SHAPES = {
    "input": (3, 152, 152),
    "C1": (32, 142, 142),
    "M2": (32, 71, 71),
    "C3": (16, 63, 63),
    "L4": (16, 55, 55),
    "L5": (16, 25, 25),
    "L6": (16, 21, 21),
    "F7": (4096,),
}
# Filters of figure 2 times places, and as many biases as outputs.
PARAMETERS = {
    "C1": 32 * 11 * 11 * 3 + 32,
    "C3": 16 * 9 * 9 * 32 + 16,
    "L4": 55 * 55 * (16 * 9 * 9 * 16 + 16),
    "L5": 25 * 25 * (16 * 7 * 7 * 16 + 16),
    "L6": 21 * 21 * (16 * 5 * 5 * 16 + 16),
    "F7": 21 * 21 * 16 * 4096 + 4096,
}
KERAS_VGGFACE2 = 137_774_071  # others' network of the figure, with 8,631 people


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_full_size_has_the_shapes_and_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = backbones.build("deepface", dim=4096).eval()
    assert isinstance(network, DeepFace)
    with torch.device("meta"):
        head = heads.Dense(4096, 4030, losses.Softmax())
    found = network.maps(torch.zeros(2, 3, 112, 112, device="meta"))
    assert {name: tuple(m.shape[1:]) for name, m in found.items()} == SHAPES
    assert {name: parameters(network.get_submodule(name)) for name in PARAMETERS} == PARAMETERS
    last = parameters(head)
    assert last == 4096 * 4030 + 4030
    total = parameters(network) + last
    assert total == 118_923_774
    assert (total - PARAMETERS["C1"] - PARAMETERS["C3"]) / total > 0.95
    assert parameters(network) + 4096 * 8631 + 8631 == KERAS_VGGFACE2


def test_a_photo_of_152_pixels_passes_as_it_is() -> None:
    network = DeepFace(4, channels=(2, 2, 2, 2, 2)).eval()
    x = torch.rand(1, 3, 152, 152) * 2 - 1
    assert network.maps(x)["input"] is x
    assert network(x).shape == (1, 4)


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 4), (3, 1)])
def test_each_place_has_its_own_filter(stride: int, kernel: int) -> None:
    torch.manual_seed(0)
    layer = LocallyConnected2d(3, 4, kernel, size=(9, 11), stride=stride).double()
    x = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    found = layer(x)
    assert layer.bias is not None
    assert found.shape[2:] == layer.out_size
    for row in range(layer.out_size[0]):
        for column in range(layer.out_size[1]):
            patch = x[:, :, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
            expected = functional.conv2d(patch, layer.weight[row, column], layer.bias[row, column])
            torch.testing.assert_close(found[:, :, row, column], expected[:, :, 0, 0])


def test_equal_filters_are_a_convolution() -> None:
    x, weight, bias = torch.rand(2, 3, 12, 10), torch.rand(5, 3, 4, 4), torch.rand(5)
    everywhere = weight.expand(5, 4, 5, 3, 4, 4)
    found = locally_connected2d(x, everywhere, bias.expand(5, 4, 5), stride=2)
    torch.testing.assert_close(found, functional.conv2d(x, weight, bias, stride=2))


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, 2, 3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.rand(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: locally_connected2d(*a, stride=2), (x, weight, bias))
    assert torch.autograd.gradcheck(lambda a, w: locally_connected2d(a, w, stride=2), (x, weight))


def test_the_forms_agree() -> None:
    pairs = {f.name: c.name for f, c in forms() if f.name.startswith("vultus.train.deepface.")}
    assert len(pairs) == 4
    layer = LocallyConnected2d(2, 3, 3, size=(7, 7), stride=2, bias=False)
    assert layer.bias is None
    x = torch.rand(1, 2, 7, 7)
    assert torch.equal(layer(x), locally_connected2d(x, layer.weight, stride=2))
    bound = 1 / math.sqrt(2 * 9)
    assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound


def test_layers_that_do_not_fit_are_refused() -> None:
    layer = LocallyConnected2d(2, 3, 3, size=(7, 7))
    with pytest.raises(BadArgument, match="output of 5 x 5"):
        layer(torch.zeros(1, 2, 8, 8))
    with pytest.raises(BadArgument, match="2 channels"):
        layer(torch.zeros(1, 3, 7, 7))
    with pytest.raises(BadArgument, match="stride"):
        locally_connected2d(torch.zeros(1, 2, 7, 7), layer.weight, stride=0)
    with pytest.raises(BadArgument, match="as large as a filter"):
        LocallyConnected2d(2, 3, 8, size=(7, 7))
    for options in (
        {"channels": (1, 2)},
        {"kernels": (0, 1, 1, 1, 1)},
        {"side": 40},
        {"dropout": 1.0},
        {"view": "x"},
        {"start": "x"},
    ):
        with pytest.raises(BadArgument):
            DeepFace(4, **options)


def test_the_gradient_view_of_a_ramp_is_known() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    down = (rows / 16).expand(1, 3, 8, 8)
    found = gradient_view(down)[0, :, 3, 3]
    assert found.tolist() == pytest.approx([3 / 16, 1 / 16, 0.5], abs=1e-5)
    across = gradient_view((-columns / 16).expand(1, 3, 8, 8))[0, :, 3, 3]
    assert across.tolist()[:2] == pytest.approx([-3 / 16, 1 / 16], abs=1e-5)
    assert abs(float(across[2])) == pytest.approx(1, abs=1e-5)
    with pytest.raises(BadArgument, match="shape"):
        gradient_view(torch.zeros(1, 1, 8, 8))


def small(**options: object) -> DeepFace:
    network = backbones.build("deepface_small", dim=32, **options)
    assert isinstance(network, DeepFace)
    return network


def test_options_act() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 112, 112) * 2 - 1
    network = small()
    with torch.no_grad():
        assert torch.equal(network.eval()(x), network(x))
        blanked = network.train()(x)
        whole = network.maps(x)["F7"]
        assert torch.equal(blanked, torch.where(blanked != 0, 2 * whole, blanked))
        assert float((blanked == 0).float().mean()) > float((whole == 0).float().mean())
        assert torch.equal(small(dropout=0.0).train().eval()(x[:0]), torch.zeros(0, 32))
    torch.manual_seed(1)
    one = small(view="rgb").eval()
    torch.manual_seed(1)
    other = small(view="gradient").eval()
    torch.testing.assert_close(other.maps(x)["input"], gradient_view(one.maps(x)["input"]))
    paper = small(start="paper")
    assert float(paper.L5.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert paper.L5.bias is not None
    assert float(paper.L5.bias.detach().min()) == 0.5
    assert float(one.L5.weight.detach().std()) == pytest.approx((2 / (16 * 25)) ** 0.5, rel=0.02)


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    network = small().train()
    network(torch.rand(4, 3, 112, 112) * 2 - 1).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_the_runtime_computes_the_same() -> None:
    import onnxruntime

    torch.manual_seed(0)
    network, x = small(view="gradient").eval(), torch.rand(3, 3, 112, 112) * 2 - 1
    session = onnxruntime.InferenceSession(to_onnx(network), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(found, network(x).numpy(), atol=1e-4)
