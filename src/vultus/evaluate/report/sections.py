"""The parts of a page that hold figures: tables, plots with their captions, and what identifies data and systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vultus.evaluate.comparison import SystemComparison
from vultus.evaluate.intervals import Interval
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.ratio_check import RatioCheck
from vultus.evaluate.report import plots
from vultus.evaluate.report.figures import SystemFigures
from vultus.evaluate.report.markup import Markup, element, join, long, over, paragraph, plot, section, table
from vultus.evaluate.report.pictures import data_uri
from vultus.evaluate.report.record import DataIdentity
from vultus.evaluate.report.summary import refused
from vultus.evaluate.report.theme import DARK, LIGHT, SIZE, Theme, png
from vultus.evaluate.report.words import bounds, one_in, percent, rate, signed

_PIXELS = 100  # of the page for an inch of a plot


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A plot as a file and as a part of the page."""

    file: str
    content: bytes
    markup: Markup


def draw(name: str, make: Callable[[Theme], Any], *, alt: str, caption: str) -> Drawing:
    """Draw a plot on light and on dark paper; the light one is the file."""
    light, dark = png(make(LIGHT)), png(make(DARK))
    width, height = (int.from_bytes(light[at : at + 4], "big") for at in (16, 20))
    shown = round(SIZE[0] * _PIXELS)
    size = shown, round(shown * height / width)
    markup = plot(data_uri(light, "image/png"), data_uri(dark, "image/png"), alt=alt, caption=caption, size=size)
    return Drawing(f"{name}.png", light, markup)


# --- error rates ------------------------------------------------------------------------------------------------------


def rates_section(systems: Sequence[SystemFigures]) -> Markup:
    """Single figures, FNMR at FMR, and what was refused."""
    rows = []
    for figures in systems:
        named = [("accuracy over folds", figures.accuracy), ("equal error rate", figures.eer), ("AUC", figures.auc)]
        named.append(("failures to enrol", figures.enrolment))
        for name, figure in named:
            if figure is not None:
                interval = "none" if figure.interval is None else bounds(figure.interval, like=figure.value)
                label = f"{figures.label}: {name}" if len(systems) > 1 else name
                rows.append([label, percent(figure.value), interval, long(figure.reason)])
    parts: list[str] = [
        table("Single figures", ["figure", "value", "95 % interval", "how the interval was made"], rows)
    ]
    for figures in systems:
        deviation = figures.system.result.accuracy_std
        error = figures.system.result.accuracy_standard_error
        if deviation is not None and error is not None:
            parts.append(
                paragraph(
                    f"{figures.label}: over the folds the accuracy has a standard deviation of {percent(deviation)} and a "
                    f"standard error of {percent(error)}, as papers quote it; these describe the folds and have no interval."
                )
            )
    parts += [_points(figures) for figures in systems]
    parts.append(refused(systems))
    notes = [element("li", note) for note in _notes(systems)]
    parts += [element("h3", "Notes"), element("ul", *notes)] if notes else []
    return section("rates", "Error rates", *parts)


def _points(figures: SystemFigures) -> Markup:
    head = ["FMR", "FNMR", "95 % interval", "threshold", "FMR reached", "non-mated comparisons", "threshold from"]
    rows = [
        [
            f"{rate(p.fmr)} ({one_in(p.fmr)})",
            percent(p.fnmr),
            f"{bounds(p.interval, like=p.fnmr)}",
            f"{p.threshold:.4f}",
            rate(p.reached),
            f"{p.comparisons:,}",
            long(p.source),
        ]
        for p in sorted(figures.system.result.points, key=lambda p: -p.fmr)
    ]
    if not rows:
        return paragraph(f"{figures.label}: the data support none of the false match rates that were asked for.")
    methods = dict.fromkeys(p.interval.method for p in figures.system.result.points)
    caption = (
        f"{figures.label}: share of mated comparisons missed (FNMR) at thresholds that keep a false match rate (FMR). "
        f"Intervals over subjects ({'; '.join(methods)}). The FMR reached is what the threshold gave on the comparisons that "
        "it was chosen on"
    )
    return table(caption, head, rows)


def _notes(systems: Sequence[SystemFigures]) -> list[str]:
    return list(dict.fromkeys(note for s in systems for note in s.system.result.notes))


def curve_drawings(systems: Sequence[SystemFigures], *, replicates: int) -> list[Drawing]:
    """ROC, DET and the scores of each system."""
    band = (
        f"Bands: each of {replicates:,} draws of subjects, with replacement and for both sides of a pair, gives FNMR at its "
        "own threshold for each FMR; the band holds the middle 95 %."
    )
    names = " and ".join(s.label for s in systems)
    found = [
        draw(
            "roc",
            lambda theme: plots.roc_plot(systems, theme),
            alt=f"ROC curve of {names}: 1 - FNMR against FMR on a logarithmic axis",
            caption=f"Higher is better. Dots with bars are the rows of the table. {band} Dotted: too few comparisons for a "
            "figure.",
        ),
        draw(
            "det",
            lambda theme: plots.det_plot(systems, theme),
            alt=f"DET curve of {names}: FNMR against FMR, both on probit axes",
            caption="Lower is better; normally distributed scores would give straight lines. The dotted diagonal is where "
            "both rates are equal. Bands as in the ROC.",
        ),
    ]
    for i, system in enumerate(systems):
        found.append(
            draw(
                "scores" if i == 0 else "scores-other",
                lambda theme, s=system: plots.score_plot(s, theme),  # type: ignore[misc]
                alt=f"histograms of the scores of mated and non-mated comparisons by {system.label}",
                caption="Dashed: the thresholds of the table, named by their FMR. The lower half shows the same shares on a "
                "logarithmic axis, where the tails that make the errors can be seen.",
            )
        )
    return found


def comparison_section(comparison: SystemComparison, labels: Sequence[str]) -> Markup:
    """Paired differences with their intervals."""
    rows = []
    for f in comparison.figures:
        interval = f.difference.interval
        value, between = signed(f.difference.value, interval.low, interval.high)
        better = {"one": labels[0], "other": labels[1], None: "not told apart"}[f.better]
        rows.append([f.name, percent(f.value), percent(f.other), value, between, better, long(f.source)])
    head = ["figure", *labels, "difference", "95 % interval", "better", "comparisons"]
    caption = (
        f"{labels[0]} minus {labels[1]} in percentage points. Both systems see the same {comparison.replicates:,} draws of "
        "subjects; in each draw each finds its own thresholds"
    )
    items = [element("li", element("strong", f"{name}: "), why) for name, why in comparison.refused.items()]
    return section(
        "comparison",
        "The two systems compared",
        table(caption, head, rows),
        join([element("h3", "Not compared"), element("ul", *items)]) if items else "",
    )


# --- identification ---------------------------------------------------------------------------------------------------


def searches_section(systems: Sequence[SystemFigures]) -> tuple[Markup, list[Drawing]]:
    """CMC and FNIR at FPIR of the systems whose searches were measured."""
    measured = [(s.label, s.system.searches) for s in systems if s.system.searches is not None]
    if not measured:
        return Markup(""), []
    drawing = draw(
        "cmc",
        lambda theme: plots.cmc_plot(measured, theme),
        alt=f"CMC curve of {' and '.join(label for label, _ in measured)}: share of searches that find their subject by rank",
        caption="Share of the searches for an enrolled subject that return that subject at this rank or better, with no "
        "threshold. The bar at rank 1 is a 95 % interval over subjects; further ranks repeat the same searches and have "
        "none of their own.",
    )
    parts: list[str] = [element("div", drawing.markup, class_="plots")]
    for label, result in measured:
        rows = [
            [
                f"{rate(p.fpir)} ({one_in(p.fpir)})",
                percent(p.fnir),
                bounds(p.fnir_interval, like=p.fnir),
                f"{p.threshold:.4f}",
                f"{rate(p.reached)} ({bounds(p.fpir_interval, like=p.reached)})",
                f"{p.false_positives:,} from {p.subject_pairs:,} pairs",
            ]
            for p in sorted(result.points, key=lambda p: -p.fpir)
        ]
        caption = (
            f"{label}: {result.n_mated:,} mated and {result.n_non_mated:,} non-mated searches of {result.galleries} "
            f"galleries of {result.gallery_size:,} subjects. FNIR: share of the mated searches that miss"
        )
        head = ["FPIR", "FNIR", "95 % interval", "threshold", "FPIR reached", "false positives, subjects"]
        if rows:
            parts.append(table(caption, head, rows))
        said = [f"FPIR {rate(value)} is refused: {why}" for value, why in result.refused.items()] + list(result.notes)
        if said:
            parts.append(element("ul", *(element("li", s) for s in said)))
    return section("searches", "Identification", *parts), [drawing]


# --- evidence and quality ---------------------------------------------------------------------------------------------


def ratios_section(checks: Sequence[tuple[str, RatioCheck | str]]) -> tuple[Markup, list[Drawing]]:
    """Whether likelihood ratios hold for subjects that their fit has not seen."""
    done = [(label, check) for label, check in checks if isinstance(check, RatioCheck)]
    parts: list[str] = [
        paragraph(
            "A likelihood ratio says how much more probable a score is for one subject than for two. It is fitted on one "
            "half of the subjects and tested on the other. Cllr is its cost in bits (0 perfect, 1 no evidence); minCllr is "
            "what the scores themselves leave unavoidable, and the difference is what calibration loses."
        )
    ]
    parts += [paragraph(f"{label}: not tested: {check}") for label, check in checks if isinstance(check, str)]
    if not done:
        return section("ratios", "Likelihood ratios", *parts), []
    drawing = draw(
        "reliability",
        lambda theme: plots.reliability_plot(done, theme),
        alt="reliability diagram: observed share of mated comparisons against the stated probability, on log-odds axes",
        caption="On the diagonal, what is stated is what happens. Comparisons are grouped by the stated ratio in decades; "
        "bars are 95 % intervals over subjects, and shares of 0 and 1 lie at the edges.",
    )
    rows = [
        [
            f"{label}, {fit.name}",
            _bits(fit.cllr, fit.cllr_interval),
            _bits(check.min_cllr, check.min_cllr_interval),
            _bits(fit.loss, fit.loss_interval),
            f"{check.fitted[0]:,} + {check.fitted[1]:,}",
            f"{check.tested[0]:,} + {check.tested[1]:,}",
        ]
        for label, check in done
        for fit in check.fits
    ]
    head = ["fit", "Cllr, bits", "minCllr, bits", "difference", "fitted on", "tested on"]
    caption = "95 % intervals by bootstrap over the tested subjects, the fit being held; counts are mated + non-mated"
    parts += [element("div", drawing.markup, class_="plots"), table(caption, head, rows)]
    return section("ratios", "Likelihood ratios", *parts), [drawing]


def _bits(value: float, interval: Interval) -> Markup:
    return over(f"{value:.4f}", f"{interval.low:.4f} to {interval.high:.4f}")


def quality_section(systems: Sequence[SystemFigures]) -> tuple[Markup, list[Drawing]]:
    """Whether errors go when the photos of lowest quality do."""
    missing = [paragraph(f"{s.label}: {s.no_discard}.") for s in systems if s.discard is None]
    if len(missing) == len(systems):
        return section("quality", "Quality", *missing), []
    drawing = draw(
        "discard",
        lambda theme: plots.discard_plot(systems, theme),
        alt="FNMR of the remaining comparisons against the share of the photos of lowest quality that are left out",
        caption="A useful quality measure makes the curve fall. A photo without a template goes first. Dotted: what leaving "
        "out photos at random would give. Bands are 95 % intervals over subjects at a fixed threshold.",
    )
    parts = [element("div", drawing.markup, class_="plots"), *missing]
    return section("quality", "Quality", *parts), [drawing]


# --- identification of data and systems -------------------------------------------------------------------------------


def identity_section(
    pairs: Pairs,
    data: DataIdentity,
    systems: Sequence[SystemFigures],
    versions: dict[str, str],
    command: str,
) -> Markup:
    """What has to be the same for the same figures to come out."""
    rows = [
        ["protocol", pairs.name],
        ["photos", f"{data.files:,}, of which {data.unreadable:,} could not be read"],
        ["subjects", f"{data.subjects:,}"],
        ["sha256 of the photos (sorted contents)", data.content],
        ["sha256 of the pairs (contents and labels)", data.protocol],
    ]
    parts: list[str] = [_facts("Data", rows)]
    for figures in systems:
        facts = {"model_id": figures.system.extraction.model_id, **figures.system.facts}
        parts.append(_facts(f"System: {figures.label}", [[k, v] for k, v in facts.items()]))
    parts.append(_facts("Software", [[k, v] for k, v in versions.items()]))
    parts += [element("h3", "Command"), element("pre", element("code", command))]
    return section("identity", "Data, model and command", *parts)


def _facts(caption: str, rows: Sequence[Sequence[str]]) -> Markup:
    return element("div", table(caption, ["what", "value"], rows), class_="facts")
