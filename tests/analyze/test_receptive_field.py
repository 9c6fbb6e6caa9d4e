"""Receptive fields of known networks, and of random ones against what a gradient reaches."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vultus.analyze.receptive_field import (
    Layer,
    PixelBox,
    ReceptiveFields,
    chain_bottom_up,
    chain_top_down,
    receptive_field,
)
from vultus.errors import AnalysisError, BadArgument
from vultus.train.backbones import build
from vultus.train.backbones.vit import ViT

Size = tuple[int, int, int]


def alexnet(width: int = 96) -> nn.Sequential:
    """The features of AlexNet (Krizhevsky et al. 2012), up to pool5, without groups; `width` channels in the first layer."""
    two, three = width * 8 // 3, width * 4
    return nn.Sequential(
        *(nn.Conv2d(3, width, 11, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(width, two, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(two, three, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(three, three, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(three, two, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )


def vgg16(width: int = 64) -> nn.Sequential:
    """The features of VGG-16 (Simonyan and Zisserman 2015), up to pool5; `width` channels in the first stage."""
    layers: list[nn.Module] = []
    inputs = 3
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        outputs = width * min(8, 2**stage)
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions (He et al. 2016); its stride is in the first one or in the 3 x 3 ("v1.5")."""

    def __init__(self, inputs: int, middle: int, *, stride: int, early: bool) -> None:
        super().__init__()
        outputs = 4 * middle
        first, second = (stride, 1) if early else (1, stride)
        self.residual = nn.Sequential(
            *(nn.Conv2d(inputs, middle, 1, stride=first, bias=False), nn.BatchNorm2d(middle), nn.ReLU()),
            *(nn.Conv2d(middle, middle, 3, stride=second, padding=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()),
            *(nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        same = stride == 1 and inputs == outputs
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if same else projection

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


def resnet50(width: int = 64, *, early: bool = False) -> nn.Sequential:
    """The maps of ResNet-50 with `width` channels at first; `early` puts strides where the paper's first version had them."""
    stages: list[nn.Module] = []
    inputs = width
    for stage, count in enumerate((3, 4, 6, 3)):
        middle = width * 2**stage
        for i in range(count):
            stages.append(Bottleneck(inputs, middle, stride=2 if i == 0 and stage else 1, early=early))
            inputs = 4 * middle
    stem = (nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, padding=1), nn.Sequential(*stages))


class WindowSum(nn.Module):
    """What max pooling can see: the sum over each window, whose gradient reaches every pixel of it."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        shape = self.pool(x).shape[2:]
        pair = [(v, v) if isinstance(v, int) else v for v in (self.pool.kernel_size, self.pool.stride)]
        padding = self.pool.padding if isinstance(self.pool.padding, tuple) else (self.pool.padding,) * 2
        dilation = self.pool.dilation if isinstance(self.pool.dilation, tuple) else (self.pool.dilation,) * 2
        kernel, stride = pair
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        # with ceil_mode the last window may hang over: as many zeros as it takes
        after = [max(0, (shape[i] - 1) * stride[i] + reach[i] - x.shape[2 + i] - padding[i]) for i in (0, 1)]
        x = nn.functional.pad(x, (padding[1], after[1], padding[0], after[0])).flatten(0, 1).unsqueeze(1)
        ones = torch.ones(1, 1, *kernel, dtype=x.dtype)
        summed = nn.functional.conv2d(x, ones, stride=stride, dilation=dilation)[..., : shape[0], : shape[1]]
        return summed.reshape(n, c, *shape)


def opened(network: nn.Module) -> nn.Module:
    """The same connections in doubles: weights positive, norms without effect, maxima as sums."""
    network = copy.deepcopy(network).double().eval()
    for path, part in list(network.named_modules()):
        if isinstance(part, nn.MaxPool2d):
            owner, _, name = path.rpartition(".")
            setattr(network.get_submodule(owner), name, WindowSum(part))
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.reset_running_stats()
            if part.affine:
                nn.init.ones_(part.weight)
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.constant_(part.weight, 1 / part.weight[0].numel())
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return network


def values_of(network: nn.Module, names: set[str], x: Tensor) -> dict[str, Tensor]:
    """What the submodules make of a picture; of one that runs twice, what it made first."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_part: nn.Module, _given: Any, result: Tensor) -> None:
            kept.setdefault(name, result)

        return hook

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def reached(value: Tensor, x: Tensor, unit: tuple[int, int]) -> PixelBox | None:
    """The box of pixels with a gradient: what the unit of an `opened` network depends on."""
    part = value[0, ..., unit[0], unit[1]] if value.ndim == 4 else value[0]
    if not part.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(part.sum(), x, retain_graph=True)
    return box_of(gradient[0].abs().sum(dim=0) > 0)


def box_of(mask: Tensor) -> PixelBox | None:
    """The smallest box around what is True in (h, w)."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if not len(rows):
        return None
    return PixelBox(int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1]))


def assert_probe_agrees(network: nn.Module, fields: ReceptiveFields, *, names: list[str] | None = None) -> int:
    """Every unit that is looked at sees what the gradient reaches; gives how many were."""
    x = torch.rand(1, *fields.input_size, dtype=torch.float64).add_(0.5).requires_grad_()
    paths = {path for path, _ in network.named_modules()} & {node.name for node in fields}
    values = values_of(opened(network), paths & set(names) if names else paths, x)
    looked = 0
    for name, value in values.items():
        assert tuple(value.shape) == fields[name].shape
        height, width = value.shape[-2:] if value.ndim == 4 else (1, 1)
        for unit in {(0, 0), (height // 2, width // 2), (height - 1, width - 1), (0, width - 1)}:
            seen = fields.seen(name, unit if value.ndim == 4 else None)
            assert seen == reached(value, x, unit), (fields[name], unit)
            looked += 1
    return looked


def assert_both_formulas_agree(fields: ReceptiveFields) -> None:
    regular = [node for node in fields if node.formula]
    assert regular
    for node in regular:
        assert fields.top_down(node.name) == node.size


# --- chains -----------------------------------------------------------------------------------------------------------


def test_two_and_three_layers_by_both_formulas() -> None:
    two = [Layer(3, 2), Layer(3, 2)]
    assert chain_bottom_up(two)[-1][:2] == (7, 4)
    assert chain_top_down(two) == 7
    assert chain_bottom_up([*two, Layer(3)])[-1][:2] == (15, 4)
    assert chain_top_down([*two, Layer(3)]) == 15
    assert chain_bottom_up([]) == []
    assert chain_top_down([]) == 1


@settings(deadline=None, max_examples=12)
@given(
    st.lists(
        st.builds(Layer, st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)),
        min_size=1,
        max_size=4,
    )
)
def test_the_chain_formulas_agree_with_each_other_and_with_the_graph(layers: list[Layer]) -> None:
    size, jump, start = chain_bottom_up(layers)[-1]
    assert chain_top_down(layers) == size
    network = nn.Sequential(
        *(nn.Conv2d(1, 1, x.kernel, x.stride, padding=x.padding, dilation=x.dilation) for x in layers)
    )
    last = receptive_field(network, (1, size + 20, size + 20))[-1]
    assert (last.size, last.jump, last.start) == ((size, size), (jump, jump), (start, start))


@pytest.mark.parametrize("numbers", [(0,), (3, 0), (3, 1, -1), (3, 1, 0, 0)])
def test_a_layer_out_of_range_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match="at least 1"):
        Layer(*numbers)


# --- known networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "input_size", "size", "jump"),
    [
        (alexnet, (3, 227, 227), 195, 32),  # published: Dang Ha The Hien 2017; Araujo et al. 2019
        (vgg16, (3, 224, 224), 212, 32),
        # by hand, 1 + sum of (kernel - 1) * jump: 6 + 4 in the stem; 3 * 8, 4 * 16, 6 * 32, 3 * 64 in the blocks where their
        # 3 x 3 comes after the stride; where it carries the stride the first of stages 2 to 4 adds half as much
        (lambda: resnet50(early=True), (3, 224, 224), 483, 32),
        (resnet50, (3, 224, 224), 483 - 8 - 16 - 32, 32),
    ],
    ids=["alexnet", "vgg16", "resnet50-v1", "resnet50-v1.5"],
)
def test_published_fields(network: Any, input_size: Size, size: int, jump: int) -> None:
    with torch.device("meta"):
        fields = receptive_field(network(), input_size)
    assert fields[-1].size == (size, size)
    assert fields[-1].jump == (jump, jump)
    assert_both_formulas_agree(fields)


def test_the_probe_agrees_on_alexnet_and_vgg16() -> None:
    for network, side, names in ((alexnet(3), 227, ["5", "12"]), (vgg16(width=1), 224, ["16", "30"])):
        assert assert_probe_agrees(network, receptive_field(network, (3, side, side)), names=names) == 8


def test_the_probe_agrees_on_resnet50_beyond_its_field() -> None:
    network = resnet50(width=1)
    fields = receptive_field(network, (3, 448, 448))
    assert fields["4.15"].size == (427, 427)
    assert assert_probe_agrees(network, fields, names=["3", "4.15"]) == 8
    unit = (7, 7)  # whose field lies inside the picture
    assert fields.seen("4.15", unit) == fields.theoretical("4.15", unit) == PixelBox(11, 11, 437, 437)


def test_behind_global_pooling_and_linear_layers_a_unit_sees_everything() -> None:
    network = nn.Sequential(*alexnet(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    fields = receptive_field(network, (3, 227, 195))
    for node in list(fields)[-3:]:
        assert node.size == (227, 195)
        assert node.jump == (0, 0)
        assert not node.formula
    assert assert_probe_agrees(network, fields, names=[fields[-1].name]) == 1


def test_mobilefacenet_and_iresnet() -> None:
    # MobileFaceNet by hand: 3 + 2 * 2 at 56; at 28: 4 for the first, 4 * 8; at 14: 8, 6 * 16; at 7: 16, 2 * 32; GDConv 6 * 16
    mobile = build("mobilefacenet", dim=16)
    fields = receptive_field(mobile, (3, 112, 112))
    assert fields["place.0.2"].size == (227, 227)
    assert fields["place.1.0"].size == (227 + 6 * 16,) * 2
    assert fields[-1].size == (112, 112)
    assert_both_formulas_agree(fields)
    assert assert_probe_agrees(mobile, fields, names=["blocks.3", "place.1.0", "feature.0"]) == 6
    # IResNet-18 by hand: 3; each block two 3 x 3, the second with the stride where there is one
    residual = receptive_field(build("iresnet18", dim=16), (3, 112, 112))
    sizes = [residual[f"blocks.{i}"].size[0] for i in range(8)]
    assert sizes == [7, 15, 23, 39, 55, 87, 119, 183]


def test_a_transformer_sees_everything_after_one_block_but_the_rest_of_its_patches() -> None:
    fields = receptive_field(ViT(8, 16, 2), (3, 112, 112))
    assert fields["patches"].size == (9, 9)
    assert fields["patches"].jump == (9, 9)
    assert fields["blocks.0.attend.0"].size == (9, 9)
    first = fields["blocks.0"]
    assert first.size == (108, 108)  # twelve patches of nine pixels: the last four rows and columns are left out
    assert not first.formula
    assert fields[-1].size == (108, 108)


# --- each operator ----------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Branches side by side, added, concatenated, or multiplied."""

    def __init__(self, how: str, *branches: nn.Module) -> None:
        super().__init__()
        self.how = how
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.branches]
        height, width = (min(p.shape[i] for p in parts) for i in (2, 3))
        parts = [p[:, :, :height, :width] for p in parts]
        return torch.cat(parts, dim=1) if self.how == "cat" else parts[0] + parts[1]


class Squeeze(nn.Module):
    """Squeeze and excitation (Hu et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))


class Halves(nn.Module):
    """One half of the channels through a convolution and the other one past it, shuffled (Ma et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        one, other = x.chunk(2, dim=1)
        joined = torch.cat([one, self.layer(other)], dim=1)
        return joined.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


LAYERS: dict[str, tuple[Any, tuple[int, int], tuple[float, float]]] = {
    # after a 3 x 3 of stride 2: layer, size, jump
    "wide kernel": (lambda: nn.Conv2d(4, 4, (1, 5), padding=(0, 2)), (3, 11), (2, 2)),
    "stride of one axis": (lambda: nn.Conv2d(4, 4, 3, stride=(3, 1)), (7, 7), (6, 2)),
    "dilation": (lambda: nn.Conv2d(4, 4, 3, dilation=(2, 5)), (11, 23), (2, 2)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (7, 7), (2, 2)),
    "max pooling": (lambda: nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), (7, 7), (4, 4)),
    "dilated max pooling": (lambda: nn.MaxPool2d(2, 1, dilation=3), (9, 9), (2, 2)),
    "average pooling": (lambda: nn.AvgPool2d((2, 4), (2, 3)), (5, 9), (4, 6)),
    "adaptive pooling": (lambda: nn.AdaptiveAvgPool2d((10, 4)), (11, 21), (7.6, 19)),
    "padding of one side": (lambda: nn.ZeroPad2d((3, 0, 0, 2)), (3, 3), (2, 2)),
    "cropping": (lambda: nn.ZeroPad2d((-3, 0, 0, -2)), (3, 3), (2, 2)),
    "mirrored padding": (lambda: nn.ReflectionPad2d((2, 1, 0, 3)), (3, 3), (2, 2)),
    "repeated padding": (lambda: nn.ReplicationPad2d((2, 1, 0, 3)), (3, 3), (2, 2)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 4, 2, padding=1), (5, 5), (1, 1)),
    "transposed with holes": (lambda: nn.ConvTranspose2d(4, 4, 2, 3, output_padding=1), (3, 3), (2 / 3, 2 / 3)),
    "transposed and dilated": (lambda: nn.ConvTranspose2d(4, 4, 3, 2, dilation=3), (9, 9), (1, 1)),
    "nearest": (lambda: nn.Upsample(scale_factor=(2.0, 3.0)), (3, 3), (1, 2 / 3)),
    "nearest to a size": (lambda: nn.Upsample(size=(24, 40)), (3, 3), (2 * 38 / 24, 2 * 38 / 40)),
    "bilinear": (lambda: nn.Upsample(scale_factor=2.0, mode="bilinear"), (5, 5), (1, 1)),
    "bilinear on corners": (lambda: nn.Upsample((37, 37), mode="bilinear", align_corners=True), (5, 5), (1, 1)),
    "bilinear smaller": (lambda: nn.Upsample(scale_factor=0.5, mode="bilinear"), (5, 5), (4, 4)),
    "bicubic": (lambda: nn.Upsample(scale_factor=2.0, mode="bicubic"), (9, 9), (1, 1)),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), (3, 3), (1, 1)),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), (5, 5), (4, 4)),
    "channels shuffled": (lambda: Halves(4), (7, 7), (2, 2)),
    "sum": (lambda: Branches("add", nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), nn.Conv2d(4, 4, 1)), (7, 3), (2, 2)),
    "concatenation": (lambda: Branches("cat", nn.Conv2d(4, 4, 5, padding=2), nn.MaxPool2d(5, 1)), (15, 15), (2, 2)),
    "normalisations": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.PReLU(4), nn.Hardswish()), (3, 3), (2, 2)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_each_operator_by_formula_and_by_probe(kind: str) -> None:
    make, size, jump = LAYERS[kind]
    first, layer = nn.Conv2d(3, 4, 3, stride=2, padding=1), make()
    network = nn.Sequential(first, layer, nn.Identity())
    fields = receptive_field(
        network, (3, 37, 37) if "corners" in kind else (3, 76, 76) if "size" in kind else (3, 75, 75)
    )
    last = fields[-1]
    assert last.formula
    assert last.jump == pytest.approx(jump)
    assert last.size == size
    assert_both_formulas_agree(fields)
    if kind != "bicubic":  # whose weights are not positive
        assert assert_probe_agrees(network, fields) >= 4


@pytest.mark.parametrize("layer", [Squeeze(), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)], ids=lambda m: type(m).__name__)
def test_what_looks_at_whole_maps_sees_whole_pictures(layer: nn.Module) -> None:
    fields = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), layer), (3, 12, 20))
    assert fields[-1].size == (12, 20)
    assert not fields[-1].formula
    assert fields.seen(fields[-1].name, (0, 0)) == PixelBox(0, 0, 11, 19)


def test_what_looks_along_one_axis_sees_rows() -> None:
    fields = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softmax(dim=3)), (3, 12, 20))
    assert fields[-1].size == (3, 20)
    assert fields.seen(fields[-1].name, (5, 0)) == PixelBox(4, 0, 6, 19)
    assert fields[-1].jump == (pytest.approx(1, abs=0.1), 0)


def test_the_edge_of_the_picture_is_exact() -> None:
    # stride 2 without padding leaves out the last row and column of an even picture; nothing later can see them
    fields = receptive_field(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1)), (3, 8, 8))
    assert fields[-1].size == (7, 7)
    # padding as wide as the kernel: the corner unit sees nothing
    fields = receptive_field(nn.Conv2d(3, 4, 2, padding=2), (3, 8, 8))
    assert fields.seen(fields[0].name, (0, 0)) is None
    assert fields.seen(fields[0].name, (0, 3)) is None
    assert fields.seen(fields[0].name, (1, 3)) == PixelBox(0, 1, 0, 2)
    assert fields[0].padding == ((2, 2), (2, 2))


def test_branches_of_different_jumps_are_measured() -> None:
    def shrunk(x: int) -> nn.Module:
        return nn.Sequential(nn.MaxPool2d(3, 2), nn.Upsample(size=(x, x)))

    network = nn.Sequential(Branches("add", shrunk(17), nn.Identity()))
    fields = receptive_field(network, (3, 17, 17))
    last = fields["0"]
    assert not last.formula
    assert last.size == (3, 3)
    assert last.jump == (14 / 16, 14 / 16)  # from the middle of 0 to 2 to the middle of 14 to 16
    assert assert_probe_agrees(network, fields) >= 4


# --- random networks --------------------------------------------------------------------------------------------------


@st.composite
def layers(draw: st.DrawFn, channels: int = 2) -> nn.Module:
    """One layer that does not change the number of channels, and needs no more than a few pixels."""
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    half = (kernel[0] // 2, kernel[1] // 2)
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    kind = draw(st.sampled_from(["conv", "max", "mean", "turned", "pad", "up", "linear", "sum", "cat", "adaptive"]))
    if kind == "conv":
        groups = draw(st.sampled_from([1, channels]))
        around = draw(st.sampled_from([(0, 0), half]))
        return nn.Conv2d(channels, channels, kernel, stride, padding=around, dilation=dilation, groups=groups)
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, padding=half, ceil_mode=draw(st.booleans()))
    if kind == "mean":
        return nn.AvgPool2d(kernel, stride, padding=half, ceil_mode=draw(st.booleans()))
    if kind == "turned":
        return nn.ConvTranspose2d(channels, channels, kernel, stride, dilation=dilation)
    if kind == "pad":
        return nn.ZeroPad2d(draw(st.tuples(*[st.integers(-1, 1)] * 4)))
    if kind == "up":
        return nn.Upsample(scale_factor=(float(stride[0]), float(stride[1])))
    if kind == "linear":
        return nn.Upsample(scale_factor=(float(stride[0]), float(stride[1])), mode="bilinear")
    if kind == "adaptive":
        return nn.AdaptiveAvgPool2d((draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    straight = nn.Conv2d(channels, channels, kernel, stride, padding=half)
    other = nn.Conv2d(channels, channels, (3, 1), stride, padding=(2, 0), dilation=(2, 1))
    if kind == "sum":
        return Branches("add", straight, other)
    return nn.Sequential(Branches("cat", straight, other), nn.Conv2d(2 * channels, channels, 1))


@settings(deadline=None, max_examples=16)
@given(parts=st.lists(layers(), min_size=1, max_size=4), height=st.integers(17, 24), width=st.integers(17, 24))
def test_random_networks(parts: list[nn.Module], height: int, width: int) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), *parts)
    try:
        with torch.no_grad():
            network(torch.zeros(1, 1, height, width))
    except RuntimeError:
        return  # the picture became too small
    fields = receptive_field(network, (1, height, width))
    assert_both_formulas_agree(fields)
    assert assert_probe_agrees(network, fields) >= 2
    for node in fields:
        for unit in [(0, 0), (node.shape[2] // 2, node.shape[3] // 2)]:
            seen, whole = fields.seen(node.name, unit), fields.theoretical(node.name, unit)
            if seen is not None and whole is not None:  # borders only take away
                assert whole.top <= seen.top <= seen.bottom <= whole.bottom
                assert whole.left <= seen.left <= seen.right <= whole.right


# --- what comes back --------------------------------------------------------------------------------------------------


def test_nodes_come_in_order_with_names_and_json() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fields = receptive_field(network, (3, 16, 12))
    assert [node.name for node in fields] == ["0", "1", "2"]
    assert len(fields) == 3
    assert fields["2"] is fields[-1]
    assert fields[2].shape == (1, 4, 8, 6)
    record = fields.to_dict()
    assert record["input_size"] == [3, 16, 12]
    assert record["nodes"][2] == {
        "name": "2",
        "operator": "max_pool2d_with_indices",
        "shape": [1, 4, 8, 6],
        "size": [4, 4],
        "jump": [2.0, 2.0],
        "start": [0.5, 0.5],
        "padding": [[1, 1], [1, 1]],
        "formula": True,
    }
    assert network.training
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_a_module_that_runs_twice_has_two_names() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] == 3:  # control flow in Python
                x = self.layer(x)
            result: Tensor = self.layer(x)
            return result

    fields = receptive_field(Twice(), (3, 9, 9))
    assert [(n.name, n.size) for n in fields] == [("layer", (3, 3)), ("layer#2", (5, 5))]


class ByValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Complex(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.fft.rfft2(x).abs()
        return result


def test_what_cannot_be_followed_is_refused_by_name() -> None:
    with pytest.raises(AnalysisError, match="values of pixels"):
        receptive_field(ByValue(), (3, 8, 8))
    with pytest.raises(AnalysisError, match="_fft_r2c"):
        receptive_field(Complex(), (3, 8, 8))


def test_sizes_and_names_that_do_not_fit_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(BadArgument, match="pass input_size"):
        receptive_field(network)
    for wrong in ((3, 8), (3, 0, 8), (1, 4, 4), (3, 9, 9)):
        with pytest.raises(BadArgument, match=r"expected \(channels|does not run"):
            receptive_field(network, wrong)  # type: ignore[arg-type]
    fields = receptive_field(network, (3, 4, 4))
    with pytest.raises(BadArgument, match="no node 'O'"):
        fields["O"]
    with pytest.raises(BadArgument, match=r"no unit \(2, 0\)"):
        fields.seen("0", (2, 0))
    with pytest.raises(BadArgument, match="no formula holds for '2'"):
        fields.top_down("2")
    assert fields.theoretical("2", (0, 0)) is None
    assert fields.seen("2", (1,)) == PixelBox(0, 0, 3, 3)
    assert fields.seen("0", (2, 1, 0)) == PixelBox(1, 0, 3, 2)
    assert np.isfinite(fields["2"].start).all()
