"""The plots of error rates: ROC, DET, scores, searches, discard and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vultus.evaluate.histogram import ScoreHistogram
from vultus.evaluate.metrics import probit
from vultus.evaluate.open_set import IdentificationResult
from vultus.evaluate.ratio_check import RatioCheck
from vultus.evaluate.report.curves import Curve
from vultus.evaluate.report.figures import SystemFigures
from vultus.evaluate.report.theme import SIZE, Theme, legend, legend_above, new_figure, note, style_axes
from vultus.evaluate.report.words import rate
from vultus.types import BoolArray, Float64Array

_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.8, 0.95)
_CLOSE_TICKS = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.95)  # where less than two decades show
_BAND = 0.16
_SMALL = 8.5


def _colours(theme: Theme) -> tuple[str, str]:
    return theme.one, theme.two


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A stretch of a curve that is drawn in one style; its bounds are NaN where there is no band."""

    name: str | None
    fmr: Float64Array
    fnmr: Float64Array
    low: Float64Array
    high: Float64Array
    line: Any
    width: float


def _parts(system: SystemFigures) -> list[_Part]:
    """Where the protocol's pairs support the rate, a line with a band; below that all cross-subject pairs, or dots."""
    curve, lowest = system.curve, 30.0 / system.curve.n_non_mated
    parts = [_part(curve, curve.fmr >= lowest * 0.999, system.label, "-", 1.8)]
    below = None if system.cross is None else system.cross.curve.fmr <= lowest * 1.1
    if system.cross is not None and below is not None and np.count_nonzero(below) > 1:
        name = f"{system.label}, all cross pairs"
        parts.append(_part(system.cross.curve, below, name, (0, (4, 1.2)), 1.8))
    else:
        parts.append(_part(curve, curve.fmr <= lowest, None, ":", 1.2))
    return [p for p in parts if len(p.fmr)]


def _part(curve: Curve, rows: BoolArray, name: str | None, line: Any, width: float) -> _Part:
    return _Part(name, curve.fmr[rows], curve.fnmr[rows], curve.low[rows], curve.high[rows], line, width)


def roc_plot(systems: Sequence[SystemFigures], theme: Theme) -> Any:
    """1 - FNMR against FMR on a log axis, bands of 95 %, and the points of the table with their intervals."""
    figure = new_figure(theme, title="ROC")
    axes = figure.subplots()
    style_axes(axes, theme, x="false match rate (FMR)", y="1 - FNMR, %")
    lowest, left = 1.0, 0.1
    for i, (system, colour) in enumerate(zip(systems, _colours(theme), strict=False)):
        aside = 1.0 if len(systems) == 1 else 1.035 ** (2 * i - 1)  # so that bars of two systems lie side by side
        for part in _parts(system):
            x, hit = part.fmr, 100 * (1 - part.fnmr)
            axes.plot(x, hit, color=colour, linestyle=part.line, linewidth=part.width, label=part.name)
            axes.fill_between(x, 100 * (1 - part.high), 100 * (1 - part.low), color=colour, alpha=_BAND, linewidth=0)
            lowest = min(lowest, _least(1 - part.high), _least(1 - part.fnmr))
            left = min(left, float(x[0]))
        for point in system.system.result.points:
            low, high = 100 * (1 - point.interval.high), 100 * (1 - point.interval.low)
            axes.plot([point.fmr * aside] * 2, [low, high], color=colour, linewidth=1.2)
            axes.plot([point.fmr * aside], [100 * (1 - point.fnmr)], "o", color=colour, markersize=4.5)
            lowest, left = min(lowest, low / 100), min(left, point.fmr)
    axes.set_xscale("log")
    ticks = [10.0**-k for k in range(9)] if left < 0.005 else [5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0]
    axes.xaxis.set_ticks(ticks, [rate(t) for t in ticks])
    axes.xaxis.set_ticks([], minor=True)
    axes.set_xlim(left * 0.8, 1.0)
    axes.set_ylim(_floor(lowest), 100 + 0.04 * (100 - _floor(lowest)))
    legend(axes, theme, place="lower right")
    return figure


def _least(values: Float64Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.min()) if len(known) else 1.0


def _floor(share: float) -> float:
    """A round percentage below the lowest share, so that the curve fills the plot."""
    gap = max(100 * (1 - share), 0.5)
    return max(0.0, 100 - 1.15 * gap)


def det_plot(systems: Sequence[SystemFigures], theme: Theme) -> Any:
    """FNMR against FMR, both on probit axes, with bands of 95 % over subjects."""
    figure = new_figure(theme, title="DET")
    axes = figure.subplots()
    style_axes(axes, theme, x="false match rate, %", y="false non-match rate, %")
    parts = [(part, colour) for s, colour in zip(systems, _colours(theme), strict=False) for part in _parts(s)]
    left = max(1e-7, 0.8 * min(float(p.fmr[0]) for p, _ in parts))
    known = np.concatenate([p.fnmr for p, _ in parts] + [p.low for p, _ in parts])
    known = known[known > 0]
    bottom = max(1e-6, 0.7 * float(known.min())) if len(known) else 1e-4
    top = min(0.95, max(0.5, 1.1 * max(float(np.nanmax(p.fnmr)) for p, _ in parts)))
    for part, colour in parts:
        x = probit(part.fmr)
        low, high = _probit_in(part.low, bottom), _probit_in(part.high, bottom)
        y = _probit_in(part.fnmr, 0.0)
        axes.plot(x, y, color=colour, linestyle=part.line, linewidth=part.width, label=part.name)
        axes.fill_between(x, low, high, color=colour, alpha=_BAND, linewidth=0)
    ends = probit(np.array([max(left, bottom), min(0.5, top)]))
    axes.plot(ends, ends, color=theme.muted, linewidth=0.9, linestyle=(0, (1, 3)))
    for axis, least in ((axes.xaxis, left), (axes.yaxis, bottom)):
        ticks = _TICKS if least < 0.003 else _CLOSE_TICKS
        axis.set_ticks(probit(np.array(ticks)).tolist(), [f"{100 * t:g}" for t in ticks])
    axes.set_xlim(*probit(np.array([left, 0.5])))
    axes.set_ylim(*probit(np.array([bottom, top])))
    if not len(known):
        note(axes, theme, "no mated comparison is missed at any threshold")
    legend(axes, theme, place="upper right")
    return figure


def _probit_in(rates: Float64Array, least: float) -> Float64Array:
    """Probits with NaN where a rate is unknown or, without a least rate, 0; other rates are raised to the least one."""
    raised = np.maximum(rates, least) if least > 0 else rates
    usable = (raised > 0) & (raised < 1)
    values = np.full(len(rates), np.nan)
    values[usable] = probit(raised[usable])
    return values


def score_plot(system: SystemFigures, theme: Theme) -> Any:
    """Scores of mated and non-mated comparisons, as they are and with a log axis for the tails, and the thresholds."""
    figure = new_figure(theme, title=f"Scores, {system.label}", size=(SIZE[0], 4.9))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    style_axes(top, theme, x="", y="share of comparisons, %")
    style_axes(bottom, theme, x="score", y="same, log axis")
    parts = [(system.mated, theme.one, "mated"), (system.non_mated, theme.two, "non-mated")]
    shares = [_share(h) for h, _, _ in parts]
    edges = system.mated.edges
    for axes in (top, bottom):
        for share, (_, colour, name) in zip(shares, parts, strict=True):
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35, label=name)
            axes.stairs(share, edges, color=colour, linewidth=1.2)
        if system.cross is not None:
            whole = _share(_coarser(system.cross.histogram, len(shares[0])))
            shares_all = np.append(shares, [whole], axis=0)
            axes.stairs(whole, edges, color=theme.three, linewidth=1.4, label="all cross pairs")
        else:
            shares_all = np.array(shares)
    least = min((float(s[s > 0].min()) for s in shares_all if (s > 0).any()), default=1e-2)
    bottom.set_ylim(max(1e-6, 0.5 * least), 2 * max(1e-2, float(shares_all.max())))
    bottom.set_yscale("log")  # after the limits: without a score there is nothing to scale by
    seen = np.flatnonzero(shares_all.sum(axis=0) > 0)
    if len(seen):
        bottom.set_xlim(float(edges[seen[0]]) - 0.03, float(edges[seen[-1] + 1]) + 0.03)
    else:
        note(top, theme, "no comparison has a score")
    _threshold_lines(system, (top, bottom), theme)
    legend_above(top, theme)
    return figure


def _share(histogram: ScoreHistogram) -> Float64Array:
    share: Float64Array = 100 * histogram.counts / max(1, histogram.comparisons)
    return share


def _coarser(histogram: ScoreHistogram, bins: int) -> ScoreHistogram:
    return ScoreHistogram(histogram.counts.reshape(bins, -1).sum(axis=1))


def _threshold_lines(system: SystemFigures, both: tuple[Any, Any], theme: Theme) -> None:
    top, bottom = both
    points = sorted((p for p in system.system.result.points if np.isfinite(p.threshold)), key=lambda p: p.threshold)
    for i, point in enumerate(points):
        for axes in (top, bottom):
            axes.axvline(point.threshold, color=theme.ink, linewidth=0.8, linestyle=(0, (3, 2)))
        top.annotate(
            rate(point.fmr),
            (point.threshold, 0.985 - 0.085 * (i % 4)),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=_SMALL,
            color=theme.ink,
        )


def discard_plot(systems: Sequence[SystemFigures], theme: Theme) -> Any:
    """FNMR at one threshold while the photos of lowest quality are left out."""
    figure = new_figure(theme, title="Error versus discard")
    axes = figure.subplots()
    style_axes(axes, theme, x="photos of lowest quality left out, %", y="FNMR of what remains, %")
    top = 0.0
    for system, colour in zip(systems, _colours(theme), strict=False):
        curve = system.discard
        if curve is None:
            continue
        label = f"{system.label}, FMR {rate(curve.point.fmr)}"
        axes.plot(100 * curve.shares, 100 * curve.fnmr, color=colour, linewidth=1.8, label=label)
        axes.fill_between(100 * curve.shares, 100 * curve.low, 100 * curve.high, color=colour, alpha=_BAND, linewidth=0)
        axes.axhline(100 * float(curve.fnmr[0]), color=colour, linewidth=0.9, linestyle=":")
        top = max(top, float(np.nanmax(curve.high)), float(np.nanmax(curve.fnmr)))
    axes.set_xlim(0, 50)
    axes.set_ylim(0, 105 * top or 1)
    legend(axes, theme, place="upper right")
    return figure


def reliability_plot(checks: Sequence[tuple[str, RatioCheck]], theme: Theme) -> Any:
    """Observed against stated probability of "mated", on log-odds axes, for subjects that the fit has not seen."""
    figure = new_figure(theme, title="Reliability of likelihood ratios")
    axes = figure.subplots()
    style_axes(axes, theme, x="stated probability of “one subject”", y="observed share")
    ticks = np.array([1e-4, 1e-3, 1e-2, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
    ends = (-10.0, 10.0)
    axes.plot(ends, ends, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    shown = [(f"{label}, {fit.name}", fit) for label, check in checks for fit in check.fits]
    if len(checks) > 1:
        shown = [(name, fit) for name, fit in shown if fit.name == "logistic"]
    colours = (theme.one, theme.two, theme.three)
    for i, ((name, fit), marker) in enumerate(zip(shown, "os^D", strict=False)):
        bins, colour = fit.bins, colours[i % 3]
        x = _logit(bins.stated) + 0.07 * (i - (len(shown) - 1) / 2)
        axes.vlines(x, _logit(bins.low), _logit(bins.high), color=colour, linewidth=1.4)
        axes.plot(x, _logit(bins.observed), marker, color=colour, markersize=5.5, label=name)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(_logit(ticks).tolist(), [f"{t:g}" for t in ticks])
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.tick_params(axis="x", labelrotation=35)
    legend(axes, theme, place="upper left")
    return figure


def _logit(p: Float64Array) -> Float64Array:
    """Log odds, those of 0 and 1 drawn at the ends of the axes."""
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    odds: Float64Array = np.clip(np.log(inside) - np.log1p(-inside), -9.7, 9.7)
    return odds


def cmc_plot(measured: Sequence[tuple[str, IdentificationResult]], theme: Theme) -> Any:
    """Share of mated searches that return their subject at each rank or better."""
    figure = new_figure(theme, title="CMC")
    axes = figure.subplots()
    style_axes(axes, theme, x="rank", y="searches that return their subject, %")
    lowest, longest = 1.0, 1
    for i, ((label, result), colour) in enumerate(zip(measured, _colours(theme), strict=False)):
        ranks, shares = np.arange(1, len(result.cmc) + 1), np.array(result.cmc)
        name = f"{label}, N = {result.gallery_size:,}"
        axes.plot(ranks, 100 * shares, "o-", color=colour, linewidth=1.8, markersize=4, label=name)
        low, high = result.rank_one_interval.low, result.rank_one_interval.high
        aside = 1.0 if len(measured) == 1 else 0.9 + 0.2 * i
        axes.plot([aside] * 2, [100 * low, 100 * high], color=colour, linewidth=1.4)
        lowest, longest = min(lowest, low, float(shares.min())), max(longest, len(shares))
    axes.set_xlim(0.5, longest + 0.5)
    axes.set_ylim(_floor(lowest), 100 + 0.04 * (100 - _floor(lowest)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend(axes, theme, place="lower right")
    return figure
