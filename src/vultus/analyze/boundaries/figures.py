"""What the pictures of this room share: colours, arrows and the file."""

from __future__ import annotations

import io
import textwrap
from typing import Any

from PIL import Image

from vultus.evaluate.report.theme import LIGHT, new_figure

THEME = LIGHT
COLOURS = (THEME.one, THEME.two, THEME.three)  # of the classes of a pair or a triple
_DOTS = 130  # for each inch
_PALETTE = 256
_LETTERS = 13.5  # of a caption, for each inch


def sheet(title: str, size: tuple[float, float]) -> Any:
    """An empty figure."""
    figure = new_figure(THEME, title=title, size=size)
    figure.get_layout_engine().set(h_pad=0.09)
    return figure


def small_png(figure: Any) -> bytes:
    """PNG with a palette: these pictures have few colours."""
    whole, content = io.BytesIO(), io.BytesIO()
    figure.savefig(whole, format="png", dpi=_DOTS, facecolor=figure.get_facecolor(), metadata={"Software": None})
    drawn = Image.open(whole).convert("RGB")
    drawn.quantize(_PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        content, format="PNG", optimize=True
    )
    return content.getvalue()


def heading(axes: Any, title: str, below: str = "") -> None:
    """The title of a panel, and perhaps an equation under it."""
    axes.set_title(title + (f"\n{below}" if below else ""), fontsize=10, color=THEME.ink, linespacing=1.5)


def caption(figure: Any, text: str) -> None:
    """What the marks mean, under the panels, in as many lines as it takes."""
    wrapped = textwrap.fill(text, int(_LETTERS * figure.get_figwidth()))
    figure.supxlabel(wrapped, fontsize=9, color=THEME.muted, x=0.015, ha="left")


def bare(axes: Any, reach: float) -> None:
    """Equal axes without ticks."""
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(THEME.grid)
