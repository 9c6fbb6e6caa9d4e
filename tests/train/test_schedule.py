"""Learning rates against torch's own schedulers."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument
from vultus.train.schedule import rate_factor
from vultus.train.sections import Schedule

STEPS, EACH = 40, 10


def ours(schedule: Schedule, *, steps: int = STEPS) -> list[float]:
    return [rate_factor(schedule, t, steps=steps, steps_per_epoch=EACH) for t in range(steps)]


def torchs(make: object, *, steps: int = STEPS) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)  # type: ignore[operator]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (
            Schedule(name="cosine", final=0.1),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.1),
        ),
        (Schedule(name="poly", power=2.0), lambda o: torch.optim.lr_scheduler.PolynomialLR(o, STEPS, power=2.0)),
        (Schedule(name="poly", power=1.0), lambda o: torch.optim.lr_scheduler.PolynomialLR(o, STEPS, power=1.0)),
        (
            Schedule(name="step", at=(1, 2.5), factor=0.3),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 25], gamma=0.3),
        ),
        (Schedule(name="constant"), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
    ],
)
def test_the_curves_are_those_of_torch(schedule: Schedule, make: object) -> None:
    assert ours(schedule) == pytest.approx(torchs(make), abs=1e-12)


def test_warm_up_is_a_straight_line_and_the_curve_follows() -> None:
    rates = ours(Schedule(name="cosine", warmup=0.5))
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == pytest.approx([(1 + math.cos(math.pi * k / 35)) / 2 for k in range(35)])


def test_final_is_where_it_ends() -> None:
    assert ours(Schedule(name="poly", final=0.25, power=1.0), steps=1000)[-1] == pytest.approx(0.25 + 0.75 / 1000)


@given(
    name=st.sampled_from(["cosine", "poly", "constant"]),
    warmup=st.floats(0, 3),
    final=st.floats(0, 1),
    power=st.floats(0.5, 4),
)
def test_factors_rise_then_fall_within_0_and_1(name: str, warmup: float, final: float, power: float) -> None:
    rates = ours(Schedule(name=name, warmup=warmup, final=final, power=power))  # type: ignore[arg-type]
    top = rates.index(max(rates))
    assert all(0 <= r <= 1 for r in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_steps_outside_and_warm_ups_too_long_are_refused() -> None:
    for step in (-1, STEPS):
        with pytest.raises(BadArgument, match="expected 0 to 39"):
            rate_factor(Schedule(), step, steps=STEPS, steps_per_epoch=EACH)
    with pytest.raises(BadArgument, match="warm-up of 40 steps"):
        rate_factor(Schedule(warmup=4), 0, steps=STEPS, steps_per_epoch=EACH)


def test_torch_raises_no_warning_about_the_order_of_calls() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours(Schedule(warmup=1))
