"""How high is the learning rate at a step? Warm-up, then a curve; a function of the step alone, so nothing is to be resumed."""

from __future__ import annotations

import math

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.sections import Schedule


@export("vultus.train.rate_factor")
def rate_factor(schedule: Schedule, step: int, *, steps: int, steps_per_epoch: int) -> float:
    """The factor of the highest learning rate at a step.

    The warm-up rises in a straight line and reaches 1 in its last step. The curve then starts at 1 and would reach its end
    at step `steps`, one after the last.

    Args:
        schedule: the recipe's section.
        step: from 0.
        steps: of the whole run.
        steps_per_epoch: to turn epochs into steps.

    Raises:
        BadArgument: a step outside the run, or a warm-up longer than the run.
    """
    if not 0 <= step < steps:
        raise BadArgument(f"step {step} of a run of {steps}; expected 0 to {steps - 1}")
    warmup = round(schedule.warmup * steps_per_epoch)
    if warmup >= steps and warmup:
        raise BadArgument(f"a warm-up of {warmup} steps in a run of {steps}; shorten schedule.warmup or train longer")
    if step < warmup:
        return (step + 1) / warmup
    if schedule.name == "step":
        passed = sum(step >= round(epoch * steps_per_epoch) for epoch in schedule.at)
        return float(schedule.factor**passed)
    if schedule.name == "constant":
        return 1.0
    progress = (step - warmup) / (steps - warmup)
    curve = (1 + math.cos(math.pi * progress)) / 2 if schedule.name == "cosine" else (1 - progress) ** schedule.power
    return schedule.final + (1 - schedule.final) * float(curve)
