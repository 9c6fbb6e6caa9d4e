"""Groups, decay, clipping and the scaling of float16 gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vultus.errors import BadArgument, NotFinite
from vultus.train.optim import build_optimizer, clip, gradient_length, parameter_groups, set_rate
from vultus.train.scaler import Scaler
from vultus.train.sections import Head, Optimizer


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(4, 2))


def decays(**options: object) -> dict[tuple[int, ...], float]:
    backbone, centres, bias, scale = (
        net(),
        nn.Parameter(torch.zeros(5, 2)),
        nn.Parameter(torch.zeros(5)),
        nn.Parameter(torch.zeros(())),
    )
    head = Head(**{k: v for k, v in options.items() if k in {"weight_decay"}}) if "weight_decay" in options else Head()  # type: ignore[arg-type]
    section = Optimizer(weight_decay=0.1, decay_norms=bool(options.get("decay_norms")))
    groups = parameter_groups(backbone, [centres, bias], [scale], optimizer=section, head=head)
    shapes: dict[tuple[int, ...], float] = {}
    for group in groups:
        for p in group["params"]:  # type: ignore[attr-defined]
            shapes[tuple(p.shape)] = group["weight_decay"]  # type: ignore[assignment]
    return shapes


def test_norms_biases_and_learned_numbers_are_not_decayed() -> None:
    found = decays()
    assert found == {(4, 3, 3, 3): 0.1, (2, 4): 0.1, (4,): 0.0, (2,): 0.0, (5, 2): 0.1, (5,): 0.0, (): 0.0}
    with_norms = decays(decay_norms=True)
    assert with_norms[(4,)] == with_norms[(2,)] == 0.1
    assert with_norms[(5,)] == with_norms[()] == 0.0
    assert decays(weight_decay=0.7)[(5, 2)] == 0.7


def test_every_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    backbone = net()
    backbone[0].weight.requires_grad_(False)
    groups = parameter_groups(backbone, [], [], optimizer=Optimizer(), head=Head())
    held = [id(p) for g in groups for p in g["params"]]  # type: ignore[attr-defined]
    assert sorted(held) == sorted(id(p) for p in backbone.parameters() if p.requires_grad)


def test_an_expanded_parameter_is_named_with_the_remedy() -> None:
    backbone = net()
    backbone[1].weight = nn.Parameter(torch.ones(1).expand(4))
    with pytest.raises(BadArgument, match=r"the optimiser writes '1.weight' in place.*1.weight.clone"):
        parameter_groups(backbone, [], [], optimizer=Optimizer(), head=Head())


def test_optimizers_are_torchs_with_the_recipes_numbers() -> None:
    groups = parameter_groups(net(), [], [], optimizer=Optimizer(), head=Head())
    sgd = build_optimizer(groups, Optimizer(lr=0.3, momentum=0.8, nesterov=True))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["momentum"] == 0.8
    assert sgd.defaults["nesterov"]
    adamw = build_optimizer(
        parameter_groups(net(), [], [], optimizer=Optimizer(), head=Head()),
        Optimizer(name="adamw", betas=(0.5, 0.6), eps=1e-3),
    )
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["betas"], adamw.defaults["eps"]) == ((0.5, 0.6), 1e-3)


def test_the_rate_of_a_group_is_its_factor_times_the_rate() -> None:
    groups = parameter_groups(net(), [nn.Parameter(torch.zeros(5, 2))], [], optimizer=Optimizer(), head=Head(lr=10.0))
    optimizer = build_optimizer(groups, Optimizer())
    set_rate(optimizer, 0.02)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.02, 0.02, 0.2])


def test_clipping_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = net(), net()
    theirs.load_state_dict(ours.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    length = gradient_length(ours.parameters())
    assert float(length) == pytest.approx(float(nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)), rel=1e-6)
    clip(ours.parameters(), length, longest=0.0)
    assert float(gradient_length(ours.parameters())) == pytest.approx(float(length))
    clip(ours.parameters(), length, longest=0.5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    clip(ours.parameters(), gradient_length(ours.parameters()), longest=100.0)
    assert float(gradient_length(ours.parameters())) == pytest.approx(0.5, rel=1e-5)
    assert float(gradient_length([])) == 0.0


def test_the_scaler_scales_what_flows_back_and_takes_it_away_again() -> None:
    scaler = Scaler(enabled=True, scale=1024.0)
    weight = nn.Parameter(torch.tensor([2.0, 3.0]))
    (scaler.attach(weight * 5) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(weight.grad, 1024 * 50 * weight.detach())
    scaler.release([weight])
    torch.testing.assert_close(weight.grad, 50 * weight.detach())
    off = Scaler(enabled=False)
    assert off.attach(weight) is weight
    off.update(overflow=True)
    assert off.scale == 1.0


def test_small_float16_gradients_survive_only_with_the_scaler() -> None:
    def gradient(scaler: Scaler) -> float:
        x = torch.tensor([1e-8], requires_grad=True)
        (scaler.attach(x.half().float()) * 1e-8).sum().backward()  # type: ignore[no-untyped-call]
        scaler.release([x])
        assert x.grad is not None
        return float(x.grad)

    assert gradient(Scaler(enabled=False)) == 0.0
    assert gradient(Scaler(enabled=True)) == pytest.approx(1e-8, rel=1e-2)


def test_the_scale_halves_on_overflow_doubles_with_patience_and_gives_up() -> None:
    scaler = Scaler(enabled=True, scale=8.0, patience=2)
    scaler.update(overflow=True)
    assert scaler.scale == 4.0
    scaler.update(overflow=False)
    state = scaler.state()
    scaler.update(overflow=False)
    assert scaler.scale == 8.0
    again = Scaler(enabled=True, patience=2)
    again.load(state)
    again.update(overflow=False)
    assert again.scale == 8.0

    def overflow_without_end() -> None:
        for _ in range(40):
            scaler.update(overflow=True)

    with pytest.raises(NotFinite, match="bf16"):
        overflow_without_end()
