"""Regions of three classes on the unit sphere, seen from above their middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vultus.analyze.boundaries.catalogue import Shown
from vultus.analyze.boundaries.closed import closed_boundary
from vultus.analyze.boundaries.figures import COLOURS, THEME, bare, caption, heading, sheet
from vultus.analyze.boundaries.numeric import lead
from vultus.analyze.boundaries.pair import Pair
from vultus.errors import BadArgument
from vultus.train.loss import Loss
from vultus.types import Float64Array

_PIXELS = 320
_COLUMNS = 3
_DOTS = 24
_LIGHT = np.array([-0.35, 0.45, 0.82])


def three_centres(angle: float) -> Float64Array:
    """(3, 3) unit vectors with this angle between any two, around the third axis; the angle is below 2 pi / 3.

    The distance from the axis follows from the chord: 2 sin(angle / 2) = sqrt(3) sin(tilt).
    """
    sine = 2 * math.sin(angle / 2) / math.sqrt(3)
    turns = math.pi / 2 + np.arange(3) * 2 * math.pi / 3
    height = np.full(3, math.sqrt(1 - sine**2))
    return np.stack([sine * np.cos(turns), sine * np.sin(turns), height], axis=1)


def closed_outline(loss: Loss, centres: Float64Array, label: int, *, norm: float, dots: int = _DOTS) -> Float64Array:
    """(k, 3) points of a class's boundary by formula: along each way from its centre, the end that comes first.

    None where the centre itself lies outside the region.

    Raises:
        BadArgument: there is no closed form.
    """
    own = centres[label]
    if lead(loss, norm * centres[label : label + 1], centres, label)[0] < 0:
        return np.empty((0, 3))
    found = []
    for turn in np.arange(dots) * 2 * math.pi / dots + 1e-3:
        ends = []
        for other in np.delete(centres, label, axis=0):
            angle = math.acos(float(np.clip(own @ other, -1, 1)))
            towards = _unit(other - (own @ other) * own)
            ahead, aside = _way(own, turn)
            azimuth = math.atan2(aside @ towards, ahead @ towards)
            ends += list(closed_boundary(loss, Pair(angle), azimuth=azimuth, norm=norm)[:1])
        if ends:
            ahead, _ = _way(own, turn)
            found.append(math.cos(min(ends)) * own + math.sin(min(ends)) * ahead)
    return np.array(found).reshape(-1, 3)


def _way(own: Float64Array, turn: float) -> tuple[Float64Array, Float64Array]:
    """Two unit vectors at right angles to a centre and to each other, turned around it."""
    first = _unit(np.cross(own, [0.0, 0.0, 1.0] if abs(own[2]) < 0.9 else [1.0, 0.0, 0.0]))
    second = np.cross(own, first)
    return (
        math.cos(turn) * first + math.sin(turn) * second,
        -math.sin(turn) * first + math.cos(turn) * second,
    )


def _unit(vector: Float64Array) -> Float64Array:
    result: Float64Array = vector / np.linalg.norm(vector)
    return result


def draw_spheres(shown: Sequence[Shown], angle: float) -> Any:
    """A figure with one sphere for each loss."""
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    title = f"Regions of three classes on the sphere, centres {math.degrees(angle):.0f}° apart"
    if columns == 1:
        title = "Regions on the sphere"
    figure = sheet(title, (2.9 * columns + 0.4, 3.3 * rows + 0.7))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, one in zip(panels, shown, strict=False):
        sphere_panel(axes, one, three_centres(angle))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    caption(
        figure,
        "coloured: where samples of a class are accepted, mixed where of two; grey: of none; dots: by formula",
    )
    return figure


def sphere_panel(axes: Any, shown: Shown, centres: Float64Array) -> None:
    """The sphere of one loss."""
    loss = shown.make()
    side = np.linspace(-1, 1, _PIXELS)
    x, y = np.meshgrid(side, side)
    inside = x**2 + y**2 < 1
    points = np.stack([x[inside], y[inside], np.sqrt(1 - x[inside] ** 2 - y[inside] ** 2)], axis=1)
    image = np.ones((*x.shape, 4))
    image[..., 3] = inside
    tints = np.stack([0.45 * _rgb(colour) + 0.55 for colour in COLOURS])
    accepted = np.stack([lead(loss, shown.norm * points, centres, label) >= 0 for label in range(len(COLOURS))], axis=1)
    by = accepted.sum(axis=1, keepdims=True)  # regions of a binary loss may overlap
    colours = np.where(by > 0, accepted @ tints / np.maximum(by, 1), _rgb("#d9dde0"))
    light = 0.86 + 0.14 * np.clip(points @ _unit(_LIGHT), 0, 1)
    image[inside, :3] = colours * light[:, None]
    bare(axes, 1.04)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.imshow(image, extent=(-1, 1, -1, 1), origin="lower", interpolation="bilinear")
    turn = np.linspace(0, 2 * math.pi, 241)
    axes.plot(np.cos(turn), np.sin(turn), color=THEME.muted, linewidth=0.8)
    for label, colour in enumerate(COLOURS):
        try:
            outline = closed_outline(loss, centres, label, norm=shown.norm)
        except BadArgument:
            outline = np.empty((0, 3))
        seen = outline[outline[:, 2] > 0]
        axes.plot(seen[:, 0], seen[:, 1], linestyle="none", marker="o", markersize=2.6, color=colour, zorder=4)
        axes.plot(*centres[label, :2], marker="o", markersize=6, color=colour, markeredgecolor="white", zorder=5)
        axes.annotate(
            f"$W_{label + 1}$",
            xy=centres[label, :2],
            xytext=(5, 4),
            textcoords="offset points",
            color=THEME.ink,
            fontsize=10,
            zorder=6,
        )
    heading(axes, shown.title, shown.equation)


def _rgb(colour: str) -> Float64Array:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
