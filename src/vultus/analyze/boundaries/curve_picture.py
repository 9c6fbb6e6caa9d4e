"""Curves over the angle to the own centre: psi, the target's logit, and its slope."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vultus.analyze.boundaries.catalogue import Shown
from vultus.analyze.boundaries.curves import slope_curve, target_curve
from vultus.analyze.boundaries.figures import THEME, heading, sheet
from vultus.evaluate.report.theme import style_axes
from vultus.train import functional

_INKS = ("#5c6771", "#0072b2", "#56b4e9", "#d55e00", "#00805c", "#cc79a7")
_DASHES: tuple[Any, ...] = ("solid", "solid", (0, (5, 1.5)), (0, (3, 1.2, 1, 1.2)), (0, (1.2, 1)), (0, (7, 2, 2, 2)))
_LEAST = 0.02  # radians from 0 and pi, where slopes leave the picture


def draw_curves(shown: Mapping[str, Shown]) -> Any:
    """A figure with psi, the target's logit, and its slope, exact and detached."""
    figure = sheet("The logit of the own class, by the angle to its centre", (10.6, 4.3))
    first, second, third = figure.subplots(1, 3)
    theta = np.linspace(0, math.pi, 721)
    degrees = np.degrees(theta)
    for margin in (1, 2, 3, 4):
        _line(first, degrees, functional.psi(torch.tensor(theta), margin=margin).numpy(), margin, f"m = {margin}")
        joints = np.arange(1, margin) * math.pi / margin
        first.plot(
            np.degrees(joints),
            functional.psi(torch.tensor(joints), margin=margin).numpy(),
            linestyle="none",
            marker="o",
            markersize=3.5,
            color=_INKS[margin],
        )
    style_axes(first, THEME, x="t, degrees", y="ψ(t)")
    heading(first, "ψ(t) = (−1)$^k$ cos(mt) − 2k; dots: k grows by 1")
    for i, one in enumerate(shown.values()):
        _line(second, degrees, target_curve(one.make(), theta, norm=one.norm), i, one.title)
        near = (theta >= _LEAST) & (theta <= math.pi - _LEAST)
        _line(third, degrees[near], slope_curve(one.make(), theta[near], norm=one.norm), i, one.title)
    style_axes(second, THEME, x="t, degrees", y="φ(t)")
    heading(second, "logit of the target / s")
    second.set_ylim(-2.15, 1.1)
    style_axes(third, THEME, x="t, degrees", y="dφ / d cos t")
    heading(third, "slope; dots: 1, where it is detached")
    third.axhline(1, color=THEME.ink, linewidth=0.9, linestyle=(0, (1, 2)))
    third.set(yscale="log", ylim=(0.08, 40))
    for axes in (first, second, third):
        axes.set_xticks(range(0, 181, 45))
    first.legend(fontsize=8.5, frameon=False, labelcolor=THEME.ink, loc="lower left")
    figure.legend(
        *second.get_legend_handles_labels(),
        loc="outside lower right",
        ncols=len(shown) if len(shown) <= 6 else 4,
        fontsize=8.5,
        frameon=False,
        labelcolor=THEME.ink,
        handlelength=2.6,
        columnspacing=1.4,
        title="middle and right:",
        title_fontsize=8.5,
        alignment="left",
    )
    return figure


def _line(axes: Any, x: Any, y: Any, which: int, label: str) -> None:
    turn = which // len(_INKS)  # after a round of colours each has another dash
    dash = _DASHES[(which + turn) % len(_DASHES)]
    axes.plot(x, y, color=_INKS[which % len(_INKS)], linestyle=dash, linewidth=1.7, label=label)
