from __future__ import annotations

import pytest
import torch
from torch import nn

from vultus.errors import BadArgument
from vultus.train import backbones
from vultus.train.backbones.resizing import Resample
from vultus.train.deepid import PATCHES, DeepID, Patch


def shapes(network: DeepID) -> dict[str, tuple[int, ...]]:
    return {name: tuple(maps.shape[1:]) for name, maps in network.maps(torch.zeros(1, 3, 112, 112)).items()}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_maps_of_deepid_are_those_of_figure_2() -> None:
    assert shapes(DeepID()) == {
        "input": (3, 39, 31),
        "conv1": (20, 36, 28),
        "pool1": (20, 18, 14),
        "conv2": (40, 16, 12),
        "pool2": (40, 8, 6),
        "conv3": (60, 6, 4),
        "pool3": (60, 3, 2),
        "conv4": (80, 2, 1),
    }
    square = shapes(DeepID(patch="nose/1/grey"))
    assert (square["input"], square["pool3"], square["conv4"]) == ((1, 31, 31), (60, 2, 2), (80, 1, 1))


def test_maps_of_deepid2_are_those_of_figure_1() -> None:
    network = backbones.build("deepid2", dim=160)
    assert isinstance(network, DeepID)
    found = shapes(network)
    assert found["input"] == (3, 55, 47)
    assert (found["conv1"], found["pool1"]) == ((20, 52, 44), (20, 26, 22))
    assert (found["conv2"], found["pool2"]) == ((40, 24, 20), (40, 12, 10))
    assert (found["conv3"], found["pool3"]) == ((60, 10, 8), (60, 5, 4))
    assert found["conv4"] == (80, 4, 3)


# By hand: (kernel * kernel * inputs + 1) * outputs for each set of shared weights; the feature (360 + 160 + 1) * 160 and so on.
RECTANGLE = {"conv1": 980, "conv2": 7_240, "conv3": 6 * 21_660, "conv4": 2 * 19_280, "feature": 83_360}
SQUARE = {"conv1": 980, "conv2": 7_240, "conv3": 4 * 21_660, "conv4": 19_280, "feature": (240 + 80 + 1) * 160}
TWO = {"conv1": 980, "conv2": 7_240, "conv3": 20 * 21_660, "conv4": 12 * 19_280, "feature": (1200 + 960 + 1) * 160}


@pytest.mark.parametrize(
    ("network", "counts", "total"),
    [
        (DeepID(), RECTANGLE, 260_100),
        (DeepID(patch="nose"), SQUARE, 165_500),
        (DeepID(size=(55, 47)), TWO, 1_018_540),
    ],
    ids=["39 x 31", "31 x 31", "55 x 47"],
)
def test_parameters_are_those_counted_by_hand(network: DeepID, counts: dict[str, int], total: int) -> None:
    assert {name: parameters(part) for name, part in network.named_children() if parameters(part)} == counts
    assert parameters(network) == total == sum(counts.values())
    classifier = nn.Linear(160, 10_177, device="meta")  # CelebFaces+ has 10,177 people
    assert parameters(classifier) == 161 * 10_177


def test_the_feature_sees_the_third_and_the_fourth_map() -> None:
    network = DeepID().double().eval()
    maps = network.maps(torch.rand(4, 3, 112, 112, dtype=torch.float64))
    weight, bias = network.feature.weight, network.feature.bias
    third, fourth = maps["pool3"].flatten(1), maps["conv4"].flatten(1)
    expected = (third @ weight[:, :360].T + fourth @ weight[:, 360:].T + bias).clamp(min=0)
    features = network(torch.zeros(4, 3, 112, 112, dtype=torch.float64))
    assert features.shape == (4, 160)
    torch.testing.assert_close(network.forward(maps["input"]), expected)
    assert (expected >= 0).all()
    assert (expected > 0).any()


@pytest.mark.parametrize("patch", PATCHES[::7], ids=str)
def test_only_pixels_of_the_patch_count(patch: Patch) -> None:
    network = DeepID(patch=str(patch)).eval()
    images = torch.rand(1, 3, 112, 112, requires_grad=True)
    network.maps(images)["input"].sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    seen = images.grad[0].abs().sum(0)
    rows, columns = seen.sum(1).nonzero().flatten(), seen.sum(0).nonzero().flatten()
    x0, y0, x1, y1 = patch.box()
    reach = 1 + max(1.0, (y1 - y0) / patch.size[0])
    for found, low, high in ((rows, y0, y1), (columns, x0, x1)):
        assert max(low, 0) - reach <= found.min() <= max(low, 0) + 1
        assert min(high, 112) - 2 <= found.max() <= min(high, 112) + reach


def test_grey_is_the_weighted_mean_of_the_colours() -> None:
    images = torch.rand(2, 3, 112, 112)
    grey = DeepID(patch="nose/1/grey").maps(images)["input"]
    colour = DeepID(patch="nose/1/rgb").maps(images)["input"]
    torch.testing.assert_close(
        grey, 0.299 * colour[:, :1] + 0.587 * colour[:, 1:2] + 0.114 * colour[:, 2:], rtol=1e-5, atol=1e-6
    )


def test_pictures_of_its_own_size_are_taken_as_they_are() -> None:
    network = DeepID(patch="left-eye").eval()
    images = torch.rand(3, 3, 112, 112)
    own = Resample((31, 31), region=Patch("left-eye").box())(images)
    torch.testing.assert_close(network(own), network(images))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (40, 31)}, "8 n \\+ 7"),
        ({"size": (23, 23)}, "8 n \\+ 7"),
        ({"size": (39,)}, "8 n \\+ 7"),
        ({"size": (39.5, 31)}, "8 n \\+ 7"),
        ({"channels": (20, 40, 60)}, "four whole numbers"),
        ({"channels": (20, 40, 60, 0)}, "four whole numbers"),
        ({"patch": "ear"}, "did you mean"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        backbones.build("deepid", dim=160, **options)


def test_options_act() -> None:
    network = backbones.build("deepid", dim=24, patch="nose/1/grey", channels=[4, 6, 8, 10], size=[39, 31], dropout=0.5)
    assert isinstance(network, DeepID)
    maps = network.maps(torch.zeros(1, 3, 112, 112))
    assert [maps[f"conv{i}"].shape[1] for i in (1, 2, 3, 4)] == [4, 6, 8, 10]
    images = torch.rand(2, 3, 112, 112)
    assert network(images).shape == (2, 24)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
