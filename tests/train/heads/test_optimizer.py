"""The optimiser inside the backward pass is torch.optim.SGD, row by row, and refuses memory that it cannot write."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import nn as layers

from vultus.errors import BadArgument, TrainingError
from vultus.train import heads, nn


def off(found: Tensor | None, expected: Tensor | None) -> float:
    """Relative distance."""
    assert found is not None
    assert expected is not None
    return float(((found - expected).norm() / expected.norm().clamp_min(1e-30)).detach())


@pytest.mark.parametrize("subcenters", [1, 3])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.0, 0.1), (0.9, 0.0), (0.9, 0.1)])
@pytest.mark.parametrize("loss", [nn.ArcFace, nn.L2Softmax])
def test_fused_sgd_is_that_of_torch(
    cases: ModuleType, loss: Any, momentum: float, weight_decay: float, subcenters: int
) -> None:
    features, labels = cases.batch(torch.float64)
    sizes: dict[str, Any] = {"subcenters": subcenters, "deviation": 0.3, "chunk": 9}
    fused = heads.Chunked(
        cases.DIM, cases.CLASSES, loss(), optimizer=heads.SGD(0.3, momentum, weight_decay), **sizes
    ).double()
    plain = heads.Dense(cases.DIM, cases.CLASSES, loss(), subcenters=subcenters, deviation=0.3).double()
    own = list(fused.loss.parameters())
    torch_sgd = torch.optim.SGD(
        [p for n, p in plain.named_parameters() if not n.startswith("loss.")],
        lr=0.3, momentum=momentum, weight_decay=weight_decay,
    )  # fmt: skip
    for step in range(4):
        rate = 0.3 / (1 + step)
        assert fused.optimizer is not None
        fused.optimizer.lr = torch_sgd.param_groups[0]["lr"] = rate
        batch = [features.roll(step, dims=1).clone().requires_grad_() for _ in range(2)]
        fused(batch[0], labels).backward()
        torch_sgd.zero_grad()
        plain(batch[1], labels).backward()
        torch_sgd.step()
        assert off(batch[0].grad, batch[1].grad) < 1e-12
        assert fused.weight.grad is None
        assert all(p.grad is not None for p in own)  # the loss's own numbers are left to an optimiser outside
    assert off(fused.weight, plain.weight) < 1e-13
    if plain.bias is not None:
        assert off(fused.bias, plain.bias) < 1e-12
    if momentum:
        state = torch_sgd.state[plain.weight]["momentum_buffer"]
        assert off(fused.momentum, state) < 1e-12


def test_only_backward_moves_the_centres(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), optimizer=heads.SGD(0.1, 0.9))
    before = head.weight.detach().clone()
    loss = head(features.requires_grad_(), labels)
    with torch.no_grad():
        head(features, labels)
    assert torch.equal(head.weight, before)
    loss.backward()
    assert not torch.equal(head.weight, before)


def test_accumulation_under_a_fused_optimiser_is_refused_and_not_computed_wrongly(cases: ModuleType) -> None:
    """A fault seen in public code: gradients that accumulate are not divided. Here two steps would be taken."""
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), optimizer=heads.SGD(0.1))
    first, second = (head(features.clone().requires_grad_(), labels) / 2 for _ in range(2))
    first.backward()
    after = head.weight.detach().clone()
    with pytest.raises(TrainingError, match="changed between this forward pass and its backward pass"):
        second.backward()
    assert torch.equal(head.weight, after)


def test_a_step_between_forward_and_backward_is_noticed(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace())
    loss = head(features.requires_grad_(), labels)
    with torch.no_grad():
        head.weight.mul_(2)
    with pytest.raises(TrainingError, match="call backward before the next step"):
        loss.backward()


def test_momentum_may_begin_later(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.L2Softmax()).double()
    assert set(head.rows_state()) == {"weight", "bias"}
    head.optimizer = heads.SGD(0.1, momentum=0.9)
    cases.trained(head, features, labels, steps=1)
    assert set(head.rows_state()) == {"weight", "bias", "momentum", "bias_momentum"}
    assert head.momentum is not None
    assert head.momentum.any()


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"lr": float("nan")}, {"lr": 0.1, "momentum": 1.0}, {"lr": 0.1, "weight_decay": -0.1}]
)
def test_numbers_of_sgd_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadArgument, match="expected numbers of at least 0"):
        heads.SGD(**wrong)


# --- expanded tensors ---------------------------------------------------------------------------------------------------


def test_torch_refuses_to_write_an_expanded_tensor() -> None:
    """The error that users meet: what the head's own refusal stands in for."""
    weight = torch.randn(1, 4).expand(3, 4)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        weight.add_(1)


@pytest.mark.parametrize("which", ["weight", "momentum"])
def test_an_expanded_weight_or_momentum_is_named_with_the_remedy(cases: ModuleType, which: str) -> None:
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), optimizer=heads.SGD(0.1, 0.9))
    expanded = torch.ones(1, cases.DIM).expand(cases.CLASSES, cases.DIM)
    setattr(head, which, layers.Parameter(expanded) if which == "weight" else expanded)
    for use in (
        lambda: head(features.requires_grad_(), labels),
        lambda: head.load_rows(lambda name, start, stop: torch.ones(stop - start, cases.DIM)),
    ):
        with pytest.raises(BadArgument, match=f"'{which}'") as refused:
            use()
        assert f"{which} = {which}.clone(memory_format=torch.contiguous_format)" in str(refused.value)
    own = expanded.clone(memory_format=torch.contiguous_format)
    setattr(head, which, layers.Parameter(own) if which == "weight" else own)
    cases.trained(head, features, labels, steps=1)  # the remedy


def test_an_expanded_weight_can_be_learned_from_without_a_fused_optimiser(cases: ModuleType) -> None:
    """Nothing is written in place then."""
    features, labels = cases.batch(torch.float64)
    results = []
    for own in (False, True):
        head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), chunk=9).double()
        expanded = torch.ones(1, cases.DIM, dtype=torch.float64).expand(cases.CLASSES, cases.DIM)
        head.weight = layers.Parameter(expanded.clone() if own else expanded)
        results.append(cases.gradients(head, features, labels))
    for name, value in results[0].items():
        assert off(value, results[1][name]) < 1e-12, name


@pytest.mark.parametrize("kind", [heads.Dense, heads.Chunked, heads.Sharded])
def test_expanded_and_overlapping_inputs_are_accepted_and_not_written(cases: ModuleType, kind: Any) -> None:
    head = kind(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=0.3).double()
    row = torch.arange(1.0, cases.DIM + 1, dtype=torch.float64)
    windows = torch.arange(20.0 + cases.DIM, dtype=torch.float64).unfold(0, cases.DIM, 1)[:6]
    for features in (row.expand(6, cases.DIM), windows, windows.flip(0).t().contiguous().t()):
        labels = torch.tensor(3).expand(6)
        before = features.clone()
        found = head(features, labels)
        assert torch.equal(found, head(before.contiguous(), torch.full((6,), 3)))
        assert torch.equal(features, before)
        assert torch.equal(labels, torch.full((6,), 3))


def test_gradients_reach_what_was_expanded(cases: ModuleType) -> None:
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=0.3).double()
    row = torch.arange(1.0, cases.DIM + 1, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(6)
    head(row.expand(6, cases.DIM), labels).backward()
    whole = row.detach().repeat(6, 1).requires_grad_()
    head(whole, labels).backward()
    assert whole.grad is not None
    assert off(row.grad, whole.grad.sum(0)) < 1e-13


# --- copies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [copy.deepcopy, lambda head: pickle.loads(pickle.dumps(head))])
def test_a_copy_goes_on_by_itself(cases: ModuleType, again: Any) -> None:
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), optimizer=heads.SGD(0.1, 0.9), sample_rate=0.5)
    cases.trained(head, features, labels, steps=1)
    other = again(head)
    before = head.weight.detach().clone()
    cases.trained(other, features, labels, steps=1)
    assert torch.equal(head.weight, before)
    cases.trained(head, features, labels, steps=1)
    assert torch.equal(head.weight, other.weight)


def test_a_state_dict_holds_centres_and_momentum(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    one, other = (
        heads.Chunked(cases.DIM, cases.CLASSES, nn.L2Softmax(), optimizer=heads.SGD(0.1, 0.9), seed=seed)
        for seed in (1, 2)
    )
    cases.trained(one, features, labels, steps=2)
    other.load_state_dict(one.state_dict())
    for head in (one, other):
        cases.trained(head, features, labels, steps=1)
    for name, value in one.rows_state().items():
        assert torch.equal(value, other.rows_state()[name]), name
