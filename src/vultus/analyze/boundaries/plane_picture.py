"""Regions of two classes in the plane, for one loss after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vultus.analyze.boundaries.catalogue import Shown
from vultus.analyze.boundaries.closed import closed_boundary
from vultus.analyze.boundaries.figures import COLOURS, THEME, bare, caption, heading, sheet
from vultus.analyze.boundaries.margin import angular_margin
from vultus.analyze.boundaries.numeric import lead, loss_logits
from vultus.analyze.boundaries.pair import Pair
from vultus.errors import BadArgument
from vultus.train.loss import Loss

_GRID = 301
_DOTS = 5
_COLUMNS = 5


def draw_plane(shown: Sequence[Shown], pair: Pair) -> Any:
    """A figure with one panel for each loss."""
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    title = f"Regions of two classes whose centres are {math.degrees(pair.angle):.0f}° apart"
    if columns == 1:
        title = "Regions of two classes"
    figure = sheet(title, (2.4 * columns + 0.6, 3.1 * rows + 0.8))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, one in zip(panels, shown, strict=False):
        panel(axes, one, pair)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    caption(
        figure,
        "filled: where samples of class 1 (blue) and class 2 (orange) are accepted; lines: from the loss's logits; "
        "dots: by formula; dashes: where a binary loss rejects samples of other classes",
    )
    return figure


def panel(axes: Any, shown: Shown, pair: Pair) -> None:
    """The plane of one loss."""
    loss = shown.make()
    outer = 2 * shown.norm
    side = np.linspace(-outer, outer, _GRID)
    x, y = np.meshgrid(side, side)
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    points[np.abs(points).sum(axis=1) == 0] = outer * 1e-9
    bare(axes, outer)
    for label, colour in enumerate(COLOURS[:2]):
        ahead = lead(loss, points, pair.centres, label, biases=pair.biases).reshape(x.shape)
        axes.contourf(x, y, ahead, levels=[0, np.inf], colors=[colour], alpha=0.22)
        axes.contour(x, y, ahead, levels=[0], colors=[colour], linewidths=1.6)
        if loss.reduction == "binary":
            logit = loss_logits(loss, points, pair.centres, 1 - label, biases=pair.biases)[:, label]
            axes.contour(x, y, logit.reshape(x.shape), levels=[0], colors=[colour], linewidths=1.1, linestyles="dashed")
        dots = _dots(loss, pair, label, outer)
        axes.plot(
            *dots.T, linestyle="none", marker="o", markersize=4.2, color=colour, markeredgecolor="white", zorder=4
        )
        _centre(axes, pair, label, shown.norm if loss.unit_weights else shown.norm * pair.lengths[label], colour)
    heading(axes, shown.title, shown.equation)
    axes.set_xlabel(_told(loss, pair, shown), fontsize=9, color=THEME.ink)


def _dots(loss: Loss, pair: Pair, label: int, outer: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(k, 2) points of the closed form, or none where there is no closed form."""
    found = []
    own = pair if label == 0 else pair.swapped
    for norm in np.linspace(0.3, 1.25, _DOTS) * outer:
        for azimuth, sign in ((0.0, 1.0), (math.pi, -1.0)):
            try:
                angles = closed_boundary(loss, own, azimuth=azimuth, norm=norm)
            except BadArgument:
                continue
            at = sign * angles if label == 0 else pair.angle - sign * angles
            found.append(norm * np.stack([np.cos(at), np.sin(at)], axis=1))
    return np.concatenate(found) if found else np.empty((0, 2))


def _centre(axes: Any, pair: Pair, label: int, length: float, colour: str) -> None:
    at = 0.0 if label == 0 else pair.angle
    tip = (length * math.cos(at), length * math.sin(at))
    axes.annotate("", xy=tip, xytext=(0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8}, zorder=5)
    axes.annotate(
        f"$W_{label + 1}$",
        xy=tip,
        xytext=(2, -13) if label == 0 else (-17, -2),
        textcoords="offset points",
        color=colour,
        fontsize=10,
        zorder=6,
    )


def _told(loss: Loss, pair: Pair, shown: Shown) -> str:
    margin = angular_margin(loss, pair, norm=shown.norm)
    if margin is None:
        return "a centre lies outside its region"
    if loss.reduction == "binary":
        return "each class has its own boundary"
    where = f" at |x| = {shown.norm:g}" if shown.uses_length and abs(margin) > 1e-9 else ""
    return f"margin {math.degrees(abs(margin)):.1f}°{where}"
