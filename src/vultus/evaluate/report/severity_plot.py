"""How errors grow with severity, one small plot for each factor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import SourceUnavailable
from vultus.evaluate.report.theme import LIGHT, new_figure, png, require_matplotlib, style_axes
from vultus.evaluate.severity import SeverityResult
from vultus.weights.lookup import write_atomically

_COLUMNS = 4
_BAND = 0.16


@export("vultus.evaluate.plot_severity")
def plot_severity(result: SeverityResult, path: str | os.PathLike[str]) -> None:
    """Draw FNMR against severity for each factor, with 95 % bands over subjects, into a PNG file.

    Raises:
        SourceUnavailable: the file cannot be written.
        VultusError: matplotlib is not installed.
    """
    require_matplotlib()
    factors, theme = result.factors, LIGHT
    columns = min(_COLUMNS, len(factors))
    rows = -(-len(factors) // columns)
    title = f"FNMR by severity: {result.pairs:,} mated pairs of {result.protocol}"
    figure = new_figure(theme, title=title, size=(2.7 * columns + 0.4, 2.5 * rows + 0.6))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, factor in zip(panels, factors, strict=False):
        cells = result.curve(factor)
        x = np.array([c.severity for c in cells])
        style_axes(panel, theme, x="severity", y="FNMR, %")
        panel.label_outer()
        panel.set_title(factor.replace("_", " "), fontsize=10.5, color=theme.ink, loc="left")
        for rate, colour in zip(result.thresholds, (theme.one, theme.two, theme.three), strict=False):
            low, high = (
                100 * np.array([getattr(c.fnmr_intervals[rate], side) for c in cells]) for side in ("low", "high")
            )
            panel.fill_between(x, low, high, color=colour, alpha=_BAND, linewidth=0)
            panel.plot(
                x,
                [100 * c.fnmr[rate] for c in cells],
                color=colour,
                marker="o",
                markersize=3.5,
                label=f"at FMR {rate:g}",
            )
        missing = 100 * np.array([c.failure_rate for c in cells])
        panel.plot(x, missing, color=theme.muted, linestyle=(0, (4, 1.5)), linewidth=1.2, label="no template")
        panel.set_ylim(-3, 103)
        panel.set_xticks(range(int(x.max()) + 1))
    for panel in panels[len(factors) :]:
        panel.set_axis_off()
    spare = panels[len(factors)] if len(factors) < len(panels) else panels[0]
    handles, names = panels[0].get_legend_handles_labels()
    spare.legend(
        handles,
        names,
        loc="center" if spare is not panels[0] else "upper left",
        frameon=False,
        fontsize=9.5,
        labelcolor=theme.ink,
    )
    try:
        write_atomically(Path(path), png(figure))
    except OSError as problem:
        raise SourceUnavailable(f"cannot write {os.fspath(path)!r}: {problem}") from problem
