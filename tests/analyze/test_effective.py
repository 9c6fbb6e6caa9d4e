"""The effective receptive field by gradient, and the picture of fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vultus.analyze.receptive_field import PixelBox, draw_fields, effective_receptive_field, receptive_field
from vultus.analyze.receptive_field.picture import last_of_each_jump
from vultus.errors import BadArgument


def chain(depth: int) -> nn.Sequential:
    """3 x 3 convolutions of equal weights, one channel, no bias."""
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(depth)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    return nn.Sequential(*layers)


def test_equal_weights_give_the_binomial_of_the_paper() -> None:
    # Luo et al. 2016, section 2.3: the field of k x k kernels of ones is that of the coefficients of (1 + t + t^2)^depth
    found = effective_receptive_field(chain(3), input_size=(1, 21, 21), pictures=2)
    line = np.ones(1)
    for _ in range(3):
        line = np.convolve(line, np.ones(3))
    expected = np.zeros((21, 21))
    expected[7:14, 7:14] = np.outer(line, line) / line.max() ** 2
    np.testing.assert_allclose(found.weight, expected, atol=1e-6)
    assert found.seen == PixelBox(7, 7, 13, 13)
    assert found.unit == (10, 10)
    assert found.pixels == np.count_nonzero(expected > 1 - 0.9545)
    assert found.side == pytest.approx(found.pixels**0.5)
    assert found.share == pytest.approx(found.pixels / 49)


def test_it_grows_with_the_root_of_the_depth_and_its_share_shrinks() -> None:
    found = [effective_receptive_field(chain(depth), input_size=(1, 41, 41), pictures=1) for depth in (4, 16)]
    assert found[1].side / found[0].side == pytest.approx(2, rel=0.15)
    assert found[1].share < found[0].share


def test_a_linear_map_gives_the_lengths_of_its_columns() -> None:
    linear = nn.Linear(12, 500, bias=False)
    network = nn.Sequential(nn.Flatten(), linear)
    found = effective_receptive_field(network, "1", input_size=(1, 3, 4), unit=(7,), pictures=1)
    row = linear.weight[7].detach().abs().reshape(3, 4)
    np.testing.assert_allclose(found.weight, row / row.max(), rtol=1e-5)


def test_node_unit_images_and_seed_act() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    first = effective_receptive_field(network, "0", input_size=(3, 9, 9), unit=(0, 1), pictures=2)
    assert np.argwhere(first.weight).tolist() == [[r, c] for r in range(3) for c in range(1, 4)]
    assert first.pictures == 2
    one = effective_receptive_field(network, input_size=(3, 9, 9), seed=1, pictures=1)
    other = effective_receptive_field(network, input_size=(3, 9, 9), seed=2, pictures=1)
    again = effective_receptive_field(network, input_size=(3, 9, 9), seed=1, pictures=1)
    assert np.array_equal(one.weight, again.weight)
    assert not np.array_equal(one.weight, other.weight)
    dark = effective_receptive_field(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3)),
        input_size=(3, 9, 9),
        images=np.zeros((3, 3, 9, 9), dtype=np.float32),
    )
    assert dark.pictures == 3
    assert not dark.weight.any()  # ReLU at zero passes nothing
    assert all(p.grad is None for p in network.parameters())
    assert network.training
    assert first.to_dict()["unit"] == [0, 1]
    channel = effective_receptive_field(network, "2", input_size=(3, 9, 9), unit=(1, 2, 2), pictures=1)
    assert channel.weight.any()


def test_what_does_not_fit_is_refused() -> None:
    network = chain(1)
    for wrong in (
        {"name": "9"},
        {"unit": (9, 9)},
        {"pictures": 0},
        {"images": np.zeros((1, 1, 8, 9), dtype=np.float32)},
        {"images": np.zeros((0, 1, 9, 9), dtype=np.float32)},
    ):
        with pytest.raises(BadArgument):
            effective_receptive_field(network, input_size=(1, 9, 9), **wrong)


# --- picture ----------------------------------------------------------------------------------------------------------


def test_the_picture_marks_the_field_of_the_middle_unit() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU())
    fields = receptive_field(network, (3, 40, 48))
    assert last_of_each_jump(fields) == ["0", "2"]
    face = np.full((40, 48, 3), 90, dtype=np.uint8)
    drawn = np.asarray(draw_fields(fields, face, names=["0"], side=48))
    colour = (drawn == (0, 114, 178)).all(axis=2)
    panel = colour[44 : 44 + 40 + 24, 16:]  # margins of 12 pixels, one pixel of the picture each
    rows, columns = np.nonzero(panel.any(axis=1))[0], np.nonzero(panel.any(axis=0))[0]
    assert (rows[0] - 12, rows[-1] - 12) == (20 - 2, 20 + 3)
    assert (columns[0] - 12, columns[-1] - 12) == (24 - 2, 24 + 3)
    assert face.max() == 90


def test_the_picture_with_light_is_wider_and_dark_outside() -> None:
    fields = receptive_field(chain(2), (1, 30, 30))
    fields_of_colour = receptive_field(nn.Conv2d(3, 1, 3, padding=1), (3, 30, 30))
    face = np.full((30, 30, 3), 200, dtype=np.uint8)
    found = effective_receptive_field(chain(2), input_size=(1, 30, 30), pictures=1)
    plain = draw_fields(fields, face)
    lit = draw_fields(fields, face, effective=found)
    assert lit.width > 1.9 * plain.width
    pixels = np.asarray(lit)[44:, plain.width :]
    assert pixels.min() < 40
    assert draw_fields(fields_of_colour, face, side=900).width > plain.width
    for wrong in (face[1:], face.astype(np.float32)):
        with pytest.raises(BadArgument, match="expected"):
            draw_fields(fields, wrong)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="no node"):
        draw_fields(fields, face, names=["x"])
