"""Upsampling: worked values, adjoints, other implementations, and what the starts of the weights promise."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from vultus._export import Entry, forms
from vultus.errors import BadArgument
from vultus.train import upsample
from vultus.train.upsample import WAYS, Way

SQUARE = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def maps(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


# --- worked values ----------------------------------------------------------------------------------------------------


def test_bilinear_of_two_by_two() -> None:
    rows = upsample.bilinear(SQUARE)[0, 0]
    assert rows[0].tolist() == [1, 1.25, 1.75, 2]
    assert rows[:, 0].tolist() == [1, 1.5, 2.5, 3]
    assert rows[1].tolist() == [1.5, 1.75, 2.25, 2.5]


def test_bilinear_with_aligned_corners() -> None:
    rows = upsample.bilinear(SQUARE, align_corners=True)[0, 0]
    torch.testing.assert_close(rows[0], torch.tensor([1, 4 / 3, 5 / 3, 2]))
    assert rows[::3, ::3].tolist() == [[1, 2], [3, 4]]


def test_nearest_repeats() -> None:
    assert upsample.nearest(SQUARE)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_pixel_shuffle_takes_turns() -> None:
    """Four maps of one value each become one map of two by two, row by row."""
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1)
    assert upsample.pixel_shuffle(torch.ones(1, 1, 1, 1), weight)[0, 0].tolist() == [[1, 2], [3, 4]]


def test_unpool_puts_maxima_back() -> None:
    x = torch.tensor([[[[1.0, 5, 2, 0], [3, 4, 9, 1], [0, 0, 1, 1], [7, 0, 1, 8]]]])
    maxima, places = upsample.pool(x)
    assert maxima[0, 0].tolist() == [[5, 9], [7, 8]]
    assert places[0, 0].tolist() == [[1, 6], [12, 15]]
    assert upsample.unpool(maxima, places)[0, 0].tolist() == [[0, 5, 0, 0], [0, 0, 9, 0], [0, 0, 0, 0], [7, 0, 0, 8]]


def test_transposed_spreads_the_kernel() -> None:
    weight = torch.arange(1.0, 5).reshape(1, 1, 2, 2)
    rows = upsample.transposed(SQUARE, weight)[0, 0]
    assert rows.tolist() == [[1, 2, 2, 4], [3, 4, 6, 8], [3, 6, 4, 8], [9, 12, 12, 16]]


# --- laws and other implementations -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_transposed_is_the_adjoint_of_the_convolution(scale: int, more: int, h: int, w: int, seed: int) -> None:
    """<conv(x), y> = <x, transposed(y)>."""
    drawn = torch.Generator().manual_seed(seed)
    kernel = scale + more - 1
    weight = torch.randn(3, 2, kernel, kernel, generator=drawn, dtype=torch.float64)
    y = torch.randn(1, 3, h, w, generator=drawn, dtype=torch.float64)
    x = torch.randn(1, 2, h * scale, w * scale, generator=drawn, dtype=torch.float64)
    over = kernel - scale
    padded = functional.pad(x, ((over + 1) // 2, over // 2, (over + 1) // 2, over // 2))
    forward = functional.conv2d(padded, weight, stride=scale)
    assert forward.shape == y.shape
    assert float((forward * y).sum()) == pytest.approx(
        float((x * upsample.transposed(y, weight, scale=scale)).sum()), rel=1e-9, abs=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_unpooling_equals_torchs_and_pooling_undoes_it(scale: int, h: int, w: int, seed: int) -> None:
    x = torch.rand(2, 3, h * scale, w * scale, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    maxima, places = upsample.pool(x, scale=scale)
    spread = upsample.unpool(maxima, places, scale=scale)
    assert torch.equal(spread, functional.max_unpool2d(maxima, places, [scale, scale]))
    assert torch.equal(upsample.pool(spread, scale=scale)[0], maxima)
    assert torch.equal(spread[spread != 0], x[spread != 0])  # every maximum where it was


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_icnr_equals_nearest_at_the_start(scale: int) -> None:
    block = upsample.PixelShuffle(3, 5, scale=scale).double()
    x = maps(2, 3, 6, 7)
    first = functional.conv2d(x, block.weight[:: scale**2], padding=1)
    torch.testing.assert_close(block(x), upsample.nearest(first, scale=scale), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bilinear_start_equals_bilinear_inside(scale: int) -> None:
    side = 2 * scale - scale % 2
    weight = torch.zeros(2, 2, side, side, dtype=torch.float64)
    weight[0, 0] = weight[1, 1] = 1 / side  # each map for itself
    x = maps(1, 2, 6, 6)
    start = upsample.bilinear_start(weight, scale=scale)
    inner = slice(scale, -scale)
    found = upsample.transposed(x, start, scale=scale)[..., inner, inner]
    torch.testing.assert_close(found, upsample.bilinear(x, scale=scale)[..., inner, inner], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 7])
def test_the_phases_of_the_bilinear_start_have_one_sum(kernel: int) -> None:
    for scale in range(1, kernel + 1):
        start = upsample.bilinear_start(torch.ones(1, 1, kernel, kernel, dtype=torch.float64), scale=scale)
        sums = [float(start[0, 0, a::scale, b::scale].sum()) for a in range(scale) for b in range(scale)]
        assert sums == pytest.approx([float(kernel)] * scale**2)


def test_starts_leave_the_given_weight_alone() -> None:
    weight = maps(8, 3, 4, 4)
    before = weight.clone()
    assert not torch.equal(upsample.icnr(weight), weight)
    assert not torch.equal(upsample.bilinear_start(weight), weight)
    assert torch.equal(weight, before)


# --- the checkerboard -------------------------------------------------------------------------------------------------


def test_checkerboard_of_known_maps() -> None:
    flat = torch.full((1, 2, 24, 24), 3.0)
    board = flat * (torch.arange(24) % 2)
    assert upsample.checkerboard(flat) == 0
    assert upsample.checkerboard(board) == pytest.approx(0.5)  # values 0 and 3: a mean of 1.5 and as much about it
    assert upsample.checkerboard(board - 1.5) == pytest.approx(1.0)
    assert upsample.checkerboard(flat * 0) == 0


def test_checkerboard_is_the_energy_at_the_sampling_frequency() -> None:
    """By the Fourier transform of what lies within the border."""
    y = maps(1, 1, 36, 36)
    for scale, border in ((2, 3), (3, 2), (3, 0)):
        cut = border * scale
        inner = y[0, 0, cut : 36 - cut, cut : 36 - cut]
        power = torch.fft.fft2(inner).abs().square()
        step = len(inner) // scale
        share = (power[::step, ::step].sum() - power[0, 0]) / power.sum()
        assert upsample.checkerboard(y, scale=scale, border=border) == pytest.approx(float(share), rel=1e-9)


@every_way
def test_no_way_starts_with_a_checkerboard(way: Way) -> None:
    block = upsample.Upsample(8, 6, way=way)
    places = upsample.pool(torch.rand(1, 6, 128, 128))[1]
    found = upsample.checkerboard(block(torch.ones(1, 8, 64, 64), places))
    assert found < (1e-2 if way == "unpool" else 1e-12)  # maxima lie now here, now there in their cells


def test_random_starts_have_one() -> None:
    x = torch.ones(1, 8, 16, 16)
    assert upsample.checkerboard(upsample.PixelShuffle(8, 6, start="random")(x)) > 0.1
    assert upsample.checkerboard(upsample.Transposed(8, 6, start="random")(x)) > 0.1
    assert upsample.checkerboard(upsample.Transposed(8, 6, kernel=3)(x)) < 1e-12
    assert upsample.checkerboard(upsample.unpool(x, upsample.pool(torch.ones(1, 8, 32, 32))[1])) == pytest.approx(0.75)


def test_the_example_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[3] / "examples" / "upsampling.py"
    figures = runpy.run_path(str(example))["main"]()
    assert "[1.0, 1.333, 1.667, 2.0]" in capsys.readouterr().out
    assert max(figures[way] for way in WAYS) < 1e-3
    assert min(v for name, v in figures.items() if "random" in name) > 0.1


# --- the block, and both forms ----------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_block_has_the_promised_shape_and_learns(way: Way, scale: int) -> None:
    block = upsample.Upsample(4, 3, way=way, scale=scale)
    assert block.takes_indices == (way == "unpool")
    x = maps(2, 4, 5, 7, dtype=torch.float32).requires_grad_()
    places = upsample.pool(torch.rand(2, 3, 5 * scale, 7 * scale), scale=scale)[1]
    y = block(x, places)
    assert y.shape == (2, 3, 5 * scale, 7 * scale)
    y.square().sum().backward()
    assert x.grad is not None
    assert all(p.grad is not None and bool(p.grad.any()) for p in [*block.parameters()] if p.ndim > 1)


@every_way
def test_the_block_is_linear(way: Way) -> None:
    block = upsample.Upsample(3, 2, way=way).double()
    places = upsample.pool(maps(1, 2, 8, 8))[1]
    a, b = maps(1, 3, 4, 4), maps(1, 3, 4, 4)
    zero = block(torch.zeros_like(a), places)
    torch.testing.assert_close(block(a + 2 * b, places) + 2 * zero, block(a, places) + 2 * block(b, places))


PAIRS = [pair for pair in forms() if pair[0].name.startswith("vultus.train.upsample.")]


def made(kind: Any, **options: Any) -> Any:
    weights = {"inputs": 3, "outputs": 2} if "inputs" in inspect.signature(kind).parameters else {}
    return kind(**weights, **options).double()


def arguments(function: Any, module: Any, x: Tensor) -> dict[str, Any]:
    held = {name: getattr(module, name, None) for name in ("weight", "bias")}
    held["indices"] = upsample.pool(torch.rand(2, 3, x.shape[2] * 2, x.shape[3] * 2))[1]
    asked = inspect.signature(function).parameters.values()
    return {"x": x} | {p.name: held[p.name] for p in asked if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "x"}


def test_all_pairs_are_here() -> None:
    names = {kind.name.rpartition(".")[2] for _, kind in PAIRS}
    assert names == {"Nearest", "Bilinear", "PixelShuffle", "Pool", "Unpool", "Transposed"}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].name.rpartition(".")[2])
def test_function_and_module_agree(pair: tuple[Entry, Entry]) -> None:
    function, kind = cast("Any", pair[0].target), cast("Any", pair[1].target)
    module, x = made(kind), maps(2, 3, 4, 6)
    options = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    constructor = inspect.signature(kind).parameters
    assert options
    assert {name: constructor[name].default for name in options} == options
    given = arguments(function, module, x)
    results: list[tuple[Tensor, ...]] = []
    for call, extra in ((module, {}), (function, given | options)):
        leaf = x.clone().requires_grad_()
        own = {"x": leaf} | ({"indices": given["indices"]} if "indices" in given else {})
        found = call(**extra | own)
        y = found[0] if isinstance(found, tuple) else found
        results.append((y.detach(), *torch.autograd.grad(y.square().sum(), leaf)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].name.rpartition(".")[2])
def test_gradients_equal_finite_differences(pair: tuple[Entry, Entry]) -> None:
    function: Any = pair[0].target
    given = arguments(function, made(pair[1].target), maps(2, 3, 4, 4).requires_grad_())
    moving = [k for k, v in given.items() if isinstance(v, Tensor) and v.is_floating_point()]

    def call(*tensors: Tensor) -> Tensor:
        found = function(**given | dict(zip(moving, tensors, strict=True)))
        result: Tensor = found[0] if isinstance(found, tuple) else found
        return result

    assert torch.autograd.gradcheck(call, [given[k] for k in moving])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].name.rpartition(".")[2])
def test_the_scale_acts_and_inputs_may_be_expanded(pair: tuple[Entry, Entry]) -> None:
    function: Any = pair[0].target
    x = maps(1, 3, 6, 6)[:1].expand(2, 3, 6, 6)
    given = arguments(function, made(pair[1].target), x)
    copied = {k: v.clone() if isinstance(v, Tensor) else v for k, v in given.items()}
    first = function(**given)
    again = function(**copied)
    assert torch.equal(first[0], again[0])
    before = {k: v.clone() for k, v in given.items() if isinstance(v, Tensor)}
    assert all(torch.equal(given[k], v) for k, v in before.items())
    if function not in (upsample.pixel_shuffle, upsample.unpool):
        larger = function(**given, scale=3)
        size = larger[0].shape if isinstance(larger, tuple) else larger.shape
        assert size[2] == (2 if function is upsample.pool else 18)


def test_what_does_not_fit_is_refused() -> None:
    x = maps(1, 3, 4, 4)
    with pytest.raises(BadArgument, match=r"expected floating numbers \(n, c, h, w\)"):
        upsample.nearest(x[0])
    with pytest.raises(BadArgument, match="int64"):
        upsample.nearest(x.long())
    with pytest.raises(BadArgument, match="scale is 0"):
        upsample.bilinear(x, scale=0)
    with pytest.raises(BadArgument, match=r"expected \(o \* 4, 3, k, k\) with an odd k"):
        upsample.pixel_shuffle(x, maps(6, 3, 3, 3))
    with pytest.raises(BadArgument, match="multiples of 3"):
        upsample.pool(x, scale=3)
    with pytest.raises(BadArgument, match=r"indices are .*float64"):
        upsample.unpool(x, x)
    with pytest.raises(BadArgument, match=r"expected \(3, o, k, k\) with k at least 2"):
        upsample.transposed(x, maps(3, 2, 1, 1))
    with pytest.raises(BadArgument, match=r"multiple of 2\^2"):
        upsample.icnr(maps(6, 3, 3, 3))
    with pytest.raises(BadArgument, match="expected 1 to 3"):
        upsample.bilinear_start(maps(1, 1, 3, 3), scale=4)
    with pytest.raises(BadArgument, match="more than 4 cells"):
        upsample.checkerboard(maps(1, 1, 8, 8))
    with pytest.raises(BadArgument, match="no way 'cubic'"):
        upsample.Upsample(3, 3, way="cubic")  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="scale is 0"):
        upsample.Upsample(3, 3, scale=0)
    with pytest.raises(BadArgument, match="needs indices"):
        upsample.Upsample(3, 3, way="unpool")(x.float())
