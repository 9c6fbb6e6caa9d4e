"""The loop of networks that are no face recognition: what it refuses, and what it does where a loss breaks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vultus.errors import CheckpointMismatch, NotFinite
from vultus.train import open_checkpoint
from vultus.train.fitting import Fit, Recipe, fit, load_weights, named
from vultus.train.sections import Average, Optimizer, Schedule


def recipe(folder: Path, *, kind: str = "line", steps: int = 60, decay: float = 0.0) -> Recipe:
    return Recipe(
        kind,
        Fit(str(folder), steps=steps, log_every=20, checkpoint_every=20, keep=2),
        Optimizer(lr=0.05, weight_decay=0.0),
        Schedule(name="constant"),
        Average(decay=decay),
        {"run": {"folder": str(folder)}},
        {"size": 2},
    )


def line(network: nn.Module, step: int) -> dict[str, Tensor]:
    """Fit y = 2 a - b + 1."""
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
    return named([("fit", (network(x)[:, 0] - (2 * x[:, 0] - x[:, 1] + 1)).square().mean())])


def start() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def test_a_line_is_fitted_and_what_is_saved_is_loaded(tmp_path: Path) -> None:
    network, plan = start(), recipe(tmp_path, steps=120, decay=0.5)
    result = fit(network, line, plan, parts=("fit",), resume=False)
    assert result.losses["loss"] == result.losses["fit"] < 1e-4
    assert network.weight[0].tolist() == pytest.approx([2, -1], abs=1e-2)
    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 2
    other = nn.Linear(2, 1)
    load_weights(other, open_checkpoint(tmp_path), plan)
    assert other.bias.tolist() == pytest.approx([1], abs=1e-2)
    lines = (tmp_path / "steps.csv").read_text().splitlines()
    assert lines[0] == "step,loss,fit,rate,gradient,seconds"
    assert [row.split(",")[0] for row in lines[1:]] == ["20", "40", "60", "80", "100", "120"]


def test_nothing_is_moved_where_a_loss_or_gradient_is_not_finite(tmp_path: Path) -> None:
    def broken(network: nn.Module, step: int) -> dict[str, Tensor]:
        found = line(network, step)
        return found if step < 25 else {"loss": found["loss"] * torch.nan, "fit": found["fit"] * torch.nan}

    def steep(network: nn.Module, step: int) -> dict[str, Tensor]:
        weight = next(iter(network.parameters()))
        return named([("fit", torch.sqrt((weight * 0).sum()))])

    network = start()
    with pytest.raises(NotFinite, match=r"step 25: the loss 'loss' is nan; lower optimizer\.lr"):
        fit(network, broken, recipe(tmp_path / "a"), parts=("fit",), resume=False)
    assert open_checkpoint(tmp_path / "a").step == 20
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
    before = [p.clone() for p in start().parameters()]
    network = start()
    with pytest.raises(NotFinite, match="step 0: the gradient"):
        fit(network, steep, recipe(tmp_path / "b"), parts=("fit",), resume=False)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))


def test_checkpoints_of_another_kind_or_network_are_refused(tmp_path: Path) -> None:
    fit(start(), line, recipe(tmp_path, steps=20), parts=("fit",), resume=False)
    with pytest.raises(CheckpointMismatch, match=r"is of a 'line'; expected one of a 'curve'"):
        fit(start(), line, recipe(tmp_path, kind="curve"), parts=("fit",), resume=True)
    with pytest.raises(CheckpointMismatch, match=r"average\.decay"):
        fit(start(), line, recipe(tmp_path, decay=0.9), parts=("fit",), resume=True)
    with pytest.raises(CheckpointMismatch, match="differ in 'bias'"):
        load_weights(nn.Linear(2, 1, bias=False), open_checkpoint(tmp_path), recipe(tmp_path))


def test_a_signal_ends_the_run_after_the_step_and_it_can_be_resumed(tmp_path: Path) -> None:
    def stopped(network: nn.Module, step: int) -> dict[str, Tensor]:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return line(network, step)

    network = start()
    result = fit(network, stopped, recipe(tmp_path), parts=("fit",), resume=False)
    assert (result.steps, result.stopped) == (8, True)
    whole, again = start(), start()
    fit(whole, line, recipe(tmp_path / "whole"), parts=("fit",), resume=False)
    assert fit(again, line, recipe(tmp_path), parts=("fit",), resume=True).steps == 60
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("name", ["steps", "batch", "log_every", "checkpoint_every", "keep"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        Fit("x", **{name: 0})
