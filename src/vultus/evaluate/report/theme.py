"""The look of the plots: colours that colour-blind readers can tell apart, on light and on dark paper."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from vultus.errors import VultusError

SIZE = (5.2, 4.0)
_DPI = 180
_TEXT = 10.5


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a plot.

    Args:
        paper, ink, muted, grid: background, text, secondary text and lines of the grid.
        one, two, three: of curves and filled areas, after Okabe and Ito's palette: blue, orange, green.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    one: str
    two: str
    three: str


LIGHT = Theme("#ffffff", "#1b2126", "#5c6771", "#e4e8eb", "#0072b2", "#d55e00", "#00805c")
DARK = Theme("#171b1f", "#e8ebed", "#a3adb6", "#2c3339", "#56b4e9", "#f0a030", "#2cc79b")


def require_matplotlib() -> None:
    """Refuse to start a report that could not draw its plots.

    Raises:
        VultusError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as problem:
        raise VultusError(
            "a report draws its plots with matplotlib, which is not installed; install it: pip install 'vultus[report]'"
        ) from problem


def new_figure(theme: Theme, *, title: str, size: tuple[float, float] = SIZE) -> Any:
    """An empty figure with its title at the upper left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=_DPI, facecolor=theme.paper, layout="constrained")
    figure.suptitle(title, x=0.015, ha="left", fontsize=_TEXT + 1.5, fontweight="bold", color=theme.ink)
    return figure


def style_axes(axes: Any, theme: Theme, *, x: str, y: str) -> None:
    """Labels, grid and frame of one pair of axes."""
    axes.set_facecolor(theme.paper)
    axes.set_xlabel(x, color=theme.ink, fontsize=_TEXT)
    axes.set_ylabel(y, color=theme.ink, fontsize=_TEXT)
    axes.tick_params(colors=theme.muted, labelsize=_TEXT - 1, which="both", length=3)
    axes.grid(visible=True, which="major", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(theme.muted)


def legend(axes: Any, theme: Theme, *, place: str = "best") -> None:
    """The legend of what has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc=place,
            fontsize=_TEXT - 1.5,
            labelcolor=theme.ink,
            facecolor=theme.paper,
            edgecolor=theme.grid,
            framealpha=0.9,
        )


def legend_above(axes: Any, theme: Theme) -> None:
    """The legend in one line above the axes, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        fontsize=_TEXT - 1.5,
        labelcolor=theme.ink,
        borderaxespad=0.2,
        borderpad=0,
        handlelength=1.6,
    )


def note(axes: Any, theme: Theme, text: str) -> None:
    """A sentence in the middle of axes that have nothing to show."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=theme.muted, fontsize=_TEXT, wrap=True
    )


def png(figure: Any) -> bytes:
    """The figure as a PNG file without a date, so that equal data give equal files."""
    content = io.BytesIO()
    figure.savefig(content, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return content.getvalue()
