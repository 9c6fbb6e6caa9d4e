"""Faces at another size: torch's own resampling as the oracle, regions against crops, and the edges."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from vultus.errors import BadArgument
from vultus.train.backbones import Resample


@pytest.mark.parametrize("size", [(152, 152), (39, 31), (56, 56), (224, 112)])
def test_it_is_the_interpolation_of_torch(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, 112, 112)
    expected = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
    found = Resample(size)(images)
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))  # torch cuts the filter off at the edge
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-5, rtol=0)


def test_growing_repeats_the_edge_as_torch_does() -> None:
    images = torch.rand(1, 1, 112, 112)
    expected = functional.interpolate(images, (152, 152), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Resample((152, 152))(images), expected, atol=1e-5, rtol=0)


def test_a_region_at_its_own_size_is_a_crop() -> None:
    images = torch.rand(2, 3, 112, 112)
    found = Resample((40, 31), region=(10, 20, 41, 60))(images)
    torch.testing.assert_close(found, images[:, :, 20:60, 10:41])


def test_beyond_the_edge_the_outermost_pixels_are_repeated() -> None:
    images = torch.rand(1, 3, 112, 112)
    found = Resample((112, 112), region=(-8, 0, 104, 112))(images)
    moved = functional.pad(images, (8, 0, 0, 0), mode="replicate")[..., :112]
    torch.testing.assert_close(found, moved)


def test_sources_of_another_size_are_taken() -> None:
    images = torch.rand(1, 3, 60, 80)
    expected = functional.interpolate(images, (90, 90), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Resample((90, 90), source=(60, 80))(images), expected, atol=1e-5, rtol=0)


def test_a_constant_stays_and_other_sizes_are_told() -> None:
    door = Resample((33, 29), region=(-5, 3, 90, 120))
    torch.testing.assert_close(door(torch.full((1, 3, 112, 112), 0.3)), torch.full((1, 3, 33, 29), 0.3))
    ready = torch.rand(1, 3, 33, 29)
    assert door(ready) is ready
    with pytest.raises(BadArgument, match="100 x 100"):
        door(torch.zeros(1, 3, 100, 100))
    with pytest.raises(BadArgument, match="region"):
        Resample((10, 10), region=(5, 5, 5, 9))
    with pytest.raises(BadArgument, match="size"):
        Resample((0, 10))
    assert not list(door.parameters())
    assert not door.state_dict()
