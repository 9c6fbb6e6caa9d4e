"""Features in the plane that were trained under several losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vultus.analyze.boundaries.features import TrainedFeatures
from vultus.analyze.boundaries.figures import THEME, bare, caption, heading, sheet
from vultus.analyze.boundaries.numeric import lead
from vultus.errors import BadArgument

_COLUMNS = 4
_GRID = 200  # even: no point falls on 0, which has no direction
_INKS = (
    *("#0072b2", "#d55e00", "#00805c", "#cc79a7", "#56b4e9", "#e69f00", "#5c6771", "#8c510a", "#762a83", "#b2a800"),
)


def draw_features(trained: Mapping[str, TrainedFeatures], *, what: str) -> Any:
    """A figure with one panel for each loss: held-out samples, the direction of each class centre, and its region.

    Args:
        trained: by title.
        what: was trained on, for the title.

    Raises:
        BadArgument: features that are not of two numbers.
    """
    for title, features in trained.items():
        if features.features.shape[1] != 2:
            raise BadArgument(f"features of {title} have {features.features.shape[1]} numbers; expected 2")
    columns = min(_COLUMNS, len(trained))
    rows = -(-len(trained) // columns)
    figure = sheet(f"Features of two numbers: {what}", (2.7 * columns + 0.5, 3.1 * rows + 0.8))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, features) in zip(panels, trained.items(), strict=False):
        _panel(axes, title, features)
    for axes in panels[len(trained) :]:
        axes.set_axis_off()
    caption(
        figure,
        "points: held-out samples; lines: class centres; coloured: where samples of a class are accepted, white: margin; "
        "spread: median angle to the mean direction of the class; apart: median angle between mean directions of a class and "
        "the nearest other",
    )
    return figure


def _panel(axes: Any, title: str, trained: TrainedFeatures) -> None:
    held = trained.features[trained.held_out]
    labels = trained.labels[trained.held_out]
    outer = float(np.quantile(np.linalg.norm(held, axis=1), 0.99))
    bare(axes, outer * 1.28)
    side = np.linspace(-1.28 * outer, 1.28 * outer, _GRID)
    x, y = np.meshgrid(side, side)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    for c, name in enumerate(trained.names):
        ink = _INKS[c % len(_INKS)]
        ahead = lead(trained.loss, points, trained.centres, c, biases=trained.biases).reshape(x.shape)
        if ahead.max() >= 0:
            axes.contourf(x, y, ahead, levels=[0, np.inf], colors=[ink], alpha=0.16)
        axes.scatter(*held[labels == c].T, s=5, color=ink, linewidths=0, alpha=0.75)
        centre = trained.centres[c] / np.linalg.norm(trained.centres[c])
        axes.annotate(
            "", xy=outer * centre * 0.7, xytext=(0, 0), arrowprops={"arrowstyle": "-", "color": ink, "lw": 0.8}
        )
        where = outer * 1.16 * trained.directions[c]
        axes.text(*where, name.rsplit("-", 1)[-1].lstrip("0") or "0", color=ink, fontsize=9, ha="center", va="center")
    heading(axes, title)
    spread, apart = math.degrees(trained.spread), math.degrees(trained.separation)
    axes.set_xlabel(
        f"{trained.accuracy:.1%} right, spread {spread:.1f}°, apart {apart:.0f}°",
        fontsize=8.5,
        color=THEME.ink,
    )
