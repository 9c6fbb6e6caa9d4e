"""Backbones: sizes as published, gradients to every parameter, and the same feature whatever the batch or layout."""

from __future__ import annotations

import functools
import itertools
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vultus.errors import BadArgument, ExtraMissing
from vultus.train.backbones import BACKBONES, build, conv_bn, linear_bn
from vultus.train.backbones.iresnet import IResNet

NAMES = sorted(BACKBONES)
QUICK = ["mobilefacenet", "small", "vit_t"]
OLDER = ("deepface", "deepid")  # than BatchNorm

# Parameters that others count for the same networks at dim=512, whose last linear layer has a bias of 512 numbers more.
IRESNET = {18: 24_025_600, 34: 34_139_328, 50: 43_590_848, 100: 65_156_160}
# Multiplications in 10^9 as arcface_torch's tables state them.
GIGA = {
    "iresnet18": 2.6,
    "iresnet50": 6.3,
    "iresnet100": 12.1,
    "vit_t": 1.5,
    "vit_s": 5.7,
    "vit_b": 11.4,
    "mobilefacenet": 0.2,
}


@functools.cache
def on_meta(name: str, **options: Any) -> nn.Module:
    """A network without memory for its parameters; not to be changed."""
    with torch.device("meta"):
        return build(name, **options).eval()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def operations(module: nn.Module) -> float:
    """Multiplications of one picture."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, 112, 112, device="meta"))
    return float(counter.get_total_flops()) / 2


def faces(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_these_are_the_backbones() -> None:
    assert NAMES == [
        "deepface",
        "deepface_small",
        "deepid",
        "deepid2",
        "iresnet100",
        "iresnet18",
        "iresnet34",
        "iresnet50",
        "mobilefacenet",
        "small",
        "vit_b",
        "vit_s",
        "vit_t",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_feature_has_the_length_asked_for(name: str) -> None:
    assert on_meta(name)(torch.zeros(3, 3, 112, 112, device="meta")).shape == (3, 512)
    if name in QUICK:
        assert on_meta(name, dim=128)(torch.zeros(3, 3, 112, 112, device="meta")).shape == (3, 128)


@pytest.mark.parametrize("depth", IRESNET)
def test_iresnet_has_the_published_parameters(depth: int) -> None:
    assert parameters(on_meta(f"iresnet{depth}")) == IRESNET[depth] - 512


def test_mobilefacenet_has_the_published_parameters_and_operations() -> None:
    at_512, at_128 = on_meta("mobilefacenet"), on_meta("mobilefacenet", dim=128)
    assert parameters(at_512) == 1_200_512
    weights = sum(parameters(m) for m in at_128.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert round(weights / 1e6, 2) == 0.98  # the paper's 0.99 million, without norms and PReLU
    assert round(parameters(at_128) / 1e6, 2) == 1.0
    assert round(operations(at_128) / 1e6) == 221


@pytest.mark.parametrize("name", GIGA)
def test_operations_are_those_published(name: str) -> None:
    assert round(operations(on_meta(name)) / 1e9, 1) == GIGA[name]


def test_the_small_one_is_small() -> None:
    network = on_meta("small", dim=128)
    assert parameters(network) < 0.4e6
    assert 20e6 < operations(network) < 60e6


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith(OLDER)])
def test_no_bias_stands_before_a_batch_norm(name: str) -> None:
    found = 0
    for chain in on_meta(name).modules():
        if isinstance(chain, nn.Sequential):
            layers = list(chain)
            for layer, following in itertools.pairwise(layers):
                if isinstance(following, nn.BatchNorm1d | nn.BatchNorm2d) and isinstance(layer, nn.Conv2d | nn.Linear):
                    found += 1
                    assert layer.bias is None
    assert found >= 2


@pytest.mark.parametrize("make", [lambda: conv_bn(3, 4), lambda: nn.Sequential(nn.Flatten(), *linear_bn(192, 4))])
def test_a_bias_before_a_batch_norm_would_cancel(make: Any) -> None:
    chain = make().double()
    x = torch.rand(5, 3, 8, 8, dtype=torch.float64)
    before = chain(x)
    layer = next(m for m in chain.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    layer.bias = nn.Parameter(torch.rand(4, dtype=torch.float64) * 10)
    assert torch.allclose(chain(x), before, atol=1e-10)


def test_conv_bn_makes_what_it_is_asked_for() -> None:
    x = torch.rand(2, 8, 10, 10)
    assert conv_bn(8, 4)(x).shape == (2, 4, 10, 10)
    assert conv_bn(8, 4, 5, stride=2)(x).shape == (2, 4, 5, 5)
    assert conv_bn(8, 4, 3, padding=0)(x).shape == (2, 4, 8, 8)
    assert conv_bn(8, 8, groups=8)[0].weight.shape == (8, 1, 3, 3)
    assert isinstance(conv_bn(8, 4, activation=nn.PReLU)[2], nn.PReLU)
    assert len(conv_bn(8, 4)) == 2
    assert linear_bn(8, 4, affine=False)[1].weight is None


@pytest.mark.parametrize("name", QUICK)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = build(name, dim=16).train()
    network(faces(3)).pow(3).sum().backward()
    learned = {k: p for k, p in network.named_parameters() if p.requires_grad}
    missing = [k for k, p in learned.items() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert missing == []


def test_gradients_reach_every_parameter_of_iresnet() -> None:
    network = IResNet(8, (2, 1, 1, 1)).train()
    network(faces(3)).pow(3).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters() if p.requires_grad)


def test_the_last_scale_of_iresnet_is_not_learned() -> None:
    frozen = [k for k, p in on_meta("iresnet18").named_parameters() if not p.requires_grad]
    assert frozen == ["feature.1.weight"]
    assert torch.equal(IResNet(8, (1, 1, 1, 1)).get_parameter("feature.1.weight"), torch.ones(8))


@pytest.mark.parametrize("name", QUICK)
def test_a_feature_depends_on_its_photo_alone(name: str) -> None:
    network, x = build(name, dim=16).eval(), faces(3)
    with torch.no_grad():
        together = network(x)
        assert torch.equal(network(x), together)
        for i in range(3):
            assert torch.allclose(network(x[i : i + 1])[0], together[i], atol=1e-5)


@pytest.mark.parametrize("name", ["small", "mobilefacenet"])
def test_the_layout_in_memory_changes_nothing(name: str) -> None:
    network, x = build(name, dim=16).double(), faces(3).double()
    network(x).pow(3).sum().backward()
    known = {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network(x.contiguous(memory_format=torch.channels_last)).pow(3).sum().backward()
    for k, p in network.named_parameters():
        assert p.grad is not None
        assert torch.allclose(p.grad, known[k], rtol=1e-6, atol=1e-9), k


@pytest.mark.parametrize("options", [{}, {"width": 16, "blocks": 2}, {"width": 8}])
def test_narrow_networks_train_with_channels_last(options: dict[str, int]) -> None:
    network = build("small", dim=16, **options).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network(faces(8).contiguous(memory_format=torch.channels_last)).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["small", "vit_t"])
def test_the_graph_can_be_captured_whole(name: str) -> None:
    network, x = build(name, dim=16).eval(), faces(2)
    captured = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},))
    with torch.no_grad():
        assert torch.allclose(captured.module()(faces(3)), network(faces(3)), atol=1e-6)


def test_compiled_equals_plain() -> None:
    network, x = build("small", dim=16).eval(), faces(2)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(x), network(x), atol=1e-5)


# --- options ------------------------------------------------------------------------------------------------------------


def changes_in_training(network: nn.Module) -> bool:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 0.0
    x = faces(2)
    with torch.no_grad():
        return not torch.equal(network.train()(x), network(x))


def test_dropout_acts_in_training_alone() -> None:
    assert changes_in_training(IResNet(8, (1, 1, 1, 1), dropout=0.5))
    assert not changes_in_training(IResNet(8, (1, 1, 1, 1)))
    assert build("iresnet18", dim=8, dropout=0.5).get_submodule("dropout").p == 0.5


@pytest.mark.parametrize(("drop_path", "mask", "changes"), [(0.5, 0.0, True), (0.0, 0.5, True), (0.0, 0.0, False)])
def test_drop_path_and_mask_act_in_training_alone(drop_path: float, mask: float, changes: bool) -> None:
    network = build("vit_t", dim=8, drop_path=drop_path, mask=mask)
    assert changes_in_training(network) == changes
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(faces()), network(faces()))


def test_patch_decides_the_number_of_tokens() -> None:
    assert on_meta("vit_t").tokens == 144
    assert on_meta("vit_t", patch=8).tokens == 196


def test_width_and_blocks_of_the_small_one() -> None:
    assert parameters(on_meta("small", width=48)) > 1.5 * parameters(on_meta("small"))
    assert parameters(on_meta("small", blocks=2)) > 1.5 * parameters(on_meta("small"))


def test_the_random_state_decides_the_start() -> None:
    first, second = build("small", dim=8), build("small", dim=8)
    torch.manual_seed(0)
    again = build("small", dim=8)
    weights = [m.get_parameter("feature.0.weight") for m in (first, second, again)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("iresnet51", {}, "no backbone 'iresnet51'; did you mean 'iresnet"),
        ("resnext", {}, "no backbone 'resnext'"),
        ("small", {"depth": 3}, "'small' has no option 'depth'; it has width, blocks"),
        ("mobilefacenet", {"width": 3}, "it has none"),
        ("iresnet18", {"blocks": (1, 1, 1, 1)}, "no option 'blocks'; it has dropout"),
        ("small", {"width": 0}, "at least 1"),
        ("small", {"dim": 0}, "dim is 0"),
        ("vit_t", {"patch": 0}, "patch is 0"),
        ("vit_t", {"mask": 1.0}, "mask is 1.0"),
        ("vit_t", {"drop_path": -0.1}, "drop_path is -0.1"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        build(name, **options)


# --- timm ---------------------------------------------------------------------------------------------------------------


class Pooled(nn.Module):
    """What timm gives for num_classes=0: a pooled feature."""

    def __init__(self, side: int, length: int) -> None:
        super().__init__()
        self.side = side
        self.layer = nn.Conv2d(3, length, 8, stride=8)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.side:
            raise AssertionError(f"Input height ({x.shape[-1]}) doesn't match model ({self.side}).")
        pooled: Tensor = self.layer(x).mean(dim=(2, 3))
        return pooled


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A stand-in for the package; gives the list of what was asked of it."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        asked.append((name, options))
        if name == "nothing":
            raise RuntimeError("Unknown model (nothing)")
        return Pooled(options.get("img_size", 224 if name.startswith("vit") else 112), 24)

    module = types.ModuleType("timm")
    module.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


def test_a_network_of_timm_gets_a_feature_of_the_length_asked_for(timm: list[tuple[str, dict[str, Any]]]) -> None:
    network = build("timm:some_net", dim=40, drop_rate=0.1)
    assert timm == [("some_net", {"pretrained": False, "drop_rate": 0.1, "num_classes": 0})]
    assert network.training
    assert network(faces(3)).shape == (3, 40)
    assert all(not isinstance(m, nn.Linear) or m.bias is None for m in network.modules())


def test_timm_s_refusals_are_ours(timm: list[tuple[str, dict[str, Any]]]) -> None:
    with pytest.raises(BadArgument, match=r"timm cannot make 'nothing'.*Unknown model"):
        build("timm:nothing")
    with pytest.raises(BadArgument, match=r"does not take 112 x 112 pixels.*img_size=112"):
        build("timm:vit_x")
    assert build("timm:vit_x", dim=8, img_size=112)(faces(2)).shape == (2, 8)


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ExtraMissing, match=r"'timm:resnet18' needs the package timm.*vultus\[timm\]"):
        build("timm:resnet18")


def test_a_timm_that_breaks_when_imported_is_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ExtraMissing, match=r"torchvision::nms does not exist.*fits the installed torch"):
        build("timm:resnet18")


def test_features_are_not_normalised() -> None:
    with torch.no_grad():
        lengths = build("small", dim=16).train()(faces(4)).norm(dim=1).numpy()
    assert not np.allclose(lengths, 1.0, atol=0.1)
