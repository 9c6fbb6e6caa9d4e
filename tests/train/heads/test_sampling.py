"""Classes that take part in a step: those of the batch, and others at random, alike on any number of ranks."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vultus.errors import BadArgument
from vultus.train import heads, nn
from vultus.train.heads.sampling import chosen_classes, draw


def off(found: Tensor, expected: Tensor) -> float:
    """Relative distance."""
    return float(((found - expected).norm() / expected.norm().clamp_min(1e-30)).detach())


@settings(deadline=None, max_examples=40)
@given(
    start=st.integers(0, 100),
    cut=st.integers(1, 60),
    more=st.integers(1, 60),
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**40),
)
def test_a_class_is_drawn_whatever_range_it_is_asked_for_in(
    start: int, cut: int, more: int, seed: int, step: int
) -> None:
    whole = draw(0, start + cut + more, rate=0.5, seed=seed, step=step)
    parts = [
        draw(0, start, rate=0.5, seed=seed, step=step),
        draw(start, start + cut, rate=0.5, seed=seed, step=step),
        draw(start + cut, start + cut + more, rate=0.5, seed=seed, step=step),
    ]
    assert np.array_equal(np.concatenate(parts), whole)


def test_draws_are_independent_between_classes_steps_and_seeds() -> None:
    n, rate = 20_000, 0.1
    draws = np.array([draw(0, n, rate=rate, seed=s, step=t) for s in (0, 1) for t in range(4)], dtype=float)
    deviation = np.sqrt(rate * (1 - rate) / n)
    assert np.abs(draws.mean(axis=1) - rate).max() < 5 * deviation
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(n)
    lagged = [np.corrcoef(d[:-k], d[k:])[0, 1] for d in draws for k in (1, 2, 4, 8)]
    assert np.abs(lagged).max() < 5 / np.sqrt(n)
    per_class = np.array([draw(0, 500, rate=0.5, seed=0, step=t) for t in range(400)], dtype=float).mean(axis=0)
    assert np.abs(per_class - 0.5).max() < 5 * 0.5 / np.sqrt(400)


def test_the_classes_of_the_batch_are_always_among_those_chosen() -> None:
    held = torch.tensor([99, 3, 3, 57])
    for step in range(20):
        chosen = chosen_classes(held, start=1000, stop=1100, rate=0.05, seed=1, step=step)
        assert set(held.tolist()) <= set(chosen.tolist())
        assert torch.equal(chosen, torch.unique(chosen))
        drawn = set(np.flatnonzero(draw(1000, 1100, rate=0.05, seed=1, step=step)).tolist())
        assert set(chosen.tolist()) == drawn | set(held.tolist())


@pytest.mark.parametrize("subcenters", [1, 3])
@pytest.mark.parametrize("name", ["ArcFace", "CurricularFace", "L2Softmax", "UniFace"])
def test_a_sampled_loss_is_that_of_a_dense_head_with_the_chosen_classes(
    cases: ModuleType, name: str, subcenters: int
) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(
        cases.DIM, cases.CLASSES, cases.made(name, cases.CLASSES).double(), sample_rate=0.4, subcenters=subcenters,
        deviation=0.3, chunk=5, decay="full",
    ).double()  # fmt: skip
    chosen = chosen_classes(labels, start=0, stop=cases.CLASSES, rate=0.4, seed=0, step=0)
    assert len(labels.unique()) < len(chosen) < cases.CLASSES
    loss = cases.made(name, cases.CLASSES).double()
    dense = heads.Dense(cases.DIM, len(chosen), loss, subcenters=subcenters).double()
    rows = (chosen[:, None] * subcenters + torch.arange(subcenters)).flatten()
    dense.weight.data.copy_(head.weight.detach()[rows])
    expected = cases.gradients(dense, features, torch.searchsorted(chosen, labels))
    found = cases.gradients(head, features, labels)
    for key, value in expected.items():
        if key in ("weight", "bias"):
            places = rows if key == "weight" else chosen
            rest = torch.ones(len(found[key]), dtype=torch.bool)
            rest[places] = False
            assert not found[key][rest].any()
            assert off(found[key][places], value) < 1e-11
        else:
            assert off(found[key], value) < 1e-11


def test_a_rate_of_1_is_no_sampling(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    results = [
        cases.gradients(heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), **options), features, labels)
        for options in ({}, {"sample_rate": 1.0}, {"sample_rate": 1.0, "decay": "full"})
    ]
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(value, other[name]), name


def test_evaluation_takes_all_classes_and_does_not_advance(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    sampled = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), sample_rate=0.2).eval()
    whole = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace())
    assert torch.equal(sampled(features, labels), whole(features, labels))
    assert sampled.step == 0
    sampled.train()(features, labels)
    assert sampled.step == 1


def test_the_step_and_the_seed_decide_what_is_drawn(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)

    def losses(seed: int, first: int) -> list[float]:
        head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), sample_rate=0.2, seed=seed)
        head.weight.data.copy_(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0)))
        head.step = first
        with torch.no_grad():
            return [float(head(features, labels)) for _ in range(3)]

    assert losses(0, 0) == losses(0, 0)
    assert losses(0, 0)[1:] == losses(0, 1)[:2]  # a run that is resumed draws what it would have drawn
    assert len({*losses(0, 0), *losses(1, 0)}) == 6


def test_lazy_decay_leaves_other_rows_alone(cases: ModuleType) -> None:
    """A fault seen in public code: under sampling, momentum and weight decay move rows that were not sampled."""
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(
        cases.DIM, cases.CLASSES, nn.L2Softmax(), sample_rate=0.2, optimizer=heads.SGD(0.1, 0.9, 0.1), deviation=0.3
    )
    for step in range(3):
        before = {name: value.clone() for name, value in head.rows_state().items()}
        chosen = chosen_classes(labels, start=0, stop=cases.CLASSES, rate=0.2, seed=0, step=step)
        out = torch.ones(cases.CLASSES, dtype=torch.bool)
        out[chosen] = False
        cases.trained(head, features, labels, steps=1)
        assert out.any()
        for name, value in head.rows_state().items():
            assert torch.equal(value[out], before[name][out]), name
            if not name.startswith("bias"):
                assert (value[chosen] != before[name][chosen]).any(dim=1).all()


@pytest.mark.parametrize("subcenters", [1, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_full_decay_is_torch_sgd_with_zeros_for_other_rows(cases: ModuleType, momentum: float, subcenters: int) -> None:
    features, labels = cases.batch(torch.float64)
    options: dict[str, Any] = {
        "sample_rate": 0.3, "decay": "full", "deviation": 0.3, "subcenters": subcenters, "chunk": 5
    }  # fmt: skip
    fused = heads.Chunked(
        cases.DIM, cases.CLASSES, nn.L2Softmax(), optimizer=heads.SGD(0.2, momentum, 0.1), **options
    ).double()
    plain = heads.Chunked(cases.DIM, cases.CLASSES, nn.L2Softmax(), **options).double()
    centres = [plain.weight, *([] if plain.bias is None else [plain.bias])]
    torch_sgd = torch.optim.SGD(centres, lr=0.2, momentum=momentum, weight_decay=0.1)
    for step in range(4):
        inputs = features.roll(step, dims=1)
        fused(inputs.clone().requires_grad_(), labels).backward()
        torch_sgd.zero_grad()
        plain(inputs.clone().requires_grad_(), labels).backward()
        torch_sgd.step()
    for one, other in zip((fused.weight, fused.bias), centres, strict=True):
        assert one is not None
        assert off(one, other) < 1e-11


def test_without_an_optimiser_lazy_gradients_are_sparse(cases: ModuleType) -> None:
    """A fault seen in public code: a gradient as large as all centres, though few of them take part."""
    features, labels = cases.batch(torch.float64)
    gradients = {}
    decays: tuple[Literal["lazy", "full"], ...] = ("lazy", "full")
    for decay in decays:
        head = heads.Chunked(
            cases.DIM, cases.CLASSES, nn.ArcFace(), sample_rate=0.3, decay=decay, deviation=0.3
        ).double()
        head(features, labels).backward()
        assert head.weight.grad is not None
        gradients[decay] = head.weight.grad
    chosen = chosen_classes(labels, start=0, stop=cases.CLASSES, rate=0.3, seed=0, step=0)
    assert gradients["lazy"].is_sparse
    assert torch.equal(gradients["lazy"].coalesce().indices()[0], chosen)
    assert torch.equal(gradients["lazy"].to_dense(), gradients["full"])
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), sample_rate=0.3, deviation=0.3).double()
    before = head.weight.detach().clone()
    sgd = torch.optim.SGD([head.weight], lr=0.1)
    head(features, labels).backward()
    sgd.step()
    assert off(before - head.weight, 0.1 * gradients["full"]) < 1e-12


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    with pytest.raises(BadArgument, match="sample_rate is"):
        heads.Chunked(4, 5, nn.ArcFace(), sample_rate=rate)
