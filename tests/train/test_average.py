"""The moving average against its formula, with expanded tensors, and put in and out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vultus.errors import BadArgument, CheckpointMismatch
from vultus.train import Ema
from vultus.train.owned import overlaps, require_own


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("warmup", [True, False])
def test_the_average_follows_its_formula(warmup: bool) -> None:
    net = module().double()
    ema = Ema(net, decay=0.9, warmup=warmup)
    expected = {n: t.detach().clone() for n, t in net.state_dict().items()}
    for t in range(5):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net(torch.randn(6, 3, dtype=torch.float64))
        ema.update(net)
        decay = min(0.9, (1 + t) / (10 + t)) if warmup else 0.9
        for name, value in net.state_dict().items():
            kept = expected[name]
            expected[name] = decay * kept + (1 - decay) * value if kept.is_floating_point() else value.clone()
    assert ema.updates == 5
    for name, value in ema.tensors().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_the_module_is_read_only_and_may_be_expanded() -> None:
    net = nn.Linear(3, 4)
    net.weight = nn.Parameter(torch.arange(3.0).expand(4, 3))
    ema = Ema(net, decay=0.5, warmup=False)
    ema.update(net)
    torch.testing.assert_close(ema.tensors()["weight"], torch.arange(3.0).expand(4, 3))
    assert ema.tensors()["weight"].is_contiguous()
    assert net.weight.stride() == (0, 1)


def test_writing_into_an_expanded_tensor_names_it_and_the_remedy() -> None:
    net = nn.Linear(3, 4)
    ema = Ema(net)
    net.weight = nn.Parameter(torch.arange(3.0).expand(4, 3))
    before = net.bias.detach().clone()
    with pytest.raises(BadArgument, match=r"'weight' in place.*expanded.*weight = weight.clone"):
        ema.copy_to(net)
    torch.testing.assert_close(net.bias, before)


def test_applied_puts_the_average_in_and_the_weights_back_bit_for_bit() -> None:
    net = module()
    ema = Ema(net, decay=0.5)
    for _ in range(2):
        with torch.no_grad():
            net.get_parameter("0.weight").add_(1.0)
        ema.update(net)
    own = {n: t.clone() for n, t in net.state_dict().items()}

    def fail_inside() -> None:
        with ema.applied(net):
            for name, value in net.state_dict().items():
                assert torch.equal(value, ema.tensors()[name])
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    for name, value in net.state_dict().items():
        assert torch.equal(value, own[name])


def test_a_saved_average_is_taken_over_or_refused_whole() -> None:
    net = module()
    ema, other = Ema(net), Ema(net)
    saved = {n: t + 1 for n, t in ema.tensors().items()}
    other.load(saved, updates=7)
    assert other.updates == 7
    assert all(torch.equal(other.tensors()[n], saved[n]) for n in saved)
    wrong = {**saved, "0.weight": torch.zeros(2, 2)}
    with pytest.raises(CheckpointMismatch, match=r"'0.weight' has shape \(2, 2\)"):
        ema.load(wrong, updates=1)
    with pytest.raises(CheckpointMismatch, match=r"differ in '0.bias'"):
        ema.load({n: t for n, t in saved.items() if n != "0.bias"}, updates=1)
    assert ema.updates == 0
    assert torch.equal(ema.tensors()["0.weight"], net.get_parameter("0.weight"))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(BadArgument, match="decay"):
        Ema(module(), decay=1.0)
    with pytest.raises(BadArgument, match="differ in"):
        Ema(module()).update(nn.Linear(2, 2))


def test_overlap_is_seen_in_any_layout() -> None:
    base = torch.arange(24.0)
    assert overlaps(base[:4].expand(3, 4))
    assert overlaps(base.as_strided((4, 3), (2, 1)))
    assert overlaps(torch.zeros(1).expand(5))
    for own in (
        base,
        base.view(4, 6).t(),
        base.view(2, 3, 4).permute(2, 0, 1),
        base[::3],
        torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.zeros(0, 3),
        torch.zeros(()),
        torch.zeros(1, 4)[:, :1],
    ):
        assert not overlaps(own)
        require_own([("t", own)], what="a test")


def test_tensors_count_as_overlapping_only_if_torch_agrees() -> None:
    generator = torch.Generator().manual_seed(0)
    base, seen = torch.arange(200.0), set()
    for _ in range(300):
        shape = torch.randint(1, 5, (3,), generator=generator).tolist()
        strides = torch.randint(0, 20, (3,), generator=generator).tolist()
        view = base.as_strided(shape, strides)
        shared = len(set(view.flatten().tolist())) < view.numel()
        seen.add(shared)
        if shared:
            assert overlaps(view)  # whatever shares memory is refused; a few odd layouts that do not are refused too
    assert seen == {True, False}
